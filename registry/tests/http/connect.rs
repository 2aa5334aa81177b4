//! CA roots and leaves.

use std::time::Duration;

use serde_json::Value;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::api::Api;
use crate::embedded::Embedded;

fn der(pem: &Value) -> Vec<u8> {
    ::pem::parse(pem.as_str().unwrap()).unwrap().into_contents()
}

fn uris(certificate: &X509Certificate<'_>) -> Vec<String> {
    let san = certificate.subject_alternative_name().unwrap().unwrap();
    assert!(
        san.critical || certificate.is_ca(),
        "a leaf has no subject, so its names are critical"
    );
    let names = san.value.general_names.iter().map(|name| match name {
        GeneralName::URI(uri) => (*uri).to_owned(),
        other => panic!("{other:?} is not a URI"),
    });
    names.collect()
}

pub(crate) async fn roots_and_leaf_make_a_spiffe_identity(api: &Api) {
    let roots = api.get("/v1/agent/connect/ca/roots").await;
    assert!(roots.header("x-cache").is_some());
    let body = roots.json();
    let domain = body["TrustDomain"].as_str().unwrap();
    assert!(domain.ends_with(".consul"), "{domain}");
    let active = &body["Roots"][0];
    assert_eq!(
        (&active["ID"], &active["Active"]),
        (&body["ActiveRootID"], &Value::Bool(true))
    );
    assert_eq!(
        active["ExternalTrustDomain"],
        domain.trim_end_matches(".consul")
    );
    let root = der(&active["RootCert"]);
    let (_, root) = X509Certificate::from_der(&root).unwrap();
    assert_eq!(uris(&root), [format!("spiffe://{domain}")]);
    assert!(root.is_ca());
    root.verify_signature(None).unwrap();
    let pem = api.get("/v1/connect/ca/roots?pem=true").await;
    assert_eq!(
        pem.header("content-type"),
        Some("application/pem-certificate-chain")
    );
    pem.tells(200, "-----BEGIN CERTIFICATE-----");

    let answer = api.get("/v1/agent/connect/ca/leaf/spiffe").await;
    let leaf = answer.json();
    assert_eq!(leaf["Service"], "spiffe");
    let uri = format!("spiffe://{domain}/ns/default/dc/dc1/svc/spiffe");
    assert_eq!(leaf["ServiceURI"], uri.as_str());
    assert_eq!(leaf["ModifyIndex"].as_u64(), Some(answer.index()));
    let certificate = der(&leaf["CertPEM"]);
    let (_, certificate) = X509Certificate::from_der(&certificate).unwrap();
    assert_eq!(uris(&certificate), [uri]);
    assert_eq!(certificate.subject().iter().count(), 0);
    assert!(!certificate.is_ca());
    certificate
        .verify_signature(Some(root.public_key()))
        .unwrap();
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && usage.server_auth);
    let key = leaf["PrivateKeyPEM"].as_str().unwrap();
    assert!(key.starts_with("-----BEGIN EC PRIVATE KEY-----"));
    // The same leaf as long as it is good.
    let again = api.get("/v1/agent/connect/ca/leaf/spiffe").await.json();
    assert_eq!(again["SerialNumber"], leaf["SerialNumber"]);
}

#[tokio::test]
async fn a_leaf_lives_as_long_as_configured_and_its_watch_brings_the_next() {
    let server = Embedded::with(|config| config.leaf_ttl = Duration::from_secs(60)).await;
    let first = server.api.get("/v1/agent/connect/ca/leaf/web").await.json();
    let certificate = der(&first["CertPEM"]);
    let (_, certificate) = X509Certificate::from_der(&certificate).unwrap();
    let validity = certificate.validity();
    let life = validity.not_after.timestamp() - validity.not_before.timestamp();
    // It begins in the past, for clocks that lag behind.
    assert!((60..=120).contains(&life), "{life} s");
    server.stop().await;

    let server = Embedded::with(|config| config.leaf_ttl = Duration::from_secs(2)).await;
    let first = server.api.get("/v1/agent/connect/ca/leaf/web").await;
    let path = format!(
        "/v1/agent/connect/ca/leaf/web?index={}&wait=30s",
        first.index()
    );
    let next = server.api.get(&path).await;
    assert!(next.index() > first.index());
    assert_ne!(next.json()["SerialNumber"], first.json()["SerialNumber"]);
    assert_ne!(next.json()["PrivateKeyPEM"], first.json()["PrivateKeyPEM"]);
    assert_eq!(next.json()["CreateIndex"], first.json()["CreateIndex"]);
    server.stop().await;
}
