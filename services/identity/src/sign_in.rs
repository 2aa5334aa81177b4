//! Signing in: the password is checked, a session is written, and the user gets an access token and a refresh token.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use shop_chassis::{Clock, Database, Ids};

use crate::error::Error;
use crate::password::Passwords;
use crate::store::{self, Session};
use crate::token::{Refresh, Signer};

/// What every user of the demo shop may do.
const SCOPE: &str = "profile orders:read orders:write payments:read wallet notifications";
/// A session that is never refreshed ends after this.
const SESSION_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct SignIn {
    database: Database,
    passwords: Passwords,
    signer: Signer,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

/// What somebody who signed in gets.
#[derive(Debug)]
pub struct SignedIn {
    /// The session as it was written.
    pub session: Session,
    /// What the access token allows, separated by blanks.
    pub scope: &'static str,
    /// For the `Authorization` header, ten minutes.
    pub access_token: String,
    /// For the next access token, once.
    pub refresh_token: String,
}

impl SignIn {
    /// Over a database that was migrated.
    pub fn new(
        database: Database,
        passwords: Passwords,
        signer: Signer,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Self {
        Self {
            database,
            passwords,
            signer,
            clock,
            ids,
        }
    }

    /// An unknown mail address and a wrong password get the same answer after the same time.
    pub async fn with_password(
        &self,
        email: &str,
        password: String,
        user_agent: String,
    ) -> Result<SignedIn, Error> {
        let user = store::user_by_email(self.database.read(), email).await?;
        let phc = user.as_ref().and_then(|user| user.password_phc.clone());
        let matches = self.passwords.verify(password, phc).await?;
        let user = user.filter(|_| matches).ok_or(Error::WrongCredentials)?;
        let refresh = Refresh::new(self.ids.as_ref());
        let session = self.session(user.id, refresh.hash, user_agent);
        self.database
            .write(|tx| {
                let session = &session;
                async move { store::add_session(&*tx, session).await }
            })
            .await?;
        let access_token = self.signer.access_token(
            user.id,
            &session.id,
            SCOPE,
            session.created_at,
            self.ids.as_ref(),
        )?;
        Ok(SignedIn {
            session,
            scope: SCOPE,
            access_token,
            refresh_token: refresh.token,
        })
    }

    fn session(&self, user_id: u32, refresh_hash: String, user_agent: String) -> Session {
        let now = self.clock.now();
        Session {
            id: self.ids.uuid().to_string(),
            user_id,
            family_id: self.ids.uuid().to_string(),
            refresh_hash,
            user_agent,
            created_at: now,
            expires_at: now
                .saturating_add(SESSION_LIFETIME)
                .unwrap_or(Timestamp::MAX),
        }
    }
}
