//! Who is calling. The inbound sidecar overwrites `x-outrigger-peer` with the
//! SPIFFE id it verified and lets `x-outrigger-principal` pass from the gateway
//! only, so both are facts here. A call that names no peer did not come through
//! the sidecar and is refused.
//!
//! The rules are the contract's: `callers` for every peer, `scope` for what the
//! gateway brings on behalf of a user. Scope stands before everything else.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use outrigger_proto::shop::auth::v1 as auth;
use prost::Message as _;
use tonic::Code;

use crate::Failure;
use crate::method::Method;

/// The peer whose calls speak for users.
pub const GATEWAY: &str = "gateway";

const PEER: &str = "x-outrigger-peer";
const PRINCIPAL: &str = "x-outrigger-principal";

/// The calling service and, behind the gateway, the user it speaks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    /// The peer's service name: `gateway`, `orders`.
    pub peer: String,
    /// The user of the call; only the gateway brings one.
    pub principal: Option<Principal>,
}

/// What the user's token said.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    pub user_id: u32,
    pub session_id: String,
    pub scopes: Vec<String>,
    pub token_id: String,
}

impl Caller {
    /// The caller of a request that passed the server's checks.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Arc<Self>, Failure> {
        request
            .extensions()
            .get::<Arc<Self>>()
            .cloned()
            .ok_or_else(|| Failure::internal(&"no caller: the server's checks did not run"))
    }

    /// The user of the call, for methods that make no sense without one.
    pub fn user(&self) -> Result<&Principal, Failure> {
        self.principal.as_ref().ok_or_else(token_missing)
    }

    /// Whose idempotency keys these are: a user's are the user's own.
    pub fn key_owner(&self) -> String {
        match &self.principal {
            Some(principal) => format!("user/{}", principal.user_id),
            None => format!("service/{}", self.peer),
        }
    }

    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Failure> {
        let peer = headers
            .get(PEER)
            .and_then(|value| service_of(value.to_str().ok()?))
            .ok_or_else(|| {
                Failure::new(
                    Code::PermissionDenied,
                    "CALLER_NOT_ALLOWED",
                    "the call did not come through the mesh",
                )
            })?
            .to_owned();
        let principal = match headers.get(PRINCIPAL) {
            // Only the gateway speaks for users; from others it is no fact.
            Some(value) if peer == GATEWAY => Some(Principal::decode(value.as_bytes())?),
            _ => None,
        };
        Ok(Self { peer, principal })
    }

    /// May this caller use `method`?
    pub fn admit(&self, method: &Method) -> Result<(), Failure> {
        if self.peer == GATEWAY && !method.scope.is_empty() {
            let principal = self.user()?;
            if !principal.holds(&method.scope) {
                return Err(Failure::new(
                    Code::PermissionDenied,
                    "SCOPE_MISSING",
                    format!("the token lacks the scope {}", method.scope),
                )
                .with("scope", &method.scope));
            }
        }
        if method.callers.contains(&self.peer) {
            return Ok(());
        }
        Err(Failure::new(
            Code::PermissionDenied,
            "CALLER_NOT_ALLOWED",
            format!("{} may not call {}", self.peer, method.name),
        )
        .with("peer", &self.peer)
        .with("method", &method.name))
    }
}

impl Principal {
    pub fn holds(&self, scope: &str) -> bool {
        self.scopes.iter().any(|held| held == scope)
    }

    pub fn is_admin(&self) -> bool {
        self.holds("admin")
    }

    fn decode(header: &[u8]) -> Result<Self, Failure> {
        let refused = || {
            Failure::new(
                Code::Unauthenticated,
                "TOKEN_INVALID",
                "the caller's identity is unreadable",
            )
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(
                header
                    .strip_suffix(b"==")
                    .or_else(|| header.strip_suffix(b"="))
                    .unwrap_or(header),
            )
            .map_err(|_| refused())?;
        let principal = auth::Principal::decode(bytes.as_slice()).map_err(|_| refused())?;
        Ok(Self {
            user_id: principal.user_id,
            session_id: principal.session_id,
            scopes: principal.scopes,
            token_id: principal.token_id,
        })
    }
}

fn token_missing() -> Failure {
    Failure::new(
        Code::Unauthenticated,
        "TOKEN_MISSING",
        "the method needs a signed-in user",
    )
}

/// `spiffe://<trust domain>/ns/default/dc/dc1/svc/orders` names `orders`.
fn service_of(id: &str) -> Option<&str> {
    let path = id.strip_prefix("spiffe://")?;
    let (_, service) = path.rsplit_once("/svc/")?;
    (!service.is_empty() && !service.contains('/')).then_some(service)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn principal(scopes: &[&str]) -> String {
        let principal = auth::Principal {
            user_id: 7,
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            ..Default::default()
        };
        URL_SAFE_NO_PAD.encode(principal.encode_to_vec())
    }

    #[test]
    fn the_service_is_read_from_the_spiffe_id() {
        for (id, expected) in [
            (
                "spiffe://a.consul/ns/default/dc/dc1/svc/orders",
                Some("orders"),
            ),
            ("spiffe://a.consul/svc/", None),
            ("spiffe://a.consul/svc/a/b", None),
            ("orders", None),
            ("", None),
        ] {
            assert_eq!(service_of(id), expected, "{id}");
        }
    }

    #[test]
    fn only_the_gateway_speaks_for_users() {
        let token = principal(&["profile"]);
        for (service, expected) in [("gateway", Some(7)), ("orders", None)] {
            let peer = format!("spiffe://d/ns/default/dc/dc1/svc/{service}");
            let headers = headers(&[(PEER, &peer), (PRINCIPAL, &token)]);
            let caller = Caller::from_headers(&headers).unwrap();
            assert_eq!(
                caller.principal.map(|principal| principal.user_id),
                expected
            );
        }
    }

    #[test]
    fn a_call_from_outside_the_mesh_is_refused() {
        let failure = Caller::from_headers(&headers(&[(PRINCIPAL, &principal(&[]))])).unwrap_err();
        assert_eq!(failure.code(), Code::PermissionDenied);
        assert_eq!(failure.reason(), "CALLER_NOT_ALLOWED");
    }

    #[test]
    fn an_unreadable_principal_is_refused() {
        let peer = "spiffe://d/ns/default/dc/dc1/svc/gateway";
        for value in ["%%%", "AAAA"] {
            let failure =
                Caller::from_headers(&headers(&[(PEER, peer), (PRINCIPAL, value)])).unwrap_err();
            assert_eq!(failure.reason(), "TOKEN_INVALID", "{value}");
        }
    }
}
