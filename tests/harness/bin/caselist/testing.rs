//! The contract `programs/caselist/testing.proto`, and its messages as the cases want them.

#![allow(
    clippy::all,
    clippy::wildcard_imports,
    clippy::allow_attributes_without_reason,
    clippy::str_to_string,
    clippy::too_many_lines,
    clippy::use_self,
    clippy::semicolon_if_nothing_returned,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    reason = "generated"
)]

tonic::include_proto!("grpc.testing");

impl Payload {
    /// Zeros, so many.
    pub(crate) fn zeros(size: usize) -> Self {
        Self {
            body: vec![0; size],
            ..Self::default()
        }
    }
}

impl ResponseParameters {
    pub(crate) fn of_size(size: i32) -> Self {
        Self {
            size,
            compressed: None,
        }
    }
}

impl StreamingOutputCallRequest {
    /// Wants an answer of each size.
    pub(crate) fn wanting(sizes: &[i32]) -> Self {
        Self {
            response_parameters: sizes
                .iter()
                .copied()
                .map(ResponseParameters::of_size)
                .collect(),
            ..Self::default()
        }
    }
}
