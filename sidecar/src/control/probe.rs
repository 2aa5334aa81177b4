//! Is the application there? One probe: gRPC health, an HTTP path, or an accepted connection.

use std::time::Duration;

use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_proto::grpc::health::v1::HealthCheckRequest;
use outrigger_proto::grpc::health::v1::health_check_response::ServingStatus;
use outrigger_proto::grpc::health::v1::health_client::HealthClient;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::config::{Address, AppProtocol, Application, Check};

/// An application that does not answer by then is not healthy.
const PATIENCE: Duration = Duration::from_secs(1);

/// Either kind of socket.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// How the application is asked.
#[derive(Debug)]
pub(super) struct Probe {
    address: Address,
    protocol: AppProtocol,
    check: Check,
    channel: Option<Channel>,
}

impl Probe {
    pub(super) fn new(application: &Application) -> Self {
        let by_protocol = if application.protocol == AppProtocol::Grpc {
            Check::Grpc(String::new())
        } else {
            Check::Tcp(true)
        };
        let check = application.check.clone().unwrap_or(by_protocol);
        Self {
            address: application.address.clone(),
            protocol: application.protocol,
            check,
            channel: None,
        }
    }

    /// Asks once; the error says why the application is not healthy.
    pub(super) async fn ask(&mut self) -> Result<(), String> {
        let asked = match self.check.clone() {
            Check::Grpc(service) => timeout(PATIENCE, self.grpc(service)).await,
            Check::Http(path) => timeout(PATIENCE, self.http(&path)).await,
            Check::Tcp(_) => {
                timeout(PATIENCE, async { connect(&self.address).await.map(drop) }).await
            }
        };
        asked.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
    }

    async fn grpc(&mut self, service: String) -> Result<(), String> {
        let address = self.address.clone();
        let channel = self.channel.get_or_insert_with(|| {
            let connector = tower::service_fn(move |_: Uri| {
                let address = address.clone();
                async move {
                    connect(&address)
                        .await
                        .map(TokioIo::new)
                        .map_err(std::io::Error::other)
                }
            });
            Endpoint::from_static("http://application").connect_with_connector_lazy(connector)
        });
        let answer = HealthClient::new(channel.clone())
            .check(HealthCheckRequest { service })
            .await;
        let status = answer
            .map_err(|status| {
                format!(
                    "health check failed: {}: {}",
                    status.code(),
                    status.message()
                )
            })?
            .into_inner()
            .status();
        if status == ServingStatus::Serving {
            Ok(())
        } else {
            Err(format!("health check says {}", status.as_str_name()))
        }
    }

    async fn http(&self, path: &str) -> Result<(), String> {
        let io = TokioIo::new(connect(&self.address).await?);
        let request = http::Request::builder()
            .uri(format!("http://application{path}"))
            .header(http::header::HOST, "application");
        let request = request
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|error| format!("invalid path {path:?}: {error}"))?;
        let status = if matches!(self.protocol, AppProtocol::Grpc | AppProtocol::Http2) {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                    .await
                    .map_err(failed)?;
            answer(sender.send_request(request), connection).await?
        } else {
            let mut request = request;
            *request.uri_mut() = path
                .parse()
                .map_err(|error| format!("invalid path {path:?}: {error}"))?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
                .await
                .map_err(failed)?;
            answer(sender.send_request(request), connection).await?
        };
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("{path} answered {status}"))
        }
    }
}

/// Drives the connection only as long as the one answer takes.
async fn answer(
    response: impl Future<Output = hyper::Result<http::Response<hyper::body::Incoming>>>,
    connection: impl Future<Output = hyper::Result<()>>,
) -> Result<http::StatusCode, String> {
    let mut response = std::pin::pin!(response);
    let answered = tokio::select! {
        biased;
        answered = &mut response => answered,
        // A server may close right behind its answer: the answer is there then.
        _ = connection => response.await,
    };
    Ok(answered.map_err(failed)?.status())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn failed(error: hyper::Error) -> String {
    format!("no HTTP answer: {error}")
}

async fn connect(address: &Address) -> Result<Box<dyn Stream>, String> {
    let connected: std::io::Result<Box<dyn Stream>> = match address {
        Address::Tcp(address) => TcpStream::connect(address)
            .await
            .map(|stream| Box::new(stream) as _),
        Address::Unix(path) => UnixStream::connect(path)
            .await
            .map(|stream| Box::new(stream) as _),
    };
    connected.map_err(|error| format!("cannot connect to {address}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn probe(address: std::net::SocketAddr, check: Check, protocol: AppProtocol) -> Probe {
        Probe {
            address: Address::Tcp(address),
            protocol,
            check,
            channel: None,
        }
    }

    #[tokio::test]
    async fn nobody_there_is_not_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(
            probe(address, Check::Tcp(true), AppProtocol::Tcp)
                .ask()
                .await,
            Ok(())
        );
        drop(listener);
        for check in [
            Check::Tcp(true),
            Check::Http("/health".to_owned()),
            Check::Grpc(String::new()),
        ] {
            assert!(
                probe(address, check.clone(), AppProtocol::Http)
                    .ask()
                    .await
                    .is_err(),
                "{check:?}"
            );
        }
    }

    #[tokio::test]
    async fn an_http_answer_is_health_by_its_status() {
        for (answer, healthy) in [
            ("200 OK", true),
            ("204 No Content", true),
            ("503 Service Unavailable", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET /health HTTP/1.1\r\n"));
                stream
                    .write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes())
                    .await
                    .unwrap();
            };
            let mut probe = probe(
                address,
                Check::Http("/health".to_owned()),
                AppProtocol::Http,
            );
            let (asked, ()) = tokio::join!(probe.ask(), serve);
            assert_eq!(asked.is_ok(), healthy, "{answer}");
        }
    }
}
