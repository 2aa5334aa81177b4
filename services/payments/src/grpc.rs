//! Decode, call, encode: no rule and no SQL.

use std::sync::Arc;

use outrigger_proto::shop::payments::v1::{
    self as api, CancelPaymentRequest, CapturePaymentRequest, CreatePaymentRequest,
    GetPaymentRequest, GetWalletRequest, ListPaymentMethodsRequest, ListPaymentMethodsResponse,
    ListPaymentsRequest, ListPaymentsResponse, payment_service_server::PaymentService,
};
use shop_chassis::clock::to_proto;
use shop_chassis::money::Amount;
use shop_chassis::page::{List, Tokens};
use shop_chassis::{Caller, Clock, Failure};
use tonic::{Request, Response, Status};

use crate::error::{Error, reason};
use crate::ledger::Account;
use crate::payment::State;
use crate::payments::{Order, Payments};
use crate::processor::Decline;
use crate::store::methods::{self, Attached};
use crate::store::{self, Payment, Position, books};

/// `shop.payments.v1.PaymentService`.
#[derive(Debug, Clone)]
pub struct Methods {
    payments: Payments,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
}

impl Methods {
    /// Over what the service does.
    pub fn new(payments: Payments, tokens: Tokens, clock: Arc<dyn Clock>) -> Self {
        Self {
            payments,
            tokens,
            clock,
        }
    }

    async fn page(
        &self,
        user_id: u32,
        request: ListPaymentsRequest,
    ) -> Result<ListPaymentsResponse, Status> {
        let arguments = ListPaymentsRequest {
            order_id: request.order_id.clone(),
            ..ListPaymentsRequest::default()
        };
        let list = List::new("shop.payments.v1.PaymentService/ListPayments", &arguments);
        let now = self.clock.now();
        let page = self
            .tokens
            .read(&list, request.page_size, &request.page_token, now)?;
        let after = page.after.as_deref().map(parse_position).transpose()?;
        let order_id = Some(request.order_id.as_str()).filter(|id| !id.is_empty());
        // One more than asked tells whether there is a next page.
        let limit = u64::from(page.size) + 1;
        let conn = self.payments.database.read();
        let mut found = store::list(conn, user_id, order_id, after.as_ref(), limit).await?;
        let more = found.len() as u64 == limit;
        found.truncate(page.size as usize);
        let next_page_token = match found.last() {
            Some(last) if more => self.tokens.next(&list, &position(last)?, now),
            Some(_) | None => String::new(),
        };
        Ok(ListPaymentsResponse {
            payments: found.iter().map(encode).collect(),
            next_page_token,
        })
    }
}

#[tonic::async_trait]
impl PaymentService for Methods {
    async fn create_payment(
        &self,
        request: Request<CreatePaymentRequest>,
    ) -> Result<Response<api::Payment>, Status> {
        let request = request.into_inner();
        let capture = request.capture;
        let order = decode(request)?;
        let mut payment = self.payments.authorize(&order).await?;
        if capture {
            payment = self.payments.capture(&order.id).await?;
        }
        Ok(Response::new(encode(&payment)))
    }

    async fn capture_payment(
        &self,
        request: Request<CapturePaymentRequest>,
    ) -> Result<Response<api::Payment>, Status> {
        let payment = self.payments.capture(&request.get_ref().order_id).await?;
        Ok(Response::new(encode(&payment)))
    }

    async fn cancel_payment(
        &self,
        request: Request<CancelPaymentRequest>,
    ) -> Result<Response<api::Payment>, Status> {
        let payment = self.payments.cancel(&request.get_ref().order_id).await?;
        Ok(Response::new(encode(&payment)))
    }

    async fn get_payment(
        &self,
        request: Request<GetPaymentRequest>,
    ) -> Result<Response<api::Payment>, Status> {
        let user_id = Caller::of(&request)?.user()?.user_id;
        let id = &request.get_ref().payment_id;
        let payment = store::find_of_user(self.payments.database.read(), user_id, id)
            .await?
            .ok_or_else(|| Error::UnknownPayment(id.clone()))?;
        Ok(Response::new(encode(&payment)))
    }

