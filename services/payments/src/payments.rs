//! What the service does. Money at the processor moves in three steps: a transaction that says what is about to be
//! asked, the question, and a transaction that keeps the answer. Between the two the process may die: the question is
//! on record with its key, and whoever asks again asks the same. Money in a wallet is ours to move, so it takes one
//! transaction.

use std::sync::Arc;

use shop_chassis::money::Currency;
use shop_chassis::{Clock, Database, Ids, Transaction};

use crate::demo;
use crate::error::Error;
use crate::ledger::{Account, Posting};
use crate::method::{Choice, Method};
use crate::payment::{Decision, Refusal, Request, State, decide};
use crate::processor::{self, Cancelled, Charge, Decline, Processor};
use crate::store::calls::{self, Call};
use crate::store::{self, NewPayment, Payment, Stamp, books, methods};

/// Payments over a database and a processor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Payments {
    /// Ours; it was migrated.
    pub database: Database,
    /// Where cards are charged.
    pub processor: Arc<dyn Processor>,
    /// The time of what is written.
    pub clock: Arc<dyn Clock>,
    /// The ids of what is written.
    pub ids: Arc<dyn Ids>,
}

/// An order's charge, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The order.
    pub id: String,
    /// Who pays.
    pub user_id: u32,
    /// How much.
    pub amount: shop_chassis::money::Amount,
    /// `card`, `wallet` or a token.
    pub payment_method: String,
}

/// What the first transaction of a step came to.
enum Next {
    /// This is the answer; nothing needs to be asked.
    Answer(Payment),
    /// The processor is to be asked, about this payment.
    Ask(Payment),
}

impl Payments {
    fn stamp(&self) -> Stamp<'_> {
        Stamp {
            ids: self.ids.as_ref(),
            now: self.clock.now(),
        }
    }

    /// Attaches the demo's cards once.
    pub async fn load_demo(&self) -> Result<(), Error> {
        let stamp = self.stamp();
        self.database
            .write(|tx: Arc<Transaction>| async move { demo::load(&*tx, stamp).await })
            .await
    }

    /// Holds an order's amount. The same order again answers what is there.
    pub async fn authorize(&self, order: &Order) -> Result<Payment, Error> {
        let stamp = self.stamp();
        let work = |tx: Arc<Transaction>| async move { before_authorize(&tx, stamp, order).await };
        let payment = match self.database.write(work).await? {
            Next::Answer(payment) => return settled(payment),
            Next::Ask(payment) => payment,
        };
        let call = authorize_call(&payment)?;
        let answer = self.processor.authorize(&call.key, &charge(&payment)).await;
        let (stamp, call, answer) = (self.stamp(), &call, &answer.map(|made| made.transaction_id));
        let work = |tx: Arc<Transaction>| async move {
            calls::answered(&*tx, stamp, call, answer).await?;
            after_authorize(&tx, stamp, &call.order_id, answer).await
        };
        settled(self.database.write(work).await?)
    }

    /// Takes what an order's authorisation holds.
    pub async fn capture(&self, order_id: &str) -> Result<Payment, Error> {
        let stamp = self.stamp();
        let work = |tx: Arc<Transaction>| async move { before_capture(&tx, stamp, order_id).await };
        let payment = match self.database.write(work).await? {
            Next::Answer(payment) => return Ok(payment),
            Next::Ask(payment) => payment,
        };
        let call = capture_call(&payment)?;
        let answer = self
            .processor
            .capture(&call.key, &payment.transaction_id)
            .await;
        let (stamp, call, answer) = (self.stamp(), &call, &answer.map(|()| String::new()));
        let work = |tx: Arc<Transaction>| async move {
            calls::answered(&*tx, stamp, call, answer).await?;
            after_capture(&tx, stamp, order_id, answer).await
        };
        self.database.write(work).await?
    }

    /// Undoes whatever happened to an order's money, now and for good.
    pub async fn cancel(&self, order_id: &str) -> Result<Payment, Error> {
        let stamp = self.stamp();
        let work = |tx: Arc<Transaction>| async move { before_cancel(&tx, stamp, order_id).await };
        let payment = match self.database.write(work).await? {
            Next::Answer(payment) => return Ok(payment),
            Next::Ask(payment) => payment,
        };
        let call = cancel_call(&payment)?;
        let key = calls::key(order_id, "authorize");
        let answer = self.processor.cancel_by_key(&call.key, &key).await;
        let (stamp, call, answer) = (self.stamp(), &call, &answer);
        let work = |tx: Arc<Transaction>| async move {
            let kept = describe(answer);
            calls::answered(&*tx, stamp, call, &kept).await?;
            after_cancel(&tx, stamp, order_id, answer).await
        };
        self.database.write(work).await?
    }
}

