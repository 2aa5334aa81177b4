//! A REST request: find the route, admit the caller, bind the message, call, print the answer.

mod body;
mod headers;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message as _;
use shop_chassis::Failure;
use tokio::time::Instant;
use tonic::Status;

use crate::error::{self, Refusal};
use crate::exposed::{Binding, Body as Bound};
use crate::json;
use crate::limit::Limit;
use crate::log::Line;
use crate::route::{Found, Path, Template};
use crate::transcode;
use crate::upstream::{Answer, Call};
use crate::{Gateway, head};
pub(crate) use headers::{OUTWARDS, Timeout, forwarded, request_id, timeout};

/// Why a request gets no answer of its service's.
enum Stop {
    /// Asked for the path's methods only.
    Options(Vec<Method>),
    Refused(Refusal),
    Failed(Box<Status>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure.into()))
    }
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Failed(Box::new(status))
    }
}

/// Answers any request that is not gRPC.
pub(crate) async fn call(gateway: &Gateway, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let request_id = request_id(&parts.headers);
    let mut line = Line::begin(&parts.method);
    let mut reason = String::new();
    let mut response = match answer(gateway, &parts, body, &mut line).await {
        Ok(response) => response,
        Err(Stop::Options(methods)) => error::options(&methods),
        Err(Stop::Refused(refusal)) => {
            gateway.count_refusal(&refusal);
            refusal.reason().clone_into(&mut reason);
            error::refused(&refusal, &request_id)
        }
        Err(Stop::Failed(status)) => {
            reason = error::reason(&status);
            line.code = error::word(status.code());
            error::failed(&status, &request_id)
        }
    };
    if let Ok(id) = HeaderValue::try_from(&request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    line.end(response.status(), &reason, &request_id);
    response
}

async fn answer(
    gateway: &Gateway,
    parts: &Parts,
    body: Body,
    line: &mut Line,
) -> Result<Response, Stop> {
    let began = Instant::now();
    let limits = &gateway.limits;
    head::check(parts, limits)?;
    let (template, path, binding) = route(gateway, parts)?;
    let rpc = &binding.rpc;
    line.route = template.open_api_path();
    rpc.method.full_name().clone_into(&mut line.rpc);
    let timeout = gateway.timeout(&parts.headers)?;
    let deadline = began + timeout.after;
    if binding.body != Bound::None {
        body::check_kind(&parts.headers, &body)?;
    }
    let user = gateway.verifier.admit(&parts.headers, rpc).await?;
    line.user = user.as_ref().map(crate::auth::User::id);
    let _place = gateway.enter(rpc)?;
    let bytes = body::read(body, limits).await?;
    let message = transcode::bind(binding, template, &path, parts.uri.query(), &bytes, limits)?;
    let call = Call {
        authority: &rpc.authority,
        path: &rpc.path(),
        deadline,
        largest: limits.response,
        limit: Limit::Response,
    };
    let metadata = forwarded(&parts.headers, user.as_ref());
    let message = message.encode_to_vec().into();
    let answer = gateway.upstreams.unary(&call, metadata, message).await;
    let answer = answer.inspect_err(|status| gateway.count_late(status, timeout))?;
    Ok(print(binding, &answer)?)
}

fn route<'a>(
    gateway: &'a Gateway,
    parts: &Parts,
) -> Result<(&'a Template, Path, &'a Binding), Stop> {
    let path = Path::parse(parts.uri.path())
        .map_err(|error| Refusal::new("PATH_INVALID", error.to_string()))?;
    match gateway.exposed.routes.find(&parts.method, &path) {
        Found::Route { template, path, .. } if template.hides_a_slash(&path) => Err(Refusal::new(
            "PATH_INVALID",
            "an encoded slash stands where no variable is",
        )
        .into()),
        Found::Route {
            template,
            path,
            value,
        } => Ok((template, path, value)),
        Found::OtherMethods(methods) if parts.method == Method::OPTIONS => {
            Err(Stop::Options(methods))
        }
        Found::OtherMethods(methods) => Err(Refusal::not_allowed(methods).into()),
        Found::Nothing if gateway.exposed.grpc(parts.uri.path()).is_some() => Err(Refusal::new(
            "MEDIA_TYPE",
            "this is a gRPC method: the body must be application/grpc",
        )
        .into()),
        Found::Nothing => Err(Refusal::new(
            "ROUTE_NOT_FOUND",
            "there is no such path; /openapi.json lists them",
        )
        .into()),
    }
}

fn print(binding: &Binding, answer: &Answer) -> Result<Response, Failure> {
    let output = binding.rpc.method.output();
    let message = DynamicMessage::decode(output, answer.message.as_ref())
        .map_err(|error| Failure::internal(&error))?;
    let text = json::print(binding, &message).map_err(|error| Failure::internal(&error))?;
    let status = headers::success(&answer.metadata, binding.rpc.options.http_success);
    let mut response = json::response(status, text.into());
    headers::answered(&answer.metadata, response.headers_mut());
    if matches!(status, StatusCode::CREATED | StatusCode::ACCEPTED)
        && let Some(location) = location(binding, &message)
    {
        response.headers_mut().entry(LOCATION).or_insert(location);
    }
    Ok(response)
}

/// Where what was created is found.
fn location(binding: &Binding, message: &DynamicMessage) -> Option<HeaderValue> {
    let (path, field) = binding.location.as_ref()?;
    let value = message.get_field_by_name(field)?;
    let path = path.replace(&format!("{{{field}}}"), value.as_str()?);
    HeaderValue::try_from(path).ok()
}
