//! Which methods the outside may call: those that a service of this build serves and that carry an HTTP rule. The
//! table of paths and the table of gRPC methods come from the same descriptors.

use std::collections::{BTreeMap, BTreeSet};

use http::Method as HttpMethod;
use outrigger_proto::google::api::HttpRule;
use outrigger_proto::google::api::http_rule::Pattern;
use outrigger_proto::options::{self, Method as Options};
use prost_reflect::{DescriptorPool, FieldDescriptor, MethodDescriptor};

use crate::route::{Table, Template, template};

/// Methods of the contracts that have an implementation.
const SERVED: [&str; 17] = [
    "shop.identity.v1.SessionService.CreateSession",
    "shop.identity.v1.SessionService.GetJwks",
    "shop.identity.v1.UserService.GetUser",
    "shop.identity.v1.UserService.GetAddress",
    "shop.catalog.v1.ProductService.GetProduct",
    "shop.catalog.v1.ProductService.BatchGetProducts",
    "shop.catalog.v1.ProductService.ListProducts",
    "shop.inventory.v1.StockService.GetStock",
    "shop.inventory.v1.StockService.BatchGetStock",
    "shop.inventory.v1.StockService.AdjustStock",
    "shop.payments.v1.PaymentService.GetPayment",
    "shop.payments.v1.PaymentService.ListPayments",
    "shop.payments.v1.PaymentService.ListPaymentMethods",
    "shop.payments.v1.PaymentService.GetWallet",
    "shop.orders.v1.OrderService.PlaceOrder",
    "shop.orders.v1.OrderService.GetOrder",
    "shop.orders.v1.OrderService.ListOrders",
];

/// One method that may be called.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    pub(crate) method: MethodDescriptor,
    pub(crate) options: Options,
    /// Whom the mesh calls for it: `orders`.
    pub(crate) authority: String,
}

impl Rpc {
    /// `/pkg.Service/Method`
    pub(crate) fn path(&self) -> String {
        let service = self.method.parent_service();
        format!("/{}/{}", service.full_name(), self.method.name())
    }
}

/// One path to a method.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub(crate) rpc: Rpc,
    pub(crate) body: Body,
    /// Only this field of the answer is sent.
    pub(crate) response_body: Option<FieldDescriptor>,
    /// Where what was created is found afterwards: a GET route with one variable, and that field of the answer.
    pub(crate) location: Option<(String, String)>,
}

/// What a request's body is bound to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    /// There is none.
    None,
    /// Everything that the path does not bind.
    Whole,
    /// This field.
    Field(String),
}

/// Both tables.
#[derive(Debug)]
pub(crate) struct Exposed {
    pub(crate) routes: Table<Binding>,
    rpcs: BTreeMap<String, Rpc>,
}

/// Why the contracts cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{method}: `{template}`: {source}")]
    Template {
        method: String,
        template: String,
        source: template::Error,
    },
    #[error("{method}: there is no field `{field}` that could be bound")]
    Field { method: String, field: String },
    #[error("{method}: {conflict}")]
    Conflict { method: String, conflict: String },
    #[error("{method}: its HTTP rule names no path")]
    NoPattern { method: String },
}

impl Exposed {
    /// Reads every served method of the pool.
    pub(crate) fn compile(pool: &DescriptorPool) -> Result<Self, Error> {
        let mut exposed = Self {
            routes: Table::new(),
            rpcs: BTreeMap::new(),
        };
        for service in pool.services() {
            for method in service.methods() {
                if SERVED.contains(&method.full_name()) {
                    exposed.expose(&method)?;
                }
            }
        }
        exposed.locate();
        Ok(exposed)
    }

    /// Every method.
    pub(crate) fn rpcs(&self) -> impl Iterator<Item = &Rpc> {
        self.rpcs.values()
    }

    /// The services that methods go to.
    pub(crate) fn services(&self) -> BTreeSet<String> {
        self.rpcs
            .values()
            .map(|rpc| rpc.authority.clone())
            .collect()
    }

    /// The gRPC services of which at least one method is exposed.
    pub(crate) fn grpc_services(&self) -> impl Iterator<Item = String> {
        let services: BTreeSet<_> = self
            .rpcs
            .values()
            .map(|rpc| rpc.method.parent_service().full_name().to_owned())
            .collect();
        services.into_iter()
    }

    /// The method of `/pkg.Service/Method`.
    pub(crate) fn grpc(&self, path: &str) -> Option<&Rpc> {
        self.rpcs.get(path)
    }

    /// The descriptor set with what is exposed, for reflection.
    pub(crate) fn descriptors(&self) -> Option<Vec<u8>> {
        let names = self.rpcs().map(|rpc| rpc.method.full_name().to_owned());
        let set = outrigger_proto::DESCRIPTOR_SET;
        crate::reflect::cut(outrigger_proto::pool(), set, &names.collect())
    }

    fn expose(&mut self, method: &MethodDescriptor) -> Result<(), Error> {
        let Some(rule) = options::http(method) else {
            return Ok(());
        };
        let rpc = Rpc {
            method: method.clone(),
            options: Options::of(method),
            authority: authority(method),
        };
        self.rpcs.insert(rpc.path(), rpc.clone());
        for rule in std::iter::once(&rule).chain(&rule.additional_bindings) {
            self.bind(&rpc, rule)?;
        }
        Ok(())
    }

