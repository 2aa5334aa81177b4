//! Every bound of the registry: one table that gives the configuration keys, the defaults and the metrics' labels.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Why a limits file is not one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not a limits file: {0}")]
    Malformed(#[from] Box<toml::de::Error>),
    #[error("limits.registry.{0} is 0: a bound of nothing would let nothing through")]
    Zero(&'static str),
}

/// What configuration and metrics can show of a bound.
trait Figure: Copy {
    fn figure(self) -> f64;
}

#[expect(clippy::cast_precision_loss, reason = "for a metric")]
impl Figure for usize {
    fn figure(self) -> f64 {
        self as f64
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a metric")]
impl Figure for u64 {
    fn figure(self) -> f64 {
        self as f64
    }
}

/// In seconds.
impl Figure for Duration {
    fn figure(self) -> f64 {
        self.as_secs_f64()
    }
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr,)*) => {
        /// Bounds on what one client may send, hold or ask for. All are configuration: `limits.registry.<name>`, a
        /// number, or for a time a duration such as `30s`.
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// Names with the configured values, times in seconds.
            pub fn figures(&self) -> Vec<(&'static str, f64)> {
                vec![$((stringify!($name), self.$name.figure()),)*]
            }
        }
    };
}

limits! {
    /// Bytes of a key's value.
    kv_value: usize = 512 << 10,
    /// Bytes of any other body.
    body: usize = 1 << 20,
    /// Bytes of a name; of an id, twice as many; of a key, four times.
    name: usize = 128,
    /// Meta pairs of a service.
    meta_pairs: usize = 64,
    /// Bytes of a meta key.
    meta_key: usize = 128,
    /// Bytes of a meta value.
    meta_value: usize = 512,
    /// Tags of a service.
    tags: usize = 64,
    /// Bytes of a tag.
    tag: usize = 255,
    /// Nesting of a filter expression.
    filter_depth: usize = 64,
    /// Bytes of a filter expression.
    filter_bytes: usize = 4 << 10,
    /// Bytes of a regular expression in one.
    regex_bytes: usize = 1 << 10,
    /// Connections from one address that is not loopback.
    http_connections_per_client: usize = 200,
    /// Connections from one loopback address, which all sidecars of a laptop share.
    http_connections_loopback: usize = 8192,
    /// Parked reads from one address that is not loopback.
    watches_per_client: usize = 1000,
    /// Parked reads from one loopback address.
    watches_loopback: usize = 8192,
    /// Items in one answer.
    list_items: usize = 100_000,
    /// A probe runs at most this often; shorter intervals are raised.
    #[serde(deserialize_with = "duration")]
    check_interval_min: Duration = Duration::from_secs(1),
    /// How often services with a long critical check are looked for.
    #[serde(deserialize_with = "duration")]
    check_reap: Duration = Duration::from_secs(30),
    /// The least `DeregisterCriticalServiceAfter`; shorter ones are raised.
    #[serde(deserialize_with = "duration")]
    deregister_min: Duration = Duration::from_secs(60),
    /// The wait of a blocking read that names none.
    #[serde(deserialize_with = "duration")]
    wait_default: Duration = Duration::from_secs(300),
    /// The longest wait a blocking read may name; longer ones are cut.
    #[serde(deserialize_with = "duration")]
    wait_max: Duration = Duration::from_secs(600),
    /// A wait is this part longer at most, drawn for each: one in so many.
    wait_jitter: u64 = 16,
    /// How long a client may take to send a request's head.
    #[serde(deserialize_with = "duration")]
    head_timeout: Duration = Duration::from_secs(30),
    /// Bytes of the journal that call for a snapshot.
    journal_bytes: u64 = 8 << 20,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsFile {
    limits: Scopes,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Scopes {
    #[serde(default)]
    registry: Limits,
}

impl Limits {
    /// Reads `[limits.registry]` of a TOML file; what is not named keeps its default.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let file = toml::from_str::<LimitsFile>(text).map_err(Box::new)?;
        let limits = file.limits.registry;
        match limits
            .figures()
            .into_iter()
            .find(|(_, value)| *value <= 0.0)
        {
            Some((name, _)) => Err(Error::Zero(name)),
            None => Ok(limits),
        }
    }
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    use serde::Deserialize as _;
    use serde::de::Error as _;
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(D::Error::custom)
}

/// How often each bound was reached.
#[derive(Debug)]
pub(crate) struct Hits {
    counts: BTreeMap<&'static str, AtomicU64>,
}

impl Default for Hits {
    fn default() -> Self {
        let names = Limits::default().figures().into_iter();
        Self {
            counts: names.map(|(name, _)| (name, AtomicU64::new(0))).collect(),
        }
    }
}

impl Hits {
    pub(crate) fn count(&self, name: &'static str) {
        match self.counts.get(name) {
            Some(count) => {
                count.fetch_add(1, Ordering::Relaxed);
            }
            None => tracing::error!(limit = name, "a bound that is not in the table was reached"),
        }
    }

    /// The bounds, what is held of them now, and how often each was reached, as Prometheus reads it.
    pub(crate) fn prometheus(&self, limits: &Limits, usage: &[(&'static str, usize)]) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, rows: Vec<(&str, String)>| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (limit, value) in rows {
                let _ = writeln!(
                    text,
                    "{name}{{scope=\"registry\",limit=\"{limit}\"}} {value}"
                );
            }
        };
        let figures = limits.figures().into_iter();
        let figures = figures
            .map(|(name, value)| (name, value.to_string()))
            .collect();
        family(
            "outrigger_limit",
            "gauge",
            "The configured bound; times in seconds.",
            figures,
        );
        let levels = usage.iter().map(|(name, level)| (*name, level.to_string()));
        family(
            "outrigger_limit_usage",
            "gauge",
            "How much is held.",
            levels.collect(),
        );
        let hits = self.counts.iter();
        let hits = hits.map(|(name, count)| (*name, count.load(Ordering::Relaxed).to_string()));
        family(
            "outrigger_limit_hits_total",
            "counter",
            "How often the bound was reached.",
            hits.collect(),
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_what_differs_and_nonsense_is_named() {
        let limits = Limits::parse("[limits.registry]\nname = 5\nwait_max = \"1m\"").unwrap();
        assert_eq!(
            (limits.name, limits.wait_max.as_secs(), limits.tags),
            (5, 60, 64)
        );
        for (text, told) in [
            ("[limits.registry]\ntags = 0", "limits.registry.tags is 0"),
            (
                "[limits.registry]\ncheck_reap = \"0s\"",
                "limits.registry.check_reap is 0",
            ),
            ("[limits.registry]\nname = -1", "not a limits file"),
            ("[limits.registry]\nbogus = 1", "bogus"),
            ("[limits.edge]\nname = 1", "edge"),
        ] {
            let error = Limits::parse(text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
