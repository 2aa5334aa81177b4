//! The harness's application as a process of its own: `upstream NAME`. It prints where it listens, which is `OUTRIGGER_LISTEN` if that is
//! set, and serves until it is killed.

use std::io::Write as _;

use outrigger_tests::settings;
use outrigger_tests::upstream::Upstream;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let address = settings::variable("OUTRIGGER_LISTEN");
    let upstream = Upstream::tcp_at(&name, address.as_deref().unwrap_or("127.0.0.1:0")).await;
    writeln!(std::io::stdout(), "{}", upstream.address())?;
    std::future::pending().await
}
