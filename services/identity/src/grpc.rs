//! Decode, call, encode: no rule and no SQL.

use outrigger_proto::shop::identity::v1::{
    self as api, CreateSessionRequest, GetAddressRequest, GetJwksRequest, GetUserRequest, Jwks,
    session_service_server::SessionService, user, user_service_server::UserService,
};
use shop_chassis::caller::GATEWAY;
use shop_chassis::clock::to_proto;
use shop_chassis::{Caller, Database};
use tonic::{Request, Response, Status};

use crate::error::Error;
use crate::sign_in::{SignIn, SignedIn};
use crate::signing_key::to_jwk;
use crate::store::{self, Address};
use crate::token;
use crate::user::{Sight, User, Visibility, sight};

/// The longest `user-agent` a session remembers, in bytes.
const USER_AGENT: usize = 256;

/// `shop.identity.v1.UserService`.
#[derive(Debug, Clone)]
pub struct Users {
    database: Database,
}

/// `shop.identity.v1.SessionService`.
#[derive(Debug, Clone)]
pub struct Sessions {
    database: Database,
    sign_in: SignIn,
}

impl Users {
    /// Over a database that was migrated.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    async fn user(&self, caller: &Caller, id: u32, full: bool) -> Result<api::User, Error> {
        let id = own_unless_named(caller, id)?;
        let found = store::user(self.database.read(), id).await?;
        let user = found.ok_or(Error::UnknownUser(id))?;
        match sight(caller, id, user.visibility) {
            Sight::Nothing => Err(Error::UnknownUser(id)),
            Sight::Full if full => Ok(encode_full(&user)),
            Sight::Basic | Sight::Full => Ok(encode_basic(&user)),
        }
    }

    async fn address(
        &self,
        caller: &Caller,
        request: GetAddressRequest,
    ) -> Result<api::Address, Error> {
        let user_id = own_unless_named(caller, request.user_id)?;
        let unknown = || Error::UnknownAddress(request.address_id.clone());
        // Services are let in by the contract's `callers`; users see their own.
        if caller.peer == GATEWAY {
            let principal = caller.user().map_err(Error::Caller)?;
            if principal.user_id != user_id && !principal.is_admin() {
                return Err(unknown());
            }
        }
        store::address(self.database.read(), user_id, &request.address_id)
            .await?
            .map(|address| encode_address(&address))
            .ok_or_else(unknown)
    }
}

impl Sessions {
    /// Over a database that was migrated.
    pub fn new(database: Database, sign_in: SignIn) -> Self {
        Self { database, sign_in }
    }
}

#[tonic::async_trait]
impl UserService for Users {
    async fn get_user(
        &self,
        request: Request<GetUserRequest>,
    ) -> Result<Response<api::User>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let full = request.view() == user::View::Full;
        Ok(Response::new(self.user(&caller, request.id, full).await?))
    }

    async fn get_address(
        &self,
        request: Request<GetAddressRequest>,
    ) -> Result<Response<api::Address>, Status> {
        let caller = Caller::of(&request)?;
        let address = self.address(&caller, request.into_inner()).await?;
        Ok(Response::new(address))
    }
}

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn create_session(
        &self,
        request: Request<CreateSessionRequest>,
    ) -> Result<Response<api::Session>, Status> {
        let agent = request.metadata().get("user-agent");
        let agent = agent.and_then(|agent| agent.to_str().ok()).unwrap_or("");
        let agent: String = agent.chars().take(USER_AGENT).collect();
        let request = request.into_inner();
        let signed_in = self
            .sign_in
            .with_password(&request.email, request.password, agent)
            .await?;
        Ok(Response::new(encode_session(signed_in)))
    }

    async fn get_jwks(&self, _: Request<GetJwksRequest>) -> Result<Response<Jwks>, Status> {
        let keys = store::signing_keys(self.database.read()).await?;
        Ok(Response::new(Jwks {
            keys: keys.iter().map(to_jwk).collect(),
        }))
    }
}

/// Id 0 stands for the caller.
fn own_unless_named(caller: &Caller, id: u32) -> Result<u32, Error> {
    match id {
        0 => Ok(caller.user().map_err(Error::Caller)?.user_id),
        named => Ok(named),
    }
}

/// Exactly id, name and mail address.
fn encode_basic(user: &User) -> api::User {
    api::User {
        id: user.id,
        name: user.name.clone(),
        email: user.email.clone(),
        ..api::User::default()
    }
}

fn encode_full(user: &User) -> api::User {
    let mut full = api::User {
        create_time: Some(to_proto(user.created_at)),
        update_time: Some(to_proto(user.updated_at)),
        etag: format!("\"{}\"", user.version),
        ..encode_basic(user)
    };
    full.set_state(match user.password_phc {
        Some(_) => user::State::Active,
        None => user::State::Invited,
    });
    full.set_visibility(match user.visibility {
        Visibility::Private => user::Visibility::Private,
        Visibility::Public => user::Visibility::Public,
    });
    full
}

fn encode_address(address: &Address) -> api::Address {
    api::Address {
        address_id: address.id.clone(),
        user_id: address.user_id,
        recipient: address.recipient.clone(),
        lines: vec![address.line.clone()],
        city: address.city.clone(),
        postal_code: address.postal_code.clone(),
        region: address.region.clone(),
        country_code: address.country_code.clone(),
        is_default: address.is_default,
        create_time: Some(to_proto(address.created_at)),
    }
}

fn encode_session(signed_in: SignedIn) -> api::Session {
    let session = signed_in.session;
    api::Session {
        session_id: session.id,
        user_id: session.user_id,
        access_token: signed_in.access_token,
        token_type: "Bearer".to_owned(),
        expires_in: u32::try_from(token::LIFETIME.as_secs()).unwrap_or(0),
        refresh_token: signed_in.refresh_token,
        scope: signed_in.scope.to_owned(),
        create_time: Some(to_proto(session.created_at)),
        expire_time: Some(to_proto(session.expires_at)),
        revoke_time: None,
        user_agent: session.user_agent,
    }
}
