//! Bytes of a caller against an application that notes what it saw.

use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::{JoinHandle, LocalSet};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Scope;
use crate::error::Error;
use crate::stack::{Body, Boxed, Data};

type Seen = Rc<RefCell<Vec<String>>>;

fn whole(text: String) -> Body {
    Box::pin(Full::new(Data::uncredited(Bytes::from(text))).map_err(|never| match never {}))
}

/// Answers with what it got; `/unread` without a look at the body, `/never` never.
async fn echo(seen: Seen, call: Call) -> Result<Reply, Error> {
    let parts = call.into_parts();
    let path = parts.uri.path().to_owned();
    seen.borrow_mut().push(format!("{} {path}", parts.method));
    let mut text = String::new();
    match path.as_str() {
        "/unread" => {}
        "/never" => std::future::pending().await,
        "/half" => {
            let failed = Error::new(Kind::ConnectionLost, "gone");
            let frames = [
                Ok(Frame::data(Data::uncredited("half".into()))),
                Err(failed),
            ];
            return Ok(Reply {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: Box::pin(StreamBody::new(futures::stream::iter(frames))),
            });
        }
        _ => {
            let body = parts.body.collect().await?;
            text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        }
    }
    Ok(Reply {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: whole(format!("{path} {text}.")),
    })
}

struct Served {
    io: DuplexStream,
    seen: Seen,
    leave: CancellationToken,
    cut: CancellationToken,
    task: JoinHandle<()>,
}

fn serve_one(scope: Scope) -> Served {
    let seen = Seen::default();
    let noted = Rc::clone(&seen);
    let accepted = Accepted {
        dispatch: Rc::new(Boxed(move |call: Call| echo(Rc::clone(&noted), call))),
        peer: Peer::Application,
        limits: Connection::new(scope),
        idle: Duration::from_secs(300),
        header_block: Duration::from_secs(10),
        patience: Duration::from_secs(30),
        metrics: http2::Metrics::default(),
    };
    let (io, far) = duplex(256 << 10);
    let (leave, cut) = (CancellationToken::new(), CancellationToken::new());
    let ending = Ending {
        leave: leave.clone().cancelled_owned(),
        cut: cut.clone().cancelled_owned(),
    };
    let task = tokio::task::spawn_local(serve(far, Rc::new(accepted), ending));
    Served {
        io,
        seen,
        leave,
        cut,
        task,
    }
}

impl Served {
    async fn say(&mut self, text: &str) {
        self.io.write_all(text.as_bytes()).await.unwrap();
    }

