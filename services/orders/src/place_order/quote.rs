//! The first step: what it costs, and whether the address exists. Reading owes nothing.

use std::collections::BTreeMap;

use outrigger_proto::google::r#type::Money;
use outrigger_proto::shop::catalog::v1::{BatchGetProductsRequest, Product};
use outrigger_proto::shop::identity::v1::GetAddressRequest;
use outrigger_proto::shop::orders::v1::order::{Item, Rejection};
use outrigger_proto::shop::orders::v1::{OrderPriced, OrderSubmitted, order_submitted};
use shop_chassis::money::{self, Amount};

use super::ask::{self, Asked};
use super::{Outcome, PlaceOrder, Placing};
use crate::error::Error;
use crate::saga::{self, Direction, Step, StepState};
use crate::store::sagas::StepResult;

impl PlaceOrder {
    /// Prices and address, asked for at the same time.
    pub(super) async fn quote(&self, placing: &Placing) -> Outcome<OrderPriced> {
        let taken = (Step::Quote, Direction::Forward);
        self.intend(&placing.lease, taken, Vec::new()).await?;
        let (products, address) =
            tokio::join!(self.ask_products(placing), self.ask_address(placing));
        let outcome = match (products, address) {
            (Ok(products), Ok(())) => price(&placing.submitted, &products)?,
            (Err(rejection), _) | (_, Err(rejection)) => Err(rejection),
        };
        let refused = outcome.as_ref().err();
        let result = StepResult {
            step: Step::Quote,
            direction: Direction::Forward,
            state: refused.map_or(StepState::Done, |_| StepState::Refused),
            response: Vec::new(),
            error: refused
                .map(|refusal| refusal.reason.clone())
                .unwrap_or_default(),
            attempts: 1,
        };
        self.record(&placing.lease, &result).await?;
        Ok(outcome)
    }

    async fn ask_products(&self, placing: &Placing) -> Result<Vec<Product>, Rejection> {
        let product_ids = placing
            .submitted
            .items
            .iter()
            .map(|item| item.product_id.clone());
        let request = BatchGetProductsRequest {
            product_ids: product_ids.collect(),
        };
        let call = |request| self.peers.clone().products(request);
        match ask::until_definite(&request, self.step_timeout, call)
            .await
            .answer
        {
            Asked::Done(products) => Ok(products),
            Asked::Refused(refusal) => Err(refusal),
            Asked::Unknown(_) => Err(saga::given_up(Step::Quote)),
        }
    }

    async fn ask_address(&self, placing: &Placing) -> Result<(), Rejection> {
        let request = GetAddressRequest {
            user_id: placing.submitted.user_id,
            address_id: placing.submitted.shipping_address_id.clone(),
        };
        let call = |request| self.peers.clone().address(request);
        match ask::until_definite(&request, self.step_timeout, call)
            .await
            .answer
        {
            Asked::Done(_) => Ok(()),
            Asked::Refused(refusal) => Err(refusal),
            Asked::Unknown(_) => Err(saga::no_identity()),
        }
    }
}

/// The order's lines at today's prices, unless a price the user saw is another one.
fn price(
    submitted: &OrderSubmitted,
    products: &[Product],
) -> Result<Result<OrderPriced, Rejection>, Error> {
    let mut items = Vec::with_capacity(submitted.items.len());
    let mut total = Amount::usd(0);
    for item in &submitted.items {
        let (unit, price) = match look_up(item, products)? {
            Ok(found) => found,
            Err(rejection) => return Ok(Err(rejection)),
        };
        total.minor = unit
            .minor
            .checked_mul(i64::from(item.quantity))
            .and_then(|line| total.minor.checked_add(line))
            .ok_or(money::Error::Overflow)?;
        items.push(Item {
            product_id: item.product_id.clone(),
            quantity: item.quantity,
            unit_price: Some(price),
        });
    }
    Ok(Ok(OrderPriced {
        order_id: submitted.order_id.clone(),
        items,
        shipping: Some(Amount::usd(0).into()),
        total: Some(total.into()),
        sealed_address: Vec::new(),
    }))
}

fn look_up(
    item: &order_submitted::Item,
    products: &[Product],
) -> Result<Result<(Amount, Money), Rejection>, Error> {
    let found = products
        .iter()
        .find(|product| product.product_id == item.product_id && product.active)
        .and_then(|product| product.price.clone());
    let Some(price) = found else {
        return Ok(Err(unknown_product(&item.product_id)));
    };
    let unit = Amount::try_from(&price)?;
    match item.claimed_price {
        Some(claimed) if claimed != unit.minor => {
            Ok(Err(price_changed(&item.product_id, claimed, unit.minor)))
        }
        Some(_) | None => Ok(Ok((unit, price))),
    }
}

fn unknown_product(product_id: &str) -> Rejection {
    Rejection {
        reason: "PRODUCT_NOT_FOUND".to_owned(),
        message: format!("there is no product {product_id}"),
        metadata: [("product_id".to_owned(), product_id.to_owned())].into(),
    }
}

fn price_changed(product_id: &str, claimed: i64, current: i64) -> Rejection {
    let metadata = BTreeMap::from([
        ("product_id".to_owned(), product_id.to_owned()),
        ("claimed".to_owned(), claimed.to_string()),
        ("current".to_owned(), current.to_string()),
    ]);
    Rejection {
        reason: "PRICE_CHANGED".to_owned(),
        message: format!("{product_id} costs {current} minor units, not {claimed}"),
        metadata: metadata.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submitted(claimed_price: Option<i64>) -> OrderSubmitted {
        OrderSubmitted {
            items: vec![order_submitted::Item {
                product_id: "P-101".to_owned(),
                quantity: 2,
                claimed_price,
            }],
            ..OrderSubmitted::default()
        }
    }

    fn product(active: bool) -> Product {
        Product {
            product_id: "P-101".to_owned(),
            price: Some(Amount::usd(1200).into()),
            active,
            ..Product::default()
        }
    }

    #[test]
    fn lines_are_added_up_at_todays_prices() {
        for claimed in [None, Some(1200)] {
            let priced = price(&submitted(claimed), &[product(true)])
                .unwrap()
                .unwrap();
            assert_eq!(priced.total.unwrap().units, 24);
        }
    }

    #[test]
    fn a_price_the_user_did_not_see_is_no_deal() {
        let refused = price(&submitted(Some(1100)), &[product(true)])
            .unwrap()
            .unwrap_err();
        assert_eq!(refused.reason, "PRICE_CHANGED");
        assert_eq!(refused.metadata["claimed"], "1100");
        assert_eq!(refused.metadata["current"], "1200");
    }

    #[test]
    fn what_is_not_sold_is_not_found() {
        for products in [vec![], vec![product(false)]] {
            let refused = price(&submitted(None), &products).unwrap().unwrap_err();
            assert_eq!(refused.reason, "PRODUCT_NOT_FOUND");
        }
    }
}
