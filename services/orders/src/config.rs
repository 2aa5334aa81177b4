//! This service's settings.

use std::path::PathBuf;
use std::time::Duration;

use shop_chassis::Address;
use shop_chassis::config::{Environment, Error, Instance};

/// What orders needs to know; every time has a default.
#[derive(Clone)]
pub struct Config {
    /// Which copy this is.
    pub instance: Instance,
    /// `SHOP_ORDERS_DATABASE_URL`. It may hold a password.
    pub database_url: String,
    /// `SHOP_PAGE_TOKEN_KEY_FILE`: seals page tokens; made at first start.
    pub page_token_key_file: PathBuf,
    /// `OUTRIGGER_OUTBOUND_ADDR`: the sidecar's outbound side, where the peers are reached.
    pub outbound: Address,
    /// `SHOP_ORDERS_STEP_TIMEOUT`: how long a step may go without a definite answer (6s).
    pub step_timeout: Duration,
    /// `SHOP_ORDERS_RECOVERY_INTERVAL`: how often orders that nobody drives are looked for (1s).
    pub recovery_interval: Duration,
}

impl shop_chassis::Config for Config {
    const SERVICE: &'static str = "orders";

    fn load(env: &Environment) -> Result<Self, Error> {
        Ok(Self {
            instance: env.instance(Self::SERVICE),
            database_url: env.database_url(Self::SERVICE)?,
            page_token_key_file: env.path("SHOP_PAGE_TOKEN_KEY_FILE")?,
            outbound: env.outbound()?,
            step_timeout: env.duration("SHOP_ORDERS_STEP_TIMEOUT", Duration::from_secs(6))?,
            recovery_interval: env
                .duration("SHOP_ORDERS_RECOVERY_INTERVAL", Duration::from_secs(1))?,
        })
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Config")
            .field("instance", &self.instance)
            .field("database_url", &"[redacted]")
            .field("page_token_key_file", &self.page_token_key_file)
            .field("outbound", &self.outbound)
            .field("step_timeout", &self.step_timeout)
            .field("recovery_interval", &self.recovery_interval)
            .finish()
    }
}
