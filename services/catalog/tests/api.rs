//! The service as its callers see it: over its socket, by gRPC and by HTTP.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;
use std::path::Path;

use outrigger_proto::google::r#type::Money;
use outrigger_proto::grpc::health::v1::HealthCheckRequest;
use outrigger_proto::grpc::health::v1::health_check_response::ServingStatus;
use outrigger_proto::grpc::health::v1::health_client::HealthClient;
use outrigger_proto::shop::catalog::v1::product_service_client::ProductServiceClient;
use outrigger_proto::shop::catalog::v1::{
    BatchGetProductsRequest, DeleteProductRequest, GetProductRequest, ListProductsRequest,
    ListProductsResponse,
};
use shop_chassis::Environment;
use shop_chassis::client::Peer;
use shop_chassis::scratch::{Served, as_service, as_user, on_each_engine, sqlite_url};
use shop_chassis::status::{error_info, reason};
use tonic::{Code, Status};

async fn start() -> Served {
    Served::start(shop_catalog::serve, |folder| {
        env(folder, &sqlite_url(folder))
    })
    .await
}

fn env(folder: &Path, database: &str) -> Environment {
    let key = folder.join("keys/page").display().to_string();
    Environment::of([
        ("SHOP_CATALOG_DATABASE_URL", database),
        ("SHOP_PAGE_TOKEN_KEY_FILE", &key),
        ("OUTRIGGER_INSTANCE", "catalog-v1-0"),
    ])
}

fn client(served: &Served) -> ProductServiceClient<Peer> {
    ProductServiceClient::new(served.peer())
}

fn product(id: &str) -> GetProductRequest {
    GetProductRequest {
        product_id: id.to_owned(),
    }
}

fn batch(ids: &[&str]) -> BatchGetProductsRequest {
    BatchGetProductsRequest {
        product_ids: ids.iter().map(|&id| id.to_owned()).collect(),
    }
}

async fn page(
    served: &Served,
    category: &str,
    page_size: i32,
    page_token: &str,
) -> Result<ListProductsResponse, Status> {
    let request = ListProductsRequest {
        page_size,
        page_token: page_token.to_owned(),
        category: category.to_owned(),
    };
    let answer = client(served)
        .list_products(as_service("gateway", request))
        .await?;
    Ok(answer.into_inner())
}

