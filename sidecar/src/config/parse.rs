//! From a TOML error to a sentence that names the key, the value and the expectation.

use std::path::PathBuf;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{key} = {value}: {expected}")]
    Value {
        key: String,
        value: String,
        expected: String,
    },
    #[error("{0}")]
    Syntax(String),
}

/// Finds the key that `err` points at: the table above it and the word before the equals sign.
pub(super) fn locate(text: &str, err: &toml::de::Error) -> Error {
    let Some((before, line)) = err.span().and_then(|span| around(text, span.start)) else {
        return Error::Syntax(err.message().to_owned());
    };
    let Some((key, value)) = line.split_once('=') else {
        return Error::Syntax(format!("{}: {}", line.trim(), err.message()));
    };
    let table = before.lines().rev().find_map(|line| {
        let header = line.trim().strip_prefix('[')?.split(']').next()?;
        Some(format!("{}.", header.trim_start_matches('[')))
    });
    let value = value.split(" #").next().unwrap_or(value);
    Error::Value {
        key: format!("sidecar.{}{}", table.unwrap_or_default(), key.trim()),
        value: value.trim().to_owned(),
        expected: err.message().to_owned(),
    }
}

/// The text before the line that holds byte `at`, and that line.
fn around(text: &str, at: usize) -> Option<(&str, &str)> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let before = text.get(..start)?;
    let line = text.get(start..)?.lines().next()?;
    Some((before, line))
}
