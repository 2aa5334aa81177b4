//! One line a request: what was asked (the route, never the path), who asked, what came of it.

use http::{Method, StatusCode};
use tokio::time::Instant;

/// What is known of a request so far.
#[derive(Debug)]
pub(crate) struct Line {
    since: Instant,
    method: Method,
    pub(crate) route: String,
    pub(crate) rpc: String,
    pub(crate) user: Option<u32>,
    /// The gRPC code, where it is known.
    pub(crate) code: &'static str,
}

impl Line {
    pub(crate) fn begin(method: &Method) -> Self {
        Self {
            since: Instant::now(),
            method: method.clone(),
            route: "-".to_owned(),
            rpc: String::new(),
            user: None,
            code: "",
        }
    }

    pub(crate) fn end(&self, status: StatusCode, reason: &str, request_id: &str) {
        let elapsed = self.since.elapsed().as_millis();
        let user = self
            .user
            .map_or_else(|| "-".to_owned(), |user| user.to_string());
        tracing::info!(
            rpc = self.rpc,
            code = self.code,
            reason,
            "[GATEWAY] {} {} {} {elapsed}ms user={user} trace={request_id}",
            self.method,
            self.route,
            status.as_u16(),
        );
    }
}
