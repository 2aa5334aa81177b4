//! Catalog, identity, inventory and payments on one socket, as a script plays them. They keep what matters to a saga:
//! what was done for an order, and that an order that was undone is not done any more.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use outrigger_proto::shop::catalog::v1::product_service_server::{
    ProductService, ProductServiceServer,
};
use outrigger_proto::shop::catalog::v1::{
    BatchGetProductsRequest, BatchGetProductsResponse, Product,
};
use outrigger_proto::shop::identity::v1::user_service_server::{UserService, UserServiceServer};
use outrigger_proto::shop::identity::v1::{Address, GetAddressRequest};
use outrigger_proto::shop::inventory::v1::reservation_service_server::{
    ReservationService, ReservationServiceServer,
};
use outrigger_proto::shop::inventory::v1::{
    ConfirmReservationRequest, CreateReservationRequest, ReleaseReservationRequest, Reservation,
};
use outrigger_proto::shop::payments::v1::payment_service_server::{
    PaymentService, PaymentServiceServer,
};
use outrigger_proto::shop::payments::v1::{
    CancelPaymentRequest, CapturePaymentRequest, CreatePaymentRequest, Payment,
};
use shop_chassis::Failure;
use shop_chassis::money::Amount;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};

/// What a neighbour does with a call instead of answering it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    /// A definite "no", and nothing is done.
    Refuse(&'static str),
    /// It is done, and the reply gets lost.
    LoseReply,
    /// Nothing is done, and nobody answers.
    Hang,
}

/// The neighbours, running.
pub(crate) struct Neighbours {
    folder: TempDir,
    play: Play,
    _running: JoinSet<()>,
}

#[derive(Clone, Default)]
struct Play(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    script: HashMap<&'static str, (Act, u32)>,
    calls: Vec<&'static str>,
    /// Orders with goods held, with money held or taken.
    reserved: BTreeSet<String>,
    paid: BTreeSet<String>,
    undone: BTreeSet<(&'static str, String)>,
    keys: BTreeSet<String>,
}

impl Neighbours {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let play = Play::default();
        let listener = UnixListener::bind(folder.path().join("outbound.sock")).unwrap();
        let server = Server::builder()
            .add_service(ProductServiceServer::new(play.clone()))
            .add_service(UserServiceServer::new(play.clone()))
            .add_service(ReservationServiceServer::new(play.clone()))
            .add_service(PaymentServiceServer::new(play.clone()))
            .serve_with_incoming(UnixListenerStream::new(listener));
        let mut running = JoinSet::new();
        running.spawn(async move { server.await.unwrap() });
        Self {
            folder,
            play,
            _running: running,
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:{}/outbound.sock", self.folder.path().display())
    }

    /// The next `times` calls of a method go like this.
    pub(crate) fn act(&self, method: &'static str, act: Act, times: u32) {
        self.play
            .0
            .lock()
            .unwrap()
            .script
            .insert(method, (act, times));
    }

    /// The methods that were called, in order, each as often as it was.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.play.0.lock().unwrap().calls.clone()
    }

    /// Orders that hold goods, orders that hold money.
    pub(crate) fn held(&self) -> (usize, usize) {
        let state = self.play.0.lock().unwrap();
        (state.reserved.len(), state.paid.len())
    }

    /// The keys that payments were asked for with.
    pub(crate) fn payment_keys(&self) -> usize {
        self.play.0.lock().unwrap().keys.len()
    }
}

impl Play {
    /// Notes the call and plays it; `done` is its effect.
    async fn play(
        &self,
        method: &'static str,
        done: impl FnOnce(&mut State) -> Result<(), Status> + Send,
    ) -> Result<(), Status> {
        let act = self.next(method);
        match act {
            Some(Act::Refuse(reason)) => {
                Err(Failure::new(Code::FailedPrecondition, reason, "no").into())
            }
            Some(Act::Hang) => std::future::pending().await,
            Some(Act::LoseReply) => {
                done(&mut self.0.lock().unwrap())?;
                Err(Status::unavailable("the reply got lost"))
            }
            None => done(&mut self.0.lock().unwrap()),
        }
    }

