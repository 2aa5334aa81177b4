//! This service's settings.

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
    /// What a request may be.
    pub limits: Limits,
    /// `SHOP_GATEWAY_KEY_SET_TTL`: how often identity's key set is read (5m).
    pub key_set_ttl: Duration,
}

/// What a request may be, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `SHOP_GATEWAY_BODY_LIMIT`: bytes of a JSON body (1 MiB).
    pub body: usize,
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
}

impl shop_chassis::Config for Config {
    const SERVICE: &'static str = "gateway";

    fn load(env: &Environment) -> Result<Self, Error> {
        let size = |key: &str, default| Ok(env.parsed(key)?.unwrap_or(default));
        let limits = Limits {
            body: size("SHOP_GATEWAY_BODY_LIMIT", 1024 * 1024)?,
            message: size("SHOP_GATEWAY_MESSAGE_LIMIT", 4 * 1024 * 1024)?,
            response: size("SHOP_GATEWAY_RESPONSE_LIMIT", 8 * 1024 * 1024)?,
            query: size("SHOP_GATEWAY_QUERY_LIMIT", 256)?,
            timeout: env.duration("SHOP_GATEWAY_TIMEOUT", Duration::from_secs(15))?,
            longest_timeout: env
                .duration("SHOP_GATEWAY_LONGEST_TIMEOUT", Duration::from_secs(3600))?,
            body_timeout: env.duration("SHOP_GATEWAY_BODY_TIMEOUT", Duration::from_secs(60))?,
        };
        Ok(Self {
            instance: env.instance(Self::SERVICE),
            outbound: env.outbound()?,
            limits,
            key_set_ttl: env.duration("SHOP_GATEWAY_KEY_SET_TTL", Duration::from_secs(300))?,
        })
    }
}
