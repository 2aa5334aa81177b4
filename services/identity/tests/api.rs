//! The service as its callers see it: over its socket, by gRPC and by HTTP.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::Path;

use futures::future::join_all;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use outrigger_proto::shop::identity::v1::session_service_client::SessionServiceClient;
use outrigger_proto::shop::identity::v1::user_service_client::UserServiceClient;
use outrigger_proto::shop::identity::v1::{
    CreateSessionRequest, CreateUserRequest, GetAddressRequest, GetJwksRequest, GetUserRequest,
    Jwks, Session, User, user,
};
use sea_orm::{ConnectionTrait as _, Statement};
use shop_chassis::Environment;
use shop_chassis::client::Peer;
use shop_chassis::scratch::{Served, as_service, as_user, on_each_engine, sqlite_url};
use shop_chassis::status::reason;
use tonic::{Code, Request, Status};

const PASSWORD: &str = "correct horse battery staple";

fn env(folder: &Path, database: &str) -> Environment {
    let demo = folder.join("demo.json");
    let users = serde_json::json!({"users": [
        {"email": "alice@example.com", "password": PASSWORD},
        {"email": "bob@example.com", "password": "bob's own"},
    ]});
    std::fs::write(&demo, users.to_string()).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    Environment::of([
        ("SHOP_IDENTITY_DATABASE_URL", database.to_owned()),
        ("SHOP_IDENTITY_KEY_FILE", path("keys/identity")),
        ("SHOP_DEMO_FILE", path("demo.json")),
    ])
}

async fn start() -> Served {
    Served::start(shop_identity::serve, |folder| {
        env(folder, &sqlite_url(folder))
    })
    .await
}

fn users(served: &Served) -> UserServiceClient<Peer> {
    UserServiceClient::new(served.peer())
}

async fn sign_in(served: &Served, email: &str, password: &str) -> Result<Session, Status> {
    let request = CreateSessionRequest {
        email: email.to_owned(),
        password: password.to_owned(),
    };
    let mut sessions = SessionServiceClient::new(served.peer());
    let answer = sessions
        .create_session(as_service("gateway", request))
        .await?;
    Ok(answer.into_inner())
}

async fn key_set(served: &Served) -> Jwks {
    let mut sessions = SessionServiceClient::new(served.peer());
    let answer = sessions
        .get_jwks(as_service("gateway", GetJwksRequest {}))
        .await;
    answer.unwrap().into_inner()
}

/// The claims of a token that the published key set verifies.
fn verified(token: &str, keys: &Jwks) -> serde_json::Value {
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let key = keys
        .keys
        .iter()
        .find(|key| Some(&key.kid) == header.kid.as_ref())
        .unwrap();
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_audience(&["shop"]);
    rules.set_issuer(&["https://shop.example"]);
    let key = DecodingKey::from_ec_components(&key.x, &key.y).unwrap();
    jsonwebtoken::decode(token, &key, &rules).unwrap().claims
}

