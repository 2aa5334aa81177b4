//! The harness's application as a process of its own: `upstream NAME`. It prints where it listens and serves until it is killed.

use std::io::Write as _;

use outrigger_tests::upstream::Upstream;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let upstream = Upstream::tcp(&name).await;
    writeln!(std::io::stdout(), "{}", upstream.address())?;
    std::future::pending().await
}
