//! Programs and stacks that others wrote.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a suite fails loudly; the lint's exception covers test functions only"
)]

mod bad_client;
mod caselist;
mod greeter;
mod grpcurl;
mod h2spec;
mod negative;
mod official;
mod program;
mod soak;
