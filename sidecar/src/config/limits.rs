//! The bounds of connections and streams, per kind of listener, and those of the process. Names and numbers are those of the tables
//! of defaults in the docs.

/// One row a bound.
mod table;

/// Those of the process.
mod process;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

pub use process::{Process, ROWS as PROCESS_ROWS};
pub use table::{Connection, Of, ROWS, Row};

use super::{Error, duration};

/// Limits by who is at the other end: the internet, a mesh peer, our own application.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub edge: Set,
    pub mesh: Set,
    /// Both directions of our application; towards it some bounds are higher by what the mesh may have added.
    pub local: Set,
    /// The application calls us: what it sets wins over `local`.
    pub app_out: Set,
    /// We call the application: likewise.
    pub app_in: Set,
    pub process: Set,
    pub connect: Connect,
}

/// What is set for one scope, by the names of [`ROWS`] (the process: [`PROCESS_ROWS`]); what is not has its default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Set(BTreeMap<String, Setting>);

/// What a sidecar adds to a call on its way into the mesh, and again on its way out of it, at most: bytes of header list and
/// fields. What one hop let in must pass the next one.
pub const ADDED: [u32; 2] = [4 << 10, 8];

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
    /// Our application, which calls others.
    AppOut,
    /// Our application, which is called.
    AppIn,
}

impl Scope {
    pub const ALL: [Self; 4] = [Self::Edge, Self::Mesh, Self::AppOut, Self::AppIn];

    /// As in config keys and metric labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Mesh => "mesh",
            Self::AppOut => "app_out",
            Self::AppIn => "app_in",
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
    /// A mesh connection that carries nothing is closed; one to the application is while there is another.
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
    /// HTTP/2 preface, and the first bytes where nothing but HTTP is carried.
    #[serde(with = "duration")]
    pub preface: Duration,
    /// An application says nothing on an upstream's own port for this long: it is carried as opaque TCP.
    #[serde(with = "duration")]
    pub protocol_detection: Duration,
    /// The body of a unary request from the internet: in all, and at least 1 KiB a second after the first ten.
    #[serde(with = "duration")]
    pub request_body: Duration,
    /// A block of fields, from its first frame to its last; HTTP/1: the head.
    #[serde(with = "duration")]
    pub header_block: Duration,
    /// Bytes wait for a receiver that takes none: the stream ends then. The public gets half of it.
    #[serde(with = "duration")]
    pub stream_progress: Duration,
}

// === impl Limits ===

impl Limits {
    pub fn edge(&self) -> Connection {
        self.of(Scope::Edge)
    }

    pub fn mesh(&self) -> Connection {
        self.of(Scope::Mesh)
    }

    pub fn app_out(&self) -> Connection {
        self.of(Scope::AppOut)
    }

    pub fn app_in(&self) -> Connection {
        self.of(Scope::AppIn)
    }

    /// The numbers of the process, where its memory is known; errors name the key.
    pub(crate) fn process(&self, has_edge: bool, memory: Option<u64>) -> Result<Process, Error> {
        let process = Process::new(|name| self.process.0.get(name), has_edge, memory);
        process.check().map(|()| process)
    }

    /// The numbers of one kind, defaults filled in. They were checked when the file was read.
    pub fn of(&self, scope: Scope) -> Connection {
        let mut connection = Connection::new(scope);
        let set = self.sets(scope).into_iter().flat_map(|(set, _)| &set.0);
        for (name, setting) in set {
            if let (Some(row), Ok(value)) = (Row::named(name), setting.value(scope)) {
                *(row.place)(&mut connection) = value;
            }
        }
        if scope == Scope::AppIn {
            self.widen_from_local(&mut connection);
        }
        connection
    }

    /// `local` says what the application may send; towards it we allow what came on top on the way.
    fn widen_from_local(&self, connection: &mut Connection) {
        let from_local = |row: &&Row| {
            self.local.0.contains_key(row.name) && !self.app_in.0.contains_key(row.name)
        };
        for row in ROWS.iter().filter(from_local) {
            let value = (row.place)(connection);
            *value = (*value + row.more_towards_application).min(Setting::MOST);
        }
    }

    /// What counts for a scope, the last word last, and the key it stands under.
    fn sets(&self, scope: Scope) -> Vec<(&Set, &'static str)> {
        match scope {
            Scope::Edge => vec![(&self.edge, "edge")],
            Scope::Mesh => vec![(&self.mesh, "mesh")],
            Scope::AppOut => vec![(&self.local, "local"), (&self.app_out, "app_out")],
            Scope::AppIn => vec![(&self.local, "local"), (&self.app_in, "app_in")],
        }
    }

