//! An OTLP receiver: takes the spans of a run and answers questions about their edges.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A span, as much of it as tests ask about.
#[derive(Debug, Clone)]
pub struct Span {
    /// `service.name` of the resource.
    pub service: String,
    pub name: String,
    /// OTLP's kind: 2 server, 3 client.
    pub kind: i32,
    pub trace: String,
    pub id: String,
    /// Empty for a root.
    pub parent: String,
    pub attributes: BTreeMap<String, String>,
}

/// A running receiver.
#[derive(Debug)]
pub struct Receiver {
    address: String,
    received: Arc<Received>,
    _server: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Received {
    spans: Mutex<Vec<Span>>,
    /// Everything as it came, for the search for secrets.
    bodies: Mutex<Vec<Bytes>>,
}

impl Receiver {
    /// Listens on a port nobody chose.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Received::default());
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .with_state(received.clone());
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(listener, routes).await.unwrap();
        });
        Self {
            address,
            received,
            _server: server,
        }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    pub fn endpoint(&self) -> &str {
        &self.address
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.received.spans.lock().unwrap().clone()
    }

    /// All bytes so far.
    pub fn bodies(&self) -> Vec<Bytes> {
        self.received.bodies.lock().unwrap().clone()
    }
}

async fn take(State(received): State<Arc<Received>>, body: Bytes) -> Vec<u8> {
    let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
    received.bodies.lock().unwrap().push(body);
    let mut spans = received.spans.lock().unwrap();
    for resource in request.resource_spans {
        let attributes = resource.resource.map(|resource| resource.attributes);
        let service = texts(attributes.unwrap_or_default())
            .remove("service.name")
            .unwrap_or_default();
        for span in resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            spans.push(Span {
                service: service.clone(),
                name: span.name,
                kind: span.kind,
                trace: hex::encode(span.trace_id),
                id: hex::encode(span.span_id),
                parent: hex::encode(span.parent_span_id),
                attributes: texts(span.attributes),
            });
        }
    }
    ExportTraceServiceResponse::default().encode_to_vec()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes
        .into_iter()
        .map(|attribute| (attribute.key, text(attribute.value)))
        .collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}
