//! How finished spans leave the process: OTLP over HTTP, through the SDK's batch processor.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};

use super::Context;

pub use opentelemetry::trace::SpanKind;

/// Spans that wait for export; what does not fit is dropped and counted by the SDK.
const QUEUE: usize = 2_048;
const BATCH: usize = 512;
const DELAY: Duration = Duration::from_millis(500);

/// Exports the spans of this process, or nothing where no receiver is configured.
#[derive(Debug, Default)]
pub struct Exporter {
    processor: Option<BatchSpanProcessor>,
    scope: InstrumentationScope,
}

/// A span that is over.
#[derive(Debug)]
pub struct Span {
    pub context: Context,
    pub kind: SpanKind,
    pub name: Cow<'static, str>,
    pub elapsed: Duration,
    pub failed: bool,
    pub attributes: Vec<KeyValue>,
}

impl Exporter {
    /// The exporter OpenTelemetry's own variable asks for.
    pub fn from_environment(service: &str, instance: &str, version: &str) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "OpenTelemetry's standard setting, read once when the process is built"
        )]
        let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT")
            .ok()
            .filter(|endpoint| !endpoint.is_empty());
        endpoint.map_or_else(Self::default, |endpoint| {
            Self::to(&endpoint, service, instance, version)
        })
    }

    fn to(endpoint: &str, service: &str, instance: &str, version: &str) -> Self {
        let scope = InstrumentationScope::builder("outrigger-sidecar").build();
        let built = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(Duration::from_secs(5))
            .build();
        let exporter = match built {
            Ok(exporter) => exporter,
            Err(error) => {
                tracing::error!(%error, endpoint, "traces are not exported; check OTEL_EXPORTER_OTLP_ENDPOINT");
                return Self {
                    processor: None,
                    scope,
                };
            }
        };
        let batch = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let mut processor = BatchSpanProcessor::new(exporter, batch);
        let resource = Resource::builder_empty()
            .with_service_name(format!("{service}-sidecar"))
            .with_attributes([
                KeyValue::new("service.instance.id", instance.to_owned()),
                KeyValue::new("service.version", version.to_owned()),
            ])
            .build();
        processor.set_resource(&resource);
        Self {
            processor: Some(processor),
            scope,
        }
    }

    /// Whether a span would go anywhere: asked before its attributes are built.
    pub fn wants(&self, context: &Context) -> bool {
        context.sampled && self.processor.is_some()
    }

    /// Queues a finished span; never waits.
    pub fn export(&self, span: Span) {
        let Some(processor) = &self.processor else {
            return;
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "spans carry wall-clock times; the duration was measured on the monotonic clock"
        )]
        let end_time = SystemTime::now();
        let flags = if span.context.sampled {
            TraceFlags::SAMPLED
        } else {
            TraceFlags::NOT_SAMPLED
        };
        processor.on_end(SpanData {
            span_context: SpanContext::new(
                trace_id(span.context.trace_id),
                span_id(span.context.span_id),
                flags,
                false,
                TraceState::NONE,
            ),
            parent_span_id: span_id(span.context.parent_id),
            parent_span_is_remote: span.kind == SpanKind::Server,
            span_kind: span.kind,
            name: span.name,
            start_time: end_time.checked_sub(span.elapsed).unwrap_or(end_time),
            end_time,
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if span.failed {
                Status::error("")
            } else {
                Status::Unset
            },
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// Sends what is queued and ends the exporting thread. Blocks up to two seconds: not for a runtime's thread.
    pub fn shut_down(&self) {
        if let Some(processor) = &self.processor
            && let Err(error) = processor.shutdown_with_timeout(Duration::from_secs(2))
        {
            tracing::warn!(%error, "some spans were not exported");
        }
    }
}

fn trace_id(id: u128) -> TraceId {
    TraceId::from_bytes(id.to_be_bytes())
}

fn span_id(id: u64) -> SpanId {
    SpanId::from_bytes(id.to_be_bytes())
}