    pub(super) fn check(&self, has_edge: bool) -> Result<(), Error> {
        for scope in Scope::ALL {
            for (set, key) in self.sets(scope) {
                check_set(set, key, scope)?;
            }
            check_windows(&self.of(scope))?;
        }
        check_nesting(self)?;
        check_process_set(&self.process)?;
        self.process(has_edge, None).map(|_| ())
    }
}

fn wrong(scope: &str, name: &str, value: String, expected: String) -> Error {
    Error::Value {
        key: format!("sidecar.limits.{scope}.{name}"),
        value,
        expected,
    }
}

fn check_set(set: &Set, key: &str, scope: Scope) -> Result<(), Error> {
    for (name, setting) in &set.0 {
        let Some(row) = Row::named(name) else {
            let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
            let expected = format!("one of the bounds {}", names.join(", "));
            return Err(wrong(key, name, setting.text(), expected));
        };
        // What `local` says is said of the directions that have such a thing.
        let is_bounded = match key == scope.name() {
            true => row.applies_to(scope),
            false => row.applies_to(Scope::AppOut) || row.applies_to(Scope::AppIn),
        };
        if !is_bounded {
            let expected = "nothing: there is no such thing to be bounded here".to_owned();
            return Err(wrong(key, name, setting.text(), expected));
        }
        let value = setting.value(scope);
        value.map_err(|expected| wrong(key, name, setting.text(), expected.to_owned()))?;
    }
    Ok(())
}

fn check_process_set(set: &Set) -> Result<(), Error> {
    for (name, setting) in &set.0 {
        if process::Row::named(name).is_none() {
            let names: Vec<_> = PROCESS_ROWS.iter().map(|row| row.name).collect();
            let expected = format!("one of the bounds {}", names.join(", "));
            return Err(wrong("process", name, setting.text(), expected));
        }
        let amount = setting.amount();
        amount.map_err(|expected| wrong("process", name, setting.text(), expected.to_owned()))?;
    }
    Ok(())
}

/// What the bounds of one connection say about each other.
fn check_windows(limits: &Connection) -> Result<(), Error> {
    let streams = u64::from(limits.max_concurrent_streams);
    let wide = limits.stream_window.max(limits.known_stream_window);
    let drain = limits.drains_at().unwrap_or(0);
    let checks = [
        (
            "connection_window",
            limits.connection_window,
            streams * u64::from(wide),
            "max_concurrent_streams × stream_window), or slow streams starve the others",
        ),
        (
            "pending_accept_resets",
            limits.pending_accept_resets,
            streams,
            "max_concurrent_streams), because all calls may be cancelled at once",
        ),
        (
            "reset_memory",
            limits.reset_memory,
            2 * streams,
            "2 × max_concurrent_streams), or cancelled calls wear the connection out",
        ),
        (
            "library_resets",
            limits.library_resets,
            2 * u64::from(drain) + 1,
            "twice the mark at which the connection is drained)",
        ),
    ];
    for (name, value, least, why) in checks {
        if u64::from(value) < least {
            let expected = format!("at least {least} ({why}");
            return Err(wrong(
                limits.scope.name(),
                name,
                value.to_string(),
                expected,
            ));
        }
    }
    Ok(())
}

/// What one hop lets in must pass the next one, with what the sidecar between them adds.
fn check_nesting(limits: &Limits) -> Result<(), Error> {
    let hops = [
        (Scope::AppOut, Scope::Mesh),
        (Scope::Edge, Scope::Mesh),
        (Scope::Mesh, Scope::AppIn),
    ];
    for (outer, inner) in hops {
        let (outer, inner) = (limits.of(outer), limits.of(inner));
        let [bytes, fields] = ADDED;
        let sizes = [
            ("header_list", outer.header_list, inner.header_list, bytes),
            (
                "header_count",
                outer.header_count,
                inner.header_count,
                fields,
            ),
        ];
        for (name, outside, inside, added) in sizes {
            let needed = outside.saturating_add(added).min(Setting::MOST);
            if inside < needed {
                let (outer, inner) = (outer.scope.name(), inner.scope.name());
                let expected = format!(
                    "at least {needed}: limits.{outer}.{name} and {added} that are added on the way"
                );
                return Err(wrong(inner, name, inside.to_string(), expected));
            }
        }
    }
    Ok(())
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

    /// The same for the process: more than a window can be.
    fn amount(&self) -> Result<u64, &'static str> {
        match self {
            Self::Word(word) if word == "unlimited" => Ok(u64::MAX),
            Self::Word(_) => Err("a number above 0, or \"unlimited\""),
            Self::Number(number) => u64::try_from(*number)
                .ok()
                .filter(|number| *number > 0)
                .ok_or("a number above 0"),
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
            protocol_detection: Duration::from_secs(5),
            request_body: Duration::from_secs(60),
            header_block: Duration::from_secs(10),
            stream_progress: Duration::from_secs(60),
        }
    }
}
