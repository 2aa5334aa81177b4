//! Who is calling: a bearer token, verified against identity's keys; and what its scopes allow.

mod header;
mod keys;
mod token;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use outrigger_proto::shop::auth::v1::Principal;
use prost::Message as _;
use shop_chassis::{Clock, Failure};
use tonic::Code;

use crate::exposed::Rpc;
pub(crate) use keys::{KeySet, LARGEST_KEY_SET, keep_fresh};

/// Verifies tokens and asks for scopes.
#[derive(Debug)]
pub(crate) struct Verifier {
    keys: KeySet,
    clock: Arc<dyn Clock>,
}

/// The user of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct User(Principal);

impl User {
    /// Their number.
    pub(crate) fn id(&self) -> u32 {
        self.0.user_id
    }

    /// As services get it from the gateway.
    pub(crate) fn header(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.encode_to_vec())
    }
}

impl Verifier {
    pub(crate) fn new(keys: KeySet, clock: Arc<dyn Clock>) -> Self {
        Self { keys, clock }
    }

    /// The user, if the request names one; an error if it names one badly, or needs one with other scopes.
    pub(crate) async fn admit(
        &self,
        headers: &HeaderMap,
        rpc: &Rpc,
    ) -> Result<Option<User>, Failure> {
        let Some(token) = header::bearer(headers).map_err(|_| invalid())? else {
            return match rpc.options.scope {
                Some(_) => Err(missing()),
                None => Ok(None),
            };
        };
        let principal = self.verify(token).await?;
        if let Some(scope) = &rpc.options.scope
            && !principal.scopes.contains(scope)
        {
            let message = format!("the token lacks the scope {scope}");
            return Err(
                Failure::new(Code::PermissionDenied, "SCOPE_MISSING", message).with("scope", scope),
            );
        }
        Ok(Some(User(principal)))
    }

    async fn verify(&self, token: &str) -> Result<Principal, Failure> {
        let kid = token::key_id(token).map_err(|kind| refused(&kind))?;
        let key = self.keys.find(&kid).await.map_err(|error| match error {
            keys::Error::Unknown => refused(&"unknown key"),
            keys::Error::NoKeys => unavailable(),
        })?;
        token::verify(token, &key, self.clock.now()).map_err(|kind| refused(&kind))
    }
}

/// The caller hears one reason for every bad token; the log says which kind it was.
fn refused(kind: &dyn std::fmt::Display) -> Failure {
    tracing::debug!(%kind, reason = "TOKEN_INVALID", "token refused");
    invalid()
}

fn invalid() -> Failure {
    Failure::new(
        Code::Unauthenticated,
        "TOKEN_INVALID",
        "the access token is not valid; sign in again",
    )
}

fn missing() -> Failure {
    Failure::new(
        Code::Unauthenticated,
        "TOKEN_MISSING",
        "this request needs `Authorization: Bearer` with an access token",
    )
}

fn unavailable() -> Failure {
    Failure::new(
        Code::Unavailable,
        "AUTH_KEYS_UNAVAILABLE",
        "tokens cannot be verified now; try again",
    )
}
