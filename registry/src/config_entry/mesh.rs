//! `mesh`.

use outrigger_consul::config::Mesh;
use outrigger_consul::config::mesh::{MeshTlsDirection, RequestNormalization};

const VERSIONS: [&str; 6] = ["", "TLS_AUTO", "TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3"];

pub(super) fn validate(entry: &Mesh) -> Result<(), String> {
    if let Some(tls) = &entry.tls {
        for (name, direction) in [("incoming", &tls.incoming), ("outgoing", &tls.outgoing)] {
            if let Some(direction) = direction {
                self::direction(direction)
                    .map_err(|message| format!("error in {name} TLS configuration: {message}"))?;
            }
        }
    }
    let http = entry.http.as_ref().and_then(|http| http.incoming.as_ref());
    match http.and_then(|incoming| incoming.request_normalization.as_ref()) {
        Some(normalization) => self::normalization(normalization),
        None => Ok(()),
    }
}

fn direction(direction: &MeshTlsDirection) -> Result<(), String> {
    let rank = |version: &str| VERSIONS.iter().position(|known| *known == version);
    let (least, most) = (&direction.tls_min_version, &direction.tls_max_version);
    for version in [least, most] {
        if rank(version).is_none() {
            return Err(format!(
                "no matching TLS version found for {version}, please specify one of [{}]",
                VERSIONS[1..].join(", ")
            ));
        }
    }
    if !most.is_empty() && most != "TLS_AUTO" && rank(least) > rank(most) {
        return Err(format!(
            "configuring max version {most} less than the min version {least} is invalid"
        ));
    }
    Ok(())
}

fn normalization(normalization: &RequestNormalization) -> Result<(), String> {
    let actions = [
        "",
        "IMPLEMENTATION_SPECIFIC_DEFAULT",
        "KEEP_UNCHANGED",
        "REJECT_REQUEST",
        "UNESCAPE_AND_REDIRECT",
        "UNESCAPE_AND_FORWARD",
    ];
    let action = &normalization.path_with_escaped_slashes_action;
    if !actions.contains(&action.as_str()) {
        return Err(format!(
            "no matching PathWithEscapedSlashesAction value found for {action}"
        ));
    }
    let action = &normalization.headers_with_underscores_action;
    if !["", "ALLOW", "REJECT_REQUEST", "DROP_HEADER"].contains(&action.as_str()) {
        return Err(format!(
            "no matching HeadersWithUnderscoresAction value found for {action}"
        ));
    }
    Ok(())
}
