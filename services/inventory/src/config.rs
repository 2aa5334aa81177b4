//! This service's settings.

use std::time::Duration;

use shop_chassis::config::{Environment, Error, Instance};

/// What inventory needs to know; every time has a default.
#[derive(Clone)]
pub struct Config {
    /// Which copy this is.
    pub instance: Instance,
    /// `SHOP_INVENTORY_DATABASE_URL`. It may hold a password.
    pub database_url: String,
    /// `SHOP_INVENTORY_SWEEP_INTERVAL`: how often reservations that nobody confirmed are looked for (10s).
    pub sweep_interval: Duration,
}

impl shop_chassis::Config for Config {
    const SERVICE: &'static str = "inventory";

    fn load(env: &Environment) -> Result<Self, Error> {
        Ok(Self {
            instance: env.instance(Self::SERVICE),
            database_url: env.database_url(Self::SERVICE)?,
            sweep_interval: env
                .duration("SHOP_INVENTORY_SWEEP_INTERVAL", Duration::from_secs(10))?,
        })
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Config")
            .field("instance", &self.instance)
            .field("database_url", &"[redacted]")
            .field("sweep_interval", &self.sweep_interval)
            .finish()
    }
}
