//! Which internal headers pass: the mesh's own `x-outrigger-*` never come from where they must not.

use http::HeaderValue;
use http::header::HeaderName;

use crate::grpc::metadata::PREVIOUS_ATTEMPTS;
use crate::stack::{Headers, number};

pub const ATTEMPT: HeaderName = HeaderName::from_static("x-outrigger-attempt");
pub const HOPS: HeaderName = HeaderName::from_static("x-outrigger-hops");
pub const PEER: HeaderName = HeaderName::from_static("x-outrigger-peer");
pub const PRINCIPAL: HeaderName = HeaderName::from_static("x-outrigger-principal");
pub const CLIENT_ADDR: HeaderName = HeaderName::from_static("x-outrigger-client-addr");

/// The service whose word on the end user is believed.
pub const GATEWAY: &str = "gateway";

/// More sidecars than this in a row are a loop.
pub const MAX_HOPS: u32 = 8;

/// What an application may send along.
const FROM_APPLICATION: [&str; 5] = [
    "x-outrigger-hops",
    "x-outrigger-arm",
    "x-outrigger-criticality",
    "x-outrigger-hash-key",
    "x-outrigger-debug",
];

/// What another sidecar may send along.
const FROM_PEER: [&str; 7] = [
    "x-outrigger-hops",
    "x-outrigger-arm",
    "x-outrigger-criticality",
    "x-outrigger-hash-key",
    "x-outrigger-debug",
    "x-outrigger-attempt",
    "x-outrigger-mirror",
];

/// The hop count cannot be read, or is too high.
#[derive(Debug, PartialEq, Eq)]
pub enum Hops {
    Malformed,
    TooMany,
}

/// From our application: keeps what it may say; the gateway may also say who the end user is.
pub fn from_application(headers: &mut Headers, service: &str) {
    let may_name_principal = service == GATEWAY;
    keep(headers, |name| {
        FROM_APPLICATION.contains(&name) || (may_name_principal && name == PRINCIPAL.as_str())
    });
}

/// From a mesh peer: keeps what its sidecar may say, and states who it is. A principal is believed from the gateway only.
pub fn from_peer(headers: &mut Headers, identity: &str, service: &str) {
    let is_gateway = service == GATEWAY;
    keep(headers, |name| {
        FROM_PEER.contains(&name) || (is_gateway && name == PRINCIPAL.as_str())
    });
    headers.say(
        PEER,
        HeaderValue::try_from(identity).expect("a SPIFFE id is printable ASCII"),
    );
}

/// From the internet: nothing of ours passes, under no spelling.
pub fn from_public(headers: &mut Headers, client: std::net::SocketAddr) {
    keep(headers, |_| false);
    headers.edit().remove(PREVIOUS_ATTEMPTS);
    headers.say(
        CLIENT_ADDR,
        HeaderValue::try_from(client.to_string()).expect("an address is printable ASCII"),
    );
}

/// Counts this hop.
pub fn add_hop(headers: &mut Headers) -> Result<(), Hops> {
    let so_far = match headers.get(HOPS) {
        None => 0,
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|text| text.parse::<u32>().ok())
            .ok_or(Hops::Malformed)?,
    };
    if so_far >= MAX_HOPS {
        return Err(Hops::TooMany);
    }
    headers.say(HOPS, number(so_far + 1));
    Ok(())
}

