//! Good tokens and bad ones.

use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::*;

/// A P-256 key made for these tests, PKCS #8 and its public point.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgdAVSiGQIK0azpjXkYsKj1Nih2Fk3wHni2NAzks9Eg7WhRANCAAQEv3lYXYd6KUj9MWTDb13ELDsbTFEKnNKKop2qFTAzxSQIvyZfeCnmhUfT9sZUr4/ust0f27u/m06QxEFybxSf\n-----END PRIVATE KEY-----\n";
const X: &str = "BL95WF2HeilI_TFkw29dxCw7G0xRCpzSiqKdqhUwM8U";
const Y: &str = "JAi_Jl94KeaFR9P2xlSvj-6y3R_bu7-bTpDEQXJvFJ8";
const NOW: i64 = 1_800_000_000;

fn head() -> Value {
    json!({"alg": "ES256", "typ": "at+jwt", "kid": "one"})
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "1", "exp": NOW + 600, "iat": NOW,
        "jti": "t", "sid": "s", "scope": "orders:read orders:write",
    })
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    match value {
        Value::Null => object.as_object_mut().unwrap().remove(name),
        value => object
            .as_object_mut()
            .unwrap()
            .insert(name.to_owned(), value),
    };
    object
}

/// Signed whatever it says.
fn sign(head: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(head), part(claims));
    let key = EncodingKey::from_ec_pem(PRIVATE.as_bytes()).unwrap();
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::ES256).unwrap();
    format!("{message}.{signature}")
}

fn check(token: &str) -> Result<Principal, Bad> {
    key_id(token)?;
    let key = DecodingKey::from_ec_components(X, Y).unwrap();
    verify(token, &key, Timestamp::from_second(NOW).unwrap())
}

#[test]
fn a_token_of_identity_is_believed() {
    let principal = check(&sign(&head(), &claims())).unwrap();
    assert_eq!(principal.user_id, 1);
    assert_eq!(principal.scopes, ["orders:read", "orders:write"]);
}

#[test]
fn a_token_that_says_anything_else_is_not() {
    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("es256")),
        ("typ", json!("JWT")),
        ("typ", Value::Null),
        ("kid", Value::Null),
        ("crit", json!(["x"])),
        ("jku", json!("https://elsewhere")),
        ("jwk", json!({})),
        ("x5u", json!("x")),
        ("x5c", json!([])),
    ] {
        let token = sign(&with(head(), name, value.clone()), &claims());
        assert!(check(&token).is_err(), "{name} {value}");
    }
    for (name, value) in [
        ("exp", Value::Null),
        ("exp", json!("1800000600")),
        ("exp", json!(1_800_000_600.5)),
        ("exp", json!(NOW - LEEWAY)),
        ("exp", json!(-1)),
        ("exp", json!(NOW + LONGEST_LIFE + 1)),
        ("nbf", json!(NOW + LEEWAY + 1)),
        ("iat", json!(NOW + LEEWAY + 1)),
        ("iat", Value::Null),
        ("iss", json!("https://elsewhere")),
        ("aud", json!("others")),
        ("aud", json!(["others"])),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!(1)),
        ("sub", json!("+1")),
        ("jti", Value::Null),
        ("sid", Value::Null),
        ("scope", json!(["orders:read"])),
    ] {
        let token = sign(&head(), &with(claims(), name, value.clone()));
        assert!(check(&token).is_err(), "{name} {value}");
    }
}

#[test]
fn a_token_that_was_touched_is_not() {
    let token = sign(&head(), &claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let other = sign(&head(), &with(claims(), "sub", json!("2")));
    let (forged, _) = other.rsplit_once('.').unwrap();
    let zeroes = URL_SAFE_NO_PAD.encode([0; 64]);
    for token in [
        format!("{forged}.{signature}"),
        format!("{message}."),
        message.to_owned(),
        format!("{message}.{zeroes}"),
        format!("{token}.x"),
        format!("{token}="),
        format!("{message}.{}", signature.split_at(1).1),
    ] {
        assert!(check(&token).is_err(), "{token}");
    }
}
