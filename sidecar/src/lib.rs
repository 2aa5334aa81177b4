//! The data plane of Outrigger: one process beside every application. Modules stand in the order a call meets them.

/// What runs: bind, serve, drain.
pub mod proxy;

/// What happens to a call of our application.
pub mod outbound;

/// What happens to a mesh peer's call.
pub mod inbound;

/// What happens to the public's call.
pub mod edge;

/// What a stage is, and what flows through it.
pub mod stack;

/// How a connection arrives.
mod accept;

/// How a connection is secured.
pub mod tls;

/// Who we are and whom we believe.
pub mod identity;

/// How bytes become calls over HTTP/2.
pub mod http2;

/// The same over HTTP/1.1.
mod http1;

/// Bytes that are no calls.
mod opaque;

/// What gRPC says.
pub mod grpc;

/// How much memory is left, and what is given up for want of it.
pub mod memory;

/// How much of a reported peer is taken.
pub mod throttle;

/// What is asked.
pub mod call;

/// How slowly the public may send.
pub mod pace;

/// What a method promises.
pub mod contract;

/// May it.
pub mod intention;

/// Where to.
pub mod route;

/// How long.
pub mod deadline;

/// Once, or again.
pub mod attempt;

/// Which instance.
pub mod balance;

/// Is an instance worth asking.
pub mod breaker;

/// How an endpoint is reached.
pub mod connect;

/// One attempt on one stream.
pub mod exchange;

/// The end of the way in: our application.
pub mod application;

/// How did it end.
pub mod outcome;

/// What the caller hears.
pub mod reply;

/// What we saw of a call.
pub mod observe;

/// What we believe.
pub mod snapshot;

/// Who tells us.
pub mod control;

/// The operators' view.
pub mod admin;

/// What the process asks of the machine.
pub mod machine;

/// The command line.
pub mod cli;

/// Everything that can be set.
pub mod config;

/// What can go wrong, and what the caller hears.
pub mod error;

/// What a fuzzer calls.
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
