//! Roots and leaf from the registry's Connect CA: two watches, one identity.
//!
//! As long as the leaf in force is valid, a dead registry or a garbage answer changes nothing. No new leaf at 75 % of its life is counted
//! as overdue; from 95 % on a leaf is asked for without an index every 150 s, which makes the registry look again.

use std::sync::Arc;
use std::time::Duration;

use outrigger_consul::connect::{CaRoots, Leaf};
use outrigger_consul::watch::{Blocking, Watched, watch};
use outrigger_consul::{Client, Read};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Current, Error, Material, Metrics, Source, certificate, now};

const OVERDUE: f64 = 0.75;
const REVALIDATE: f64 = 0.95;
const REVALIDATE_EVERY: Duration = Duration::from_secs(150);

/// Keeps `current` fresh until `stop`.
pub(crate) async fn run(
    client: Client,
    service: String,
    current: Arc<Current>,
    metrics: Metrics,
    stop: CancellationToken,
    trusted: impl Fn(&str),
) {
    let (mut roots, roots_watch) = watch(
        client.clone(),
        Blocking::Index,
        stop.clone(),
        |client: Client, read: Read| async move { client.ca_roots(&read).await },
    );
    let name = service.clone();
    let (mut leaf, leaf_watch) = watch(
        client.clone(),
        Blocking::Index,
        stop.clone(),
        move |client: Client, read: Read| {
            let name = name.clone();
            async move { client.ca_leaf(&name, &read).await }
        },
    );
    let follow = async {
        let mut keeper = Keeper {
            client,
            service,
            current,
            metrics,
            asked: None,
        };
        loop {
            keeper.consider(&mut roots, &mut leaf, &trusted);
            let wait = keeper.watch_age().await;
            tokio::select! {
                changed = roots.changed() => if changed.is_err() { return },
                changed = leaf.changed() => if changed.is_err() { return },
                () = sleep(wait) => {}
            }
        }
    };
    tokio::join!(roots_watch, leaf_watch, async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = follow => {}
        }
    });
}

struct Keeper {
    client: Client,
    service: String,
    current: Arc<Current>,
    metrics: Metrics,
    asked: Option<Instant>,
}

// === impl Keeper ===

impl Keeper {
    fn consider(
        &self,
        roots: &mut Receiver<Watched<CaRoots>>,
        leaf: &mut Receiver<Watched<Leaf>>,
        trusted: &impl Fn(&str),
    ) {
        let roots = roots.borrow_and_update().clone();
        let leaf = leaf.borrow_and_update().clone();
        for (what, failure) in [("roots", &roots.last_error), ("leaf", &leaf.last_error)] {
            if let Some(err) = failure {
                tracing::warn!(what, error = %err, "the registry gives no identity; the last one stays in force");
            }
        }
        let (Some(roots), Some(leaf)) = (roots.value, leaf.value) else {
            return;
        };
        self.adopt(&roots, &leaf, trusted);
    }

    fn adopt(&self, roots: &CaRoots, leaf: &Leaf, trusted: &impl Fn(&str)) {
        match material(&self.service, roots, leaf) {
            Ok(material) => {
                trusted(&material.trust_domain);
                let renewed = self
                    .current
                    .load()
                    .is_none_or(|known| known.serial != material.serial);
                if renewed {
                    self.metrics.renewed(&material);
                    tracing::info!(id = %material.id, serial = %material.serial, "new leaf in force");
                }
                self.current.store(material);
            }
            Err(err) => {
                tracing::error!(error = %err, "the registry's identity is unusable; the last one stays in force");
            }
        }
    }

    /// Watches the leaf's age; returns when to look again.
    async fn watch_age(&mut self) -> Duration {
        let Some(material) = self.current.load() else {
            return Duration::from_secs(10);
        };
        let validity = material.validity;
        let gone =
            1.0 - validity.left(now()).as_secs_f64() / validity.life().as_secs_f64().max(1.0);
        self.metrics.overdue(gone >= OVERDUE);
        if gone >= REVALIDATE
            && self
                .asked
                .is_none_or(|asked| asked.elapsed() >= REVALIDATE_EVERY.min(validity.life() / 20))
        {
            self.asked = Some(Instant::now());
            tracing::error!(id = %material.id, left = ?validity.left(now()), "the leaf is about to expire and the registry gave no new one; asking again");
            self.revalidate().await;
        }
        (validity.life() / 40).clamp(Duration::from_secs(1), Duration::from_secs(60))
    }

    /// A leaf request without index makes the registry look at its leaf again; the watch then brings the new one.
    async fn revalidate(&self) {
        if let Err(err) = self.client.ca_leaf(&self.service, &Read::default()).await {
            tracing::error!(error = %err, "no new leaf");
        }
    }
}

fn material(service: &str, roots: &CaRoots, leaf: &Leaf) -> Result<Material, Error> {
    let pems = roots.roots.iter().map(|root| root.root_cert.as_bytes());
    let roots_der: Vec<CertificateDer<'static>> = pems
        .flat_map(|pem| CertificateDer::pem_slice_iter(pem).flatten())
        .collect();
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(leaf.cert_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|err| certificate::Error::Malformed(err.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(leaf.private_key_pem.as_bytes())
        .map_err(|err| Error::Key(err.to_string()))?;
    Material::new(Source {
        chain,
        key,
        roots: roots_der,
        trust_domain: roots.trust_domain.to_ascii_lowercase(),
        service: service.to_owned(),
    })
}
