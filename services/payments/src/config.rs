//! This service's settings.

use std::path::PathBuf;

use shop_chassis::config::{Environment, Error, Instance};

/// What payments needs to know.
#[derive(Clone)]
pub struct Config {
    /// Which copy this is.
    pub instance: Instance,
    /// `SHOP_PAYMENTS_DATABASE_URL`. It may hold a password.
    pub database_url: String,
    /// `SHOP_PAGE_TOKEN_KEY_FILE`: seals page tokens; made at first start.
    pub page_token_key_file: PathBuf,
}

impl shop_chassis::Config for Config {
    const SERVICE: &'static str = "payments";

    fn load(env: &Environment) -> Result<Self, Error> {
        Ok(Self {
            instance: env.instance(Self::SERVICE),
            database_url: env.database_url(Self::SERVICE)?,
            page_token_key_file: env.path("SHOP_PAGE_TOKEN_KEY_FILE")?,
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
            .finish()
    }
}
