//! Consul's HTTP API as types, a client for it, and the one watch loop every reader uses.
//!
//! The embedded registry serves these same types, so a field cannot be spelt in two ways.

#[macro_use]
mod wire;
pub mod duration;
pub mod shape;

pub mod agent;
pub mod catalog;
pub mod chain;
pub mod check;
pub mod config;
pub mod connect;
pub mod health;
pub mod intention;
pub mod kv;
pub mod proxy;
pub mod service;
pub mod spiffe;

pub mod client;
pub mod error;
pub mod watch;

pub use client::{Answer, Client, Read};
pub use duration::{GoDuration, Nanos};
pub use error::Error;
pub use wire::Opaque;
