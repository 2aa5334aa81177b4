//! Sizes and durations of tests, and where things are: the one place that reads the environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The value of a variable, if it is set and not empty.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness's edge to its environment"
)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A duration in seconds that a long run makes longer: `OUTRIGGER_<NAME>_SECONDS`.
pub fn seconds(name: &str, default: u64) -> Duration {
    Duration::from_secs(number(&format!("OUTRIGGER_{name}_SECONDS"), default))
}

/// A size or a rate: the variable, or the default.
pub fn number(name: &str, default: u64) -> u64 {
    match variable(name) {
        None => default,
        Some(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} = {text:?}: expected a number")),
    }
}

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
}

/// Where `tests/tools` puts what it installs.
pub fn tools() -> PathBuf {
    match variable("OUTRIGGER_TOOLS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(variable("HOME").unwrap_or_default()).join(".cache/outrigger-tools"),
    }
}
