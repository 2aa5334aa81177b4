//! The whole shop on either registry.

use outrigger_tests::Shop;
use outrigger_tests::registry::{Backend, Registry};
use outrigger_tests::shop::order;

pub(crate) async fn the_briefs_order_goes_through(backend: Backend) {
    let (consul, builder) = match backend {
        Backend::Embedded => (None, Shop::builder()),
        Backend::Consul => {
            let Some(consul) = Registry::consul().await else {
                return;
            };
            let address = consul.address();
            (
                Some(consul),
                Shop::builder().argument("--consul").argument(address),
            )
        }
    };
    let mut shop = builder.start().await;
    let alice = shop.token("alice").await;
    let placed = shop
        .order(&alice, &order("on either registry"))
        .await
        .expect(201);
    assert_eq!(placed.body["state"], "CONFIRMED", "{}", placed.text);
    if let Some(consul) = &consul {
        let services = consul.get("/v1/catalog/services").await.unwrap();
        for name in ["orders", "payments-sidecar-proxy", "gateway"] {
            assert!(services.get(name).is_some(), "{name} is not in {services}");
        }
    }
    shop.stop().await;
    if let Some(consul) = &consul {
        let services = consul.get("/v1/catalog/services").await.unwrap();
        assert!(
            services.get("orders").is_none(),
            "the shop has left: {services}"
        );
    }
}
