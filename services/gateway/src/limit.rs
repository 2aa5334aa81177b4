//! The gateway's limits as metrics: what each is set to, how full it is where it is a level, how often it was met.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::auth;
use crate::config::Limits;

/// A limit, by its name in the table of all limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Uri,
    HeaderList,
    HeaderCount,
    JsonBody,
    JsonDepth,
    GrpcMessage,
    Response,
    QueryParameters,
    RequestBody,
    RouteTimeout,
    GrpcTimeoutMax,
    InFlight,
    KeySet,
}

const ALL: [(Limit, &str); 13] = [
    (Limit::Uri, "uri"),
    (Limit::HeaderList, "header_list"),
    (Limit::HeaderCount, "header_count"),
    (Limit::JsonBody, "json_body"),
    (Limit::JsonDepth, "json_depth"),
    (Limit::GrpcMessage, "grpc_message"),
    (Limit::Response, "response"),
    (Limit::QueryParameters, "query_parameters"),
    (Limit::RequestBody, "request_body"),
    (Limit::RouteTimeout, "route_timeout"),
    (Limit::GrpcTimeoutMax, "grpc_timeout_max"),
    (Limit::InFlight, "in_flight"),
    (Limit::KeySet, "key_set"),
];

impl Limit {
    /// Bytes, seconds or a number.
    fn value(self, limits: &Limits) -> f64 {
        let number = |number: usize| number as f64;
        match self {
            Self::Uri => number(limits.uri),
            Self::HeaderList => number(limits.header_bytes),
            Self::HeaderCount => number(limits.header_count),
            Self::JsonBody => number(limits.body),
            Self::JsonDepth => number(limits.depth),
            Self::GrpcMessage => number(limits.message),
            Self::Response => number(limits.response),
            Self::QueryParameters => number(limits.query),
            Self::RequestBody => limits.body_timeout.as_secs_f64(),
            Self::RouteTimeout => limits.timeout.as_secs_f64(),
            Self::GrpcTimeoutMax => limits.longest_timeout.as_secs_f64(),
            Self::InFlight => number(limits.in_flight),
            Self::KeySet => number(auth::LARGEST_KEY_SET),
        }
    }
}

/// How often each was met.
#[derive(Debug, Default)]
pub(crate) struct Hits([AtomicU64; ALL.len()]);

impl Hits {
    pub(crate) fn count(&self, limit: Limit) {
        if let Some(hits) = self.of(limit) {
            hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn of(&self, limit: Limit) -> Option<&AtomicU64> {
        let index = ALL.iter().position(|(other, _)| *other == limit)?;
        self.0.get(index)
    }

    /// Prometheus text; `in_flight` is the largest number of requests of one method under way.
    pub(crate) fn render(&self, limits: &Limits, in_flight: usize) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(&str, f64)]| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (limit, value) in samples {
                let _ = writeln!(text, "{name}{{scope=\"edge\",limit=\"{limit}\"}} {value}");
            }
        };
        let set = ALL.map(|(limit, name)| (name, limit.value(limits)));
        let hits = |limit| {
            self.of(limit)
                .map_or(0, |hits| hits.load(Ordering::Relaxed))
        };
        let hits = ALL.map(|(limit, name)| (name, hits(limit) as f64));
        family(
            "outrigger_limit",
            "gauge",
            "What a limit is set to: bytes, seconds or a number.",
            &set,
        );
        family(
            "outrigger_limit_usage",
            "gauge",
            "How full a limit is that is a level.",
            &[("in_flight", in_flight as f64)],
        );
        family(
            "outrigger_limit_hits_total",
            "counter",
            "How often a limit was met.",
            &hits,
        );
        text
    }
}
