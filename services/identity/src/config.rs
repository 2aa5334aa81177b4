//! This service's settings.

use std::path::PathBuf;

use shop_chassis::config::{Environment, Error, Instance};

/// What identity needs to know.
#[derive(Clone)]
pub struct Config {
    /// Which copy this is.
    pub instance: Instance,
    /// `SHOP_IDENTITY_DATABASE_URL`. It may hold a password.
    pub database_url: String,
    /// `SHOP_IDENTITY_KEY_FILE`: seals the signing keys at rest; made at first start.
    pub key_file: PathBuf,
    /// `SHOP_DEMO_FILE`: the demo users' passwords; without it there are no demo users.
    pub demo_file: Option<PathBuf>,
}

impl shop_chassis::Config for Config {
    const SERVICE: &'static str = "identity";

    fn load(env: &Environment) -> Result<Self, Error> {
        Ok(Self {
            instance: env.instance(Self::SERVICE),
            database_url: env.database_url(Self::SERVICE)?,
            key_file: env.path("SHOP_IDENTITY_KEY_FILE")?,
            demo_file: env.optional("SHOP_DEMO_FILE").map(PathBuf::from),
        })
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Config")
            .field("instance", &self.instance)
            .field("database_url", &"[redacted]")
            .field("key_file", &self.key_file)
            .field("demo_file", &self.demo_file)
            .finish()
    }
}
