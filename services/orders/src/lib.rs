//! Orders: an order from its acceptance to its outcome, as events, and the saga that brings it there.
//!
//! Modules from the edge inwards.

/// The service's settings.
pub mod config;
/// The contract's methods.
pub mod grpc;
/// Placing an order: its steps, each beside what undoes it.
pub mod place_order;
/// Goes on with what a crash left behind.
pub mod recovery;

/// What can go wrong, as answers.
pub mod error;
/// The order as the fold of its events.
pub mod order;
/// The services an order needs.
pub mod peers;
/// What a saga remembers and owes.
pub mod saga;
/// Rows, and functions named for intentions.
pub mod store;

use std::sync::Arc;

use jiff::SignedDuration;
use outrigger_proto::shop::orders::v1::order_service_server::OrderServiceServer;
use shop_chassis::client::Outbound;
use shop_chassis::clock::SystemClock;
use shop_chassis::idempotency::Idempotency;
use shop_chassis::ids::SystemIds;
use shop_chassis::page::Tokens;
use shop_chassis::seal::Sealer;
use shop_chassis::{CancellationToken, Clock, Database, Ids as _, Listener, Server};
use tokio_util::task::TaskTracker;

pub use config::Config;
use peers::Peers;
use place_order::PlaceOrder;
use store::migration::Migrator;
use store::sagas::Owner;

/// A key is remembered as long as money may be argued about.
const KEYS_ARE_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Serves until `shutdown`; the caller owns the socket and the signals.
pub async fn serve(
    config: Config,
    listener: Listener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let tokens = Tokens::new(Sealer::from_file(&config.page_token_key_file)?);
    let database = Database::open::<Migrator>(&config.database_url).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sagas = TaskTracker::new();
    let place_order = PlaceOrder {
        database: database.clone(),
        peers: Peers::through(&Outbound::new(config.outbound.clone()))?,
        clock: Arc::clone(&clock),
        ids: Arc::new(SystemIds),
        owner: Owner::new(&config.instance.id, SystemIds.uuid().to_string()),
        step_timeout: config.step_timeout,
    };
    let methods = grpc::Orders {
        place_order: place_order.clone(),
        keys: Idempotency::new(clock, KEYS_ARE_KEPT),
        tokens,
        sagas: sagas.clone(),
        patience: config.step_timeout,
    };
    let server = Server::grpc(&config.instance)
        .requires(database)
        .add(OrderServiceServer::new(methods))
        .serve(listener, shutdown.clone());
    let recovery = recovery::run(place_order, config.recovery_interval, shutdown);
    let (served, ()) = tokio::join!(server, recovery);
    // What still runs has its intent on disk; a step may end it yet.
    sagas.close();
    sagas.wait().await;
    Ok(served?)
}
