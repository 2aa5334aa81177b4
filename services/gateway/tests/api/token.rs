//! Access tokens as identity signs them, and the key set that verifies them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey};
use outrigger_proto::shop::identity::v1::{Jwk, Jwks};
use serde_json::{Value, json};

/// A P-256 key made for these tests, PKCS #8 and its public point.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgdAVSiGQIK0azpjXkYsKj1Nih2Fk3wHni2NAzks9Eg7WhRANCAAQEv3lYXYd6KUj9MWTDb13ELDsbTFEKnNKKop2qFTAzxSQIvyZfeCnmhUfT9sZUr4/ust0f27u/m06QxEFybxSf\n-----END PRIVATE KEY-----\n";
const X: &str = "BL95WF2HeilI_TFkw29dxCw7G0xRCpzSiqKdqhUwM8U";
const Y: &str = "JAi_Jl94KeaFR9P2xlSvj-6y3R_bu7-bTpDEQXJvFJ8";

pub(crate) fn key_set() -> Jwks {
    Jwks {
        keys: vec![Jwk {
            kty: "EC".to_owned(),
            crv: "P-256".to_owned(),
            r#use: "sig".to_owned(),
            kid: "one".to_owned(),
            alg: "ES256".to_owned(),
            x: X.to_owned(),
            y: Y.to_owned(),
        }],
    }
}

/// Alice's, with these scopes, good for ten minutes.
pub(crate) fn alice(scopes: &str) -> String {
    sign(&head(), &claims(scopes))
}

pub(crate) fn head() -> Value {
    json!({"alg": "ES256", "typ": "at+jwt", "kid": "one"})
}

pub(crate) fn claims(scopes: &str) -> Value {
    let now = Timestamp::now().as_second();
    json!({
        "iss": "https://shop.example", "aud": "shop", "sub": "1", "exp": now + 600, "iat": now,
        "jti": "the token", "sid": "the session", "scope": scopes,
    })
}

/// Signed with the key above, whatever it says.
pub(crate) fn sign(head: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(head), part(claims));
    let key = EncodingKey::from_ec_pem(PRIVATE.as_bytes()).unwrap();
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::ES256).unwrap();
    format!("{message}.{signature}")
}
