//! One access token (RFC 9068). The algorithm is the key's, never the token's own word; what a token may say is typed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use outrigger_proto::shop::auth::v1::Principal;
use serde::Deserialize;
use shop_chassis::clock::to_proto;

const ISSUER: &str = "https://shop.example";
const AUDIENCE: &str = "shop";
/// Clocks may differ by this.
const LEEWAY: i64 = 30;
const LONGEST_LIFE: i64 = 15 * 60;

/// Why a token is not believed. For the log only.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Bad {
    #[error("not a signed token of three parts")]
    Form,
    #[error("header")]
    Header,
    #[error("algorithm or type")]
    Kind,
    #[error("signature or claims: {0}")]
    Claims(String),
    #[error("subject")]
    Subject,
    #[error("times")]
    Times,
}

/// What we read of the header. `deny_unknown_fields` refuses `crit`, `jku`, `x5u`, `jwk` and `x5c` by their presence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    jti: String,
    sid: String,
    scope: String,
}

/// The key that the token says it was signed with.
pub(super) fn key_id(token: &str) -> Result<String, Bad> {
    let mut parts = token.split('.');
    let (Some(head), Some(_), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Bad::Form);
    };
    let head = URL_SAFE_NO_PAD.decode(head).map_err(|_| Bad::Header)?;
    let head: Head = serde_json::from_slice(&head).map_err(|_| Bad::Header)?;
    if head.alg != "ES256" || head.typ != "at+jwt" {
        return Err(Bad::Kind);
    }
    Ok(head.kid)
}

/// Whom the token speaks for, if this key signed it and it is in force.
pub(super) fn verify(token: &str, key: &DecodingKey, now: Timestamp) -> Result<Principal, Bad> {
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(&[AUDIENCE]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // Times are checked below, against our own clock.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    let claims = jsonwebtoken::decode::<Claims>(token, key, &rules)
        .map_err(|error| Bad::Claims(error.to_string()))?
        .claims;
    if !in_force(&claims, now.as_second()) {
        return Err(Bad::Times);
    }
    if claims.iss != ISSUER || claims.aud != AUDIENCE || claims.sid.is_empty() {
        return Err(Bad::Claims("issuer, audience or session".to_owned()));
    }
    let user_id = claims.sub.parse().map_err(|_| Bad::Subject)?;
    if claims.sub.starts_with(['+', '0']) {
        return Err(Bad::Subject);
    }
    Ok(Principal {
        user_id,
        session_id: claims.sid,
        scopes: claims.scope.split(' ').map(str::to_owned).collect(),
        token_id: claims.jti,
        issued_at: Timestamp::from_second(claims.iat).ok().map(to_proto),
    })
}

fn in_force(claims: &Claims, now: i64) -> bool {
    let life = claims.exp.saturating_sub(claims.iat);
    claims.exp.saturating_add(LEEWAY) > now
        && claims.iat <= now + LEEWAY
        && claims.nbf.is_none_or(|from| from <= now + LEEWAY)
        && (1..=LONGEST_LIFE).contains(&life)
}

#[cfg(test)]
mod tests;
