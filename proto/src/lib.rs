//! The contracts of Outrigger and of its shop: generated types, clients and servers, and the descriptor
//! set that gateway, chassis and sidecars read the promises of each method from.
//!
//! A method that a service does not implement answers UNIMPLEMENTED by the generated default.

pub mod options;

mod descriptor;
mod generated;

pub use descriptor::{DESCRIPTOR_SET, callers, contract, pool, services};
pub use generated::{buf, google, grpc, shop};