    fn bind(&mut self, rpc: &Rpc, rule: &HttpRule) -> Result<(), Error> {
        let name = || rpc.method.full_name().to_owned();
        let (method, path) = pattern(rule).ok_or_else(|| Error::NoPattern { method: name() })?;
        let template = Template::parse(path).map_err(|source| Error::Template {
            method: name(),
            template: path.to_owned(),
            source,
        })?;
        for variable in template.variables() {
            check_variable(rpc, &variable.field)?;
        }
        let output = rpc.method.output();
        let response_body = match rule.response_body.as_str() {
            "" => None,
            field => Some(
                output
                    .get_field_by_name(field)
                    .ok_or_else(|| Error::Field {
                        method: name(),
                        field: field.to_owned(),
                    })?,
            ),
        };
        let body = match rule.body.as_str() {
            "" => Body::None,
            "*" => Body::Whole,
            field => Body::Field(field.to_owned()),
        };
        let binding = Binding {
            rpc: rpc.clone(),
            body,
            response_body,
            location: None,
        };
        self.routes
            .add(method, template, binding)
            .map_err(|conflict| Error::Conflict {
                method: name(),
                conflict: conflict.to_string(),
            })
    }

    /// A method that creates something names the route that shows it.
    fn locate(&mut self) {
        let shown: Vec<_> = self
            .routes
            .routes()
            .filter_map(|(method, template, binding)| {
                let [variable] = template.variables() else {
                    return None;
                };
                let [field] = variable.field.as_slice() else {
                    return None;
                };
                let output = binding.rpc.method.output();
                (method == Some(&HttpMethod::GET) && output.get_field_by_name(field).is_some())
                    .then(|| {
                        (
                            output.full_name().to_owned(),
                            template.open_api_path(),
                            field.clone(),
                        )
                    })
            })
            .collect();
        self.routes.change(|binding| {
            let output = binding.rpc.method.output();
            if binding.rpc.options.http_success == 201 {
                binding.location = shown
                    .iter()
                    .find(|(message, ..)| message == output.full_name())
                    .map(|(_, path, field)| (path.clone(), field.clone()));
            }
        });
    }
}

/// `shop.orders.v1.OrderService` is served by `orders`.
fn authority(method: &MethodDescriptor) -> String {
    let package = method.parent_file().package_name().to_owned();
    package.split('.').nth(1).unwrap_or_default().to_owned()
}

fn pattern(rule: &HttpRule) -> Option<(Option<HttpMethod>, &str)> {
    let (method, path) = match rule.pattern.as_ref()? {
        Pattern::Get(path) => (HttpMethod::GET, path),
        Pattern::Put(path) => (HttpMethod::PUT, path),
        Pattern::Post(path) => (HttpMethod::POST, path),
        Pattern::Delete(path) => (HttpMethod::DELETE, path),
        Pattern::Patch(path) => (HttpMethod::PATCH, path),
        Pattern::Custom(custom) if custom.kind == "*" => return Some((None, &custom.path)),
        Pattern::Custom(custom) => (custom.kind.parse().ok()?, &custom.path),
    };
    Some((Some(method), path))
}

/// A variable fills one scalar field, and every field on the way to it is a message.
fn check_variable(rpc: &Rpc, path: &[String]) -> Result<(), Error> {
    let refused = || Error::Field {
        method: rpc.method.full_name().to_owned(),
        field: path.join("."),
    };
    let mut message = rpc.method.input();
    for (index, name) in path.iter().enumerate() {
        let field = message.get_field_by_name(name).ok_or_else(refused)?;
        let kind = field.kind();
        if field.is_list() || field.is_map() {
            return Err(refused());
        }
        match (kind.as_message(), index + 1 == path.len()) {
            (Some(next), false) => message = next.clone(),
            (None, true) => {}
            _ => return Err(refused()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Found, Path};

    #[test]
    fn every_served_method_is_in_the_contracts_and_has_a_route() {
        let exposed = Exposed::compile(outrigger_proto::pool()).unwrap();
        let known: BTreeSet<_> = exposed
            .rpcs
            .values()
            .map(|rpc| rpc.method.full_name())
            .collect();
        let missing: Vec<_> = SERVED
            .iter()
            .filter(|name| !known.contains(*name))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn an_order_is_placed_under_both_paths_and_found_again() {
        let exposed = Exposed::compile(outrigger_proto::pool()).unwrap();
        for path in ["/v1/orders", "/api/v1/orders"] {
            let path = Path::parse(path).unwrap();
            let Found::Route { value, .. } = exposed.routes.find(&HttpMethod::POST, &path) else {
                panic!("no route");
            };
            assert_eq!(value.rpc.authority, "orders");
            assert_eq!(value.body, Body::Whole);
            let (template, field) = value.location.clone().unwrap();
            assert_eq!(
                (template.as_str(), field.as_str()),
                ("/v1/orders/{order_id}", "order_id")
            );
        }
    }

    #[test]
    fn what_is_not_served_has_no_route() {
        let exposed = Exposed::compile(outrigger_proto::pool()).unwrap();
        let path = Path::parse("/v1/payments/p:refund").unwrap();
        assert!(!matches!(
            exposed.routes.find(&HttpMethod::POST, &path),
            Found::Route { .. }
        ));
        assert!(
            exposed
                .grpc("/shop.payments.v1.PaymentService/RefundPayment")
                .is_none()
        );
        assert!(
            exposed
                .grpc("/shop.payments.v1.PaymentService/CreatePayment")
                .is_none()
        );
    }
}
