//! The demo's products: the brief's `P-101` and `4521`, and forty generated ones in six categories, `P-201` to
//! `P-240`. Loaded once: a product that exists keeps its row. The same in every run.

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use serde_json::json;
use shop_chassis::money::Amount;

use crate::error::Error;
use crate::store::{self, Product};

const CATEGORIES: [(&str, [&str; 3]); 6] = [
    ("paddles", ["Ash", "Bamboo", "Carbon"]),
    ("hulls", ["Cedar", "Koa", "Fibreglass"]),
    ("sails", ["Crab-claw", "Spritsail", "Storm"]),
    ("ropes", ["Sennit", "Hemp", "Polyester"]),
    ("floats", ["Wiliwili", "Foam", "Hollow"]),
    ("clothing", ["Wool", "Linen", "Oilskin"]),
];
const NOUNS: [&str; 6] = ["paddle", "hull", "sail", "rope", "float", "jacket"];

/// Adds every demo product that is not there yet.
pub async fn load(conn: &impl ConnectionTrait, now: Timestamp) -> Result<(), Error> {
    for product in products(now) {
        store::add_if_absent(conn, &product).await?;
    }
    Ok(())
}

/// The demo's catalogue, as it stands at `now`.
fn products(now: Timestamp) -> Vec<Product> {
    let named = [
        ("P-101", "Bailer", "Keeps the water where it belongs.", 1200),
        ("4521", "Navigation lamp", "Seen from two miles away.", 4999),
    ];
    let named = named.map(|(id, name, description, price)| {
        product(now, id, (name, description), "equipment", price)
    });
    named
        .into_iter()
        .chain((0..40).map(|n| generated(now, n)))
        .collect()
}

fn generated(now: Timestamp, n: usize) -> Product {
    let kind = n % CATEGORIES.len();
    let (category, materials) = CATEGORIES[kind];
    let name = format!("{} {}", materials[n / 6 % 3], NOUNS[kind]);
    let description = format!("{name}, batch {}.", n / 18 + 1);
    let price = 500 + (n as i64 * 7919) % 20_000;
    product(
        now,
        &format!("P-{}", 201 + n),
        (&name, &description),
        category,
        price,
    )
}

fn product(
    now: Timestamp,
    id: &str,
    (name, description): (&str, &str),
    category: &str,
    price_minor: i64,
) -> Product {
    let attributes = json!({"origin": "demo"});
    Product {
        id: id.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
        category: category.to_owned(),
        attributes: attributes.as_object().cloned().unwrap_or_default(),
        price: Amount::usd(price_minor),
        active: true,
        version: 1,
        created_at: now,
        updated_at: now,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_demo_sells_the_briefs_products_and_forty_in_six_categories() {
        let all = products(Timestamp::UNIX_EPOCH);
        let price = |id| all.iter().find(|p| p.id == id).map(|p| p.price);
        assert_eq!(price("P-101"), Some(Amount::usd(1200)));
        assert_eq!(price("4521"), Some(Amount::usd(4999)));
        assert_eq!(all.len(), 42);
        let ids: BTreeSet<_> = all.iter().map(|product| &product.id).collect();
        assert_eq!(ids.len(), 42, "ids repeat");
        let categories: BTreeSet<_> = all[2..].iter().map(|product| &product.category).collect();
        assert_eq!(categories.len(), 6);
    }
}
