//! The service as a process: settings, signals, crashes and spans, as its
//! operator meets them.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use outrigger_proto::shop::catalog::v1::GetProductRequest;
use outrigger_proto::shop::catalog::v1::product_service_client::ProductServiceClient;
use prost::Message as _;
use shop_chassis::Address;
use shop_chassis::client::Outbound;
use shop_chassis::scratch::{as_service, sqlite_url};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// The running binary and what it writes to stderr.
struct Process {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    folder: TempDir,
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop-catalog"));
    command
        .env_clear()
        .env(
            "SHOP_CATALOG_LISTEN",
            format!("unix:{}/app.sock", folder.display()),
        )
        .env("SHOP_CATALOG_DATABASE_URL", sqlite_url(folder))
        .env("SHOP_PAGE_TOKEN_KEY_FILE", folder.join("page.key"))
        .stderr(Stdio::piped());
    command
}

impl Process {
    fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = command(folder.path())
            .envs(settings.iter().copied())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert_ne!(
                log.read_line(&mut line).unwrap(),
                0,
                "it ended before it listened"
            );
        }
        Self { child, log, folder }
    }

    async fn get_product(&self, traceparent: Option<&str>) -> Result<(), tonic::Status> {
        let address = Address::Unix(self.folder.path().join("app.sock"));
        let peer = Outbound::new(address).peer("catalog").unwrap();
        let product = GetProductRequest {
            product_id: "P-101".to_owned(),
        };
        let mut request = as_service("gateway", product);
        if let Some(traceparent) = traceparent {
            request
                .metadata_mut()
                .insert("traceparent", traceparent.parse().unwrap());
        }
        ProductServiceClient::new(peer)
            .get_product(request)
            .await
            .map(drop)
    }

    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// How it ended, and the rest of its log.
    fn ended(mut self) -> (std::process::ExitStatus, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_drains_it_and_it_leaves_nothing_behind() {
    let process = Process::start(&[]);
    process.get_product(None).await.unwrap();
    let socket = process.folder.path().join("app.sock");
    process.terminate();
    let (status, log) = process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("draining"), "{log}");
    assert!(!socket.exists());
}

#[test]
fn a_missing_setting_is_named_and_ends_it_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path());
    let output = command
        .env_remove("SHOP_CATALOG_DATABASE_URL")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.contains("SHOP_CATALOG_DATABASE_URL is not set"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failpoint_kills_it_between_effect_and_reply() {
    let process = Process::start(&[("OUTRIGGER_CRASH_AT", "GetProduct.replying:2")]);
    process.get_product(None).await.unwrap();
    assert!(process.get_product(None).await.is_err());
    let (status, log) = process.ended();
    assert_eq!(status.signal(), Some(6), "{log}");
}

/// Answers one export with 200 and returns it.
async fn receive(listener: &TcpListener) -> ExportTraceServiceRequest {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut received = Vec::new();
    loop {
        assert_ne!(
            stream.read_buf(&mut received).await.unwrap(),
            0,
            "the export was cut"
        );
        let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
        assert!(head.starts_with("post /v1/traces "), "{head}");
        assert!(
            head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if received.len() >= end + 4 + length {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            return ExportTraceServiceRequest::decode(&received[end + 4..]).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_spans_continue_the_callers_trace_and_reach_the_receiver() {
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", receiver.local_addr().unwrap());
    // A quiet log must not thin the trace.
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("SHOP_LOG", "warn,shop_chassis=info"),
    ];
    let process = Process::start(&settings);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("00-{trace}-b7ad6b7169203331-01");
    process.get_product(Some(&traceparent)).await.unwrap();
    process.terminate();
    let export = receive(&receiver).await;
    let (status, log) = process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    let resource = &export.resource_spans[0];
    let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
    let span = spans
        .into_iter()
        .find(|span| span.name == "shop.catalog.v1.ProductService/GetProduct")
        .expect("the call's span");
    assert_eq!(span.trace_id, hex::decode(trace).unwrap());
    assert_eq!(
        span.parent_span_id,
        hex::decode("b7ad6b7169203331").unwrap()
    );
    assert_eq!(span.kind, 2, "a server's span");
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    assert!(
        attributes
            .iter()
            .any(|attribute| attribute.key == "service.name")
    );
}
