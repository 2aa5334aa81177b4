//! The embedded registry: Consul's HTTP API in one durable process.
//!
//! A request is decoded in `http`, decided as a pure function of `state`, made durable by the one writer in `store`,
//! and wakes whoever waits on what it changed.

#![cfg_attr(test, allow(clippy::panic, reason = "a failed table row names itself"))]

pub mod cli;
pub mod config;
pub mod error;
pub mod limit;
pub mod server;

mod http;
mod journal;
mod state;
mod store;
mod watch;

pub mod chain;
pub mod config_entry;
pub mod filter;
pub mod intention;

mod ca;
mod check;
pub mod token;

pub use config::{Config, Policy};
pub use error::Error;
pub use limit::Limits;
pub use server::Server;
pub use token::Tokens;
