//! The gateway as the outside sees it: over its socket, by REST and by gRPC, with scripted services behind it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;
mod gateway;
mod mesh;
mod token;

mod answers;
mod grpcurl;
mod limits;
mod native;
mod refusals;
mod streams;
mod tokens;
