//! Our side when the public calls: TLS 1.2 and 1.3, HTTP/2 or HTTP/1.1, a certificate from files and none from the caller.
//!
//! The files are looked at once a second. A pair that changed is used for new handshakes at once; connections keep what they began with.
//! While a new pair is not whole, because its two files are written one after the other, the one in force stays.

/// Certificate and key from their files.
mod files;

/// When the certificate ends, how often it was replaced.
mod metrics;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{GetRandomFailed, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::ticketer::TicketRotator;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use files::Error;
pub(crate) use files::Files;
use files::{Pair, Print};
pub(crate) use metrics::Metrics;

/// HTTP/1.1 for who does not know HTTP/2.
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Keys of tickets change so often, in seconds. A ticket is good for twice this at most: an hour.
const TICKET_KEY_LIFE: u32 = 1800;
/// Tickets after a TLS 1.3 handshake.
const TICKETS: usize = 2;

/// The configuration in force. Each one has ticket keys of its own: with a replaced certificate nothing is resumed.
#[derive(Debug)]
pub(crate) struct Current {
    files: Files,
    /// What was read first.
    first: Print,
    config: ArcSwap<ServerConfig>,
    metrics: Metrics,
}

/// What has been seen of the files.
#[derive(Debug)]
struct Seen {
    print: Print,
    /// The last complaint, so that it is not repeated every second.
    told: Option<String>,
}

/// What a look at the files came to.
#[derive(Debug)]
enum Look {
    Same,
    Taken(Arc<ServerConfig>, i64),
    Refused(Error),
}

// === impl Current ===

impl Current {
    /// Reads the files for the first time: without a certificate there is no listener.
    pub(crate) fn load(files: Files) -> Result<Self, Error> {
        let pair = files.read()?;
        let config = config(&pair, &files)?;
        let metrics = Metrics::default();
        metrics.first(pair.not_after());
        Ok(Self {
            files,
            first: pair.print,
            config: ArcSwap::new(config),
            metrics,
        })
    }

    /// For one handshake.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn take(&self, look: Look, told: &mut Option<String>) {
        match look {
            Look::Same => {}
            Look::Taken(config, not_after) => {
                self.config.store(config);
                self.metrics.replaced(not_after);
                *told = None;
                tracing::info!(certificate = %self.files, "the edge has a new certificate");
            }
            Look::Refused(err) => {
                let complaint = err.to_string();
                if told.as_ref() != Some(&complaint) {
                    self.metrics.refused();
                    tracing::warn!(error = %complaint, "the edge keeps the certificate it has");
                    *told = Some(complaint);
                }
            }
        }
    }
}

// === impl Seen ===

impl Seen {
    fn look(&mut self, read: Result<Pair, Error>, files: &Files) -> Look {
        let pair = match read {
            Ok(pair) if pair.print == self.print => return Look::Same,
            Ok(pair) => pair,
            Err(err) => return Look::Refused(err),
        };
        self.print = pair.print;
        match config(&pair, files) {
            Ok(config) => Look::Taken(config, pair.not_after()),
            Err(err) => Look::Refused(err),
        }
    }
}

/// Takes up what the files hold, until `stop`.
pub(crate) async fn follow(current: Arc<Current>, stop: CancellationToken) {
    let mut seen = Seen {
        print: current.first,
        told: None,
    };
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let files = current.files.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || files.read()).await else {
            return;
        };
        let look = seen.look(read, &current.files);
        current.take(look, &mut seen.told);
    }
}

fn config(pair: &Pair, files: &Files) -> Result<Arc<ServerConfig>, Error> {
    let (chain, key) = files.parse(pair)?;
    let builder = ServerConfig::builder_with_provider(super::provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|err| files.refused(err))?;
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|err| files.refused(err))?;
    config.alpn_protocols = vec![super::ALPN.to_vec(), ALPN_HTTP1.to_vec()];
    config.send_tls13_tickets = TICKETS;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(
        TicketRotator::new(TICKET_KEY_LIFE, ticket_key).map_err(|err| files.refused(err))?,
    );
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// The library's own, whose life the rotation bounds.
#[derive(Debug)]
struct TicketKey(Arc<dyn ProducesTickets>);

fn ticket_key() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
    let key = aws_lc_rs::Ticketer::new().map_err(|_| GetRandomFailed)?;
    Ok(Box::new(TicketKey(key)))
}

impl ProducesTickets for TicketKey {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_KEY_LIFE
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}
