//! What a request asks for: its target and its host, as one path and one authority that every hop reads the same way.
//!
//! Towards the internet the path is canonical or refused: dot segments, empty segments, parameters, and bytes that some servers decode
//! before they look (RFC 3986, 3.3) never reach a route or an intention.

use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method};

use super::refusal::Refusal;

/// Path with query, and the authority meant.
pub(super) fn of(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    is_strange: bool,
) -> Result<(PathAndQuery, String), Refusal> {
    let host = host(headers)?;
    let path = match target.as_bytes() {
        [b'/', ..] => target,
        b"*" if *method == Method::OPTIONS => target,
        _ => absolute(target, host.as_str())?,
    };
    if !path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        return Err(Refusal::Target);
    }
    if is_strange && !is_canonical(path) {
        return Err(Refusal::Target);
    }
    let path = PathAndQuery::try_from(path).map_err(|_| Refusal::Target)?;
    Ok((path, host.as_str().to_owned()))
}

/// Exactly one, and it is a host with or without a port.
fn host(headers: &HeaderMap) -> Result<Authority, Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Refusal::Host);
    };
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| Refusal::Host)?;
    let has_port_alone = authority.host().is_empty();
    match has_port_alone || authority.as_str().contains('@') {
        true => Err(Refusal::Host),
        false => Ok(authority),
    }
}

/// The path of `http://host/path`, whose host has to be the one of the `Host` field (RFC 9112, 3.2.2, lets us believe either).
fn absolute<'target>(target: &'target str, host: &str) -> Result<&'target str, Refusal> {
    let (scheme, rest) = target.split_once("://").ok_or(Refusal::Target)?;
    if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err(Refusal::Target);
    }
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    if !authority.eq_ignore_ascii_case(host) {
        return Err(Refusal::Host);
    }
    match path.starts_with('/') {
        true => Ok(path),
        false => Err(Refusal::Target),
    }
}

/// Whether no server could take the path for another one.
pub(super) fn is_canonical(path_and_query: &str) -> bool {
    let path = path_and_query.split('?').next().unwrap_or_default();
    if path == "*" {
        return true;
    }
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    if path.bytes().any(|byte| matches!(byte, b'\\' | b';')) || !escapes_are_plain(path) {
        return false;
    }
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if is_dots(segment) || (segment.is_empty() && !is_last) {
            return false;
        }
    }
    true
}

/// Every `%` begins two digits, and none hides a separator or a NUL.
fn escapes_are_plain(path: &str) -> bool {
    path.split('%').skip(1).all(|after| {
        let digits = after.get(..2).unwrap_or_default();
        let is_escape = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_escape && !["2f", "5c", "00"].contains(&digits.to_ascii_lowercase().as_str())
    })
}

fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(hosts: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_static(host));
        }
        headers
    }

    #[test]
    fn a_target_is_a_path_for_one_host() {
        let get = Method::GET;
        for (method, target, hosts, expected) in [
            (&get, "/a?b=c", &["x"][..], Ok(("/a?b=c", "x"))),
            (&get, "/", &["x:80"], Ok(("/", "x:80"))),
            (&get, "/", &["[::1]:80"], Ok(("/", "[::1]:80"))),
            (&get, "http://x/a", &["X"], Ok(("/a", "X"))),
            (&get, "http://x", &["x"], Ok(("/", "x"))),
            (&get, "http://x?q", &["x"], Err(Refusal::Target)),
            (&get, "http://y/a", &["x"], Err(Refusal::Host)),
            (&get, "http://u@x/a", &["x"], Err(Refusal::Host)),
            (&get, "ftp://x/a", &["x"], Err(Refusal::Target)),
            (&get, "a", &["x"], Err(Refusal::Target)),
            (&get, "*", &["x"], Err(Refusal::Target)),
            (&Method::OPTIONS, "*", &["x"], Ok(("*", "x"))),
            (&get, "/", &[], Err(Refusal::Host)),
            (&get, "/", &["x", "x"], Err(Refusal::Host)),
            (&get, "/", &[""], Err(Refusal::Host)),
            (&get, "/", &["x y"], Err(Refusal::Host)),
            (&get, "/", &["x/y"], Err(Refusal::Host)),
            (&get, "/", &["u@x"], Err(Refusal::Host)),
            (&get, "/", &[":80"], Err(Refusal::Host)),
            (&get, "/a#b", &["x"], Err(Refusal::Target)),
            (&get, "/\u{e9}", &["x"], Err(Refusal::Target)),
        ] {
            let read = of(method, target, &headers(hosts), true);
            let read = read
                .as_ref()
                .map(|(path, host)| (path.as_str(), host.as_str()));
            assert_eq!(read.map_err(|err| *err), expected, "{target} {hosts:?}");
        }
    }

    #[test]
    fn the_internet_gets_canonical_paths_only() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a.b/..c/.d",
            "/a%20b",
            "/v1/x:cancel",
            "/a?b=/../;%2f",
            "*",
        ] {
            assert!(is_canonical(path), "{path}");
        }
        for path in [
            "",
            "a",
            "//",
            "//a",
            "/a//b",
            "/a/../b",
            "/a/..",
            "/.",
            "/./a",
            "/a/%2e%2e/b",
            "/%2E",
            "/a/.%2e",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%00",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a;b",
            "/a\\b",
        ] {
            assert!(!is_canonical(path), "{path}");
        }
        assert!(of(&Method::GET, "/a/../b", &headers(&["x"]), false).is_ok());
    }
}
