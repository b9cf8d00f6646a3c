//! `posthaste demo`: the whole story on one screen, through the public API, with nothing set up.

mod receiver;
mod story;

use clap::{Args, Parser};
use tokio::net::TcpListener;

use super::{Failure, asked_to_stop, keys};
use crate::Service;
use crate::config::Config;
use crate::domain::credential::{Owner, Scopes};
use receiver::Receiver;
use story::Story;

/// The company of the story.
const COMPANY: &str = "acme";

/// How to show it.
#[derive(Args)]
pub struct Demo {
    /// Exit after the story: 0 when every step went as told
    #[arg(long)]
    once: bool,
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
}

impl Demo {
    /// Tells the story.
    ///
    /// # Errors
    /// The step that did not go as told.
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
        let config = Settings::try_parse_from(flags)?.config;
        let key = keys::create(&database, Owner::Company(COMPANY.into()), Scopes::all()).await?;
        let service = Service::start(config, TcpListener::bind("127.0.0.1:0").await?).await?;
        let api = format!("http://{}", service.address());
        let receiver = Receiver::start().await?;
        println!("Posthaste {} demo   API {api}   receiver {}\n", env!("CARGO_PKG_VERSION"), receiver.url());
        let told = Story::new(&api, &key, receiver)?.tell().await;
        if told.is_ok() && !self.once {
            println!("\nStill up until Ctrl-C, with everything of the story in it. For example:");
            println!("  curl -H 'Authorization: Bearer {key}' {api}/api/v1/deliveries");
            asked_to_stop().await?;
        }
        service.stop().await;
        told
    }
}