async fn before_authorize(
    tx: &Transaction,
    stamp: Stamp<'_>,
    order: &Order,
) -> Result<Next, Error> {
    if let Some(known) = store::locked(tx, &order.id).await? {
        return on_known(tx, stamp, known, order).await;
    }
    let choice = Choice::parse(&order.payment_method).ok_or(Error::UnknownMethod)?;
    let method = methods::resolve(tx, order.user_id, &choice).await?;
    let method = method.ok_or(Error::UnknownMethod)?;
    let new = NewPayment {
        order_id: order.id.clone(),
        user_id: order.user_id,
        amount: order.amount,
        payment_method: order.payment_method.clone(),
        method,
    };
    let payment = store::open(tx, stamp, &new).await?;
    on_known(tx, stamp, payment, order).await
}

/// A payment that has a row: a tombstone, a repeat, or the one that was just opened.
async fn on_known(
    tx: &Transaction,
    stamp: Stamp<'_>,
    payment: Payment,
    order: &Order,
) -> Result<Next, Error> {
    match decide(Some(payment.state), Request::Authorize) {
        Decision::Refuse(Refusal::Revoked) => Err(refused(&payment, Refusal::Revoked)),
        _ if !is_of(&payment, order) => Err(Error::Different {
            order_id: payment.order_id,
        }),
        // A declined charge is told with its reason by `settled`.
        Decision::Nothing | Decision::Refuse(_) => Ok(Next::Answer(payment)),
        Decision::Ask if payment.method.is_wallet() => hold_in_wallet(tx, stamp, payment).await,
        Decision::Ask => {
            calls::about_to_send(tx, stamp, &authorize_call(&payment)?).await?;
            Ok(Next::Ask(payment))
        }
    }
}

fn is_of(payment: &Payment, order: &Order) -> bool {
    payment.user_id == order.user_id
        && payment.amount == order.amount
        && payment.payment_method == order.payment_method
}

async fn hold_in_wallet(
    tx: &Transaction,
    stamp: Stamp<'_>,
    mut payment: Payment,
) -> Result<Next, Error> {
    let wallet = Account::Wallet(payment.user_id);
    books::lock_account(tx, &wallet).await?;
    // A wallet is what we owe: its debits and credits sum to a negative number.
    let available = -books::balance(tx, &wallet).await?;
    let wanted = payment.amount.minor;
    if available < wanted || payment.amount.currency != Currency::USD {
        return Err(Error::WalletTooSmall { wanted, available });
    }
    let hold = Posting::wallet_hold(payment.user_id, wanted);
    books::post(
        tx,
        stamp,
        &payment.order_id,
        payment.amount.currency.code(),
        &hold,
    )
    .await?;
    payment.state = State::Authorized;
    Ok(Next::Answer(store::save(tx, stamp, payment).await?))
}

