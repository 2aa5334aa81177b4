//! Access tokens (RFC 9068: ES256, `typ: at+jwt`, ten minutes) and refresh tokens (256 random bits, stored hashed).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use shop_chassis::Ids;

use crate::error::Error;

/// Who issues the shop's tokens.
pub const ISSUER: &str = "https://shop.example";
/// Whom they are for.
pub const AUDIENCE: &str = "shop";
/// How long an access token is good for.
pub const LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// What an access token says.
#[derive(Debug, Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: String,
    exp: i64,
    iat: i64,
    jti: String,
    sid: &'a str,
    scope: &'a str,
}

/// Signs access tokens.
#[derive(Clone)]
pub struct Signer {
    kid: String,
    key: EncodingKey,
}

/// A refresh token: what the user gets, and what is stored of it.
#[derive(Debug)]
pub struct Refresh {
    /// Given to the user once.
    pub token: String,
    /// SHA-256 of it, in hex.
    pub hash: String,
}

impl Signer {
    /// `pkcs8`: a P-256 private key, DER.
    pub fn new(kid: String, pkcs8: &[u8]) -> Self {
        Self {
            kid,
            key: EncodingKey::from_ec_der(pkcs8),
        }
    }

    /// A token that says: this user, this session, these scopes, from `now` on.
    pub fn access_token(
        &self,
        user_id: u32,
        session_id: &str,
        scope: &str,
        now: Timestamp,
        ids: &dyn Ids,
    ) -> Result<String, Error> {
        let claims = Claims {
            iss: ISSUER,
            aud: AUDIENCE,
            sub: user_id.to_string(),
            exp: (now.as_second()) + LIFETIME.as_secs(),
            iat: now.as_second(),
            jti: ids.uuid().to_string(),
            sid: session_id,
            scope,
        };
        let header = Header {
            typ: Some("at+jwt".to_owned()),
            kid: Some(self.kid.clone()),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, &claims, &self.key)
            .map_err(|error| Error::SigningKey(error.to_string()))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Signer")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl Refresh {
    /// A token nobody can guess.
    pub fn new(ids: &dyn Ids) -> Self {
        let mut bytes = [0; 32];
        ids.fill(&mut bytes);
        let token = URL_SAFE_NO_PAD.encode(bytes);
        let hash = hex::encode(Sha256::digest(&token));
        Self { token, hash }
    }
}
