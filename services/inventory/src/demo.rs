//! The demo's stock: 1000 of `P-101`, the brief's 12 of `4521`, and the forty generated articles of the catalogue,
//! `P-201` to `P-240`. Loaded once: an article that has a row keeps it.

use sea_orm::ConnectionTrait;

use crate::error::Error;
use crate::store::{self, Stamp};

const NAMED: [(&str, i64); 2] = [("P-101", 1000), ("4521", 12)];

/// Stocks every demo article that has no row yet.
pub async fn load(conn: &impl ConnectionTrait, stamp: Stamp<'_>) -> Result<(), Error> {
    for (sku, units) in articles() {
        if store::stock(conn, &sku).await?.is_none() {
            store::adjust(conn, stamp, &sku, units).await?;
        }
    }
    Ok(())
}

fn articles() -> impl Iterator<Item = (String, i64)> {
    let generated = (201_i64..=240).map(|number| (format!("P-{number}"), 50 + number * 37 % 200));
    NAMED
        .into_iter()
        .map(|(sku, units)| (sku.to_owned(), units))
        .chain(generated)
}
