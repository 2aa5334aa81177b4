//! The order as the fold of its events: which event may follow in which state, and what it changes. Pure.
//!
//! The aggregate is the contract's own `Order` message: what is stored is what is answered. Events are the messages
//! of `shop.orders.v1` and are stored as their bytes.

use jiff::Timestamp;
use outrigger_proto::shop::orders::v1::{
    self as api, OrderConfirmed, OrderPriced, OrderRejected, OrderSubmitted, order, shipping,
};
use prost::Message;
use shop_chassis::clock;

/// Something that happened to an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It was accepted: version 1 of every order.
    Submitted(OrderSubmitted),
    /// Prices were looked up and are frozen.
    Priced(OrderPriced),
    /// Goods and money are secured.
    Confirmed(OrderConfirmed),
    /// It was refused, and everything undone.
    Rejected(OrderRejected),
}

/// Why an event cannot be part of an order.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state does not allow it.
    #[error("{event} cannot follow in state {state:?}")]
    Transition {
        /// The event's type.
        event: &'static str,
        /// The state; `None` for an order that does not exist.
        state: Option<order::State>,
    },
    /// A stored type this version does not know.
    #[error("unknown event type `{0}`")]
    UnknownType(String),
    /// Stored bytes that are not the message.
    #[error("event {kind}: {source}")]
    Payload {
        /// The event's type.
        kind: String,
        /// What is wrong with the bytes.
        source: prost::DecodeError,
    },
    /// An order without its first event.
    #[error("an order without events")]
    Empty,
}

impl Event {
    /// The message's name, as it is stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Submitted(_) => "OrderSubmitted",
            Self::Priced(_) => "OrderPriced",
            Self::Confirmed(_) => "OrderConfirmed",
            Self::Rejected(_) => "OrderRejected",
        }
    }

    /// The bytes that are stored.
    pub fn payload(&self) -> Vec<u8> {
        match self {
            Self::Submitted(event) => event.encode_to_vec(),
            Self::Priced(event) => event.encode_to_vec(),
            Self::Confirmed(event) => event.encode_to_vec(),
            Self::Rejected(event) => event.encode_to_vec(),
        }
    }

    /// The event that was stored under this name.
    pub fn decode(kind: &str, payload: &[u8]) -> Result<Self, Error> {
        let result = match kind {
            "OrderSubmitted" => OrderSubmitted::decode(payload).map(Self::Submitted),
            "OrderPriced" => OrderPriced::decode(payload).map(Self::Priced),
            "OrderConfirmed" => OrderConfirmed::decode(payload).map(Self::Confirmed),
            "OrderRejected" => OrderRejected::decode(payload).map(Self::Rejected),
            unknown => return Err(Error::UnknownType(unknown.to_owned())),
        };
        result.map_err(|source| Error::Payload {
            kind: kind.to_owned(),
            source,
        })
    }

    fn may_follow(&self, state: Option<order::State>) -> bool {
        match self {
            Self::Submitted(_) => state.is_none(),
            Self::Priced(_) | Self::Confirmed(_) | Self::Rejected(_) => {
                state == Some(order::State::Pending)
            }
        }
    }
}

/// An order with the version its last event gave it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Versioned {
    /// 1, 2, 3, … without gaps.
    pub version: u32,
    /// The order as it is answered.
    pub order: api::Order,
}

/// The order after one more event.
pub fn apply(before: Option<Versioned>, event: &Event, at: Timestamp) -> Result<Versioned, Error> {
    let state = before.as_ref().map(|before| before.order.state());
    if !event.may_follow(state) {
        return Err(Error::Transition {
            event: event.kind(),
            state,
        });
    }
    let Versioned { version, mut order } = before.unwrap_or_default();
    let version = version + 1;
    match event {
        Event::Submitted(event) => order = submitted(event, at),
        Event::Priced(event) => {
            order.items.clone_from(&event.items);
            order.total.clone_from(&event.total);
        }
        Event::Confirmed(event) => {
            order.set_state(order::State::Confirmed);
            order.payment.clone_from(&event.payment);
        }
        Event::Rejected(event) => {
            order.set_state(order::State::Rejected);
            order.rejection.clone_from(&event.rejection);
        }
    }
    order.update_time = Some(clock::to_proto(at));
    order.etag = format!("\"{version}\"");
    Ok(Versioned { version, order })
}

