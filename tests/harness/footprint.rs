//! What a process holds and has used, as the kernel tells it.

use std::time::Duration;

use crate::process;

/// `USER_HZ`, the same on every Linux.
const TICKS: u32 = 100;

/// One look at a process.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Processor time so far, of all its threads.
    pub busy: Duration,
}

impl Footprint {
    /// Looks now.
    pub fn of(pid: u32) -> Self {
        let folder = std::fs::read_dir(format!("/proc/{pid}/fd"));
        Self {
            resident: process::resident(pid),
            descriptors: folder.unwrap().count(),
            busy: busy(pid),
        }
    }
}

/// `utime` and `stime` of `/proc/pid/stat` (proc_pid_stat(5)), behind the name in brackets.
fn busy(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, behind) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = behind
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    Duration::from_secs(ticks) / TICKS
}

/// How memory moved over a series of looks, a second apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Growth {
    /// From the middle of the first half to that of the second.
    pub bytes: f64,
    /// Slope of the straight line through all of them.
    pub bytes_per_minute: f64,
}

/// Compares medians, which a single peak does not move, and fits a line.
#[expect(clippy::cast_precision_loss, reason = "sizes and counts are small")]
pub fn growth(seen: &[Footprint]) -> Growth {
    if seen.len() < 4 {
        return Growth::default();
    }
    let sizes: Vec<f64> = seen.iter().map(|look| look.resident as f64).collect();
    let (first, second) = sizes.split_at(sizes.len() / 2);
    let count = sizes.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, sizes.iter().sum::<f64>() / count);
    let (mut above, mut below) = (0.0, 0.0);
    for (second, size) in sizes.iter().enumerate() {
        let away = second as f64 - middle;
        above += away * (size - mean);
        below += away * away;
    }
    Growth {
        bytes: median(second) - median(first),
        bytes_per_minute: above / below * 60.0,
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