    async fn list_payments(
        &self,
        request: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        let user_id = Caller::of(&request)?.user()?.user_id;
        Ok(Response::new(
            self.page(user_id, request.into_inner()).await?,
        ))
    }

    /// A user has a handful: one page holds them all.
    async fn list_payment_methods(
        &self,
        request: Request<ListPaymentMethodsRequest>,
    ) -> Result<Response<ListPaymentMethodsResponse>, Status> {
        let user_id = Caller::of(&request)?.user()?.user_id;
        let attached = methods::of_user(self.payments.database.read(), user_id).await?;
        Ok(Response::new(ListPaymentMethodsResponse {
            payment_methods: attached.into_iter().map(encode_method).collect(),
            next_page_token: String::new(),
        }))
    }

    async fn get_wallet(
        &self,
        request: Request<GetWalletRequest>,
    ) -> Result<Response<api::Wallet>, Status> {
        let user_id = Caller::of(&request)?.user()?.user_id;
        let conn = self.payments.database.read();
        // A wallet is what we owe, so its sum is negative.
        let balance = -books::balance(conn, &Account::Wallet(user_id)).await?;
        let held = store::held_in_wallet(conn, user_id).await?;
        Ok(Response::new(api::Wallet {
            user_id,
            balance: Some(Amount::usd(balance).into()),
            held: Some(Amount::usd(held).into()),
        }))
    }
}

fn decode(request: CreatePaymentRequest) -> Result<Order, Failure> {
    let amount = request.amount.unwrap_or_default();
    let amount = Amount::try_from(&amount)?;
    if amount.minor <= 0 {
        return Err(Failure::field("amount", "must be above zero"));
    }
    Ok(Order {
        id: request.order_id,
        user_id: request.user_id,
        amount,
        payment_method: request.payment_method,
    })
}

fn encode(payment: &Payment) -> api::Payment {
    let decline = Decline::parse(&payment.decline_reason);
    let mut encoded = api::Payment {
        payment_id: payment.id.clone(),
        order_id: payment.order_id.clone(),
        user_id: payment.user_id,
        amount: Some(payment.amount.into()),
        payment_method: payment.payment_method.clone(),
        brand: payment.method.brand.clone(),
        last4: payment.method.last4.clone(),
        transaction_id: payment.transaction_id.clone(),
        refunded: (payment.refunded > 0)
            .then(|| Amount::new(payment.refunded, payment.amount.currency).into()),
        decline_reason: decline.map(reason).unwrap_or_default().to_owned(),
        create_time: Some(to_proto(payment.created_at)),
        update_time: Some(to_proto(payment.updated_at)),
        ..api::Payment::default()
    };
    encoded.set_state(encode_state(payment));
    encoded
}

/// A cancellation that is still under way is told by what it undoes.
fn encode_state(payment: &Payment) -> api::payment::State {
    match payment.state {
        State::Pending => api::payment::State::Pending,
        State::Authorized => api::payment::State::Authorized,
        State::Captured => api::payment::State::Captured,
        State::Declined => api::payment::State::Declined,
        State::Cancelling if payment.captured => api::payment::State::Captured,
        State::Cancelling => api::payment::State::Pending,
        State::Cancelled if payment.refunded > 0 => api::payment::State::Refunded,
        State::Cancelled => api::payment::State::Cancelled,
    }
}

fn encode_method(attached: Attached) -> api::PaymentMethod {
    let method = attached.method;
    api::PaymentMethod {
        display_name: format!("{} ending in {}", method.brand, method.last4),
        payment_method: method.token,
        brand: method.brand,
        last4: method.last4,
        is_default: attached.is_default,
    }
}

fn position(payment: &Payment) -> Result<String, Error> {
    let position = Position {
        created_at: payment.created_at.as_microsecond(),
        id: payment.id.clone(),
    };
    Ok(serde_json::to_string(&position)?)
}

fn parse_position(text: &str) -> Result<Position, Error> {
    Ok(serde_json::from_str(text)?)
}
