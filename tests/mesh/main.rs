//! The data plane, from a calling program through two sidecars to an application and back.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a suite fails loudly; the lint's exception covers test functions only"
)]

mod admission;
mod attack;
mod bomb;
mod breaker;
mod deadline;
mod drain;
mod farewell;
mod fidelity;
mod handover;
mod hostile;
mod http1;
mod identity;
mod instance_lost;
mod leaving;
mod limit;
mod memory;
mod metadata;
mod opaque;
mod refused;
mod registry_away;
mod retry;
mod rolling;
mod rotation;
mod routing;
mod run;
mod slow;
mod soak;
mod split;
mod spoof;
mod status;
mod storm;
mod streaming;

/// A method no contract knows: it is never repeated once a peer may have executed it.
const ECHO: &str = "/test.Echo/Echo";
