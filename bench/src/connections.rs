//! `connections`: what a connection costs that carries nothing, and what it costs to make one.
//!
//! Idle connections are opened to the outbound side, which every application has; handshakes are made with the inbound side, with a
//! certificate of the caller's, each on a TCP connection of its own.

mod handshake;
mod idle;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::pair::topology::Topology;
use crate::pair::{self, report::say};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A short run: tells that the comparison works, nothing about cost
    #[arg(long)]
    smoke: bool,
    /// Idle connections, at most 1,000: a sidecar takes no more from its application by default
    #[arg(long, default_value_t = 1000)]
    idle: usize,
    /// Interleaved rounds of handshakes
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds per measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let args = if args.smoke {
        Args {
            idle: 50,
            rounds: 1,
            seconds: 0.3,
            ..args
        }
    } else {
        args
    };
    let folder = tempfile::tempdir()?;
    let topologies = pair::start(folder.path()).await?;
    handshakes(&topologies, folder.path(), &args).await?;
    idle(&topologies, args.idle).await?;
    if args.smoke {
        say("a smoke run: the figures say nothing");
    }
    Ok(())
}

async fn handshakes(topologies: &[Topology], folder: &Path, args: &Args) -> anyhow::Result<()> {
    let duration = Duration::from_secs_f64(args.seconds);
    let mut measured: Vec<Vec<(f64, f64)>> = vec![Vec::new(); topologies.len()];
    for _ in 0..args.rounds {
        for (topology, rounds) in topologies.iter().zip(&mut measured) {
            if let Some(inbound) = topology.inbound {
                let measured = handshake::measure(topology, inbound, folder, duration).await;
                rounds.push(measured.with_context(|| topology.name)?);
            }
        }
    }
    say("| way | handshakes/s, one thread of the client's | inbound proxy's CPU per handshake |");
    say("|---|---|---|");
    for (topology, rounds) in topologies.iter().zip(measured) {
        let median = |field: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(field).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        if let (Some(rate), Some(cpu)) = (median(|round| round.0), median(|round| round.1)) {
            say(&format!("| {} | {rate:.0} | {cpu:.0} µs |", topology.name));
        }
    }
    Ok(())
}

async fn idle(topologies: &[Topology], count: usize) -> anyhow::Result<()> {
    say("| way | resident before | with so many idle connections | each |");
    say("|---|---|---|---|");
    for topology in topologies
        .iter()
        .filter(|topology| !topology.proxies.is_empty())
    {
        let (before, after) = idle::measure(topology, count).await?;
        let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        let each = after.saturating_sub(before) as f64 / 1024.0 / count as f64;
        say(&format!(
            "| {} | {:.1} MiB | {:.1} MiB, {count} | {each:.1} KiB |",
            topology.name,
            mib(before),
            mib(after)
        ));
    }
    Ok(())
}
