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

use crate::limit::Limit;
use crate::upstream::{Call, Upstreams};

/// After its last success the old set is believed this long.
const STALE: Duration = Duration::from_secs(3600);
/// How long a request with an unknown key waits for a fresh set.
const PATIENCE: Duration = Duration::from_secs(2);
/// Unknown keys cause a refresh at most this often.
const PAUSE: Duration = Duration::from_secs(30);
/// Bytes of a set.
pub(crate) const LARGEST_KEY_SET: usize = 1024 * 1024;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// The keys in force. Clones share them.
#[derive(Clone)]
pub(crate) struct KeySet(Arc<Shared>);

struct Shared {
    current: ArcSwap<Option<Keys>>,
    /// When identity was last asked.
    asked_at: ArcSwap<Instant>,
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

impl Default for KeySet {
    fn default() -> Self {
        Self(Arc::new(Shared {
            current: ArcSwap::default(),
            asked_at: ArcSwap::from_pointee(Instant::now()),
            wanted: Notify::new(),
            changed: Notify::new(),
        }))
    }
}

impl KeySet {
    /// The key of this name.
    pub(super) async fn find(&self, id: &str) -> Result<DecodingKey, Error> {
        match self.look(id) {
            Err(Error::Unknown) => {}
            found => return found,
        }
        // Whoever invents names must not make every request wait, nor identity answer.
        if self.0.asked_at.load().elapsed() < PAUSE {
            return Err(Error::Unknown);
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
        keys.0.asked_at.store(Arc::new(Instant::now()));
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
            () = keys.0.wanted.notified() => {}
        }
    }
}

async fn read(upstreams: &Upstreams) -> Result<HashMap<String, DecodingKey>, String> {
    let call = Call {
        authority: "identity",
        path: "/shop.identity.v1.SessionService/GetJwks",
        deadline: Instant::now() + Duration::from_secs(5),
        largest: LARGEST_KEY_SET,
        limit: Limit::KeySet,
    };
    let message = GetJwksRequest {}.encode_to_vec().into();
    let answer = upstreams
        .unary(&call, http::HeaderMap::new(), message)
        .await;
    let answer = answer.map_err(|status| status.to_string())?;
    let set = Jwks::decode(answer.message).map_err(|error| error.to_string())?;
    let keys = unique(&set);
    if keys.is_empty() {
        return Err("it holds no key that could be used".to_owned());
    }
    Ok(keys)
}

/// Keys that can be used. A name that stands twice is nobody's.
fn unique(set: &Jwks) -> HashMap<String, DecodingKey> {
    let once = |key: &&Jwk| set.keys.iter().filter(|other| other.kid == key.kid).count() == 1;
    set.keys.iter().filter(once).filter_map(admit).collect()
}

/// Only P-256 keys for signing.
fn admit(key: &Jwk) -> Option<(String, DecodingKey)> {
    let fits = key.kty == "EC" && key.crv == "P-256" && key.r#use == "sig" && !key.kid.is_empty();
    let decoded = DecodingKey::from_ec_components(&key.x, &key.y).ok()?;
    fits.then(|| (key.kid.clone(), decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: &str) -> Jwk {
        Jwk {
            kty: "EC".to_owned(),
            r#use: "sig".to_owned(),
            alg: "ES256".to_owned(),
            kid: kid.to_owned(),
            crv: "P-256".to_owned(),
            x: "BL95WF2HeilI_TFkw29dxCw7G0xRCpzSiqKdqhUwM8U".to_owned(),
            y: "JAi_Jl94KeaFR9P2xlSvj-6y3R_bu7-bTpDEQXJvFJ8".to_owned(),
        }
    }

    #[test]
    fn only_p256_signing_keys_of_one_name_enter() {
        let set = Jwks {
            keys: vec![
                key("good"),
                key("twice"),
                key("twice"),
                key(""),
                Jwk {
                    kty: "oct".to_owned(),
                    ..key("symmetric")
                },
                Jwk {
                    crv: "P-384".to_owned(),
                    ..key("curve")
                },
                Jwk {
                    r#use: "enc".to_owned(),
                    ..key("use")
                },
                Jwk {
                    x: "!".to_owned(),
                    ..key("point")
                },
            ],
        };
        let keys = unique(&set);
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["good"]);
    }

    fn adopted(keys: &KeySet) {
        keys.adopt(unique(&Jwks {
            keys: vec![key("good")],
        }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_set_is_believed_for_an_hour_without_a_refresh() {
        let keys = KeySet::default();
        assert_eq!(keys.look("good").err(), Some(Error::NoKeys));
        adopted(&keys);
        tokio::time::advance(STALE).await;
        assert!(keys.look("good").is_ok());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(keys.look("good").err(), Some(Error::NoKeys));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_key_is_looked_for_once_in_a_while() {
        let keys = KeySet::default();
        adopted(&keys);
        let began = Instant::now();
        assert_eq!(keys.find("new").await.err(), Some(Error::Unknown));
        assert_eq!(began.elapsed(), Duration::ZERO);
        tokio::time::advance(PAUSE).await;
        let refresh = async {
            keys.0.wanted.notified().await;
            keys.adopt(unique(&Jwks {
                keys: vec![key("new")],
            }));
        };
        let (found, ()) = tokio::join!(keys.find("new"), refresh);
        assert!(found.is_ok());
    }
}
