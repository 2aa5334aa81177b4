//! Identity's key set, read through the mesh and kept in memory. Nobody's request waits for a refresh but the one that
//! names a key we have not seen, and that one not long.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use jsonwebtoken::DecodingKey;
use outrigger_proto::shop::identity::v1::{GetJwksRequest, Jwk, Jwks};
use prost::Message as _;
use shop_chassis::CancellationToken;
use shop_chassis::health::Dependency;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::upstream::{Call, Upstreams};

/// After its last success the old set is believed this long.
const STALE: Duration = Duration::from_secs(3600);
/// How long a request with an unknown key waits for a fresh set.
const PATIENCE: Duration = Duration::from_secs(2);
/// Unknown keys cause a refresh at most this often.
const PAUSE: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// The keys in force. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct KeySet(Arc<Shared>);

#[derive(Default)]
struct Shared {
    current: ArcSwap<Option<Keys>>,
    wanted: Notify,
    changed: Notify,
}

struct Keys {
    by_id: HashMap<String, DecodingKey>,
    read_at: Instant,
}

/// Why there is no key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// The set does not hold it.
    Unknown,
    /// There is no set that could be believed.
    NoKeys,
}

impl KeySet {
    /// The key of this name.
    pub(super) async fn find(&self, id: &str) -> Result<DecodingKey, Error> {
        match self.look(id) {
            Err(Error::Unknown) => {}
            found => return found,
        }
        let changed = self.0.changed.notified();
        self.0.wanted.notify_one();
        // Over the time, or refreshed: look once more either way.
        let _ = timeout(PATIENCE, changed).await;
        self.look(id)
    }

    fn look(&self, id: &str) -> Result<DecodingKey, Error> {
        let current = self.0.current.load();
        let keys = current.as_ref().as_ref().ok_or(Error::NoKeys)?;
        if keys.read_at.elapsed() > STALE {
            return Err(Error::NoKeys);
        }
        keys.by_id.get(id).cloned().ok_or(Error::Unknown)
    }

    fn adopt(&self, by_id: HashMap<String, DecodingKey>) {
        let read_at = Instant::now();
        self.0
            .current
            .store(Arc::new(Some(Keys { by_id, read_at })));
        self.0.changed.notify_waiters();
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("KeySet").finish_non_exhaustive()
    }
}

/// Without a key set no protected route can be served.
#[async_trait]
impl Dependency for KeySet {
    fn name(&self) -> &str {
        "identity's key set"
    }

    async fn check(&self) -> Result<(), String> {
        match self.look("") {
            Err(Error::NoKeys) => Err("it could not be read yet".to_owned()),
            Ok(_) | Err(Error::Unknown) => Ok(()),
        }
    }
}

/// Reads the set at once, every `ttl`, and when somebody names an unknown key; until `shutdown`. A failure is tried
/// again soon, and the old set stays.
pub(crate) async fn keep_fresh(
    keys: KeySet,
    upstreams: Upstreams,
    ttl: Duration,
    shutdown: CancellationToken,
) {
    let mut retry = FIRST_RETRY;
    loop {
        let wait = match read(&upstreams).await {
            Ok(set) => {
                keys.adopt(set);
                retry = FIRST_RETRY;
                ttl
            }
            Err(error) => {
                tracing::debug!(error, "identity's key set could not be read");
                retry = (retry * 2).min(LONGEST_RETRY);
                retry
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(wait) => {}
            () = wanted(&keys) => {}
        }
    }
}

/// Somebody named an unknown key, and the last refresh is a while ago.
async fn wanted(keys: &KeySet) {
    let age = |keys: &KeySet| {
        let current = keys.0.current.load();
        current
            .as_ref()
            .as_ref()
            .map_or(PAUSE, |keys| keys.read_at.elapsed())
    };
    loop {
        keys.0.wanted.notified().await;
        if age(keys) >= PAUSE {
            return;
        }
    }
}

async fn read(upstreams: &Upstreams) -> Result<HashMap<String, DecodingKey>, String> {
    let call = Call {
        authority: "identity",
        path: "/shop.identity.v1.SessionService/GetJwks",
        timeout: Duration::from_secs(5),
        largest: 1024 * 1024,
    };
    let message = GetJwksRequest {}.encode_to_vec().into();
    let answer = upstreams
        .unary(&call, http::HeaderMap::new(), message)
        .await;
    let answer = answer.map_err(|status| status.to_string())?;
    let set = Jwks::decode(answer.message).map_err(|error| error.to_string())?;
    let keys: HashMap<_, _> = set.keys.iter().filter_map(admit).collect();
    if keys.is_empty() {
        return Err("it holds no key that could be used".to_owned());
    }
    Ok(keys)
}

/// Only P-256 keys for signing.
fn admit(key: &Jwk) -> Option<(String, DecodingKey)> {
    let fits = key.kty == "EC" && key.crv == "P-256" && key.r#use == "sig" && !key.kid.is_empty();
    let decoded = DecodingKey::from_ec_components(&key.x, &key.y).ok()?;
    fits.then(|| (key.kid.clone(), decoded))
}