#[tokio::test]
async fn alice_signs_in_and_her_token_verifies() {
    on_each_engine(async |url| {
        let served = Served::start(shop_identity::serve, |folder| env(folder, &url)).await;
        let session = sign_in(&served, "Alice@example.com", PASSWORD)
            .await
            .unwrap();
        assert_eq!(
            (session.user_id, session.token_type.as_str()),
            (1, "Bearer")
        );
        assert_eq!(session.expires_in, 600);
        assert_eq!(session.refresh_token.len(), 43);
        let claims = verified(&session.access_token, &key_set(&served).await);
        assert_eq!(claims["sub"], "1");
        assert_eq!(claims["sid"], session.session_id);
        assert_eq!(
            claims["scope"],
            "profile orders:read orders:write payments:read wallet notifications"
        );
        let (exp, iat) = (
            claims["exp"].as_i64().unwrap(),
            claims["iat"].as_i64().unwrap(),
        );
        assert_eq!(exp - iat, 600);
        assert!(claims["jti"].is_string());
        served.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_hear_the_same() {
    let served = start().await;
    let wrong = sign_in(&served, "alice@example.com", "wrong")
        .await
        .unwrap_err();
    let unknown = sign_in(&served, "mallory@example.com", PASSWORD)
        .await
        .unwrap_err();
    assert_eq!(wrong.code(), Code::Unauthenticated);
    assert_eq!(reason(&wrong).as_deref(), Some("CREDENTIALS_INVALID"));
    assert_eq!(
        (wrong.code(), wrong.message()),
        (unknown.code(), unknown.message())
    );
    assert_eq!(wrong.details(), unknown.details());
    served.stop().await;
}

#[tokio::test]
async fn each_sign_in_is_one_row_with_no_secret_in_it() {
    let served = start().await;
    let sessions = join_all((0..3).map(|_| sign_in(&served, "bob@example.com", "bob's own"))).await;
    let url = sqlite_url(served.folder().path());
    let database = sea_orm::Database::connect(url).await.unwrap();
    let query = Statement::from_string(
        sea_orm::DbBackend::Sqlite,
        "SELECT refresh_hash FROM sessions",
    );
    let rows = database.query_all_raw(query).await.unwrap();
    assert_eq!(rows.len(), 3);
    for session in sessions {
        let secret = session.unwrap().refresh_token;
        for row in &rows {
            assert_ne!(row.try_get::<String>("", "refresh_hash").unwrap(), secret);
        }
    }
    let (_, metrics) = served.get("/metrics").await;
    let counted =
        "shop_calls_total{method=\"shop.identity.v1.SessionService/CreateSession\",code=\"OK\"} 3";
    assert!(metrics.contains(counted), "{metrics}");
    served.stop().await;
}

#[tokio::test]
async fn a_token_outlives_a_restart_and_new_passwords_hold() {
    let served = start().await;
    let token = sign_in(&served, "alice@example.com", PASSWORD)
        .await
        .unwrap()
        .access_token;
    let folder = served.folder();
    served.stop().await;
    let served = Served::start_in(folder, shop_identity::serve, |folder| {
        let env = env(folder, &sqlite_url(folder));
        let users = r#"{"users":[{"email":"alice@example.com","password":"new"}]}"#;
        std::fs::write(folder.join("demo.json"), users).unwrap();
        env
    })
    .await;
    verified(&token, &key_set(&served).await);
    assert!(sign_in(&served, "alice@example.com", "new").await.is_ok());
    let old = sign_in(&served, "alice@example.com", PASSWORD)
        .await
        .unwrap_err();
    assert_eq!(reason(&old).as_deref(), Some("CREDENTIALS_INVALID"));
    served.stop().await;
}

#[tokio::test]
async fn a_user_is_shown_in_the_width_the_caller_may_see() {
    let served = start().await;
    let get = |id, view: user::View| {
        let mut request = GetUserRequest {
            id,
            ..GetUserRequest::default()
        };
        request.set_view(view);
        request
    };
    let basic = |id: u32, name: &str, email: &str| User {
        id,
        name: name.to_owned(),
        email: email.to_owned(),
        ..User::default()
    };
    let alice = basic(1, "Alice", "alice@example.com");
    let profile: &[&str] = &["profile"];
    for (request, expected) in [
        (
            as_service("gateway", get(1, user::View::Full)),
            alice.clone(),
        ),
        (
            as_user(1, profile, get(0, user::View::Basic)),
            alice.clone(),
        ),
        (
            as_user(1, profile, get(2, user::View::Full)),
            basic(2, "Bob", "bob@example.com"),
        ),
    ] {
        assert_eq!(
            users(&served).get_user(request).await.unwrap().into_inner(),
            expected
        );
    }
    let own = users(&served)
        .get_user(as_user(1, profile, get(1, user::View::Full)))
        .await;
    let own = own.unwrap().into_inner();
    assert_eq!(
        (own.state(), own.etag.as_str()),
        (user::State::Active, "\"1\"")
    );
    for (request, code, expected) in [
        (
            as_service("gateway", get(999, user::View::Basic)),
            Code::NotFound,
            "USER_NOT_FOUND",
        ),
        (
            as_service("gateway", get(0, user::View::Basic)),
            Code::Unauthenticated,
            "TOKEN_MISSING",
        ),
        (
            as_service("orders", get(1, user::View::Basic)),
            Code::PermissionDenied,
            "CALLER_NOT_ALLOWED",
        ),
    ] {
        let status = users(&served).get_user(request).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_deref()),
            (code, Some(expected))
        );
    }
    served.stop().await;
}

#[tokio::test]
async fn an_address_is_for_its_owner_and_for_orders() {
    let served = start().await;
    let get = |user_id, id: &str| GetAddressRequest {
        user_id,
        address_id: id.to_owned(),
    };
    let profile: &[&str] = &["profile"];
    let ask = async |request: Request<GetAddressRequest>| {
        let answer = users(&served).get_address(request).await;
        answer
            .map(|address| address.into_inner().address_id)
            .map_err(|status| reason(&status).unwrap())
    };
    let refused = |reason: &str| Err(reason.to_owned());
    for (request, expected) in [
        (
            as_user(1, profile, get(0, "ADDR-55")),
            Ok("ADDR-55".to_owned()),
        ),
        (
            as_service("orders", get(1, "ADDR-55")),
            Ok("ADDR-55".to_owned()),
        ),
        (
            as_service("orders", get(2, "ADDR-55")),
            refused("ADDRESS_NOT_FOUND"),
        ),
        (
            as_service("orders", get(0, "ADDR-55")),
            refused("TOKEN_MISSING"),
        ),
        (
            as_user(2, profile, get(1, "ADDR-55")),
            refused("ADDRESS_NOT_FOUND"),
        ),
        (
            as_user(2, &["admin", "profile"], get(1, "ADDR-55")),
            Ok("ADDR-55".to_owned()),
        ),
        (as_user(1, &[], get(1, "ADDR-55")), refused("SCOPE_MISSING")),
        (
            as_service("gateway", get(1, "ADDR-55")),
            refused("TOKEN_MISSING"),
        ),
        (
            as_service("catalog", get(1, "ADDR-55")),
            refused("CALLER_NOT_ALLOWED"),
        ),
    ] {
        let asked = format!("{request:?}");
        assert_eq!(ask(request).await, expected, "{asked}");
    }
    served.stop().await;
}

#[tokio::test]
async fn what_is_not_served_yet_says_so() {
    let served = start().await;
    let request = CreateUserRequest {
        name: "Carol".to_owned(),
        email: "carol@example.com".to_owned(),
        password: String::new(),
    };
    let answer = users(&served)
        .create_user(as_service("gateway", request))
        .await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rush_of_sign_ins_does_not_hold_up_others() {
    let served = start().await;
    let rush = join_all((0..40).map(|_| sign_in(&served, "alice@example.com", PASSWORD)));
    let others = async {
        for _ in 0..20 {
            let request = GetUserRequest {
                id: 2,
                ..GetUserRequest::default()
            };
            let mut users = users(&served);
            users
                .get_user(as_service("gateway", request))
                .await
                .unwrap();
        }
        tokio::time::Instant::now()
    };
    let (rush_ended, others_ended) = tokio::join!(
        async {
            let ended = rush.await;
            (ended, tokio::time::Instant::now())
        },
        others
    );
    assert!(rush_ended.0.iter().all(Result::is_ok));
    assert!(
        others_ended < rush_ended.1,
        "the others waited for the rush"
    );
    served.stop().await;
}
