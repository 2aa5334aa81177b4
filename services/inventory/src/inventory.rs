//! What the service does, one transaction each; `grpc` only translates.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use shop_chassis::{Clock, Database, Ids};

use crate::demo;
use crate::error::Error;
use crate::reservation::{Line, TIME_TO_LIVE_MICROS};
use crate::store::{self, Reservation, Stamp, Stock};

/// Stock and reservations over a database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inventory {
    database: Database,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

impl Inventory {
    /// Over a database that was migrated.
    pub fn new(database: Database, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self {
            database,
            clock,
            ids,
        }
    }

    /// The database, for what belongs into a caller's transaction.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The ids and the time of a transaction that begins now.
    pub fn stamp(&self) -> Stamp<'_> {
        Stamp {
            ids: self.ids.as_ref(),
            now: self.clock.now(),
        }
    }

    /// Stocks the demo's articles once.
    pub async fn load_demo(&self) -> Result<(), Error> {
        let stamp = self.stamp();
        self.database
            .write(|tx| async move { demo::load(&*tx, stamp).await })
            .await
    }

    /// One article's units.
    pub async fn stock(&self, sku: &str) -> Result<Stock, Error> {
        store::stock(self.database.read(), sku)
            .await?
            .ok_or_else(|| Error::UnknownProduct(sku.to_owned()))
    }

    /// Several articles' units, in the order asked.
    pub async fn stock_of(&self, skus: &[String]) -> Result<Vec<Stock>, Error> {
        let found = store::stock_of(self.database.read(), skus.iter().cloned()).await?;
        skus.iter()
            .map(|sku| {
                found
                    .iter()
                    .find(|stock| stock.sku == *sku)
                    .cloned()
                    .ok_or_else(|| Error::UnknownProduct(sku.clone()))
            })
            .collect()
    }

    /// Holds every line for the order, or none.
    pub async fn reserve(
        &self,
        order_id: &str,
        lines: &[Line],
        time_to_live: Option<SignedDuration>,
    ) -> Result<Reservation, Error> {
        let stamp = self.stamp();
        let expires_at = expiry(stamp.now, time_to_live);
        self.database
            .write(|tx| async move {
                store::reserve(&*tx, stamp, order_id, lines.to_vec(), expires_at).await
            })
            .await
    }

    /// Takes the end off a reservation.
    pub async fn confirm(&self, order_id: &str) -> Result<Reservation, Error> {
        let stamp = self.stamp();
        self.database
            .write(|tx| async move { store::confirm(&*tx, stamp, order_id).await })
            .await
    }

    /// Gives back whatever the order holds, now and for good.
    pub async fn release(&self, order_id: &str) -> Result<Reservation, Error> {
        let stamp = self.stamp();
        self.database
            .write(|tx| async move { store::release(&*tx, stamp, order_id).await })
            .await
    }

    /// The reservation of an order.
    pub async fn reservation(&self, order_id: &str) -> Result<Reservation, Error> {
        store::reservation(self.database.read(), order_id)
            .await?
            .ok_or_else(|| Error::Refused {
                order_id: order_id.to_owned(),
                refusal: crate::reservation::Refusal::Unknown,
            })
    }

    /// Gives back what is due, a transaction each; how many it were.
    pub async fn sweep(&self) -> Result<usize, Error> {
        const BATCH: u64 = 100;
        let due = store::find_expired(self.database.read(), self.clock.now(), BATCH).await?;
        let mut expired = 0;
        for order_id in due {
            let stamp = self.stamp();
            let order = order_id.as_str();
            let gone = self
                .database
                .write(|tx| async move { store::expire(&*tx, stamp, order).await })
                .await?;
            if gone {
                tracing::info!(order_id, "reservation expired");
                expired += 1;
            }
        }
        Ok(expired)
    }
}

fn expiry(now: Timestamp, time_to_live: Option<SignedDuration>) -> Timestamp {
    let time_to_live =
        time_to_live.unwrap_or_else(|| SignedDuration::from_micros(TIME_TO_LIVE_MICROS));
    now.saturating_add(time_to_live).unwrap_or(Timestamp::MAX)
}
