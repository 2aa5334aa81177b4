//! Inventory: what is in the warehouse, and what of it belongs to orders already.
//!
//! Modules from the edge inwards.

/// The service's settings.
pub mod config;
/// The contract's methods.
pub mod grpc;
/// What the service does, a transaction each.
pub mod inventory;
/// Gives reservations back that nobody confirmed.
pub mod sweeper;

/// The demo's stock.
pub mod demo;
/// What can go wrong, as answers.
pub mod error;
/// A reservation's states and rules.
pub mod reservation;
/// Rows, and functions named for intentions.
pub mod store;

use std::sync::Arc;

use jiff::SignedDuration;
use outrigger_proto::shop::inventory::v1::reservation_service_server::ReservationServiceServer;
use outrigger_proto::shop::inventory::v1::stock_service_server::StockServiceServer;
use shop_chassis::clock::SystemClock;
use shop_chassis::idempotency::Idempotency;
use shop_chassis::ids::SystemIds;
use shop_chassis::{CancellationToken, Clock, Database, Listener, Server};

pub use config::Config;
use inventory::Inventory;
use store::migration::Migrator;

/// Serves until `shutdown`; the caller owns the socket and the signals.
pub async fn serve(
    config: Config,
    listener: Listener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    serve_at(config, listener, shutdown, Arc::new(SystemClock)).await
}

/// The same by a clock of the caller's.
pub async fn serve_at(
    config: Config,
    listener: Listener,
    shutdown: CancellationToken,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<()> {
    let database = Database::open::<Migrator>(&config.database_url).await?;
    let inventory = Inventory::new(database.clone(), Arc::clone(&clock), Arc::new(SystemIds));
    inventory.load_demo().await?;
    let keys = Idempotency::new(clock, SignedDuration::from_hours(24));
    let server = Server::grpc(&config.instance)
        .requires(database)
        .add(StockServiceServer::new(grpc::Stocks::new(
            inventory.clone(),
            keys,
        )))
        .add(ReservationServiceServer::new(grpc::Reservations::new(
            inventory.clone(),
        )));
    let sweep = sweeper::run(inventory, config.sweep_interval, shutdown.clone());
    let (served, ()) = tokio::join!(server.serve(listener, shutdown), sweep);
    Ok(served?)
}
