//! Payments: an order's money, held, taken and given back, with books that always balance.
//!
//! Modules from the edge inwards.

/// The service's settings.
pub mod config;
/// The contract's methods.
pub mod grpc;
/// What the service does: a transaction, the processor, a transaction.
pub mod payments;

/// The demo's cards and wallets.
pub mod demo;
/// What can go wrong, as answers.
pub mod error;
/// The books, as pure postings.
pub mod ledger;
/// How a payment is made.
pub mod method;
/// A payment's states and rules.
pub mod payment;
/// The card processor.
pub mod processor;
/// Rows, and functions named for intentions.
pub mod store;

use std::sync::Arc;

use outrigger_proto::shop::payments::v1::payment_service_server::PaymentServiceServer;
use shop_chassis::clock::SystemClock;
use shop_chassis::ids::SystemIds;
use shop_chassis::page::Tokens;
use shop_chassis::seal::Sealer;
use shop_chassis::{CancellationToken, Clock, Database, Listener, Server};

pub use config::Config;
use payments::Payments;
use store::migration::Migrator;

/// Serves until `shutdown`; the caller owns the socket and the signals.
pub async fn serve(
    config: Config,
    listener: Listener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let tokens = Tokens::new(Sealer::from_file(&config.page_token_key_file)?);
    let database = Database::open::<Migrator>(&config.database_url).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let payments = Payments {
        processor: Arc::new(processor::Embedded::new(database.clone())),
        database: database.clone(),
        clock: Arc::clone(&clock),
        ids: Arc::new(SystemIds),
    };
    payments.load_demo().await?;
    let methods = grpc::Methods::new(payments, tokens, clock);
    Server::grpc(&config.instance)
        .requires(database)
        .add(PaymentServiceServer::new(methods))
        .serve(listener, shutdown)
        .await?;
    Ok(())
}
