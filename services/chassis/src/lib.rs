//! What a shop service needs in order to run, and nothing it decides.
//!
//! Modules in the order of a service's life, a line each.

/// Where a socket is: a TCP address or a Unix path.
pub mod address;
/// The environment read once, as typed values.
pub mod config;
/// The bound socket a service is handed.
pub mod listener;
/// The whole `main` of a service: settings, telemetry, socket, signal, exit code.
pub mod run;
/// From signal to cancellation.
pub mod shutdown;
/// Logs, spans, and the trace context of a call.
pub mod telemetry;

/// Who is calling, and whether they may.
pub mod caller;
/// Calls to peers through the sidecar's outbound side.
pub mod client;
/// Deadline and trace of the call being served.
pub mod context;
/// Ready or not, from what the service requires.
pub mod health;
/// What the contract says of a method: callers, scope, key.
pub mod method;
/// What was counted, as Prometheus text.
pub mod metrics;
/// One port: gRPC, health, reflection, metrics; how it drains.
pub mod server;
/// The error model: a code and exactly one `ErrorInfo`.
pub mod status;
/// The `buf.validate` subset, enforced before a handler runs.
pub mod validate;

/// Connect, migrate, read, write: SQLite and PostgreSQL.
pub mod database;
/// One effect per key, and the same answer again.
pub mod idempotency;
/// Minor units and `google.type.Money`.
pub mod money;
/// Page sizes and sealed page tokens.
pub mod page;
/// Sealing of small secrets under a key file.
pub mod seal;

/// The time, so that tests control it.
pub mod clock;
/// Named points at which a test lets the process die.
pub mod failpoint;
/// Identifiers and random bytes, so that tests control them.
pub mod ids;
/// Databases and running services for tests.
#[cfg(any(test, feature = "scratch"))]
pub mod scratch;

pub use address::Address;
pub use caller::Caller;
pub use clock::Clock;
pub use config::{Config, Environment, Instance};
pub use database::{Database, Transaction};
pub use ids::Ids;
pub use listener::Listener;
pub use run::main;
pub use server::Server;
pub use status::Failure;
pub use tokio_util::sync::CancellationToken;
