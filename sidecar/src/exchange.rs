//! One attempt on one stream.
//!
//! How an attempt ended is told as evidence: `unsent` when the call provably never left, `refused` when the peer provably did not take
//! it, else what broke. Nothing is repeated here.

use std::rc::Rc;
use std::sync::Arc;

use crate::balance::endpoint::Endpoint;
use crate::connect::{Application, Pool};
use crate::error::Error;
use crate::http2::client::{Client, Share};
use crate::stack::{Call, Reply};

/// One attempt on a pooled mTLS connection to `endpoint`. The reply's body drives what is left of the request's; dropping this future or
/// the reply resets the stream.
pub async fn exchange(
    pool: &Rc<Pool>,
    endpoint: &Arc<Endpoint>,
    call: Call,
) -> Result<Reply, Error> {
    // A drop while waiting leaves a connection being made, which the next call uses.
    let client = writable(async || pool.acquire(endpoint).await).await?;
    // A drop from here on resets the stream with CANCEL.
    client.call(call).await
}

/// One attempt on the local application. An application that cannot be reached has not seen the call.
pub async fn to_application(application: &Rc<Application>, call: Call) -> Result<Reply, Error> {
    if application.speaks_http1(call.protocol) {
        return application.call_http1(call).await;
    }
    let share = Share::of_caller(call.facts.is_known);
    let client = writable(async || application.acquire(share).await).await?;
    client.call(call).await
}

/// A connection that writes a head soon: behind others that nobody reads it would only take memory.
async fn writable(
    acquire: impl AsyncFn() -> Result<Rc<Client>, Error>,
) -> Result<Rc<Client>, Error> {
    loop {
        let client = acquire().await?;
        if client.takes_heads() {
            return Ok(client);
        }
        client.until_takes_heads().await;
    }
}
