//! A program that calls through its sidecar, and sees everything that comes back as it was on the wire.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;

use crate::grpc;
use crate::upstream::Address;

/// No call of a test takes longer than this; what does is an answer of its own.
const PATIENCE: Duration = Duration::from_secs(60);

/// A caller with one HTTP/2 connection at a time, opened when needed.
#[derive(Debug, Clone)]
pub struct Client {
    address: Address,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    sender: Option<SendRequest<Bytes>>,
    connections: JoinSet<()>,
}

/// A call before it is sent.
#[derive(Debug, Clone)]
pub struct Call {
    pub authority: String,
    pub path: String,
    pub headers: HeaderMap,
    pub messages: Vec<Bytes>,
}

impl Call {
    /// A unary call with an empty message.
    pub fn new(authority: &str, path: &str) -> Self {
        Self {
            authority: authority.to_owned(),
            path: path.to_owned(),
            headers: HeaderMap::new(),
            messages: vec![Bytes::new()],
        }
    }

    /// Its only message.
    pub fn message(mut self, message: impl Into<Bytes>) -> Self {
        self.messages = vec![message.into()];
        self
    }

    /// One more header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
        self
    }

    fn head(&self) -> Request<()> {
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("http://{}{}", self.authority, self.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        request
    }
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The HTTP status; 0 if no response headers came.
    pub http: u16,
    pub headers: HeaderMap,
    pub messages: Vec<Bytes>,
    /// Absent when the answer was one frame of headers, or broke off.
    pub trailers: Option<HeaderMap>,
    /// How the stream or its connection broke, if it did.
    pub broke: Option<String>,
    /// The peer went away in order and says that it did not take this call.
    pub untaken: bool,
}

impl Answer {
    /// The status as a gRPC client reads it.
    pub fn code(&self) -> Code {
        let status = self.field("grpc-status");
        match (status, &self.broke) {
            (Some(status), _) => Code::from_bytes(status.as_bytes()),
            (None, Some(_)) => Code::Unavailable,
            (None, None) => Code::Unknown,
        }
    }

    /// A field of the trailers, or of the headers of a Trailers-Only answer.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.trailers
            .as_ref()
            .and_then(|trailers| trailers.get(name))
            .or_else(|| self.headers.get(name))
            .map(|value| value.to_str().unwrap_or("(not text)"))
    }

    /// The mesh's reason, `""` if the application answered itself.
    pub fn reason(&self) -> &str {
        self.field("x-outrigger-reason").unwrap_or_default()
    }

    /// Code and reason, for messages and comparisons.
    pub fn summary(&self) -> String {
        let message = self.field("grpc-message").unwrap_or_default();
        let broke = self.broke.as_deref().unwrap_or_default();
        format!("{:?} {} {message} {broke}", self.code(), self.reason())
    }

    /// The only message, as text.
    pub fn text(&self) -> &str {
        assert_eq!(self.messages.len(), 1, "one message: {self:?}");
        std::str::from_utf8(&self.messages[0]).unwrap()
    }

    /// Panics unless the call succeeded.
    #[track_caller]
    pub fn expect_ok(self) -> Self {
        assert_eq!(self.code(), Code::Ok, "{}", self.summary());
        self
    }

    fn broken(error: impl std::fmt::Display) -> Self {
        Self {
            broke: Some(error.to_string()),
            ..Self::default()
        }
    }
}

/// A call whose two directions the test drives.
#[derive(Debug)]
pub struct Stream {
    pub send: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    received: BytesMut,
    messages: std::collections::VecDeque<Bytes>,
    pub headers: Option<Response<()>>,
}

impl Client {
    pub fn new(address: Address) -> Self {
        Self {
            address,
            shared: Arc::default(),
        }
    }

    /// Where it sends its calls.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// One message there, one back.
    pub async fn unary(&self, authority: &str, path: &str, message: impl Into<Bytes>) -> Answer {
        self.call(Call::new(authority, path).message(message)).await
    }

    /// Sends the whole call and reads the whole answer.
    pub async fn call(&self, call: Call) -> Answer {
        // As the libraries of gRPC do: what was not taken is sent once more, on a new connection.
        let exchanged = async {
            match self.exchange(&call).await {
                Answer { untaken: true, .. } => {
                    self.reconnect().await;
                    self.exchange(&call).await
                }
                answer => answer,
            }
        };
        match timeout(PATIENCE, exchanged).await {
            Ok(answer) => answer,
            Err(_) => Answer::broken(format!("no answer within {PATIENCE:?}")),
        }
    }

