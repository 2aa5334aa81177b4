//! Who may do what: management tokens may do everything, a service token may act for its one service.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::error::Refusal;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the tokens file {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the tokens file {0} can be read by others; make it mode 0600")]
    Readable(PathBuf),
    #[error(
        "the tokens file {path} is not {{\"management\": [..], \"services\": {{name: [..]}}}}: {reason}"
    )]
    Malformed { path: PathBuf, reason: String },
    #[error("the tokens file {0} holds no token")]
    Empty(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensFile {
    #[serde(default)]
    management: Vec<String>,
    #[serde(default)]
    services: BTreeMap<String, Vec<String>>,
}

/// The tokens that are known, by their hash: neither logs nor a memory dump's strings hold one.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    by_hash: BTreeMap<[u8; 32], Access>,
}

/// What a request may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Management,
    /// Read everything; register, deregister and check this service, and get its leaf.
    Service(String),
}

impl Tokens {
    /// Reads `{"management": [..], "services": {name: [..]}}`; others must not be able to.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let mode = std::fs::metadata(path).map_err(failed)?.mode();
        if mode & 0o077 != 0 {
            return Err(Error::Readable(path.to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        // serde's message may quote the file, so only the place is told.
        let file = serde_json::from_str::<TokensFile>(&text).map_err(|error| Error::Malformed {
            path: path.to_owned(),
            reason: format!("line {}, column {}", error.line(), error.column()),
        })?;
        let tokens = Self::new(&file.management, file.services);
        if tokens.by_hash.is_empty() {
            return Err(Error::Empty(path.to_owned()));
        }
        Ok(tokens)
    }

    pub fn new(management: &[String], services: BTreeMap<String, Vec<String>>) -> Self {
        let mut by_hash = BTreeMap::new();
        for (service, tokens) in services {
            for token in tokens.iter().filter(|token| !token.is_empty()) {
                by_hash.insert(hash(token), Access::Service(service.clone()));
            }
        }
        for token in management.iter().filter(|token| !token.is_empty()) {
            by_hash.insert(hash(token), Access::Management);
        }
        Self { by_hash }
    }

    /// What a token may do; `None` for one nobody gave out.
    pub fn access(&self, token: &str) -> Option<&Access> {
        self.by_hash.get(&hash(token))
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Access {
    /// Writes of config entries, intentions, keys, other nodes and the node itself.
    pub(crate) fn manage(&self) -> Result<(), Refusal> {
        match self {
            Self::Management => Ok(()),
            Self::Service(_) => Err(Refusal::denied()),
        }
    }

    /// Registering, checking and deregistering a name: the service's own or its sidecar's.
    pub(crate) fn write_service(&self, name: &str) -> Result<(), Refusal> {
        match self {
            Self::Management => Ok(()),
            Self::Service(own)
                if own == name || name.strip_suffix("-sidecar-proxy") == Some(own) =>
            {
                Ok(())
            }
            Self::Service(_) => Err(Refusal::denied()),
        }
    }

    /// The private key of exactly this service.
    pub(crate) fn leaf(&self, name: &str) -> Result<(), Refusal> {
        match self {
            Self::Management => Ok(()),
            Self::Service(own) if own == name => Ok(()),
            Self::Service(_) => Err(Refusal::denied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_token_acts_for_its_own_names_only() {
        let tokens = Tokens::new(
            &["m".to_owned()],
            BTreeMap::from([("web".to_owned(), vec!["w".to_owned()])]),
        );
        assert_eq!(tokens.access("x"), None);
        assert_eq!(tokens.access("m"), Some(&Access::Management));
        let web = tokens.access("w").unwrap();
        assert!(web.write_service("web").is_ok() && web.write_service("web-sidecar-proxy").is_ok());
        assert!(web.write_service("api").is_err() && web.manage().is_err());
        assert!(
            web.leaf("web").is_ok()
                && web.leaf("web-sidecar-proxy").is_err()
                && web.leaf("api").is_err()
        );
    }
}