#[tokio::test]
async fn the_briefs_products_cost_what_the_brief_says() {
    on_each_engine(async |url| {
        let served = Served::start(shop_catalog::serve, |folder| env(folder, &url)).await;
        for (id, units, nanos) in [("P-101", 12, 0), ("4521", 49, 990_000_000)] {
            let answer = client(&served)
                .get_product(as_service("orders", product(id)))
                .await;
            let product = answer.unwrap().into_inner();
            assert_eq!(product.product_id, id);
            let price = Money {
                currency_code: "USD".to_owned(),
                units,
                nanos,
            };
            assert_eq!(product.price, Some(price));
        }
        served.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_batch_keeps_the_order_and_fails_whole() {
    let served = start().await;
    let mut client = client(&served);
    let ids = ["P-203", "4521", "P-101"];
    let answer = client
        .batch_get_products(as_service("orders", batch(&ids)))
        .await
        .unwrap();
    let products = answer.into_inner().products;
    assert_eq!(
        products
            .iter()
            .map(|product| &product.product_id)
            .collect::<Vec<_>>(),
        ids
    );
    let missing = batch(&["P-101", "P-999"]);
    let status = client
        .batch_get_products(as_service("orders", missing))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let info = error_info(&status).unwrap();
    assert_eq!(info.reason, "PRODUCT_NOT_FOUND");
    assert_eq!(info.metadata["product_id"], "P-999");
    served.stop().await;
}

#[tokio::test]
async fn pages_cover_the_list_once_whatever_their_sizes() {
    on_each_engine(async |url| {
        let served = Served::start(shop_catalog::serve, |folder| env(folder, &url)).await;
        let (mut seen, mut token) = (Vec::new(), String::new());
        for size in [1, 20, 7, 50] {
            let page = page(&served, "", size, &token).await.unwrap();
            seen.extend(page.products.into_iter().map(|product| product.product_id));
            token = page.next_page_token;
        }
        assert_eq!(token, "");
        assert_eq!(seen.len(), 42);
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 42);
        served.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_page_token_is_good_for_its_own_list_only() {
    let served = start().await;
    let token = page(&served, "sails", 2, "").await.unwrap().next_page_token;
    assert!(
        page(&served, "sails", 2, &token)
            .await
            .unwrap()
            .products
            .len()
            == 2
    );
    for (category, size, token, expected) in [
        ("hulls", 2, token.as_str(), "PAGE_TOKEN_INVALID"),
        ("sails", 2, "P-203", "PAGE_TOKEN_INVALID"),
        ("sails", -1, "", "FIELD_INVALID"),
    ] {
        let status = page(&served, category, size, token).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(
            reason(&status).as_deref(),
            Some(expected),
            "{category} {size} {token}"
        );
    }
    served.stop().await;
}

#[tokio::test]
async fn the_contract_decides_who_may_call_and_with_what() {
    let served = start().await;
    let mut client = client(&served);
    let stranger = client
        .get_product(as_service("payments", product("P-101")))
        .await;
    let outsider = client.get_product(product("P-101")).await;
    let empty = client.get_product(as_service("gateway", product(""))).await;
    for (answer, code, expected) in [
        (stranger, Code::PermissionDenied, "CALLER_NOT_ALLOWED"),
        (outsider, Code::PermissionDenied, "CALLER_NOT_ALLOWED"),
        (empty, Code::InvalidArgument, "FIELD_INVALID"),
    ] {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), code);
        assert_eq!(reason(&status).as_deref(), Some(expected));
        assert_eq!(
            status.metadata().get("x-served-by").unwrap(),
            "catalog/v1/catalog-v1-0"
        );
    }
    let delete = || DeleteProductRequest {
        product_id: "P-101".to_owned(),
        ..Default::default()
    };
    for (request, code) in [
        (as_service("gateway", delete()), Code::Unauthenticated),
        (as_user(1, &["profile"], delete()), Code::PermissionDenied),
        (
            as_user(1, &["catalog:write"], delete()),
            Code::Unimplemented,
        ),
    ] {
        assert_eq!(
            client.delete_product(request).await.unwrap_err().code(),
            code
        );
    }
    served.stop().await;
}

#[tokio::test]
async fn its_calls_are_counted_by_method_and_code() {
    let served = start().await;
    let mut client = client(&served);
    for id in ["P-101", "4521", "P-999"] {
        let _ = client.get_product(as_service("gateway", product(id))).await;
    }
    let (status, metrics) = served.get("/metrics").await;
    assert_eq!(status, 200);
    let method = "method=\"shop.catalog.v1.ProductService/GetProduct\"";
    for line in [
        format!("shop_calls_total{{{method},code=\"OK\"}} 2"),
        format!("shop_calls_total{{{method},code=\"NOT_FOUND\"}} 1"),
        format!("shop_calls_started_total{{{method}}} 3"),
    ] {
        assert!(metrics.contains(&line), "{line} not in\n{metrics}");
    }
    served.stop().await;
}

#[tokio::test]
async fn without_its_database_it_is_alive_and_not_ready() {
    let served = start().await;
    let mut health = HealthClient::new(served.peer());
    let mut check = async || {
        let answer = health.check(HealthCheckRequest::default()).await.unwrap();
        answer.into_inner().status()
    };
    assert_eq!(check().await, ServingStatus::Serving);
    assert_eq!(
        served.get("/health").await,
        (200, r#"{"status":"healthy"}"#.to_owned())
    );
    std::fs::remove_file(served.folder().path().join("db.sqlite")).unwrap();
    assert_eq!(check().await, ServingStatus::NotServing);
    assert_eq!(
        served.get("/health").await,
        (503, r#"{"status":"unhealthy"}"#.to_owned())
    );
    assert_eq!(served.get("/health/live").await.0, 200);
    served.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_the_rows() {
    let served = start().await;
    let folder = served.folder();
    let created = async |served: &Served| {
        let answer = client(served)
            .get_product(as_service("gateway", product("P-240")))
            .await;
        answer.unwrap().into_inner().create_time
    };
    let before = created(&served).await;
    served.stop().await;
    let env = |folder: &Path| env(folder, &sqlite_url(folder));
    let served = Served::start_in(folder, shop_catalog::serve, env).await;
    assert_eq!(created(&served).await, before);
    served.stop().await;
}
