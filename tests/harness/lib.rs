//! What the suites are written with: one builder an actor, faults as verbs, no port and no certificate in a test.
//!
//! `Mesh` is a registry, sidecars, applications and clients; `Shop` is a whole run of `outrigger up`. Both start on ports nobody
//! chose, wait until everything is ready, run the test's closure, stop in order and insist on a clean end.
#![allow(
    clippy::unwrap_used,
    reason = "a harness fails loudly; the lint's exception covers test functions only"
)]

pub mod alone;
pub mod attacker;
pub mod binary;
pub mod cgroup;
pub mod client;
pub mod database;
pub mod eventually;
pub mod external;
pub mod figure;
pub mod flood;
pub mod footprint;
pub mod good;
pub mod greeter;
pub mod grpc;
pub mod load;
pub mod mesh;
pub mod opaque;
pub mod process;
pub mod raw;
pub mod receiver;
pub mod registry;
pub mod scripted;
pub mod seed;
pub mod settings;
pub mod shop;
pub mod sidecar;
pub mod tls;
pub mod upstream;

pub use client::{Answer, Client};
pub use eventually::{eventually, within};
pub use external::external;
pub use mesh::Mesh;
pub use shop::Shop;