/// Drops every header of ours that `allowed` does not name. `_` counts as `-`: some servers cannot tell them apart.
fn keep(headers: &mut Headers, allowed: impl Fn(&str) -> bool) {
    let ours = |name: &HeaderName| {
        let name = name.as_str();
        name.len() >= 12
            && name
                .bytes()
                .zip(*b"x-outrigger-")
                .all(|(have, want)| have == want || (want == b'-' && have == b'_'))
    };
    let refused: Vec<HeaderName> = headers
        .keys()
        .filter(|name| ours(name) && !allowed(name.as_str()))
        .cloned()
        .collect();
    for name in refused {
        headers.edit().remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    const ALL: [&str; 16] = [
        "x-outrigger-reason",
        "x-outrigger-attempt",
        "x-outrigger-hops",
        "x-outrigger-arm",
        "x-outrigger-criticality",
        "x-outrigger-mirror",
        "x-outrigger-peer",
        "x-outrigger-principal",
        "x-outrigger-client-addr",
        "x-outrigger-hash-key",
        "x-outrigger-debug",
        "x-outrigger-made-up",
        "x_outrigger_principal",
        "x-outrigger_peer",
        "x_outrigger-hops",
        "authorization",
    ];

    fn all() -> Headers {
        let fields = ALL
            .iter()
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1")));
        Headers::from(fields.collect::<HeaderMap>())
    }

    fn sent(headers: &Headers) -> HeaderMap {
        headers.clone().into_sent()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn an_application_says_little() {
        let common = [
            "authorization",
            "x-outrigger-arm",
            "x-outrigger-criticality",
            "x-outrigger-debug",
            "x-outrigger-hash-key",
            "x-outrigger-hops",
        ];
        let mut headers = all();
        from_application(&mut headers, "orders");
        assert_eq!(names(&sent(&headers)), common);
        let mut headers = all();
        from_application(&mut headers, "gateway");
        assert_eq!(
            names(&sent(&headers)),
            [&common[..], &["x-outrigger-principal"]].concat()
        );
    }

    #[test]
    fn a_peer_is_named_by_its_certificate_and_only_the_gateway_names_users() {
        let id = "spiffe://x.consul/ns/default/dc/dc1/svc/web";
        let common = [
            "authorization",
            "x-outrigger-arm",
            "x-outrigger-attempt",
            "x-outrigger-criticality",
            "x-outrigger-debug",
            "x-outrigger-hash-key",
            "x-outrigger-hops",
            "x-outrigger-mirror",
            "x-outrigger-peer",
        ];
        let mut headers = all();
        headers
            .edit()
            .append(PEER, HeaderValue::from_static("forged"));
        from_peer(&mut headers, id, "web");
        assert_eq!(names(&sent(&headers)), common);
        assert_eq!(
            sent(&headers).get_all(PEER).iter().collect::<Vec<_>>(),
            [id]
        );
        let mut headers = all();
        from_peer(&mut headers, id, "gateway");
        assert_eq!(
            names(&sent(&headers)),
            [&common[..], &["x-outrigger-principal"]].concat()
        );
    }

    #[test]
    fn the_public_says_nothing() {
        let mut headers = all();
        headers
            .edit()
            .insert(PREVIOUS_ATTEMPTS, HeaderValue::from_static("3"));
        from_public(&mut headers, "192.0.2.1:5".parse().unwrap());
        assert_eq!(
            names(&sent(&headers)),
            ["authorization", "x-outrigger-client-addr"]
        );
        assert_eq!(sent(&headers)[CLIENT_ADDR], "192.0.2.1:5");
    }

    #[test]
    fn the_ninth_hop_is_a_loop() {
        for (said, expected) in [
            (None, Ok("1")),
            (Some("1"), Ok("2")),
            (Some("7"), Ok("8")),
            (Some("8"), Err(Hops::TooMany)),
            (Some("4000000000"), Err(Hops::TooMany)),
            (Some("x"), Err(Hops::Malformed)),
            (Some("-1"), Err(Hops::Malformed)),
        ] {
            let mut headers = Headers::default();
            if let Some(said) = said {
                headers.edit().insert(HOPS, HeaderValue::from_static(said));
            }
            let result = add_hop(&mut headers);
            assert_eq!(
                result.map(|()| sent(&headers)[HOPS].to_str().unwrap().to_owned()),
                expected.map(str::to_owned),
                "{said:?}"
            );
        }
    }
}