    async fn exchange(&self, call: &Call) -> Answer {
        let mut stream = match self.open(call).await {
            Ok(stream) => stream,
            Err(error) => return Answer::broken(error),
        };
        for (index, message) in call.messages.iter().enumerate() {
            let end = index + 1 == call.messages.len();
            // A peer that answers early resets the rest of the request; its answer is what counts.
            if grpc::send(&mut stream.send, grpc::frame(message), end)
                .await
                .is_err()
            {
                break;
            }
        }
        if call.messages.is_empty() {
            let _ = grpc::send(&mut stream.send, Bytes::new(), true).await;
        }
        stream.finish().await
    }

    /// Opens a call without sending anything but its head.
    pub async fn open(&self, call: &Call) -> Result<Stream, String> {
        let opened = match self.try_open(call).await? {
            // A peer that has gone away is found out by whoever wants to call it next.
            Err(error) if error.is_go_away() && error.is_remote() => {
                self.reconnect().await;
                self.try_open(call).await?
            }
            opened => opened,
        };
        let (response, send) = opened.map_err(|error| error.to_string())?;
        Ok(Stream {
            send,
            response: Some(response),
            body: None,
            received: BytesMut::new(),
            messages: std::collections::VecDeque::new(),
            headers: None,
        })
    }

    async fn try_open(
        &self,
        call: &Call,
    ) -> Result<Result<(ResponseFuture, SendStream<Bytes>), h2::Error>, String> {
        let sender = self.sender().await?;
        Ok(match sender.ready().await {
            Ok(mut sender) => sender.send_request(call.head(), false),
            Err(error) => Err(error),
        })
    }

    /// The next calls use a new connection.
    pub async fn reconnect(&self) {
        self.shared.lock().await.sender = None;
    }

    async fn sender(&self) -> Result<SendRequest<Bytes>, String> {
        let mut shared = self.shared.lock().await;
        while shared.connections.try_join_next().is_some() {
            shared.sender = None;
        }
        if let Some(sender) = &shared.sender {
            return Ok(sender.clone());
        }
        let connecting = match &self.address {
            Address::Tcp(address) => match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream
                        .set_nodelay(true)
                        .map_err(|error| error.to_string())?;
                    handshake(stream, &mut shared.connections).await
                }
                Err(error) => Err(error.to_string()),
            },
            Address::Unix(path) => match UnixStream::connect(path).await {
                Ok(stream) => handshake(stream, &mut shared.connections).await,
                Err(error) => Err(error.to_string()),
            },
        };
        let sender = connecting?;
        shared.sender = Some(sender.clone());
        Ok(sender)
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connections: &mut JoinSet<()>,
) -> Result<SendRequest<Bytes>, String> {
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 24)
        .enable_push(false)
        .handshake(stream)
        .await
        .map_err(|error| error.to_string())?;
    connections.spawn(async move {
        // Its calls tell how it ended.
        let _ = connection.await;
    });
    Ok(sender)
}

impl Stream {
    /// Sends one message.
    pub async fn message(&mut self, message: &[u8]) {
        grpc::send(&mut self.send, grpc::frame(message), false)
            .await
            .unwrap();
    }

    /// The next message, `None` at the end of the body.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Some(message);
            }
            self.opened().await.unwrap();
            let piece = grpc::receive(self.body.as_mut().unwrap()).await?;
            self.received.extend_from_slice(&piece.unwrap());
            self.messages
                .extend(grpc::take_messages(&mut self.received));
        }
    }

    /// Waits for the response's headers.
    pub async fn opened(&mut self) -> Result<(), h2::Error> {
        if let Some(response) = self.response.take() {
            let (head, body) = response.await?.into_parts();
            self.headers = Some(Response::from_parts(head, ()));
            self.body = Some(body);
        }
        Ok(())
    }

    /// Ends the request and reads what is left of the answer.
    pub async fn close(mut self) -> Answer {
        // Refused when the answer is already complete, which is what the caller is about to see.
        let _ = self.send.send_data(Bytes::new(), true);
        self.finish().await
    }

    /// Reads the answer to its end.
    pub async fn finish(mut self) -> Answer {
        if let Err(error) = self.opened().await {
            return Answer {
                untaken: error.is_go_away() && error.is_remote(),
                ..Answer::broken(error)
            };
        }
        let head = self.headers.take().unwrap();
        let mut answer = Answer {
            http: head.status().as_u16(),
            headers: head.headers().clone(),
            messages: self.messages.into(),
            ..Answer::default()
        };
        let mut body = self.body.take().unwrap();
        while let Some(piece) = grpc::receive(&mut body).await {
            match piece {
                Ok(piece) => self.received.extend_from_slice(&piece),
                Err(error) => {
                    answer.broke = Some(error.to_string());
                    return answer;
                }
            }
            answer
                .messages
                .extend(grpc::take_messages(&mut self.received));
        }
        match body.trailers().await {
            Ok(trailers) => answer.trailers = trailers,
            Err(error) => answer.broke = Some(error.to_string()),
        }
        answer
    }
}
