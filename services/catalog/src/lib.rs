//! Catalog: what the shop sells, and for how much.
//!
//! Modules from the edge inwards.

/// The service's settings.
pub mod config;
/// The demo's products.
pub mod demo;
/// What can go wrong, as answers.
pub mod error;
/// The contract's methods.
pub mod grpc;
/// Rows, and functions named for intentions.
pub mod store;

use std::sync::Arc;

use outrigger_proto::shop::catalog::v1::product_service_server::ProductServiceServer;
use shop_chassis::clock::SystemClock;
use shop_chassis::page::Tokens;
use shop_chassis::seal::Sealer;
use shop_chassis::{CancellationToken, Clock as _, Database, Listener, Server};

pub use config::Config;
use error::Error;
use store::migration::Migrator;

/// Serves until `shutdown`; the caller owns the socket and the signals.
pub async fn serve(
    config: Config,
    listener: Listener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let tokens = Tokens::new(Sealer::from_file(&config.page_token_key_file)?);
    let database = Database::open::<Migrator>(&config.database_url).await?;
    let now = SystemClock.now();
    database
        .write(|tx| async move { demo::load(&*tx, now).await })
        .await
        .map_err(|error: Error| anyhow::anyhow!("demo products: {error}"))?;
    let products = grpc::Products::new(database.clone(), tokens, Arc::new(SystemClock));
    Server::grpc(&config.instance)
        .requires(database)
        .add(ProductServiceServer::new(products))
        .serve(listener, shutdown)
        .await?;
    Ok(())
}
