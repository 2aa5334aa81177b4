//! Products in the database, as functions named for intentions.

mod entity;
pub mod migration;

use jiff::Timestamp;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use shop_chassis::money::{Amount, Currency};

use crate::error::Error;
use entity::{price_history, product};

/// Something the shop sells.
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    /// Its id, such as `P-101`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The category it is listed under.
    pub category: String,
    /// Whatever else is known of it.
    pub attributes: serde_json::Map<String, serde_json::Value>,
    /// What it costs now.
    pub price: Amount,
    /// It can be ordered.
    pub active: bool,
    /// Counts the changes.
    pub version: i64,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The products with these ids, in no order; those the shop does not sell are left out.
pub async fn find(conn: &impl ConnectionTrait, ids: &[String]) -> Result<Vec<Product>, Error> {
    let rows = product::Entity::find()
        .filter(product::Column::Id.is_in(ids.iter().cloned()))
        .all(conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// At most `limit` products that can be ordered, by id, those after `after`; of one category unless it is empty.
pub async fn list(
    conn: &impl ConnectionTrait,
    category: &str,
    after: &str,
    limit: u64,
) -> Result<Vec<Product>, Error> {
    let mut query = product::Entity::find()
        .filter(product::Column::Active.eq(true))
        .filter(product::Column::Id.gt(after));
    if !category.is_empty() {
        query = query.filter(product::Column::Category.eq(category));
    }
    let rows = query
        .order_by_asc(product::Column::Id)
        .limit(limit)
        .all(conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Adds a product and the first entry of its price's history, unless the id is taken.
pub async fn add_if_absent(conn: &impl ConnectionTrait, new: &Product) -> Result<(), Error> {
    let added = product::Entity::insert(product::ActiveModel {
        id: Set(new.id.clone()),
        name: Set(new.name.clone()),
        description: Set(new.description.clone()),
        category: Set(new.category.clone()),
        attributes: Set(serde_json::to_string(&new.attributes)?),
        price_minor: Set(new.price.minor),
        currency: Set(new.price.currency.code().to_owned()),
        active: Set(new.active),
        version: Set(new.version),
        created_at: Set(new.created_at.as_microsecond()),
        updated_at: Set(new.updated_at.as_microsecond()),
    })
    .on_conflict_do_nothing_on([product::Column::Id])
    .exec_without_returning(conn)
    .await?;
    if !matches!(added, sea_orm::TryInsertResult::Inserted(1)) {
        return Ok(());
    }
    price_history::Entity::insert(price_history::ActiveModel {
        product_id: Set(new.id.clone()),
        version: Set(new.version),
        price_minor: Set(new.price.minor),
        currency: Set(new.price.currency.code().to_owned()),
        at: Set(new.created_at.as_microsecond()),
    })
    .exec_without_returning(conn)
    .await?;
    Ok(())
}

impl TryFrom<product::Model> for Product {
    type Error = Error;

    fn try_from(row: product::Model) -> Result<Self, Error> {
        Ok(Self {
            attributes: serde_json::from_str(&row.attributes)?,
            price: Amount::new(row.price_minor, Currency::parse(&row.currency)?),
            created_at: Timestamp::from_microsecond(row.created_at)?,
            updated_at: Timestamp::from_microsecond(row.updated_at)?,
            id: row.id,
            name: row.name,
            description: row.description,
            category: row.category,
            active: row.active,
            version: row.version,
        })
    }
}
