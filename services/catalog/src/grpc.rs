//! Decode, call, encode: no rule and no SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_proto::shop::catalog::v1::{
    self as api, BatchGetProductsRequest, BatchGetProductsResponse, GetProductRequest,
    ListProductsRequest, ListProductsResponse, product_service_server::ProductService,
};
use shop_chassis::clock::to_proto;
use shop_chassis::page::{List, Tokens};
use shop_chassis::{Clock, Database};
use tonic::{Request, Response, Status};

use crate::error::Error;
use crate::store::{self, Product};

/// `shop.catalog.v1.ProductService`.
#[derive(Debug, Clone)]
pub struct Products {
    database: Database,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
}

impl Products {
    /// Over a database that was migrated.
    pub fn new(database: Database, tokens: Tokens, clock: Arc<dyn Clock>) -> Self {
        Self {
            database,
            tokens,
            clock,
        }
    }

    async fn batch(&self, ids: &[String]) -> Result<Vec<api::Product>, Error> {
        let found = store::find(self.database.read(), ids).await?;
        ids.iter()
            .map(|id| {
                found
                    .iter()
                    .find(|product| product.id == *id)
                    .ok_or_else(|| Error::UnknownProduct(id.clone()))
                    .map(encode)
            })
            .collect()
    }

    async fn page(&self, request: ListProductsRequest) -> Result<ListProductsResponse, Error> {
        let arguments = ListProductsRequest {
            category: request.category.clone(),
            ..ListProductsRequest::default()
        };
        let list = List::new("shop.catalog.v1.ProductService/ListProducts", &arguments);
        let now = self.clock.now();
        let page = self
            .tokens
            .read(&list, request.page_size, &request.page_token, now)
            .map_err(Error::Page)?;
        let after = page.after.as_deref().unwrap_or("");
        // One more than asked tells whether there is a next page.
        let limit = u64::from(page.size) + 1;
        let mut products =
            store::list(self.database.read(), &request.category, after, limit).await?;
        let more = products.len() as u64 == limit;
        products.truncate(page.size as usize);
        let next_page_token = match products.last() {
            Some(last) if more => self.tokens.next(&list, &last.id, now),
            Some(_) | None => String::new(),
        };
        Ok(ListProductsResponse {
            products: products.iter().map(encode).collect(),
            next_page_token,
        })
    }
}

#[tonic::async_trait]
impl ProductService for Products {
    async fn get_product(
        &self,
        request: Request<GetProductRequest>,
    ) -> Result<Response<api::Product>, Status> {
        let ids = [request.into_inner().product_id];
        let mut found = self.batch(&ids).await?;
        Ok(Response::new(found.remove(0)))
    }

    async fn batch_get_products(
        &self,
        request: Request<BatchGetProductsRequest>,
    ) -> Result<Response<BatchGetProductsResponse>, Status> {
        let products = self.batch(&request.get_ref().product_ids).await?;
        Ok(Response::new(BatchGetProductsResponse { products }))
    }

    async fn list_products(
        &self,
        request: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        Ok(Response::new(self.page(request.into_inner()).await?))
    }
}

fn encode(product: &Product) -> api::Product {
    api::Product {
        product_id: product.id.clone(),
        name: product.name.clone(),
        description: product.description.clone(),
        category: product.category.clone(),
        attributes: Some(structure(&product.attributes)),
        price: Some(product.price.into()),
        active: product.active,
        create_time: Some(to_proto(product.created_at)),
        update_time: Some(to_proto(product.updated_at)),
        etag: format!("\"{}\"", product.version),
    }
}

fn structure(object: &serde_json::Map<String, serde_json::Value>) -> prost_types::Struct {
    let fields: BTreeMap<_, _> = object
        .iter()
        .map(|(key, value)| (key.clone(), json_value(value)))
        .collect();
    prost_types::Struct { fields }
}

fn json_value(value: &serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    use serde_json::Value;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(claim) => Kind::BoolValue(*claim),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(values) => Kind::ListValue(prost_types::ListValue {
            values: values.iter().map(json_value).collect(),
        }),
        Value::Object(object) => Kind::StructValue(structure(object)),
    };
    prost_types::Value { kind: Some(kind) }
}
