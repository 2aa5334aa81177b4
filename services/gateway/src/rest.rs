//! A REST request: find the route, admit the caller, bind the message, call, print the answer.

mod headers;

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message as _;
use shop_chassis::Failure;
use tonic::Status;

use crate::Gateway;
use crate::error::{self, Refusal};
use crate::exposed::{Binding, Body as Bound};
use crate::json;
use crate::log::Line;
use crate::route::{Found, Path, Template};
use crate::transcode;
use crate::upstream::{Answer, Call};
pub(crate) use headers::{forwarded, request_id, timeout};

/// Why a request gets no answer of its service's.
enum Stop {
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
    let mut reason = "";
    let mut response = match answer(gateway, &parts, body, &mut line).await {
        Ok(response) => response,
        Err(Stop::Refused(refusal)) => {
            reason = refusal.reason();
            error::refused(&refusal, &request_id)
        }
        Err(Stop::Failed(status)) => error::failed(&status, &request_id),
    };
    if reason.is_empty() && response.status().is_client_error() {
        reason = "refused";
    }
    if let Ok(id) = HeaderValue::try_from(&request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    line.end(response.status(), reason, &request_id);
    response
}

async fn answer(
    gateway: &Gateway,
    parts: &Parts,
    body: Body,
    line: &mut Line,
) -> Result<Response, Stop> {
    let (template, path, binding) = route(gateway, parts)?;
    line.route = template.open_api_path();
    binding.rpc.method.full_name().clone_into(&mut line.rpc);
    let timeout = timeout(&parts.headers, &gateway.limits)?;
    let user = gateway.verifier.admit(&parts.headers, &binding.rpc).await?;
    line.user = user.as_ref().map(crate::auth::User::id);
    let bytes = read_body(gateway, parts, body, binding).await?;
    let query = parts.uri.query();
    let message = transcode::bind(
        binding,
        template,
        &path,
        query,
        &bytes,
        gateway.limits.query,
    )?;
    let method = &binding.rpc.method;
    let rpc = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let call = Call {
        authority: &binding.rpc.authority,
        path: &rpc,
        timeout,
        largest: gateway.limits.response,
    };
    let metadata = forwarded(&parts.headers, user.as_ref());
    let message = message.encode_to_vec().into();
    let answer = gateway.upstreams.unary(&call, metadata, message).await?;
    Ok(print(binding, &answer)?)
}

fn route<'a>(
    gateway: &'a Gateway,
    parts: &Parts,
) -> Result<(&'a Template, Path, &'a Binding), Refusal> {
    let path = Path::parse(parts.uri.path())
        .map_err(|error| Refusal::new("PATH_INVALID", error.to_string()))?;
    match gateway.exposed.routes.find(&parts.method, &path) {
        Found::Route { template, path, .. } if template.hides_a_slash(&path) => Err(Refusal::new(
            "PATH_INVALID",
            "an encoded slash stands where no variable is",
        )),
        Found::Route {
            template,
            path,
            value,
        } => Ok((template, path, value)),
        Found::OtherMethods(methods) => Err(Refusal::not_allowed(methods)),
        Found::Nothing => Err(Refusal::new(
            "ROUTE_NOT_FOUND",
            "there is no such path; /openapi.json lists them",
        )),
    }
}

/// The whole body, within its bounds of size and time.
async fn read_body(
    gateway: &Gateway,
    parts: &Parts,
    body: Body,
    binding: &Binding,
) -> Result<Bytes, Refusal> {
    let (largest, longest) = (gateway.limits.body, gateway.limits.body_timeout);
    let bytes = collect(body, largest, longest).await?;
    if !bytes.is_empty() && binding.body != Bound::None && !is_json(parts) {
        return Err(Refusal::new(
            "MEDIA_TYPE",
            "the body must be application/json in UTF-8",
        ));
    }
    Ok(bytes)
}

async fn collect(body: Body, largest: usize, longest: Duration) -> Result<Bytes, Refusal> {
    let collected = tokio::time::timeout(longest, Limited::new(body, largest).collect()).await;
    let collected =
        collected.map_err(|_| Refusal::new("BODY_TOO_SLOW", "the body did not arrive in time"))?;
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Refusal::new(
            "MESSAGE_TOO_LARGE",
            format!("the body is larger than {largest} bytes"),
        )),
        Err(_) => Err(Refusal::new("JSON_INVALID", "the body broke off")),
    }
}

fn is_json(parts: &Parts) -> bool {
    let Some(Ok(value)) = parts.headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else {
        return false;
    };
    let mut pieces = value.split(';').map(str::trim);
    let kind = pieces.next().unwrap_or_default();
    kind.eq_ignore_ascii_case("application/json")
        && pieces.all(|piece| {
            let piece = piece.to_ascii_lowercase().replace('"', "");
            piece.is_empty() || piece == "charset=utf-8"
        })
}

fn print(binding: &Binding, answer: &Answer) -> Result<Response, Failure> {
    let output = binding.rpc.method.output();
    let message = DynamicMessage::decode(output, answer.message.clone())
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
