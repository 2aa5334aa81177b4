//! This service's settings.

use std::num::NonZeroUsize;
use std::time::Duration;

use shop_chassis::Address;
use shop_chassis::config::{Environment, Error, Instance};

/// What the gateway needs to know; everything but the outbound side has a default.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which copy this is.
    pub instance: Instance,
    /// `OUTRIGGER_OUTBOUND_ADDR`: the sidecar's outbound side, where every service is reached.
    pub outbound: Address,
    /// `SHOP_GATEWAY_ADMIN_LISTEN`: where metrics are told (nowhere). Its callers are no strangers, unlike the gateway's.
    pub admin: Option<Address>,
    /// What a request may be.
    pub limits: Limits,
    /// `SHOP_GATEWAY_KEY_SET_TTL`: how often identity's key set is read (5m).
    pub key_set_ttl: Duration,
}

/// What a request may be, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `SHOP_GATEWAY_URI_LIMIT`: bytes of path and query (8 KiB).
    pub uri: usize,
    /// `SHOP_GATEWAY_HEADER_LIMIT`: bytes of the caller's headers, 32 more a header, as HTTP/2 counts (16 KiB).
    pub header_bytes: usize,
    /// `SHOP_GATEWAY_HEADER_COUNT_LIMIT`: how many those are (100).
    pub header_count: usize,
    /// `SHOP_GATEWAY_BODY_LIMIT`: bytes of a JSON body (1 MiB).
    pub body: usize,
    /// `SHOP_GATEWAY_JSON_DEPTH`: how deep objects and arrays may be nested (64; the parser itself stops at 127).
    pub depth: usize,
    /// `SHOP_GATEWAY_MESSAGE_LIMIT`: bytes of one gRPC message (4 MiB).
    pub message: usize,
    /// `SHOP_GATEWAY_RESPONSE_LIMIT`: bytes of an answer that is turned into JSON (8 MiB).
    pub response: usize,
    /// `SHOP_GATEWAY_QUERY_LIMIT`: parameters of a query (256).
    pub query: usize,
    /// `SHOP_GATEWAY_TIMEOUT`: for a request that names none (15s).
    pub timeout: Duration,
    /// `SHOP_GATEWAY_LONGEST_TIMEOUT`: a longer one is cut to this (1h).
    pub longest_timeout: Duration,
    /// `SHOP_GATEWAY_BODY_TIMEOUT`: how long a body may take to arrive (60s).
    pub body_timeout: Duration,
    /// `SHOP_GATEWAY_BODY_GRACE`: after this a body must keep up `body_rate` (10s).
    pub body_grace: Duration,
    /// `SHOP_GATEWAY_BODY_RATE`: bytes a second, on the whole (1 KiB).
    pub body_rate: usize,
    /// `SHOP_GATEWAY_IN_FLIGHT_LIMIT`: requests of one method at once (1024).
    pub in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            uri: 8 * 1024,
            header_bytes: 16 * 1024,
            header_count: 100,
            body: 1024 * 1024,
            depth: 64,
            message: 4 * 1024 * 1024,
            response: 8 * 1024 * 1024,
            query: 256,
            timeout: Duration::from_secs(15),
            longest_timeout: Duration::from_secs(3600),
            body_timeout: Duration::from_secs(60),
            body_grace: Duration::from_secs(10),
            body_rate: 1024,
            in_flight: 1024,
        }
    }
}

impl Limits {
    fn load(env: &Environment) -> Result<Self, Error> {
        // A bound of nothing would let nothing through.
        let size = |key: &str, default| {
            let stated = env.parsed::<NonZeroUsize>(key)?;
            Ok(stated.map_or(default, NonZeroUsize::get))
        };
        let time = |key: &str, default| env.duration(key, default);
        let usual = Self::default();
        Ok(Self {
            uri: size("SHOP_GATEWAY_URI_LIMIT", usual.uri)?,
            header_bytes: size("SHOP_GATEWAY_HEADER_LIMIT", usual.header_bytes)?,
            header_count: size("SHOP_GATEWAY_HEADER_COUNT_LIMIT", usual.header_count)?,
            body: size("SHOP_GATEWAY_BODY_LIMIT", usual.body)?,
            depth: size("SHOP_GATEWAY_JSON_DEPTH", usual.depth)?,
            message: size("SHOP_GATEWAY_MESSAGE_LIMIT", usual.message)?,
            response: size("SHOP_GATEWAY_RESPONSE_LIMIT", usual.response)?,
            query: size("SHOP_GATEWAY_QUERY_LIMIT", usual.query)?,
            timeout: time("SHOP_GATEWAY_TIMEOUT", usual.timeout)?,
            longest_timeout: time("SHOP_GATEWAY_LONGEST_TIMEOUT", usual.longest_timeout)?,
            body_timeout: time("SHOP_GATEWAY_BODY_TIMEOUT", usual.body_timeout)?,
            body_grace: time("SHOP_GATEWAY_BODY_GRACE", usual.body_grace)?,
            body_rate: size("SHOP_GATEWAY_BODY_RATE", usual.body_rate)?,
            in_flight: size("SHOP_GATEWAY_IN_FLIGHT_LIMIT", usual.in_flight)?,
        })
    }
}

impl shop_chassis::Config for Config {
    const SERVICE: &'static str = "gateway";

    fn load(env: &Environment) -> Result<Self, Error> {
        Ok(Self {
            instance: env.instance(Self::SERVICE),
            outbound: env.outbound()?,
            admin: env.parsed("SHOP_GATEWAY_ADMIN_LISTEN")?,
            limits: Limits::load(env)?,
            key_set_ttl: env.duration("SHOP_GATEWAY_KEY_SET_TTL", Duration::from_secs(300))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_of_nothing_is_refused_by_name() {
        for value in ["0", "-1", "many", "99999999999999999999999"] {
            let env = Environment::of([("SHOP_GATEWAY_JSON_DEPTH", value)]);
            let error = Limits::load(&env).unwrap_err().to_string();
            assert!(
                error.contains("SHOP_GATEWAY_JSON_DEPTH"),
                "{value}: {error}"
            );
        }
    }
}
