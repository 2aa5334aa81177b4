//! The bounds of connections and streams, per kind of listener. Names and numbers are those of the table of defaults in the docs.

/// One row a bound.
mod table;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

pub use table::{Connection, ROWS, Row};

use super::{Error, duration};

/// Limits by who is at the other end: the internet, a mesh peer, our own application.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub edge: Http2,
    pub mesh: Http2,
    pub local: Http2,
    pub connect: Connect,
}

/// What is set for HTTP/2 connections of one kind, by the names of [`ROWS`]; what is not has its default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Http2(BTreeMap<String, Setting>);

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Setting {
    Number(i64),
    Word(String),
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    Edge,
    Mesh,
    Local,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Edge, Self::Mesh, Self::Local];

    /// As in config keys and metric labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Mesh => "mesh",
            Self::Local => "local",
        }
    }
}

/// Reaching others, and how long connections last.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connect {
    /// To a mesh peer, handshake included.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// To the local application.
    #[serde(with = "duration")]
    pub application_timeout: Duration,
    #[serde(with = "duration")]
    pub backoff_first: Duration,
    #[serde(with = "duration")]
    pub backoff_longest: Duration,
    /// A mesh connection that carries nothing is closed.
    #[serde(with = "duration")]
    pub idle: Duration,
    /// A mesh connection retires about then (± 10 %), in any case before a leaf expires.
    #[serde(with = "duration")]
    pub age: Duration,
    #[serde(with = "duration")]
    pub ping_interval: Duration,
    #[serde(with = "duration")]
    pub ping_timeout: Duration,
    /// TLS handshakes that others make with us.
    #[serde(with = "duration")]
    pub handshake: Duration,
    /// HTTP/2 preface, protocol detection.
    #[serde(with = "duration")]
    pub preface: Duration,
    /// HTTP/1 header block.
    #[serde(with = "duration")]
    pub header_block: Duration,
    /// Bytes wait for a receiver that takes none: the stream ends then. The public gets half of it.
    #[serde(with = "duration")]
    pub stream_progress: Duration,
    /// Connections accepted at once per listener; past it nothing is accepted until one ends.
    pub accepted: usize,
}

// === impl Limits ===

impl Limits {
    pub fn edge(&self) -> Connection {
        self.of(Scope::Edge)
    }

    pub fn mesh(&self) -> Connection {
        self.of(Scope::Mesh)
    }

    pub fn local(&self) -> Connection {
        self.of(Scope::Local)
    }

    /// The numbers of one kind, defaults filled in. They were checked when the file was read.
    pub fn of(&self, scope: Scope) -> Connection {
        let mut connection = Connection::new(scope);
        for (name, setting) in &self.set(scope).0 {
            if let (Some(row), Ok(value)) = (Row::named(name), setting.value(scope)) {
                *(row.place)(&mut connection) = value;
            }
        }
        connection
    }

    fn set(&self, scope: Scope) -> &Http2 {
        match scope {
            Scope::Edge => &self.edge,
            Scope::Mesh => &self.mesh,
            Scope::Local => &self.local,
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        Scope::ALL
            .into_iter()
            .try_for_each(|scope| self.check_scope(scope))
    }

    fn check_scope(&self, scope: Scope) -> Result<(), Error> {
        let wrong = |name: &str, value: String, expected: String| Error::Value {
            key: format!("sidecar.limits.{}.{name}", scope.name()),
            value,
            expected,
        };
        for (name, setting) in &self.set(scope).0 {
            if Row::named(name).is_none() {
                let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
                let expected = format!("one of the bounds {}", names.join(", "));
                return Err(wrong(name, setting.text(), expected));
            }
            setting
                .value(scope)
                .map_err(|expected| wrong(name, setting.text(), expected.to_owned()))?;
        }
        let connection = self.of(scope);
        let wide = connection.stream_window.max(connection.known_stream_window);
        let needed = u64::from(connection.max_concurrent_streams) * u64::from(wide);
        if needed > u64::from(connection.connection_window) {
            let expected = format!(
                "at least {needed} (max_concurrent_streams × stream_window), or slow streams starve the others"
            );
            let value = connection.connection_window.to_string();
            return Err(wrong("connection_window", value, expected));
        }
        Ok(())
    }
}

// === impl Setting ===

impl Setting {
    /// What a window may be at most (RFC 9113, 6.9.1): no bound of ours is higher.
    const MOST: u32 = (1 << 31) - 1;

    fn value(&self, scope: Scope) -> Result<u32, &'static str> {
        match self {
            Self::Word(word) if word == "unlimited" && scope == Scope::Edge => {
                Err("a number: nothing is unlimited towards the internet")
            }
            Self::Word(word) if word == "unlimited" => Ok(Self::MOST),
            Self::Word(_) => Err("a number above 0, or \"unlimited\""),
            Self::Number(number) => u32::try_from(*number)
                .ok()
                .filter(|number| (1..=Self::MOST).contains(number))
                .ok_or("a number from 1 to 2147483647"),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Word(word) => word.clone(),
        }
    }
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            application_timeout: Duration::from_millis(300),
            backoff_first: Duration::from_millis(100),
            backoff_longest: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            age: Duration::from_secs(1800),
            ping_interval: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(20),
            handshake: Duration::from_secs(5),
            preface: Duration::from_secs(5),
            header_block: Duration::from_secs(10),
            stream_progress: Duration::from_secs(60),
            accepted: 4096,
        }
    }
}