async fn after_authorize(
    tx: &Transaction,
    stamp: Stamp<'_>,
    order_id: &str,
    answer: &Result<String, processor::Error>,
) -> Result<Payment, Error> {
    let mut payment = existing(tx, order_id).await?;
    if payment.state != State::Pending {
        // Undone meanwhile, or answered by a repeat.
        return Ok(payment);
    }
    match answer {
        Ok(transaction_id) => {
            payment.state = State::Authorized;
            payment.transaction_id.clone_from(transaction_id);
        }
        Err(processor::Error::Declined(decline)) => {
            payment.state = State::Declined;
            decline.code().clone_into(&mut payment.decline_reason);
        }
        Err(processor::Error::Unknown(_)) => return Ok(payment),
    }
    store::save(tx, stamp, payment).await
}

/// What a caller of `authorize` hears of a payment.
fn settled(payment: Payment) -> Result<Payment, Error> {
    match payment.state {
        State::Authorized | State::Captured => Ok(payment),
        State::Declined => Err(Error::Declined(
            Decline::parse(&payment.decline_reason).unwrap_or(Decline::Card),
        )),
        State::Pending => Err(Error::NoAnswer("the charge is open".to_owned())),
        State::Cancelling | State::Cancelled => Err(refused(&payment, Refusal::Revoked)),
    }
}

async fn before_capture(tx: &Transaction, stamp: Stamp<'_>, order_id: &str) -> Result<Next, Error> {
    let payment = store::locked(tx, order_id).await?;
    let decision = decide(
        payment.as_ref().map(|payment| payment.state),
        Request::Capture,
    );
    let Some(payment) = payment else {
        return Err(Error::Refused {
            order_id: order_id.to_owned(),
            refusal: Refusal::Unknown,
        });
    };
    match decision {
        Decision::Refuse(refusal) => Err(refused(&payment, refusal)),
        Decision::Nothing => Ok(Next::Answer(payment)),
        Decision::Ask if payment.method.is_wallet() => {
            let posting = Posting::wallet_capture(payment.amount.minor);
            Ok(Next::Answer(take(tx, stamp, payment, &posting).await?))
        }
        Decision::Ask => {
            calls::about_to_send(tx, stamp, &capture_call(&payment)?).await?;
            Ok(Next::Ask(payment))
        }
    }
}

/// The outer result is the transaction's: what the processor said is kept even when it said no.
async fn after_capture(
    tx: &Transaction,
    stamp: Stamp<'_>,
    order_id: &str,
    answer: &Result<String, processor::Error>,
) -> Result<Result<Payment, Error>, Error> {
    let payment = existing(tx, order_id).await?;
    match decide(Some(payment.state), Request::Capture) {
        Decision::Refuse(refusal) => return Ok(Err(refused(&payment, refusal))),
        Decision::Nothing => return Ok(Ok(payment)),
        Decision::Ask => {}
    }
    Ok(match answer {
        Ok(_) => {
            let posting = Posting::card_capture(payment.amount.minor);
            Ok(take(tx, stamp, payment, &posting).await?)
        }
        Err(processor::Error::Declined(decline)) => Err(Error::Declined(*decline)),
        Err(processor::Error::Unknown(reason)) => Err(Error::NoAnswer(reason.clone())),
    })
}

async fn take(
    tx: &Transaction,
    stamp: Stamp<'_>,
    mut payment: Payment,
    posting: &Posting,
) -> Result<Payment, Error> {
    let currency = payment.amount.currency.code();
    books::post(tx, stamp, &payment.order_id, currency, posting).await?;
    payment.state = State::Captured;
    payment.captured = true;
    store::save(tx, stamp, payment).await
}

async fn before_cancel(tx: &Transaction, stamp: Stamp<'_>, order_id: &str) -> Result<Next, Error> {
    let mut payment = store::open_for_cancelling(tx, stamp, order_id).await?;
    if decide(Some(payment.state), Request::Cancel) == Decision::Nothing {
        return Ok(Next::Answer(payment));
    }
    if payment.method.is_wallet() {
        return Ok(Next::Answer(give_back_to_wallet(tx, stamp, payment).await?));
    }
    payment.state = State::Cancelling;
    let payment = store::save(tx, stamp, payment).await?;
    calls::about_to_send(tx, stamp, &cancel_call(&payment)?).await?;
    Ok(Next::Ask(payment))
}

