//! The cards a user attached.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
};

use super::entity::payment_method as methods;
use crate::error::Error;
use crate::method::{Choice, Method};

/// A card of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The card.
    pub method: Method,
    /// Whether `card` stands for it.
    pub is_default: bool,
}

/// What the user's choice stands for; `None` if it stands for nothing.
pub async fn resolve(
    conn: &impl ConnectionTrait,
    user_id: u32,
    choice: &Choice,
) -> Result<Option<Method>, Error> {
    let of_user = methods::Entity::find().filter(methods::Column::UserId.eq(i64::from(user_id)));
    let row = match choice {
        Choice::Wallet => return Ok(Some(Method::wallet())),
        Choice::DefaultCard => {
            of_user
                .filter(methods::Column::IsDefault.eq(true))
                .one(conn)
                .await?
        }
        Choice::Token(token) => match Method::test_token(token) {
            Some(method) => return Ok(Some(method)),
            None => {
                of_user
                    .filter(methods::Column::Token.eq(token))
                    .one(conn)
                    .await?
            }
        },
    };
    Ok(row.map(|row| Attached::from(row).method))
}

/// The user's cards, the default first.
pub async fn of_user(conn: &impl ConnectionTrait, user_id: u32) -> Result<Vec<Attached>, Error> {
    let rows = methods::Entity::find()
        .filter(methods::Column::UserId.eq(i64::from(user_id)))
        .order_by_desc(methods::Column::IsDefault)
        .order_by_asc(methods::Column::Token)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Attaches a card; a card that is attached stays as it is.
pub async fn attach(
    conn: &impl ConnectionTrait,
    user_id: u32,
    card: &Attached,
) -> Result<(), Error> {
    methods::Entity::insert(methods::ActiveModel {
        user_id: Set(i64::from(user_id)),
        token: Set(card.method.token.clone()),
        brand: Set(card.method.brand.clone()),
        last4: Set(card.method.last4.clone()),
        is_default: Set(card.is_default),
    })
    .on_conflict_do_nothing()
    .exec_without_returning(conn)
    .await?;
    Ok(())
}

impl From<methods::Model> for Attached {
    fn from(row: methods::Model) -> Self {
        Self {
            method: Method {
                token: row.token,
                brand: row.brand,
                last4: row.last4,
            },
            is_default: row.is_default,
        }
    }
}
