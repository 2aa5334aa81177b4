//! tonic as client and as server of the case list: `caselist serve` prints where it listens, `caselist HOST:PORT CASE[=SIZE]...` runs
//! cases, each on a channel of its own, and prints a line for each: its name and `ok`, `partly` or what went wrong.

use std::io::Write as _;

use anyhow::{Context as _, bail};

use crate::channel::Address;

mod basic;
mod channel;
mod compression;
mod load;
mod metadata;
mod server;
mod status;
mod streaming;
mod testing;
mod wire;

/// How far a case that found nothing wrong has got.
#[derive(Debug, Clone, Copy)]
enum Checked {
    Wholly,
    /// What tonic can do of it; the suite's table says what it cannot.
    Partly,
}

type Outcome = anyhow::Result<Checked>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().context("what is to be done?")?;
    if first == "serve" {
        return server::serve().await;
    }
    let address = Address::new(&first)?;
    for argument in arguments {
        let (case, size) = argument.split_once('=').unwrap_or((&argument, "0"));
        let said = match run(case, size.parse()?, &address).await {
            Ok(Checked::Wholly) => "ok".to_owned(),
            Ok(Checked::Partly) => "partly".to_owned(),
            Err(wrong) => format!("{wrong:#}").replace('\n', " | "),
        };
        writeln!(std::io::stdout(), "{case} {said}")?;
    }
    Ok(())
}

async fn run(case: &str, size: u64, address: &Address) -> Outcome {
    let client = address.client().await?;
    match case {
        "empty_unary" => basic::empty_unary(client).await,
        "large_unary" => basic::large_unary(client).await,
        "client_streaming" => streaming::client_streaming(client).await,
        "server_streaming" => streaming::server_streaming(client).await,
        "ping_pong" => streaming::ping_pong(client).await,
        "empty_stream" => streaming::empty_stream(client).await,
        "timeout_on_sleeping_server" => streaming::timeout_on_sleeping_server(client).await,
        "cancel_after_begin" => streaming::cancel_after_begin(client).await,
        "cancel_after_first_response" => streaming::cancel_after_first_response(client).await,
        "status_code_and_message" => status::status_code_and_message(client).await,
        "special_status_message" => status::special_status_message(client).await,
        "custom_metadata" => metadata::custom_metadata(client).await,
        "unimplemented_method" => basic::unimplemented_method(client).await,
        "unimplemented_service" => basic::unimplemented_service(address).await,
        "client_compressed_unary" => compression::client_unary(client).await,
        "server_compressed_unary" => compression::server_unary(client).await,
        "client_compressed_streaming" => compression::client_streaming(client).await,
        "server_compressed_streaming" => compression::server_streaming(client).await,
        "rpc_soak" => load::rpc_soak(client, size).await,
        "channel_soak" => load::channel_soak(address, size).await,
        "concurrent_large_unary" => load::concurrent_large_unary(address, size).await,
        "long_lived_channel" => load::long_lived_channel(client, size).await,
        _ => bail!("no such case"),
    }
}
