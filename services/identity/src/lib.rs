//! Identity: who the shop's users are, where they live, and how they prove it.
//!
//! Modules from the edge inwards.

/// The service's settings.
pub mod config;
/// The contract's methods.
pub mod grpc;
/// Signing in: password, session, token.
pub mod sign_in;

/// The demo's users.
pub mod demo;
/// What can go wrong, as answers.
pub mod error;
/// Hashing and checking of passwords, off the runtime's threads.
pub mod password;
/// The key that signs, and the set that verifies.
pub mod signing_key;
/// Rows, and functions named for intentions.
pub mod store;
/// Access tokens and refresh tokens.
pub mod token;
/// Who may see whom.
pub mod user;

use std::sync::Arc;

use outrigger_proto::shop::identity::v1::session_service_server::SessionServiceServer;
use outrigger_proto::shop::identity::v1::user_service_server::UserServiceServer;
use shop_chassis::clock::SystemClock;
use shop_chassis::ids::SystemIds;
use shop_chassis::seal::Sealer;
use shop_chassis::{CancellationToken, Clock, Database, Listener, Server};

pub use config::Config;
use password::Passwords;
use sign_in::SignIn;
use store::migration::Migrator;

/// Serves until `shutdown`; the caller owns the socket and the signals.
pub async fn serve(
    config: Config,
    listener: Listener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sealer = Sealer::from_file(&config.key_file)?;
    let database = Database::open::<Migrator>(&config.database_url).await?;
    let passwords = Passwords::new()?;
    demo::load(
        &database,
        &passwords,
        config.demo_file.as_deref(),
        clock.now(),
    )
    .await?;
    let key = signing_key::load_or_make(&database, &sealer, clock.now()).await?;
    let sign_in = SignIn::new(database.clone(), passwords, key, clock, Arc::new(SystemIds));
    Server::grpc(&config.instance)
        .requires(database.clone())
        .add(UserServiceServer::new(grpc::Users::new(database.clone())))
        .add(SessionServiceServer::new(grpc::Sessions::new(
            database, sign_in,
        )))
        .serve(listener, shutdown)
        .await?;
    Ok(())
}
