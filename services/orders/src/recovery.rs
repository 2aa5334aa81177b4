//! Goes on with what a crash left behind: sagas that an earlier life of this process drove, whose driver's lease ran
//! out, or whose undoing was put off. What was going forward is undone. One task, owned and awaited by `serve`.

use std::sync::Arc;
use std::time::Duration;

use shop_chassis::{CancellationToken, Transaction};

use crate::error::Error;
use crate::place_order::PlaceOrder;
use crate::saga::{self, Step};
use crate::store::{self, sagas};

const BATCH: u64 = 32;

/// Looks at once and then every `interval`, until `shutdown`.
pub async fn run(place_order: PlaceOrder, interval: Duration, shutdown: CancellationToken) {
    loop {
        if let Err(error) = take_up(&place_order, &shutdown).await {
            tracing::warn!(%error, "recovery failed and will be tried again");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
    }
}

async fn take_up(place_order: &PlaceOrder, shutdown: &CancellationToken) -> Result<(), Error> {
    let database = &place_order.database;
    let (now, owner) = (place_order.now(), &place_order.owner);
    for order_id in sagas::find_abandoned(database.read(), now, owner, BATCH).await? {
        if shutdown.is_cancelled() {
            return Ok(());
        }
        match resume(place_order, &order_id).await {
            // Somebody else was faster, which is all we want.
            Ok(()) | Err(Error::LeaseLost) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn resume(place_order: &PlaceOrder, order_id: &str) -> Result<(), Error> {
    let database = &place_order.database;
    let (now, owner) = (place_order.now(), &place_order.owner);
    let work = |tx: Arc<Transaction>| async move { sagas::claim(&*tx, now, owner, order_id).await };
    let Some(lease) = database.write(work).await? else {
        return Ok(());
    };
    let saga = sagas::find(database.read(), order_id).await?;
    let order = store::find(database.read(), order_id).await?;
    let (Some(saga), Some(order)) = (saga, order) else {
        return Ok(());
    };
    let order = match saga.rejection {
        Some(rejection) => place_order.compensate(lease, order, rejection).await?,
        None => {
            let rejection = saga::given_up(saga.step.unwrap_or(Step::Quote));
            place_order.give_up(lease, order, rejection).await?
        }
    };
    tracing::info!(
        order_id,
        state = order.order.state().as_str_name(),
        "taken up after a crash"
    );
    Ok(())
}
