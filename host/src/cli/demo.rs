//! `posthaste demo`: all features on one screen, through the public API, without any setup.

mod receiver;
mod story;

use clap::{Args, Parser};
use tokio::net::TcpListener;

use super::{Failure, keys, stop_signal};
use crate::Service;
use crate::config::Config;
use crate::domain::credential::{Owner, Scopes};
use receiver::Receiver;
use story::Story;

/// The company of the demo.
const COMPANY: &str = "acme";

/// The arguments of `posthaste demo`.
#[derive(Args)]
pub struct DemoArgs {
    /// Exit after the last step, with status 0 if every step succeeded
    #[arg(long)]
    once: bool,
}

#[derive(Parser)]
struct DemoSettings {
    #[command(flatten)]
    config: Config,
}

impl DemoArgs {
    /// Runs the demo.
    ///
    /// # Errors
    /// The text says which step failed and how.
    pub async fn run(self) -> Result<(), Failure> {
        let folder = tempfile::tempdir()?;
        let database = format!("sqlite://{}", folder.path().join("demo.db").display());
        let data_dir = folder.path().display().to_string();
        let flags = [
            "posthaste",
            "--database",
            &database,
            "--data-dir",
            &data_dir,
            "--allow-target",
            "127.0.0.0/8",
            "--retry-schedule",
            "300ms,1s,5s",
        ];
        let config = DemoSettings::try_parse_from(flags)?.config;
        let key = keys::create(&database, Owner::Company(COMPANY.into()), Scopes::all()).await?;
        let service = Service::start(config, TcpListener::bind("127.0.0.1:0").await?).await?;
        let api = format!("http://{}", service.address());
        let receiver = Receiver::start().await?;
        println!("Posthaste {} demo   API {api}   receiver {}\n", env!("CARGO_PKG_VERSION"), receiver.url());
        let result = Story::new(&api, &key, receiver)?.run().await;
        if result.is_ok() && !self.once {
            println!("\nThe service runs until Ctrl-C, with all data of the demo. For example:");
            println!("  curl -H 'Authorization: Bearer {key}' {api}/api/v1/deliveries");
            stop_signal().await?;
        }
        service.stop().await;
        result
    }
}
