//! The error model (AIP-193): a code, a message, and exactly one `ErrorInfo`
//! of domain `shop.example`; beside it, at most once each, field violations,
//! a retry hint, the resource. INTERNAL carries no detail: its cause is logged
//! where it is turned into an answer.
//!
//! A service maps its own error enum to a `Failure` in one `From`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use outrigger_proto::google::rpc;
use prost::Message;
use tonic::{Code, Status};

use crate::database::WriteError;

/// The `domain` of every `ErrorInfo` the shop makes.
pub const DOMAIN: &str = "shop.example";

const TYPE_URL: &str = "type.googleapis.com/";

/// An answer that is not a success.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    code: Code,
    reason: &'static str,
    message: String,
    metadata: BTreeMap<String, String>,
    violations: Vec<(String, String)>,
    retry_after: Option<Duration>,
    resource: Option<(&'static str, String)>,
    /// It came from a transaction that lost a conflict and may be run again.
    conflict: bool,
}

impl Failure {
    /// `reason` is published: `[A-Z][A-Z0-9_]+[A-Z0-9]`, at most 63 characters.
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            retry_after: None,
            resource: None,
            conflict: false,
        }
    }

    /// What went wrong inside: logged here, and never sent.
    pub fn internal(cause: &dyn Display) -> Self {
        tracing::error!(error = %cause, reason = "INTERNAL", "internal error");
        Self::new(Code::Internal, "INTERNAL", "internal error")
    }

    /// The service's own database cannot be used now.
    pub fn database_unavailable() -> Self {
        Self::new(
            Code::Unavailable,
            "DATABASE_UNAVAILABLE",
            "the service cannot reach its database; try again",
        )
    }

    /// A field breaks a rule.
    pub fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::new(
            Code::InvalidArgument,
            "FIELD_INVALID",
            "the request has invalid fields",
        )
        .violation(field, description)
    }

    /// Every dynamic part of the message belongs into the metadata as well.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Display) -> Self {
        self.metadata.insert(key.into(), value.to_string());
        self
    }

    #[must_use]
    pub fn violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        let field = field.into();
        self.metadata
            .entry("field".to_owned())
            .or_insert_with(|| field.clone());
        self.violations.push((field, description.into()));
        self
    }

    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    #[must_use]
    pub fn resource(mut self, kind: &'static str, name: impl Into<String>) -> Self {
        self.resource = Some((kind, name.into()));
        self
    }

    pub(crate) fn conflict(mut self) -> Self {
        self.conflict = true;
        self
    }

    pub fn code(&self) -> Code {
        self.code
    }

    pub fn reason(&self) -> &'static str {
        self.reason
    }

    fn details(&self) -> Vec<prost_types::Any> {
        if self.code == Code::Internal {
            return Vec::new();
        }
        let mut details = vec![pack(
            "google.rpc.ErrorInfo",
            &rpc::ErrorInfo {
                reason: self.reason.to_owned(),
                domain: DOMAIN.to_owned(),
                metadata: self.metadata.clone().into_iter().collect(),
            },
        )];
        if !self.violations.is_empty() {
            let field_violations = self
                .violations
                .iter()
                .map(|(field, description)| rpc::bad_request::FieldViolation {
                    field: field.clone(),
                    description: description.clone(),
                    ..Default::default()
                })
                .collect();
            details.push(pack(
                "google.rpc.BadRequest",
                &rpc::BadRequest { field_violations },
            ));
        }
        if let Some(delay) = self.retry_after {
            let retry_delay = Some(prost_types::Duration {
                seconds: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
                nanos: i32::try_from(delay.subsec_nanos()).unwrap_or(0),
            });
            details.push(pack(
                "google.rpc.RetryInfo",
                &rpc::RetryInfo { retry_delay },
            ));
        }
        if let Some((kind, name)) = &self.resource {
            let info = rpc::ResourceInfo {
                resource_type: (*kind).to_owned(),
                resource_name: name.clone(),
                ..Default::default()
            };
            details.push(pack("google.rpc.ResourceInfo", &info));
        }
        details
    }
}

impl Failure {
    /// As it travels in `grpc-status-details-bin`, and as it is kept for a repeat.
    pub(crate) fn to_proto(&self) -> rpc::Status {
        rpc::Status {
            code: self.code as i32,
            message: self.message.clone(),
            details: self.details(),
        }
    }
}

impl WriteError for Failure {
    fn is_conflict(&self) -> bool {
        self.conflict
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let proto = failure.to_proto();
        if proto.details.is_empty() {
            return Self::new(failure.code, failure.message);
        }
        Self::with_details(failure.code, failure.message, proto.encode_to_vec().into())
    }
}

/// The `ErrorInfo` a peer's answer carries, the shop's or the mesh's.
pub fn error_info(status: &Status) -> Option<rpc::ErrorInfo> {
    let details = rpc::Status::decode(status.details()).ok()?.details;
    details
        .iter()
        .find(|any| any.type_url.ends_with("/google.rpc.ErrorInfo"))
        .and_then(|any| rpc::ErrorInfo::decode(any.value.as_slice()).ok())
}

/// The reason of a peer's answer, when it is one of the shop's.
pub fn reason(status: &Status) -> Option<String> {
    error_info(status)
        .filter(|info| info.domain == DOMAIN)
        .map(|info| info.reason)
}

fn pack(name: &str, message: &impl Message) -> prost_types::Any {
    prost_types::Any {
        type_url: format!("{TYPE_URL}{name}"),
        value: message.encode_to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_one_error_info_and_what_fits() {
        let status = Status::from(
            Failure::new(Code::FailedPrecondition, "OUT_OF_ORDER", "wanted 3")
                .with("wanted", 3)
                .retry_after(Duration::from_millis(1500)),
        );
        assert_eq!(status.code(), Code::FailedPrecondition);
        let details = rpc::Status::decode(status.details()).unwrap().details;
        let urls: Vec<_> = details.iter().map(|any| any.type_url.as_str()).collect();
        assert_eq!(
            urls,
            [
                "type.googleapis.com/google.rpc.ErrorInfo",
                "type.googleapis.com/google.rpc.RetryInfo"
            ]
        );
        let info = error_info(&status).unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("OUT_OF_ORDER", DOMAIN)
        );
        assert_eq!(info.metadata.get("wanted").map(String::as_str), Some("3"));
    }

    #[test]
    fn internal_errors_tell_nothing() {
        let status = Status::from(Failure::internal(&"password is hunter2").with("a", "b"));
        assert_eq!(status.message(), "internal error");
        assert!(status.details().is_empty());
        assert_eq!(reason(&status), None);
    }
}