    fn next(&self, method: &'static str) -> Option<Act> {
        let mut state = self.0.lock().unwrap();
        state.calls.push(method);
        let (act, left) = state.script.get_mut(method)?;
        *left = left.checked_sub(1)?;
        Some(*act)
    }
}

/// An order that was undone is not done any more.
fn unless_undone(state: &State, what: &'static str, order: &str) -> Result<(), Status> {
    if state.undone.contains(&(what, order.to_owned())) {
        return Err(Failure::new(Code::FailedPrecondition, "OPERATION_REVOKED", "too late").into());
    }
    Ok(())
}

#[tonic::async_trait]
impl ProductService for Play {
    async fn batch_get_products(
        &self,
        request: Request<BatchGetProductsRequest>,
    ) -> Result<Response<BatchGetProductsResponse>, Status> {
        self.play("quote", |_| Ok(())).await?;
        let product = |id: String| Product {
            product_id: id,
            price: Some(Amount::usd(1200).into()),
            active: true,
            ..Product::default()
        };
        let ids = request.into_inner().product_ids;
        if ids.iter().any(|id| id == "unknown") {
            return Err(
                Failure::new(Code::NotFound, "PRODUCT_NOT_FOUND", "no such product").into(),
            );
        }
        let products = ids.into_iter().map(product).collect();
        Ok(Response::new(BatchGetProductsResponse { products }))
    }
}

#[tonic::async_trait]
impl UserService for Play {
    async fn get_address(
        &self,
        request: Request<GetAddressRequest>,
    ) -> Result<Response<Address>, Status> {
        self.play("address", |_| Ok(())).await?;
        Ok(Response::new(Address {
            address_id: request.into_inner().address_id,
            ..Address::default()
        }))
    }
}

#[tonic::async_trait]
impl ReservationService for Play {
    async fn create_reservation(
        &self,
        request: Request<CreateReservationRequest>,
    ) -> Result<Response<Reservation>, Status> {
        let order = request.into_inner().order_id;
        self.play("reserve", |state| {
            unless_undone(state, "goods", &order)?;
            state.reserved.insert(order);
            Ok(())
        })
        .await?;
        Ok(Response::new(Default::default()))
    }

    async fn confirm_reservation(
        &self,
        request: Request<ConfirmReservationRequest>,
    ) -> Result<Response<Reservation>, Status> {
        let order = request.into_inner().order_id;
        self.play("secure", |state| unless_undone(state, "goods", &order))
            .await?;
        Ok(Response::new(Default::default()))
    }

    async fn release_reservation(
        &self,
        request: Request<ReleaseReservationRequest>,
    ) -> Result<Response<Reservation>, Status> {
        let order = request.into_inner().order_id;
        self.play("release", |state| {
            state.reserved.remove(&order);
            state.undone.insert(("goods", order));
            Ok(())
        })
        .await?;
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl PaymentService for Play {
    async fn create_payment(
        &self,
        request: Request<CreatePaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let request = request.into_inner();
        self.play("authorize", |state| {
            unless_undone(state, "money", &request.order_id)?;
            state.keys.insert(request.idempotency_key);
            state.paid.insert(request.order_id);
            Ok(())
        })
        .await?;
        Ok(Response::new(Default::default()))
    }

    async fn capture_payment(
        &self,
        request: Request<CapturePaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let order = request.into_inner().order_id;
        self.play("capture", |state| unless_undone(state, "money", &order))
            .await?;
        Ok(Response::new(Payment {
            brand: "visa".to_owned(),
            last4: "4242".to_owned(),
            transaction_id: "TX89123".to_owned(),
            ..Payment::default()
        }))
    }

    async fn cancel_payment(
        &self,
        request: Request<CancelPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let order = request.into_inner().order_id;
        self.play("cancel", |state| {
            state.paid.remove(&order);
            state.undone.insert(("money", order));
            Ok(())
        })
        .await?;
        Ok(Response::new(Default::default()))
    }
}
