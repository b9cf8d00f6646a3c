//! One company with an ordinary key, or a stranger without one, takes all that it can of a shared resource: a neighbour notices
//! nothing.

mod answers;
mod arriving;
mod compiling;
mod large_configs;
mod manual_retries;
mod open_files;
mod queue_memory;
mod quotas;
mod reading;
mod removals;
mod stopping;
mod strangers;
mod writing;

use posthaste_tests::Process;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Opens a connection to the process and sends these bytes.
async fn send(process: &Process, bytes: &[u8]) -> TcpStream {
    let address = process.client.base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}
