//! `jwt-provider`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outrigger_consul::config::JwtProvider;
use outrigger_consul::config::jwt_provider::{JwksCluster, JwtLocation, LocalJwks, RemoteJwks};

const CLOCK_SKEW: i64 = 30;

pub(super) fn normalize(entry: &mut JwtProvider) {
    if entry.clock_skew_seconds == 0 {
        entry.clock_skew_seconds = CLOCK_SKEW;
    }
}

pub(super) fn validate(entry: &JwtProvider) -> Result<(), String> {
    let Some(keys) = &entry.json_web_key_set else {
        return Err(
            "JSONWebKeySet is required: must specify exactly one of Local or Remote JSON Web key set".to_owned()
        );
    };
    match (&keys.local, &keys.remote) {
        (Some(local), None) => self::local(local)?,
        (None, Some(remote)) => self::remote(remote)?,
        _ => return Err("must specify exactly one of Local or Remote JSON Web key set".to_owned()),
    }
    entry.locations.iter().try_for_each(location)?;
    if entry
        .forwarding
        .as_ref()
        .is_some_and(|forwarding| forwarding.header_name.is_empty())
    {
        return Err("Forwarding HeaderName is required".to_owned());
    }
    if entry.clock_skew_seconds < 0 {
        return Err("ClockSkewSeconds cannot be negative".to_owned());
    }
    Ok(())
}

fn local(local: &LocalJwks) -> Result<(), String> {
    if local.jwks.is_empty() == local.filename.is_empty() {
        return Err("must specify exactly one of String or filename for local keyset".to_owned());
    }
    if !local.jwks.is_empty() && STANDARD.decode(&local.jwks).is_err() {
        return Err("JWKS must be valid base64 encoded string".to_owned());
    }
    Ok(())
}

fn remote(remote: &RemoteJwks) -> Result<(), String> {
    if remote.uri.is_empty() {
        return Err("Remote JWKS URI is required".to_owned());
    }
    let absolute = http::Uri::try_from(remote.uri.as_str()).is_ok_and(|uri| uri.scheme().is_some());
    if !absolute {
        return Err(format!("Remote JWKS URI is invalid: {:?}", remote.uri));
    }
    let back_off = remote
        .retry_policy
        .as_ref()
        .and_then(|policy| policy.retry_policy_back_off.as_ref());
    if back_off.is_some_and(|back_off| back_off.max_interval < back_off.base_interval) {
        return Err(
            "retry policy backoff's MaxInterval should be greater or equal to BaseInterval"
                .to_owned(),
        );
    }
    remote.jwks_cluster.as_ref().map_or(Ok(()), cluster)
}

fn cluster(cluster: &JwksCluster) -> Result<(), String> {
    let kinds = [
        "",
        "STATIC",
        "STRICT_DNS",
        "LOGICAL_DNS",
        "EDS",
        "ORIGINAL_DST",
    ];
    if !kinds.contains(&cluster.discovery_type.as_str()) {
        return Err(format!(
            "unsupported jwks cluster discovery type: {:?}",
            cluster.discovery_type
        ));
    }
    let Some(tls) = &cluster.tls_certificates else {
        return Ok(());
    };
    if tls.ca_certificate_provider_instance.is_some() == tls.trusted_ca.is_some() {
        return Err(
            "must specify exactly one of: CaCertificateProviderInstance or TrustedCA for JKWS' TLSCertificates".to_owned()
        );
    }
    let Some(trusted) = &tls.trusted_ca else {
        return Ok(());
    };
    let sources = [
        &trusted.filename,
        &trusted.environment_variable,
        &trusted.inline_string,
        &trusted.inline_bytes,
    ];
    if sources.iter().filter(|source| !source.is_empty()).count() != 1 {
        return Err(
            "must specify exactly one of: Filename, EnvironmentVariable, InlineString or InlineBytes for JWKS' TrustedCA"
                .to_owned(),
        );
    }
    Ok(())
}

fn location(location: &JwtLocation) -> Result<(), String> {
    let set = [
        location.header.is_some(),
        location.query_param.is_some(),
        location.cookie.is_some(),
    ];
    if set.iter().filter(|set| **set).count() != 1 {
        return Err(
            "must set exactly one of: JWT location header, query param or cookie".to_owned(),
        );
    }
    let unnamed = |kind: &str| Err(format!("JWT location {kind} name must be specified"));
    if location
        .header
        .as_ref()
        .is_some_and(|header| header.name.is_empty())
    {
        return unnamed("header");
    }
    if location
        .query_param
        .as_ref()
        .is_some_and(|query| query.name.is_empty())
    {
        return unnamed("query parameter");
    }
    if location
        .cookie
        .as_ref()
        .is_some_and(|cookie| cookie.name.is_empty())
    {
        return unnamed("cookie");
    }
    Ok(())
}
