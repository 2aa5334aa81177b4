//! What only the owner may read: the registry's tokens and the passwords of the demo users. Made once per folder, so that a second start
//! finds the shell's `CONSUL_HTTP_TOKEN` and the printed passwords still valid.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{Error, Paths};

/// The registry's tokens: what it reads from `registry/tokens.json`.
#[derive(Clone, Serialize)]
pub(crate) struct Tokens {
    management: Vec<String>,
    services: BTreeMap<String, Vec<String>>,
}

/// `demo.json`: who can sign in to the shop, and how.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Demo {
    pub(crate) users: Vec<DemoUser>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct DemoUser {
    pub(crate) email: String,
    pub(crate) password: String,
}

// === impl Tokens ===

impl Tokens {
    /// Reads the tokens of this folder, makes those that are missing, and writes the registry's list of them.
    /// `instances` are (instance, service).
    pub(crate) fn prepare<'a>(
        paths: &Paths,
        instances: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let mut services: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (instance, service) in instances {
            services
                .entry(service.to_owned())
                .or_default()
                .push(token(&paths.token(instance))?);
        }
        let tokens = Self {
            management: vec![token(&paths.management_token())?],
            services,
        };
        let text = serde_json::to_vec_pretty(&tokens).map_err(|err| Error::Io {
            path: paths.registry_tokens(),
            source: err.into(),
        })?;
        write_private(&paths.registry_tokens(), &text)?;
        Ok(tokens)
    }

    pub(crate) fn management(&self) -> &str {
        self.management.first().map_or("", String::as_str)
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tokens([redacted])")
    }
}

/// A UUID, as Consul's own tokens are.
fn token(path: &Path) -> Result<String, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::Io {
                path: path.to_owned(),
                source: err,
            });
        }
        _ => {}
    }
    let token = uuid::Uuid::new_v4().to_string();
    write_private(path, token.as_bytes())?;
    Ok(token)
}

// === impl Demo ===

impl Demo {
    /// Reads `demo.json`, or makes it: the shop reads it when it fills its databases, which happens once.
    pub(crate) fn prepare(path: &Path) -> Result<Self, Error> {
        if path.exists() {
            return Self::read(path);
        }
        let user = |email: &str| DemoUser {
            email: email.to_owned(),
            password: password(),
        };
        let demo = Self {
            users: vec![user("alice@example.com"), user("bob@example.com")],
        };
        let text = serde_json::to_vec_pretty(&demo).map_err(|err| Error::Io {
            path: path.to_owned(),
            source: err.into(),
        })?;
        write_private(path, &text)?;
        Ok(demo)
    }

    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        serde_json::from_slice(&text).map_err(|err| Error::Io {
            path: path.to_owned(),
            source: err.into(),
        })
    }

    /// `alice` or `alice@example.com`.
    pub(crate) fn user(&self, name: &str) -> Option<&DemoUser> {
        self.users
            .iter()
            .find(|user| user.email == name || user.email.split('@').next() == Some(name))
    }
}

impl std::fmt::Debug for Demo {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Demo([redacted])")
    }
}

impl std::fmt::Debug for DemoUser {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "DemoUser {{ email: {:?}, password: [redacted] }}",
            self.email
        )
    }
}

/// 120 bits.
fn password() -> String {
    let bytes: [u8; 15] = rand::random();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Writes a file that nobody else may read, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), Error> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let unfinished = path.with_file_name(name);
    // Left by a crash, it may have another mode.
    match std::fs::remove_file(&unfinished) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(io(err)),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(io)?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(io)?;
    std::fs::rename(&unfinished, path).map_err(io)
}
