//! The Connect CA: one root, made at the first start, and short-lived leaves signed on request.
//!
//! Leaves live in memory. A request renews one whose half-life has passed or whose root is no longer the active one;
//! a parked request therefore knows itself when to wake, and there is no renewal task.

mod certificate;

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use outrigger_consul::connect::{CaRoot, CaRoots, Leaf};
use outrigger_consul::spiffe::ServiceId;
use tokio::time::Instant;

use crate::error::Refusal;
use crate::state::Change;
use crate::store::{Decided, Store};
use certificate::Signer;

const KEY_FILE: &str = "ca-key.pem";
/// Names whose leaves are kept; a registry of more services renews the rest on every request.
const LEAVES: usize = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {what} the CA key {path}: {source}")]
    Key {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "the CA key {0} does not belong to the stored root; restore the key, or remove the data folder"
    )]
    Mismatch(PathBuf),
    #[error(
        "the journal knows a root, but its key {0} is gone; restore the key, or remove the data folder"
    )]
    Missing(PathBuf),
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot read a certificate: {0}")]
    Unreadable(String),
}

/// The signing side of the CA.
pub(crate) struct Authority {
    signer: Signer,
    trust_domain: String,
    datacenter: String,
    leaf_ttl: Duration,
    issued: Mutex<HashMap<String, Issued>>,
    /// One signature at a time per registry: requests for the same leaf find it made.
    issuing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain)
            .finish_non_exhaustive()
    }
}

/// A leaf with the moment its successor is due.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) leaf: Arc<Leaf>,
    pub(crate) renew_at: Instant,
    signing_key_id: String,
}

impl Authority {
    /// Loads the root's key, or makes root and key. The roots to commit come back when they are new.
    pub(crate) fn open(
        data_dir: Option<&Path>,
        stored: &CaRoots,
        trust_domain: Option<&str>,
        datacenter: &str,
        leaf_ttl: Duration,
    ) -> Result<(Self, Option<CaRoots>), Error> {
        let key_path = data_dir.map(|folder| folder.join(KEY_FILE));
        let active = stored.roots.iter().find(|root| root.active);
        let (signer, fresh) = match (active, &key_path) {
            (Some(root), Some(path)) => (load(path, root)?, None),
            _ => {
                let fallback = || format!("{}.consul", uuid::Uuid::new_v4());
                let domain = trust_domain.map_or_else(fallback, str::to_lowercase);
                let (signer, root) = certificate::root(&domain, now())?;
                if let Some(path) = &key_path {
                    store_key(path, &signer.key_pem())?;
                }
                let roots = CaRoots {
                    active_root_id: root.id.clone(),
                    trust_domain: domain,
                    roots: vec![root],
                };
                (signer, Some(roots))
            }
        };
        let trust_domain = fresh
            .as_ref()
            .map_or(&stored.trust_domain, |roots| &roots.trust_domain)
            .clone();
        let authority = Self {
            signer,
            trust_domain,
            datacenter: datacenter.to_owned(),
            leaf_ttl,
            issued: Mutex::default(),
            issuing: tokio::sync::Mutex::default(),
        };
        Ok((authority, fresh))
    }

    pub(crate) fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The current leaf of a service, a new one if it is due.
    pub(crate) async fn leaf(&self, store: &Store, service: &str) -> Result<Issued, Refusal> {
        if let Some(issued) = self.fresh(service) {
            return Ok(issued);
        }
        let _one_at_a_time = self.issuing.lock().await;
        if let Some(issued) = self.fresh(service) {
            return Ok(issued);
        }
        let committed = store
            .write(|state| {
                Ok(Decided::done(vec![Change::LeafSerial(
                    state.leaf_serial + 1,
                )]))
            })
            .await?;
        let serial = store.state().leaf_serial;
        let id = ServiceId::new(&self.trust_domain, &self.datacenter, service);
        let signed = self
            .signer
            .leaf(&id.to_string(), serial, now(), self.leaf_ttl);
        let signed = signed.map_err(|error| Refusal::server(error.to_string()))?;
        let created = self
            .lock()
            .get(service)
            .map_or(committed.index, |old| old.leaf.create_index);
        let leaf = Leaf {
            serial_number: format!("{serial:02x}"),
            cert_pem: signed.cert_pem,
            private_key_pem: signed.key_pem,
            service: service.to_owned(),
            service_uri: id.to_string(),
            valid_after: signed.not_before,
            valid_before: signed.not_after,
            create_index: created,
            modify_index: committed.index,
        };
        let issued = Issued {
            leaf: Arc::new(leaf),
            renew_at: Instant::now() + self.leaf_ttl / 2,
            signing_key_id: self.signer.key_id().to_owned(),
        };
        let mut table = self.lock();
        if table.len() >= LEAVES && !table.contains_key(service) {
            let now = Instant::now();
            table.retain(|_, issued| issued.renew_at > now);
        }
        if table.len() < LEAVES || table.contains_key(service) {
            table.insert(service.to_owned(), issued.clone());
        }
        Ok(issued)
    }

    fn fresh(&self, service: &str) -> Option<Issued> {
        let table = self.lock();
        let issued = table.get(service)?;
        let current =
            issued.renew_at > Instant::now() && issued.signing_key_id == self.signer.key_id();
        current.then(|| issued.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Issued>> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "certificates carry the wall clock; this is where it enters"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn load(path: &Path, root: &CaRoot) -> Result<Signer, Error> {
    let pem = match std::fs::read_to_string(path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Missing(path.to_owned()));
        }
        Err(source) => {
            return Err(Error::Key {
                what: "read",
                path: path.to_owned(),
                source,
            });
        }
    };
    let signer = Signer::load(&pem, &root.root_cert)?;
    if signer.key_id() != root.signing_key_id {
        return Err(Error::Mismatch(path.to_owned()));
    }
    Ok(signer)
}

/// The key is on disk before the root that needs it is in the journal. One left behind by a crash in between is
/// replaced.
fn store_key(path: &Path, pem: &str) -> Result<(), Error> {
    let failed = |what| {
        move |source| Error::Key {
            what,
            path: path.to_owned(),
            source,
        }
    };
    let fresh = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(failed("create"))?;
    file.write_all(pem.as_bytes()).map_err(failed("write"))?;
    file.sync_all().map_err(failed("sync"))?;
    std::fs::rename(&fresh, path).map_err(failed("rename"))?;
    let folder = path.parent().unwrap_or(path);
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync the folder of"))
}
