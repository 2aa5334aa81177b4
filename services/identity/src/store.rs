//! Users, addresses, sessions and signing keys in the database, as functions named for intentions.

mod entity;
pub mod migration;

use jiff::Timestamp;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
};

use crate::error::Error;
use crate::signing_key::StoredKey;
use crate::user::{User, Visibility};
use entity::{address as addresses, session, signing_key, user as users};

/// Where a user lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Its id, such as `ADDR-55`.
    pub id: String,
    /// Whose it is.
    pub user_id: u32,
    /// Who gets the parcel.
    pub recipient: String,
    /// Street and number.
    pub line: String,
    /// The city.
    pub city: String,
    /// The postal code.
    pub postal_code: String,
    /// State or province.
    pub region: String,
    /// ISO 3166-1 alpha-2.
    pub country_code: String,
    /// Used when an order names none.
    pub is_default: bool,
    /// When it was added.
    pub created_at: Timestamp,
}

/// One sign-in and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id, the token's `sid`.
    pub id: String,
    /// Who signed in.
    pub user_id: u32,
    /// Shared by all sessions that were refreshed from one sign-in.
    pub family_id: String,
    /// SHA-256 of the refresh token.
    pub refresh_hash: String,
    /// The client that signed in.
    pub user_agent: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when the refresh token is good.
    pub expires_at: Timestamp,
}

/// The user with this id, unless it was deleted.
pub async fn user(conn: &impl ConnectionTrait, id: u32) -> Result<Option<User>, Error> {
    let found = users::Entity::find_by_id(i64::from(id)).one(conn).await?;
    found.map(TryInto::try_into).transpose()
}

/// The user with this mail address, in any case of letters.
pub async fn user_by_email(
    conn: &impl ConnectionTrait,
    email: &str,
) -> Result<Option<User>, Error> {
    let found = users::Entity::find()
        .filter(users::Column::EmailCi.eq(email.to_lowercase()))
        .one(conn)
        .await?;
    found.map(TryInto::try_into).transpose()
}

/// An address of this user.
pub async fn address(
    conn: &impl ConnectionTrait,
    user_id: u32,
    id: &str,
) -> Result<Option<Address>, Error> {
    let found = addresses::Entity::find_by_id(id)
        .filter(addresses::Column::UserId.eq(i64::from(user_id)))
        .one(conn)
        .await?;
    found.map(TryInto::try_into).transpose()
}

/// Writes down a sign-in.
pub async fn add_session(conn: &impl ConnectionTrait, new: &Session) -> Result<(), Error> {
    session::Entity::insert(session::ActiveModel {
        id: Set(new.id.clone()),
        user_id: Set(i64::from(new.user_id)),
        family_id: Set(new.family_id.clone()),
        refresh_hash: Set(new.refresh_hash.clone()),
        prev_hash: Set(None),
        rotated_at: Set(None),
        created_at: Set(new.created_at.as_microsecond()),
        expires_at: Set(new.expires_at.as_microsecond()),
        revoked_at: Set(None),
        user_agent: Set(new.user_agent.clone()),
    })
    .exec_without_returning(conn)
    .await?;
    Ok(())
}

/// Adds a demo user with its address; one that exists gets the new password only.
pub async fn put_demo_user(
    conn: &impl ConnectionTrait,
    new: &User,
    phc: &str,
    home: &Address,
) -> Result<(), Error> {
    users::Entity::insert(users::ActiveModel {
        id: Set(i64::from(new.id)),
        name: Set(new.name.clone()),
        email: Set(new.email.clone()),
        email_ci: Set(new.email.to_lowercase()),
        password_phc: Set(Some(phc.to_owned())),
        visibility: Set(visibility_name(new.visibility).to_owned()),
        version: Set(new.version),
        created_at: Set(new.created_at.as_microsecond()),
        updated_at: Set(new.updated_at.as_microsecond()),
    })
    .on_conflict(
        OnConflict::column(users::Column::Id)
            .update_column(users::Column::PasswordPhc)
            .to_owned(),
    )
    .exec_without_returning(conn)
    .await?;
    addresses::Entity::insert(addresses::ActiveModel {
        id: Set(home.id.clone()),
        user_id: Set(i64::from(home.user_id)),
        recipient: Set(home.recipient.clone()),
        line: Set(home.line.clone()),
        city: Set(home.city.clone()),
        postal_code: Set(home.postal_code.clone()),
        region: Set(home.region.clone()),
        country_code: Set(home.country_code.clone()),
        is_default: Set(home.is_default),
        created_at: Set(home.created_at.as_microsecond()),
    })
    .on_conflict_do_nothing_on([addresses::Column::Id])
    .exec_without_returning(conn)
    .await?;
    Ok(())
}

/// The key that signs: the newest.
pub async fn newest_signing_key(conn: &impl ConnectionTrait) -> Result<Option<StoredKey>, Error> {
    Ok(signing_keys(conn).await?.into_iter().next())
}

/// Every key that may verify, newest first.
pub async fn signing_keys(conn: &impl ConnectionTrait) -> Result<Vec<StoredKey>, Error> {
    let rows = signing_key::Entity::find()
        .order_by_desc(signing_key::Column::NotBefore)
        .all(conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Adds a key that signs from now on.
pub async fn add_signing_key(
    conn: &impl ConnectionTrait,
    key: &StoredKey,
    now: Timestamp,
) -> Result<(), Error> {
    signing_key::Entity::insert(signing_key::ActiveModel {
        kid: Set(key.kid.clone()),
        alg: Set("ES256".to_owned()),
        public_point: Set(hex::encode(&key.public_point)),
        private_sealed: Set(hex::encode(&key.private_sealed)),
        not_before: Set(now.as_microsecond()),
        retire_at: Set(None),
    })
    .exec_without_returning(conn)
    .await?;
    Ok(())
}

impl TryFrom<users::Model> for User {
    type Error = Error;

    fn try_from(row: users::Model) -> Result<Self, Error> {
        Ok(Self {
            id: user_id(row.id)?,
            name: row.name,
            email: row.email,
            password_phc: row.password_phc,
            visibility: match row.visibility.as_str() {
                "PUBLIC" => Visibility::Public,
                "PRIVATE" => Visibility::Private,
                other => return Err(Error::Row(format!("visibility {other}"))),
            },
            version: row.version,
            created_at: time(row.created_at)?,
            updated_at: time(row.updated_at)?,
        })
    }
}

impl TryFrom<addresses::Model> for Address {
    type Error = Error;

    fn try_from(row: addresses::Model) -> Result<Self, Error> {
        Ok(Self {
            id: row.id,
            user_id: user_id(row.user_id)?,
            recipient: row.recipient,
            line: row.line,
            city: row.city,
            postal_code: row.postal_code,
            region: row.region,
            country_code: row.country_code,
            is_default: row.is_default,
            created_at: time(row.created_at)?,
        })
    }
}

impl TryFrom<signing_key::Model> for StoredKey {
    type Error = Error;

    fn try_from(row: signing_key::Model) -> Result<Self, Error> {
        let bytes = |text| hex::decode(text).map_err(|error| Error::Row(error.to_string()));
        Ok(Self {
            kid: row.kid,
            public_point: bytes(row.public_point)?,
            private_sealed: bytes(row.private_sealed)?,
        })
    }
}

fn visibility_name(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Private => "PRIVATE",
        Visibility::Public => "PUBLIC",
    }
}

fn user_id(id: i64) -> Result<u32, Error> {
    u32::try_from(id).map_err(|_| Error::Row(format!("user id {id}")))
}

fn time(micros: i64) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(micros).map_err(|error| Error::Row(error.to_string()))
}