async fn give_back_to_wallet(
    tx: &Transaction,
    stamp: Stamp<'_>,
    mut payment: Payment,
) -> Result<Payment, Error> {
    let (user, amount) = (payment.user_id, payment.amount.minor);
    let posting = if payment.captured {
        payment.refunded = amount;
        Posting::wallet_refund(user, amount)
    } else {
        Posting::wallet_void(user, amount)
    };
    let currency = payment.amount.currency.code();
    books::post(tx, stamp, &payment.order_id, currency, &posting).await?;
    payment.state = State::Cancelled;
    store::save(tx, stamp, payment).await
}

async fn after_cancel(
    tx: &Transaction,
    stamp: Stamp<'_>,
    order_id: &str,
    answer: &Result<Cancelled, processor::Error>,
) -> Result<Result<Payment, Error>, Error> {
    let mut payment = existing(tx, order_id).await?;
    let done = match answer {
        _ if payment.state == State::Cancelled => return Ok(Ok(payment)),
        Ok(done) => *done,
        Err(processor::Error::Declined(decline)) => return Ok(Err(Error::Declined(*decline))),
        Err(processor::Error::Unknown(reason)) => return Ok(Err(Error::NoAnswer(reason.clone()))),
    };
    if done == Cancelled::Refunded {
        pay_back(tx, stamp, &mut payment).await?;
    }
    payment.state = State::Cancelled;
    Ok(Ok(store::save(tx, stamp, payment).await?))
}

/// The processor gave money back. If it was taken behind our back (the answer of the capture got lost), the books say
/// that too.
async fn pay_back(tx: &Transaction, stamp: Stamp<'_>, payment: &mut Payment) -> Result<(), Error> {
    let (amount, currency) = (payment.amount.minor, payment.amount.currency.code());
    if !payment.captured {
        let taken = Posting::card_capture(amount);
        books::post(tx, stamp, &payment.order_id, currency, &taken).await?;
        payment.captured = true;
    }
    let refund = Posting::card_refund(amount);
    books::post(tx, stamp, &payment.order_id, currency, &refund).await?;
    payment.refunded = amount;
    Ok(())
}

async fn existing(tx: &Transaction, order_id: &str) -> Result<Payment, Error> {
    store::locked(tx, order_id)
        .await?
        .ok_or_else(|| Error::Refused {
            order_id: order_id.to_owned(),
            refusal: Refusal::Unknown,
        })
}

fn refused(payment: &Payment, refusal: Refusal) -> Error {
    Error::Refused {
        order_id: payment.order_id.clone(),
        refusal,
    }
}

fn charge(payment: &Payment) -> Charge {
    let Method { token, .. } = &payment.method;
    Charge {
        amount: payment.amount.minor,
        currency: payment.amount.currency.code().to_owned(),
        payment_method: token.clone(),
        reference: payment.order_id.clone(),
    }
}

fn authorize_call(payment: &Payment) -> Result<Call, Error> {
    let request = serde_json::to_string(&charge(payment))?;
    Ok(Call::new(&payment.order_id, "authorize", request))
}

fn capture_call(payment: &Payment) -> Result<Call, Error> {
    let request = serde_json::to_string(&payment.transaction_id)?;
    Ok(Call::new(&payment.order_id, "capture", request))
}

fn cancel_call(payment: &Payment) -> Result<Call, Error> {
    let request = serde_json::to_string(&calls::key(&payment.order_id, "authorize"))?;
    Ok(Call::new(&payment.order_id, "cancel", request))
}

/// A cancellation's answer as the record of calls keeps it.
fn describe(answer: &Result<Cancelled, processor::Error>) -> Result<String, processor::Error> {
    match answer {
        Ok(done) => Ok(format!("{done:?}").to_lowercase()),
        Err(processor::Error::Declined(decline)) => Err(processor::Error::Declined(*decline)),
        Err(processor::Error::Unknown(reason)) => Err(processor::Error::Unknown(reason.clone())),
    }
}
