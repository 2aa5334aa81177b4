//! Medians over the rounds, as the table of `bench/README.md`, and where the gate stands.

use std::collections::BTreeMap;
use std::io::Write as _;

use super::Args;
use super::load::Client;

/// One measurement of one way at one size; times in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) p50_alone: u64,
    pub(crate) p99_alone: u64,
    pub(crate) p99_crowd: u64,
    pub(crate) per_second: f64,
    pub(crate) cpu_per_call: f64,
    pub(crate) resident: u64,
}

/// Who called, and bytes of a message.
type Load = (Client, usize);

/// All rounds.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rounds: BTreeMap<(Load, &'static str), Vec<Round>>,
}

/// What a pair of sidecars has to be beside a pair of Envoys, by bytes of a message: of its CPU at most this share. At most this share
/// of the bare pair's everywhere.
fn cpu_at_most(size: usize) -> f64 {
    match size {
        ..512 => 0.12,
        512..4096 => 0.18,
        _ => 0.35,
    }
}
const BARE_CPU_AT_MOST: f64 = 0.6;
const CALLS_AT_LEAST: f64 = 5.0;
/// Of the median latency that a pair adds with one call in flight.
const ADDED_AT_MOST: f64 = 0.4;
const RESIDENT_AT_MOST_MIB: f64 = 25.0;

impl Report {
    pub(crate) fn add(&mut self, load: Load, name: &'static str, round: Round) {
        self.rounds.entry((load, name)).or_default().push(round);
    }

    fn median(&self, load: Load, name: &'static str) -> Option<Round> {
        let rounds = self.rounds.get(&(load, name))?;
        let middle = |field: fn(&Round) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(field).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Some(Round {
            p50_alone: middle(|round| round.p50_alone as f64) as u64,
            p99_alone: middle(|round| round.p99_alone as f64) as u64,
            p99_crowd: middle(|round| round.p99_crowd as f64) as u64,
            per_second: middle(|round| round.per_second),
            cpu_per_call: middle(|round| round.cpu_per_call),
            resident: middle(|round| round.resident as f64) as u64,
        })
    }

    /// The table, then the gate.
    pub(crate) fn print(&self, args: &Args) {
        let in_flight = args.in_flight;
        let what = if args.messages == 1 {
            "call"
        } else {
            "message"
        };
        say(&format!(
            "| client, message | way | p50, p99 of 1 in flight | {what}s/s, p99 of {in_flight} in flight | proxies' CPU per {what} | resident, the larger proxy |"
        ));
        say("|---|---|---|---|---|---|");
        for load @ (client, size) in args.loads() {
            for name in ["direct", "outrigger", "bare", "envoy"] {
                let Some(round) = self.median(load, name) else {
                    continue;
                };
                say(&format!(
                    "| {}, {size} B | {name} | {} µs, {} µs | {:.0}, {:.1} ms | {:.1} µs | {:.1} MiB |",
                    client.name(),
                    round.p50_alone,
                    round.p99_alone,
                    round.per_second,
                    round.p99_crowd as f64 / 1e3,
                    round.cpu_per_call,
                    mib(round.resident),
                ));
            }
        }
        for load in args.loads() {
            self.compare(load);
        }
        if args.smoke {
            say("a smoke run: the figures say nothing");
        }
    }
}

impl Report {
    /// Where ours stands beside the others, and beside the aim.
    fn compare(&self, load: Load) {
        let (client, size) = (load.0.name(), load.1);
        let Some(ours) = self.median(load, "outrigger") else {
            return;
        };
        let (direct, bare) = (self.median(load, "direct"), self.median(load, "bare"));
        if let Some(envoy) = self.median(load, "envoy") {
            let calls = ours.per_second / envoy.per_second;
            let cpu = ours.cpu_per_call / envoy.cpu_per_call;
            let most = cpu_at_most(size);
            let direct = direct.map_or(0.0, |round| round.p50_alone as f64);
            let added = (ours.p50_alone as f64 - direct) / (envoy.p50_alone as f64 - direct);
            say(&format!(
                "{client}, {size} B, of Envoy's: {calls:.2} times the calls/s ({}), {cpu:.2} of the CPU ({}), {added:.2} of the latency added ({})",
                verdict(calls >= CALLS_AT_LEAST, "at least 5, at 100 B"),
                verdict(cpu <= most, &format!("at most {most}")),
                verdict(added <= ADDED_AT_MOST, "at most 0.4"),
            ));
        }
        if let Some(bare) = bare {
            let calls = ours.per_second / bare.per_second;
            let cpu = ours.cpu_per_call / bare.cpu_per_call;
            say(&format!(
                "{client}, {size} B, of the bare pair's: {calls:.2} times the calls/s, {cpu:.2} of the CPU ({})",
                verdict(cpu <= BARE_CPU_AT_MOST, "at most 0.6"),
            ));
        }
        let resident = mib(ours.resident);
        say(&format!(
            "{client}, {size} B: {resident:.1} MiB resident ({})",
            verdict(resident <= RESIDENT_AT_MOST_MIB, "at most 25"),
        ));
    }
}

fn verdict(holds: bool, bar: &str) -> String {
    format!("{bar}: {}", if holds { "held" } else { "missed" })
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// A line of the result. A reader that has gone away wants no more of them.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line that is no result.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