    /// What comes until the text holds `end`.
    async fn hear(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.contains(end) {
            let mut bytes = [0; 4096];
            let count = self.io.read(&mut bytes).await.unwrap();
            assert!(count > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        text
    }

    /// What comes until the connection is closed.
    async fn hear_all(&mut self) -> String {
        let mut text = String::new();
        self.io.read_to_string(&mut text).await.unwrap();
        text
    }

    fn seen(&self) -> Vec<String> {
        self.seen.borrow().clone()
    }
}

async fn local(test: impl AsyncFnOnce()) {
    LocalSet::new().run_until(test()).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    local(async || {
        let mut served = serve_one(Scope::Edge);
        served
            .say(concat!(
                "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc",
                "\r\nPOST /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
                "1\r\nd\r\n0\r\n\r\n",
                "GET /c HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\nGET /d HTTP/1.1\r\n",
            ))
            .await;
        let text = served.hear_all().await;
        let bodies: Vec<&str> = text
            .split("\r\n\r\n")
            .filter_map(|part| part.split('.').next().filter(|body| body.starts_with('/')))
            .collect();
        assert_eq!(bodies, ["/a abc", "/b d", "/c "], "{text}");
        assert_eq!(text.matches("connection: close").count(), 1, "{text}");
        assert_eq!(served.seen(), ["POST /a", "POST /b", "GET /c"]);
        served.task.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_refused_request_ends_its_connection_and_nothing_behind_it_is_seen() {
    local(async || {
        let mut served = serve_one(Scope::Edge);
        served
            .say("GET /a HTTP/1.1\r\nhost: x\r\n\r\nPOST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /c HTTP/1.1\r\nhost: x\r\n\r\n")
            .await;
        let text = served.hear_all().await;
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 1, "{text}");
        assert!(text.contains("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        assert!(text.ends_with("both Content-Length and Transfer-Encoding\n"), "{text}");
        assert_eq!(served.seen(), ["GET /a"]);
    })
    .await;
}

#[tokio::test]
async fn a_body_that_breaks_later_is_refused_too() {
    local(async || {
        let mut served = serve_one(Scope::Edge);
        served
            .say("POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
            .await;
        tokio::task::yield_now().await;
        served.say("zz\r\n").await;
        let text = served.hear_all().await;
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        assert!(text.contains("connection: close"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn leave_to_send_is_given_when_the_body_is_wanted() {
    local(async || {
        let mut served = serve_one(Scope::Edge);
        let head = "host: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n";
        served.say(&format!("PUT /a HTTP/1.1\r\n{head}")).await;
        assert_eq!(
            served.hear("\r\n\r\n").await,
            "HTTP/1.1 100 Continue\r\n\r\n"
        );
        served.say("b").await;
        assert!(
            served
                .hear("/a b.")
                .await
                .starts_with("HTTP/1.1 200 OK\r\n")
        );
        served.say(&format!("PUT /unread HTTP/1.1\r\n{head}")).await;
        let text = served.hear_all().await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(!text.contains("100 Continue"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_body_nobody_read_is_never_taken_for_a_request() {
    local(async || {
        let mut served = serve_one(Scope::Edge);
        served
            .say("POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nGET /b HTTP/1.1\r\nhost: x\r\n\r\n")
            .await;
        let text = served.hear_all().await;
        assert_eq!(text.matches("HTTP/1.1").count(), 1, "{text}");
        assert_eq!(served.seen(), ["POST /unread"]);
    })
    .await;
}

#[tokio::test]
async fn a_head_response_has_a_length_and_no_body() {
    local(async || {
        let mut served = serve_one(Scope::Edge);
        served
            .say("HEAD /a HTTP/1.1\r\nhost: x\r\n\r\nGET /b HTTP/1.0\r\nhost: x\r\n\r\n")
            .await;
        let text = served.hear_all().await;
        assert!(!text.contains("/a"), "{text}");
        assert!(
            text.ends_with("content-length: 4\r\nconnection: close\r\n\r\n/b ."),
            "{text}"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_is_answered_408_and_an_idle_connection_nothing() {
    local(async || {
        let mut served = serve_one(Scope::Edge);
        served.say("GET /a HTTP/1.1\r\nhost").await;
        let began = Instant::now();
        let text = served.hear_all().await;
        assert_eq!(began.elapsed().as_secs(), 10);
        assert!(
            text.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
            "{text}"
        );

        let mut served = serve_one(Scope::Edge);
        let began = Instant::now();
        assert_eq!(served.hear_all().await, "");
        assert_eq!(began.elapsed().as_secs(), 300);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_strangers_body_has_to_come_at_a_pace() {
    local(async || {
        let mut served = serve_one(Scope::Edge);
        served
            .say("POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
            .await;
        let began = Instant::now();
        served.say(&"x".repeat(20 << 10)).await;
        let text = served.hear_all().await;
        assert_eq!(began.elapsed().as_secs(), 20);
        assert!(
            text.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
            "{text}"
        );
    })
    .await;
}

#[tokio::test]
async fn who_is_told_to_leave_finishes_what_it_began() {
    local(async || {
        let mut served = serve_one(Scope::AppOut);
        served
            .say("POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nab")
            .await;
        tokio::task::yield_now().await;
        served.leave.cancel();
        served.say("c").await;
        let text = served.hear_all().await;
        assert!(text.contains("connection: close"), "{text}");
        assert!(text.ends_with("/a abc."), "{text}");

        let mut idle = serve_one(Scope::AppOut);
        idle.leave.cancel();
        assert_eq!(idle.hear_all().await, "");
    })
    .await;
}

#[tokio::test]
async fn a_cut_ends_the_connection_and_the_call_on_it() {
    local(async || {
        let mut served = serve_one(Scope::AppOut);
        served.say("GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await;
        while served.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        served.cut.cancel();
        assert_eq!(served.hear_all().await, "");
        served.task.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn half_a_response_has_no_end() {
    local(async || {
        let mut served = serve_one(Scope::Edge);
        served.say("GET /half HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let text = served.hear_all().await;
        assert!(text.ends_with("chunked\r\n\r\n4\r\nhalf\r\n"), "{text}");

        let mut served = serve_one(Scope::Edge);
        served.say("GET /half HTTP/1.0\r\nhost: x\r\n\r\n").await;
        assert_eq!(served.hear_all().await, "");
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_went_away_ends_its_call() {
    local(async || {
        let mut served = serve_one(Scope::AppOut);
        served.say("GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await;
        while served.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(served.io);
        served.task.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_longer_than_its_bound_has_its_own_status() {
    local(async || {
        let many: String = (0..101).map(|n| format!("a{n}: b\r\n")).collect();
        for (head, status) in [
            (
                format!("GET /{} HTTP/1.1\r\nhost: x\r\n", "a".repeat(9000)),
                "414",
            ),
            (format!("GET /{}", "a".repeat(70_000)), "414"),
            (
                format!("GET / HTTP/1.1\r\nhost: x\r\na: {}", "b".repeat(70_000)),
                "431",
            ),
            (format!("GET / HTTP/1.1\r\nhost: x\r\n{many}"), "431"),
            ("TRACE / HTTP/1.1\r\nhost: x\r\n".to_owned(), "501"),
            ("CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\n".to_owned(), "501"),
            ("GET / HTTP/3.0\r\nhost: x\r\n".to_owned(), "505"),
        ] {
            let mut served = serve_one(Scope::Edge);
            served.say(&format!("{head}\r\n")).await;
            let text = served.hear_all().await;
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
            assert!(served.seen().is_empty());
        }
    })
    .await;
}
