//! Logs on stderr (`SHOP_LOG` is the filter, `SHOP_LOG_FORMAT=json` one object
//! a line), spans as OTLP over HTTP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set,
//! W3C trace context in and out always: without an exporter the trace goes on
//! through this process, it is just not recorded here.

use std::io;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::{Environment, Instance};

const DEFAULT_FILTER: &str =
    "info,sqlx=warn,sea_orm=warn,sea_orm_migration=warn,opentelemetry=warn";
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("SHOP_LOG = {0:?}: expected a filter such as info,shop_orders=debug")]
    Filter(String),
    #[error("spans cannot be exported: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("logging is already set up: {0}")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

/// What must be flushed before the process ends.
#[derive(Debug)]
pub struct Telemetry(SdkTracerProvider);

/// Not inside a runtime: the exporter's client is a blocking one.
pub fn install(instance: &Instance, env: &Environment) -> Result<Telemetry, Error> {
    let filter = env.optional("SHOP_LOG").unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(filter).map_err(|_| Error::Filter(filter.to_owned()))?;
    let provider = provider(instance, env)?;
    let log = fmt::layer().with_writer(io::stderr).with_ansi(false);
    let log = if env.optional("SHOP_LOG_FORMAT") == Some("json") {
        log.json().boxed()
    } else {
        log.boxed()
    };
    // Spans only, and ours only by level: a quieter log must not thin the trace.
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("shop"))
        .with_filter(LevelFilter::INFO)
        .with_filter(filter_fn(|metadata| metadata.is_span()));
    tracing_subscriber::registry()
        .with(log.with_filter(filter))
        .with(spans)
        .try_init()?;
    Ok(Telemetry(provider))
}

fn provider(instance: &Instance, env: &Environment) -> Result<SdkTracerProvider, Error> {
    let resource = Resource::builder()
        .with_service_name(instance.service.clone())
        .with_attributes([
            KeyValue::new("service.version", instance.version.clone()),
            KeyValue::new("service.instance.id", instance.id.clone()),
        ])
        .build();
    let builder = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_resource(resource);
    if env.optional("OTEL_EXPORTER_OTLP_ENDPOINT").is_none() {
        return Ok(builder.build());
    }
    // The endpoint itself is read by the exporter, which appends the path.
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .build()?;
    Ok(builder.with_batch_exporter(exporter).build())
}

impl Telemetry {
    /// Sends what is still queued, for at most two seconds.
    pub fn flush(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_LIMIT) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// Makes `span` a child of the trace in `headers`; returns the trace id, which
/// is empty where no tracing is set up.
pub fn continue_trace(span: &Span, headers: &HeaderMap) -> String {
    let parent = TraceContextPropagator::new().extract(&Carrier(headers));
    if span.set_parent(parent).is_err() {
        return String::new();
    }
    let context = span.context();
    let span_context = context.span().span_context().clone();
    if span_context.is_valid() {
        span_context.trace_id().to_string()
    } else {
        String::new()
    }
}

/// Writes the trace of `span` into `headers`, if it has one.
pub fn inject_trace(span: &Span, headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&span.context(), &mut CarrierMut(headers));
}

struct Carrier<'a>(&'a HeaderMap);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct CarrierMut<'a>(&'a mut HeaderMap);

impl Injector for CarrierMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value))
            && !value.is_empty()
        {
            self.0.insert(name, value);
        }
    }
}
