//! The services an order needs, reached through the sidecar. Each call says what it answers; how often it is made and
//! how its errors are taken is `place_order`'s.

use outrigger_proto::shop::catalog::v1::product_service_client::ProductServiceClient;
use outrigger_proto::shop::catalog::v1::{BatchGetProductsRequest, Product};
use outrigger_proto::shop::identity::v1::user_service_client::UserServiceClient;
use outrigger_proto::shop::identity::v1::{Address, GetAddressRequest};
use outrigger_proto::shop::inventory::v1::reservation_service_client::ReservationServiceClient;
use outrigger_proto::shop::inventory::v1::{
    ConfirmReservationRequest, CreateReservationRequest, ReleaseReservationRequest, Reservation,
};
use outrigger_proto::shop::payments::v1::payment_service_client::PaymentServiceClient;
use outrigger_proto::shop::payments::v1::{
    CancelPaymentRequest, CapturePaymentRequest, CreatePaymentRequest, Payment,
};
use shop_chassis::client::{BadName, Outbound, Peer};
use tonic::{Request, Response, Status};

/// One client each; cheap to clone.
#[derive(Debug, Clone)]
pub struct Peers {
    catalog: ProductServiceClient<Peer>,
    identity: UserServiceClient<Peer>,
    inventory: ReservationServiceClient<Peer>,
    payments: PaymentServiceClient<Peer>,
}

impl Peers {
    /// Connects to nothing yet.
    pub fn through(outbound: &Outbound) -> Result<Self, BadName> {
        Ok(Self {
            catalog: ProductServiceClient::new(outbound.peer("catalog")?),
            identity: UserServiceClient::new(outbound.peer("identity")?),
            inventory: ReservationServiceClient::new(outbound.peer("inventory")?),
            payments: PaymentServiceClient::new(outbound.peer("payments")?),
        })
    }

    /// Products with their current prices.
    pub async fn products(
        mut self,
        request: Request<BatchGetProductsRequest>,
    ) -> Result<Vec<Product>, Status> {
        let answer = self.catalog.batch_get_products(request).await?;
        Ok(answer.into_inner().products)
    }

    /// A user's address.
    pub async fn address(mut self, request: Request<GetAddressRequest>) -> Result<Address, Status> {
        self.identity
            .get_address(request)
            .await
            .map(Response::into_inner)
    }

    /// Holds goods.
    pub async fn reserve(
        mut self,
        request: Request<CreateReservationRequest>,
    ) -> Result<Reservation, Status> {
        self.inventory
            .create_reservation(request)
            .await
            .map(Response::into_inner)
    }

    /// Holds goods without an end.
    pub async fn secure(
        mut self,
        request: Request<ConfirmReservationRequest>,
    ) -> Result<Reservation, Status> {
        self.inventory
            .confirm_reservation(request)
            .await
            .map(Response::into_inner)
    }

    /// Gives goods back, now and for good.
    pub async fn release(
        mut self,
        request: Request<ReleaseReservationRequest>,
    ) -> Result<Reservation, Status> {
        self.inventory
            .release_reservation(request)
            .await
            .map(Response::into_inner)
    }

    /// Holds money.
    pub async fn authorize(
        mut self,
        request: Request<CreatePaymentRequest>,
    ) -> Result<Payment, Status> {
        self.payments
            .create_payment(request)
            .await
            .map(Response::into_inner)
    }

    /// Takes money.
    pub async fn capture(
        mut self,
        request: Request<CapturePaymentRequest>,
    ) -> Result<Payment, Status> {
        self.payments
            .capture_payment(request)
            .await
            .map(Response::into_inner)
    }

    /// Gives money back, now and for good.
    pub async fn cancel(
        mut self,
        request: Request<CancelPaymentRequest>,
    ) -> Result<Payment, Status> {
        self.payments
            .cancel_payment(request)
            .await
            .map(Response::into_inner)
    }
}
