//! The P-256 key that signs access tokens. Made once, kept sealed in the database, so that every replica and every
//! restart signs with the same one; its public half is what the gateway verifies with.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use outrigger_proto::shop::identity::v1::Jwk;
use sha2::{Digest as _, Sha256};
use shop_chassis::Database;
use shop_chassis::seal::Sealer;

use crate::error::Error;
use crate::store;
use crate::token::Signer;

const PURPOSE: &str = "signing key";

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// SHA-256 over the public point: what a token's header names.
    pub kid: String,
    /// The 65 bytes of the uncompressed public point (SEC 1).
    pub public_point: Vec<u8>,
    /// PKCS #8, sealed.
    pub private_sealed: Vec<u8>,
}

/// The newest key; a database without one gets one. Replicas that start together agree on the first.
pub async fn load_or_make(
    database: &Database,
    sealer: &Sealer,
    now: Timestamp,
) -> Result<Signer, Error> {
    let made = make(sealer)?;
    let key = database
        .write(|tx| {
            let made = &made;
            async move {
                if let Some(existing) = store::newest_signing_key(&*tx).await? {
                    return Ok(existing);
                }
                store::add_signing_key(&*tx, made, now).await?;
                Ok::<_, Error>(made.clone())
            }
        })
        .await?;
    let pkcs8 = sealer
        .open(PURPOSE, &key.private_sealed)
        .map_err(|error| Error::SigningKey(error.to_string()))?;
    Ok(Signer::new(key.kid, &pkcs8))
}

/// The key as a JSON Web Key (RFC 7517).
pub fn to_jwk(key: &StoredKey) -> Jwk {
    // 0x04, then x and y of 32 bytes each.
    let (x, y) = key
        .public_point
        .get(1..)
        .unwrap_or(&[])
        .split_at(32.min(key.public_point.len().saturating_sub(1)));
    Jwk {
        kty: "EC".to_owned(),
        r#use: "sig".to_owned(),
        alg: "ES256".to_owned(),
        kid: key.kid.clone(),
        crv: "P-256".to_owned(),
        x: URL_SAFE_NO_PAD.encode(x),
        y: URL_SAFE_NO_PAD.encode(y),
    }
}

fn make(sealer: &Sealer) -> Result<StoredKey, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::SigningKey(error.to_string());
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|e| failed(&e))?;
    let pkcs8 = pair.to_pkcs8v1().map_err(|e| failed(&e))?;
    let public_point = pair.public_key().as_ref().to_vec();
    Ok(StoredKey {
        kid: URL_SAFE_NO_PAD.encode(&Sha256::digest(&public_point)[..12]),
        private_sealed: sealer.seal(PURPOSE, pkcs8.as_ref()),
        public_point,
    })
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use shop_chassis::Clock as _;
    use shop_chassis::clock::SystemClock;
    use shop_chassis::ids::SystemIds;

    use super::*;
    use crate::store::migration::Migrator;
    use crate::token::{AUDIENCE, ISSUER};

    #[tokio::test]
    async fn a_token_signed_after_a_restart_verifies_with_the_published_key() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/db.sqlite?mode=rwc", dir.path().display());
        let sealer = Sealer::from_key(&[7; 32]);
        let now = SystemClock.now();
        let first = {
            let database = Database::open::<Migrator>(&url).await.unwrap();
            load_or_make(&database, &sealer, now).await.unwrap();
            store::signing_keys(database.read()).await.unwrap()
        };
        let database = Database::open::<Migrator>(&url).await.unwrap();
        let signer = load_or_make(&database, &sealer, now).await.unwrap();
        assert_eq!(store::signing_keys(database.read()).await.unwrap(), first);

        let token = signer
            .access_token(1, "session", "profile", now, &SystemIds)
            .unwrap();
        let jwk = to_jwk(&first[0]);
        let key = DecodingKey::from_ec_components(&jwk.x, &jwk.y).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        let token = jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation).unwrap();
        assert_eq!(token.header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(token.header.kid, Some(jwk.kid));
        assert_eq!(token.claims["sub"], "1");
        assert_eq!(token.claims["sid"], "session");
    }

    #[tokio::test]
    async fn a_key_sealed_under_another_key_file_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/db.sqlite?mode=rwc", dir.path().display());
        let database = Database::open::<Migrator>(&url).await.unwrap();
        let now = SystemClock.now();
        let sealer = |byte| Sealer::from_key(&[byte; 32]);
        load_or_make(&database, &sealer(1), now).await.unwrap();
        let other = load_or_make(&database, &sealer(2), now).await;
        assert!(matches!(other, Err(Error::SigningKey(_))), "{other:?}");
    }
}
