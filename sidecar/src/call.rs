//! What is asked: refuses what is malformed, settles which internal headers pass, and fills the facts a contract knows.
//!
//! One stage with a side: outbound learns the service from the authority (declared upstreams only), inbound and edge have one service,
//! the application. Decoding never fails above this stage, so everything below works on a call that makes sense.

pub mod headers;

pub mod path;

/// Why the mesh failed, as an application says it.
mod reason;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tower::layer::layer_fn;
use tower_layer::Layer;

use crate::config::AppProtocol;
use crate::contract::{Class, Contract, Kind as MethodKind, Promise};
use crate::error::{Error, Kind};
use crate::grpc::timeout;
use crate::observe::Direction;
use crate::snapshot::{Shared, Upstream};
use crate::stack::{Call, Peer, Protocol, Reply, Stage};
use reason::without_reason;

/// The longest timeout the public may ask for.
const EDGE_TIMEOUT: Duration = Duration::from_secs(3600);

/// Where a call comes from and what that means.
#[derive(Clone, Debug)]
pub enum Side {
    /// From our application; with an upstream's own port the authority does not matter.
    Outbound { upstream: Option<Arc<str>> },
    /// From a mesh peer.
    Inbound,
    /// From the internet.
    Edge,
}

#[derive(Debug)]
pub struct Facts<S> {
    shared: Arc<Shared>,
    side: Side,
    inner: Rc<S>,
}

pub fn layer<S>(shared: &Arc<Shared>, side: Side) -> impl Layer<S, Service = Facts<S>> + Clone {
    let shared = shared.clone();
    layer_fn(move |inner| Facts {
        shared: shared.clone(),
        side: side.clone(),
        inner: Rc::new(inner),
    })
}

impl<S: Stage> Stage for Facts<S> {
    async fn call(&self, mut call: Call) -> Result<Reply, Error> {
        match &self.side {
            Side::Outbound { upstream } => {
                let upstream = self.outbound(&mut call, upstream.as_ref())?;
                fill(&mut call, upstream.name.clone(), &upstream.contract)?;
            }
            Side::Inbound => {
                self.inbound(&mut call)?;
                fill(
                    &mut call,
                    self.shared.service.clone(),
                    &self.shared.contract,
                )?;
                self.count(&call);
            }
            Side::Edge => {
                if let Peer::Public(client) = call.peer {
                    headers::from_public(&mut call.headers, client);
                }
                fill(
                    &mut call,
                    self.shared.service.clone(),
                    &self.shared.contract,
                )?;
                call.deadline = call
                    .deadline
                    .map(|deadline| deadline.min(call.received + EDGE_TIMEOUT));
                self.count(&call);
            }
        }
        let reply = self.inner.call(call).await?;
        Ok(if matches!(self.side, Side::Outbound { .. }) {
            reply
        } else {
            without_reason(reply)
        })
    }
}

impl<S> Facts<S> {
    fn count(&self, call: &Call) {
        let direction = if matches!(self.side, Side::Edge) {
            Direction::Edge
        } else {
            Direction::Inbound
        };
        self.shared
            .metrics
            .call(direction, &call.service, &call.facts.method())
            .started
            .inc();
    }

    fn outbound(
        &self,
        call: &mut Call,
        upstream: Option<&Arc<str>>,
    ) -> Result<&Arc<Upstream>, Error> {
        let named =
            upstream.map_or_else(|| service_of(&call.authority), |upstream| Some(&**upstream));
        let upstream = named
            .and_then(|name| self.shared.upstreams.get(name))
            .ok_or_else(|| no_route(&call.authority))?;
        headers::from_application(&mut call.headers, &self.shared.service);
        headers::add_hop(&mut call.headers).map_err(|hops| match hops {
            headers::Hops::Malformed => Error::unprocessed(
                Kind::Malformed,
                "x-outrigger-hops is not a number; pass it on as it came",
            ),
            headers::Hops::TooMany => Error::unprocessed(
                Kind::Loop,
                "the call passed more than 8 sidecars; check who calls whom",
            ),
        })?;
        Ok(upstream)
    }

    fn inbound(&self, call: &mut Call) -> Result<(), Error> {
        let Peer::Mesh(id) = call.peer.clone() else {
            return Err(Error::unprocessed(
                Kind::Unauthenticated,
                "the call came without a mesh identity",
            ));
        };
        headers::from_peer(&mut call.headers, id.as_str(), id.service_name());
        let grpc_only = self
            .shared
            .config
            .application
            .as_ref()
            .is_some_and(|application| application.protocol == AppProtocol::Grpc);
        if grpc_only && call.protocol != Protocol::Grpc {
            return Err(Error::unprocessed(
                Kind::NotGrpc,
                "this service speaks gRPC only; send content type application/grpc",
            ));
        }
        Ok(())
    }
}

/// Fills service, promise and deadline.
fn fill(call: &mut Call, service: Arc<str>, contract: &Contract) -> Result<(), Error> {
    call.service = service;
    *call.facts.service.borrow_mut() = Some(call.service.clone());
    call.promise = if call.protocol == Protocol::Grpc {
        grpc_promise(call, contract)?
    } else {
        Some(http_promise(&call.method))
    };
    if call.protocol == Protocol::Grpc {
        call.facts.promise.borrow_mut().clone_from(&call.promise);
    }
    let limit = timeout::of(&call.headers)
        .map_err(|error| Error::unprocessed(Kind::Malformed, error.to_string()))?;
    call.deadline = limit.map(|limit| {
        call.received
            .checked_add(limit)
            .unwrap_or(call.received + Duration::from_secs(u32::MAX.into()))
    });
    Ok(())
}

fn grpc_promise(call: &Call, contract: &Contract) -> Result<Option<Arc<Promise>>, Error> {
    let target = call
        .uri
        .path_and_query()
        .map_or("", http::uri::PathAndQuery::as_str);
    let method = path::method(target).ok_or_else(|| {
        Error::unprocessed(
            Kind::NoSuchMethod,
            "the path is not exactly /package.Service/Method",
        )
    })?;
    if call.method != Method::POST {
        return Err(Error::unprocessed(Kind::Malformed, "a gRPC call is a POST"));
    }
    Ok(contract.promise(method).cloned())
}

/// HTTP's own promises; the method is no label, so it is named by its class only.
fn http_promise(method: &Method) -> Arc<Promise> {
    Arc::new(Promise {
        method: "other".into(),
        class: Class::of_http(method),
        kind: MethodKind::Unknown,
    })
}

/// The service an authority names: a bare name, with or without a port.
fn service_of(authority: &str) -> Option<&str> {
    let name = match authority.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        Some(_) => return None,
        None => authority,
    };
    (!name.is_empty()).then_some(name)
}

fn no_route(authority: &str) -> Error {
    let shown: String = authority
        .chars()
        .filter(|character| !character.is_control())
        .take(64)
        .collect();
    Error::unprocessed(
        Kind::NoRoute,
        format!("{shown} is not a declared upstream; add it to the upstreams of this service"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_names_a_service_with_or_without_port() {
        for (authority, expected) in [
            ("payments", Some("payments")),
            ("payments:80", Some("payments")),
            ("", None),
            (":80", None),
            ("payments:", None),
            ("payments:http", None),
            ("user@payments", Some("user@payments")),
        ] {
            assert_eq!(service_of(authority), expected, "{authority}");
        }
    }
}
