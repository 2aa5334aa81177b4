//! The environment of the process, read once by `main` and handed on by value.
//! Errors name the variable, what it held and what was expected; a variable
//! whose name ends in a secret's word is never printed.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Address;

/// A service's own settings. `load` yields final types and touches nothing.
pub trait Config: Sized {
    /// The service's name in the registry: `orders`.
    const SERVICE: &'static str;

    fn load(env: &Environment) -> Result<Self, Error>;
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is not set")]
    Missing(String),
    #[error("{key} = {value:?}: {expected}")]
    Invalid {
        key: String,
        value: String,
        expected: String,
    },
}

/// The variables of the process, or of a test.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

/// Which running copy of which service this is; printed as `x-served-by`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub service: String,
    pub version: String,
    pub id: String,
}

// === impl Environment ===

impl Environment {
    pub fn from_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(key, value)| {
                    Some((key.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        )
    }

    /// The environment of a test.
    pub fn of<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }

    /// An empty variable counts as absent.
    pub fn optional(&self, key: &str) -> Option<&str> {
        self.0
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub fn required(&self, key: &str) -> Result<&str, Error> {
        self.optional(key)
            .ok_or_else(|| Error::Missing(key.to_owned()))
    }

    /// A parsed value, or `None` when the variable is absent.
    pub fn parsed<T>(&self, key: &str) -> Result<Option<T>, Error>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.optional(key)
            .map(|value| value.parse().map_err(|error| invalid(key, value, &error)))
            .transpose()
    }

    pub fn path(&self, key: &str) -> Result<PathBuf, Error> {
        self.required(key).map(PathBuf::from)
    }

    /// A duration such as `10s`, or `default` when the variable is absent.
    pub fn duration(
        &self,
        key: &str,
        default: std::time::Duration,
    ) -> Result<std::time::Duration, Error> {
        match self.optional(key) {
            None => Ok(default),
            Some(value) => humantime::parse_duration(value)
                .map_err(|_| invalid(key, value, &"expected a duration such as 10s")),
        }
    }

    /// `SHOP_<SERVICE>_LISTEN`, else what the mesh gives every application.
    pub fn listen(&self, service: &str) -> Result<Address, Error> {
        let own = setting(service, "LISTEN");
        if let Some(address) = self.parsed(&own)? {
            return Ok(address);
        }
        self.parsed("OUTRIGGER_LISTEN")?.ok_or(Error::Missing(own))
    }

    /// `SHOP_<SERVICE>_DATABASE_URL`. It may hold a password: do not print it.
    pub fn database_url(&self, service: &str) -> Result<String, Error> {
        let key = setting(service, "DATABASE_URL");
        self.required(&key).map(str::to_owned)
    }

    /// The outbound side of this service's sidecar.
    pub fn outbound(&self) -> Result<Address, Error> {
        let key = "OUTRIGGER_OUTBOUND_ADDR";
        self.parsed(key)?
            .ok_or_else(|| Error::Missing(key.to_owned()))
    }

    pub fn instance(&self, service: &str) -> Instance {
        let or = |key: &str, default: &str| self.optional(key).unwrap_or(default).to_owned();
        Instance {
            service: or("OUTRIGGER_SERVICE", service),
            version: or("OUTRIGGER_VERSION", "v1"),
            id: or("OUTRIGGER_INSTANCE", service),
        }
    }
}

/// The name of a service's own variable: `SHOP_ORDERS_LISTEN`.
pub fn setting(service: &str, name: &str) -> String {
    format!(
        "SHOP_{}_{name}",
        service.to_ascii_uppercase().replace('-', "_")
    )
}

fn invalid(key: &str, value: &str, expected: &dyn Display) -> Error {
    let secret = ["URL", "PASSWORD", "TOKEN", "KEY"]
        .iter()
        .any(|word| key.ends_with(word));
    Error::Invalid {
        key: key.to_owned(),
        value: if secret {
            "[redacted]".to_owned()
        } else {
            value.to_owned()
        },
        expected: expected.to_string(),
    }
}

// === impl Instance ===

impl Display for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.service, self.version, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_own_variable_wins_over_the_meshs() {
        let mesh = ("OUTRIGGER_LISTEN", "127.0.0.1:1");
        let env = Environment::of([mesh, ("SHOP_ORDERS_LISTEN", "unix:/a.sock")]);
        assert_eq!(env.listen("orders").unwrap().to_string(), "unix:/a.sock");
        assert_eq!(env.listen("payments").unwrap().to_string(), "127.0.0.1:1");
    }

    #[test]
    fn errors_name_the_variable_and_the_expectation() {
        let env = Environment::of([("SHOP_ORDERS_LISTEN", "nine"), ("WAIT", "10")]);
        assert_eq!(
            env.listen("orders").unwrap_err().to_string(),
            "SHOP_ORDERS_LISTEN = \"nine\": `nine` is not an address: \
             expected unix:/absolute/path or 127.0.0.1:9000"
        );
        assert_eq!(
            env.duration("WAIT", std::time::Duration::ZERO)
                .unwrap_err()
                .to_string(),
            "WAIT = \"10\": expected a duration such as 10s"
        );
        assert_eq!(
            env.outbound().unwrap_err().to_string(),
            "OUTRIGGER_OUTBOUND_ADDR is not set"
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        let env = Environment::of([("SHOP_X_KEY", "hunter2")]);
        let error = env.parsed::<u32>("SHOP_X_KEY").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
