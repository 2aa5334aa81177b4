//! A mesh connection that belongs to one connection of an application: dialled as the pool dials, but not kept by it.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;

use super::Pool;
use super::dial::{self, Secured};
use crate::balance::endpoint::Endpoint;
use crate::identity::{Material, Validity};

/// The connection.
#[derive(Debug)]
pub(crate) struct Opaque {
    pub(crate) stream: Secured,
    /// Of the leaf that expires first.
    pub(crate) validity: Validity,
    _open: Open,
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
struct Open(Gauge);

// === impl Pool ===

impl Pool {
    /// A connection of its own for bytes that are no calls; whoever asked owns it.
    pub(crate) async fn dial_opaque(&self, endpoint: &Endpoint) -> Result<Opaque, dial::Error> {
        let dialing = async |identity: Arc<Material>| dial::opaque(endpoint, &identity).await;
        let (stream, validity) = self.dialed(endpoint, dialing).await?;
        self.parts.metrics.opened.inc();
        self.parts.metrics.open.inc();
        Ok(Opaque {
            stream,
            validity,
            _open: Open(self.parts.metrics.open.clone()),
        })
    }
}

// === impl Open ===

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
