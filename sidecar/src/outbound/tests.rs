use http::{HeaderMap, Method};

use super::*;
use crate::attempt::Policy;
use crate::contract::Contract;
use crate::deadline::Limit;
use crate::observe as seen;
use crate::stack::{Call, Peer, Protocol, Reply};

/// A future of a call is moved through the layers and boxed once a route: its size is paid on every call.
#[tokio::test]
async fn the_future_of_a_route_stays_small() {
    let config: crate::config::Config = toml::from_str(
        "service = \"web\"\ninstance = \"web-0\"\n[registry]\naddress = \"http://127.0.0.1:8500\"",
    )
    .unwrap();
    let shared = crate::snapshot::Shared::new(Arc::new(config)).unwrap();
    let upstream = Arc::new(Upstream::new(
        "s".into(),
        Contract::default(),
        tokio::time::Instant::now(),
    ));
    let inner = |_: Call| {
        std::future::ready(Err::<Reply, _>(crate::error::Error::new(
            crate::error::Kind::Internal,
            "not called",
        )))
    };
    let stage = ServiceBuilder::new()
        .layer(deadline::layer(Limit::Default))
        .layer(attempt::layer(&shared, &upstream, &Policy::default()))
        .service(inner);
    let call = Call::arrived(
        Protocol::Grpc,
        Peer::Application,
        Method::POST,
        "/s.S/M".parse().unwrap(),
        "s".to_owned(),
        HeaderMap::new(),
        seen::empty(),
    );
    let future = stage.call(call);
    let size = size_of_val(&future);
    assert!(size <= 4096, "{size} bytes");
}
