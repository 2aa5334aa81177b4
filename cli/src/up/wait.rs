//! Waiting for processes to become ready, and saying for which.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::output::Output;
use crate::plan::Addresses;

/// What one step of the start may take.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at something that is not ready.
const BETWEEN: Duration = Duration::from_millis(25);
/// After which a line says again what is waited for, where no spinner does.
const REMIND: Duration = Duration::from_secs(5);

/// What did not become ready in time, and what it said last.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) name: String,
    pub(super) reason: String,
}

/// Waits until all are done; `what` names them on the terminal.
pub(super) async fn all<F, T>(
    output: &Output,
    what: &str,
    tasks: Vec<(String, F)>,
) -> Result<Vec<(String, T)>, Late>
where
    F: Future<Output = Result<T, Late>>,
{
    let mut pending: BTreeSet<String> = tasks.iter().map(|(name, _)| name.clone()).collect();
    let say = |pending: &BTreeSet<String>, is_new: bool| {
        let names: Vec<&str> = pending.iter().map(String::as_str).collect();
        match names.as_slice() {
            [] => {}
            [one] if *one == what => output.waiting(&format!("waiting for the {what}"), is_new),
            names => output.waiting(&format!("waiting for {what}: {}", names.join(", ")), is_new),
        }
    };
    let mut running: FuturesUnordered<_> = tasks
        .into_iter()
        .map(|(name, task)| async move { task.await.map(|value| (name, value)) })
        .collect();
    let mut done = Vec::new();
    let mut remind = tokio::time::interval_at(Instant::now() + REMIND, REMIND);
    say(&pending, true);
    loop {
        tokio::select! {
            finished = running.next() => match finished {
                None => return Ok(done),
                Some(finished) => {
                    let (name, value) = finished?;
                    pending.remove(&name);
                    done.push((name, value));
                    say(&pending, false);
                }
            },
            _ = remind.tick() => say(&pending, true),
        }
    }
}

/// A sidecar's report, once it has bound its sockets.
pub(super) async fn report(name: &str, path: &Path) -> Result<Addresses, Late> {
    until(name, async || match tokio::fs::read(path).await {
        Ok(text) => {
            serde_json::from_slice(&text).map_err(|err| format!("its report cannot be read: {err}"))
        }
        Err(_) => Err("it has not bound its sockets".to_owned()),
    })
    .await
}

/// Until `GET http://<health><path>` answers 200.
pub(super) async fn ready(
    http: &reqwest::Client,
    name: &str,
    health: SocketAddr,
    path: &str,
) -> Result<(), Late> {
    until(name, async || {
        get(http, &format!("http://{health}{path}")).await
    })
    .await
}

/// Asks again until it succeeds or the limit is reached.
pub(super) async fn until<T>(
    name: &str,
    ask: impl AsyncFn() -> Result<T, String>,
) -> Result<T, Late> {
    let end = Instant::now() + LIMIT;
    loop {
        match ask().await {
            Ok(value) => return Ok(value),
            Err(reason) if Instant::now() >= end => {
                return Err(Late {
                    name: name.to_owned(),
                    reason,
                });
            }
            Err(_) => tokio::time::sleep(BETWEEN).await,
        }
    }
}

async fn get(http: &reqwest::Client, url: &str) -> Result<(), String> {
    let answer = http
        .get(url)
        .send()
        .await
        .map_err(|err| format!("{url}: {err}"))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let body = answer.text().await.unwrap_or_default();
    let short: String = body.trim().chars().take(300).collect();
    Err(format!("{url}: {status} {short}"))
}
