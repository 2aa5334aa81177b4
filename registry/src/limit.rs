//! Every bound of the registry with its default.

use std::time::Duration;

/// Bounds on what one client may send, hold or ask for. All are configuration.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a key's value.
    pub kv_value: usize,
    /// Bytes of any other body.
    pub body: usize,
    /// Bytes of a name, id or key segment.
    pub name: usize,
    /// Meta pairs, and bytes of a key and a value.
    pub meta_pairs: usize,
    pub meta_key: usize,
    pub meta_value: usize,
    /// Tags of a service, and bytes of one.
    pub tags: usize,
    pub tag: usize,
    /// Depth and bytes of a filter expression, and bytes of a regular expression in it.
    pub filter_depth: usize,
    pub filter_bytes: usize,
    pub regex_bytes: usize,
    /// Connections from one address; loopback is shared by all sidecars of a laptop.
    pub connections_per_client: usize,
    pub connections_loopback: usize,
    /// Parked reads from one address.
    pub watches_per_client: usize,
    pub watches_loopback: usize,
    /// Items in one answer.
    pub list_items: usize,
    /// A probe runs at most this often.
    #[serde(deserialize_with = "duration")]
    pub check_interval_min: Duration,
    /// How often services with a long critical check are looked for.
    #[serde(deserialize_with = "duration")]
    pub check_reap: Duration,
    /// The least `DeregisterCriticalServiceAfter`.
    #[serde(deserialize_with = "duration")]
    pub deregister_min: Duration,
    /// The wait of a blocking read that names none, and the most it may name.
    #[serde(deserialize_with = "duration")]
    pub wait_default: Duration,
    #[serde(deserialize_with = "duration")]
    pub wait_max: Duration,
    /// How long a client may take to send a request's head.
    #[serde(deserialize_with = "duration")]
    pub head_timeout: Duration,
    /// Bytes of the journal that call for a snapshot.
    pub journal_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            kv_value: 512 << 10,
            body: 1 << 20,
            name: 128,
            meta_pairs: 64,
            meta_key: 128,
            meta_value: 512,
            tags: 64,
            tag: 255,
            filter_depth: 64,
            filter_bytes: 4 << 10,
            regex_bytes: 1 << 10,
            connections_per_client: 200,
            connections_loopback: 8192,
            watches_per_client: 1000,
            watches_loopback: 8192,
            list_items: 100_000,
            check_interval_min: Duration::from_secs(1),
            check_reap: Duration::from_secs(30),
            deregister_min: Duration::from_secs(60),
            wait_default: Duration::from_secs(300),
            wait_max: Duration::from_secs(600),
            head_timeout: Duration::from_secs(30),
            journal_bytes: 8 << 20,
        }
    }
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    use serde::Deserialize as _;
    use serde::de::Error as _;
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(D::Error::custom)
}
