//! `service-router`.

use std::collections::BTreeSet;

use outrigger_consul::config::ServiceRouter;
use outrigger_consul::config::router::{HeaderMatch, HttpMatch, QueryMatch, RouteDestination};

pub(super) const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE",
];

const RETRY_ON: [&str; 12] = [
    "5xx",
    "gateway-error",
    "reset",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

pub(super) fn normalize(entry: &mut ServiceRouter) {
    let matches = entry
        .routes
        .iter_mut()
        .filter_map(|route| route.r#match.as_mut());
    for http in matches.filter_map(|found| found.http.as_mut()) {
        for method in &mut http.methods {
            *method = method.to_uppercase();
        }
    }
}

pub(super) fn validate(entry: &ServiceRouter) -> Result<(), String> {
    for (position, route) in entry.routes.iter().enumerate() {
        let http = route.r#match.as_ref().and_then(|found| found.http.as_ref());
        if let Some(http) = http {
            self::http(http).map_err(|message| format!("Route[{position}]{message}"))?;
        }
        if let Some(destination) = &route.destination {
            self::destination(destination, http)
                .map_err(|message| format!("Route[{position}] {message}"))?;
        }
    }
    Ok(())
}

/// The message continues `Route[i]`.
fn http(http: &HttpMatch) -> Result<(), String> {
    let paths = [&http.path_exact, &http.path_prefix, &http.path_regex];
    if paths.iter().filter(|path| !path.is_empty()).count() > 1 {
        return Err(
            " should only contain at most one of PathExact, PathPrefix, or PathRegex".to_owned(),
        );
    }
    for (field, path) in [
        ("PathExact", &http.path_exact),
        ("PathPrefix", &http.path_prefix),
    ] {
        if !path.is_empty() && !path.starts_with('/') {
            return Err(format!(" {field} doesn't start with '/': {path:?}"));
        }
    }
    for (position, header) in http.header.iter().enumerate() {
        self::header(header).map_err(|message| format!(" Header[{position}] {message}"))?;
    }
    for (position, query) in http.query_param.iter().enumerate() {
        self::query(query).map_err(|message| format!(" QueryParam[{position}] {message}"))?;
    }
    methods(&http.methods).map_err(|message| format!(" Methods {message}"))
}

fn header(header: &HeaderMatch) -> Result<(), String> {
    if header.name.is_empty() {
        return Err("missing required Name field".to_owned());
    }
    let texts = [&header.exact, &header.prefix, &header.suffix, &header.regex];
    if usize::from(header.present) + texts.iter().filter(|text| !text.is_empty()).count() > 1 {
        return Err(
            "should only contain one of Present, Exact, Prefix, Suffix, or Regex".to_owned(),
        );
    }
    Ok(())
}

fn query(query: &QueryMatch) -> Result<(), String> {
    if query.name.is_empty() {
        return Err("missing required Name field".to_owned());
    }
    let texts = [&query.exact, &query.regex];
    if usize::from(query.present) + texts.iter().filter(|text| !text.is_empty()).count() > 1 {
        return Err("should only contain one of Present, Exact, or Regex".to_owned());
    }
    Ok(())
}

/// The message continues the name of the list.
pub(super) fn methods(methods: &[String]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for method in methods {
        if !METHODS.contains(&method.as_str()) {
            return Err(format!("contains an invalid method {method:?}"));
        }
        if !seen.insert(method) {
            return Err(format!("contains {method:?} more than once"));
        }
    }
    Ok(())
}

fn destination(destination: &RouteDestination, http: Option<&HttpMatch>) -> Result<(), String> {
    let rewritable =
        http.is_some_and(|http| !http.path_exact.is_empty() || !http.path_prefix.is_empty());
    if !destination.prefix_rewrite.is_empty() && !rewritable {
        return Err(
            "cannot make use of PrefixRewrite without configuring either PathExact or PathPrefix"
                .to_owned(),
        );
    }
    if let Some(condition) = destination
        .retry_on
        .iter()
        .find(|condition| !RETRY_ON.contains(&condition.as_str()))
    {
        return Err(format!(
            "contains an invalid retry condition: {condition:?}"
        ));
    }
    Ok(())
}