/// The order all these events make.
pub fn fold(events: impl IntoIterator<Item = (Event, Timestamp)>) -> Result<Versioned, Error> {
    let mut folded = None;
    for (event, at) in events {
        folded = Some(apply(folded, &event, at)?);
    }
    folded.ok_or(Error::Empty)
}

fn submitted(event: &OrderSubmitted, at: Timestamp) -> api::Order {
    let items = event
        .items
        .iter()
        .map(|item| order::Item {
            product_id: item.product_id.clone(),
            quantity: item.quantity,
            unit_price: None,
        })
        .collect();
    let mut order = api::Order {
        order_id: event.order_id.clone(),
        order_number: event.order_number,
        user_id: event.user_id,
        items,
        shipping_address_id: event.shipping_address_id.clone(),
        create_time: Some(clock::to_proto(at)),
        ..api::Order::default()
    };
    order.set_state(order::State::Pending);
    if event.shipping_method() != shipping::Method::Standard {
        order.set_shipping_method(event.shipping_method());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events() -> [Event; 4] {
        [
            Event::Submitted(OrderSubmitted {
                order_id: "o".to_owned(),
                order_number: 7,
                user_id: 1,
                ..OrderSubmitted::default()
            }),
            Event::Priced(OrderPriced::default()),
            Event::Confirmed(OrderConfirmed::default()),
            Event::Rejected(OrderRejected::default()),
        ]
    }

    #[test]
    fn every_event_follows_only_where_it_may() {
        use order::State::{Cancelled, Cancelling, Confirmed, Delivered, Pending, Rejected};
        let allowed = [
            (None, [true, false, false, false]),
            (Some(Pending), [false, true, true, true]),
            (Some(Confirmed), [false; 4]),
            (Some(Rejected), [false; 4]),
            (Some(Delivered), [false; 4]),
            (Some(Cancelling), [false; 4]),
            (Some(Cancelled), [false; 4]),
        ];
        for (state, expected) in allowed {
            for (event, expected) in events().iter().zip(expected) {
                assert_eq!(event.may_follow(state), expected, "{event:?} in {state:?}");
            }
        }
    }

    #[test]
    fn a_confirmed_order_is_version_three() {
        let [submitted, priced, confirmed, _] = events();
        let at = Timestamp::UNIX_EPOCH;
        let folded = fold([(submitted, at), (priced, at), (confirmed, at)]).unwrap();
        assert_eq!(folded.version, 3);
        assert_eq!(folded.order.etag, "\"3\"");
        assert_eq!(folded.order.state(), order::State::Confirmed);
        assert_eq!(folded.order.order_number, 7);
    }

    proptest! {
        #[test]
        fn stored_events_fold_to_the_same_order(picks in prop::collection::vec(0usize..4, 1..8)) {
            let at = Timestamp::UNIX_EPOCH;
            let mut stored = Vec::new();
            let mut view: Option<Versioned> = None;
            for pick in picks {
                let event = events()[pick].clone();
                if let Ok(next) = apply(view.clone(), &event, at) {
                    stored.push((event.kind(), event.payload()));
                    view = Some(next);
                }
            }
            let replayed = stored
                .iter()
                .map(|(kind, payload)| (Event::decode(kind, payload).unwrap(), at));
            match view {
                Some(view) => prop_assert_eq!(fold(replayed).unwrap(), view),
                None => prop_assert!(fold(replayed).is_err()),
            }
        }
    }
}
