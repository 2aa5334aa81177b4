//! What a run measured, said where a log keeps it.

use std::io::Write as _;
use std::time::Duration;

/// Says a line past libtest's capture, which holds back the macros only. A closed stderr is nobody's failure.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The value that `percent` of a hundred are not above; zero where there is none.
pub fn quantile(values: &[Duration], percent: usize) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    let value = sorted.get(rank.saturating_sub(1));
    value.copied().unwrap_or_default()
}

/// A line for a log: how many, the half, the ninety-ninth of a hundred and the largest.
pub fn spread(values: &[Duration]) -> String {
    let [half, most, all] = [50, 99, 100].map(|percent| quantile(values, percent));
    let count = values.len();
    format!("{count} values, p50 {half:?}, p99 {most:?}, largest {all:?}")
}
