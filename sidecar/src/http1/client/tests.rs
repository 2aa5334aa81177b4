//! Responses as an application may send them, byte by byte.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Uri};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::config::Scope;
use crate::error::Processed;
use crate::stack::{Peer, Protocol};

fn setup() -> Setup {
    Setup {
        limits: Connection::new(Scope::AppIn),
        patience: Duration::from_secs(60),
        cut: CancellationToken::new(),
        metrics: http2::Metrics::default(),
    }
}

fn request(method: Method, body: &'static str) -> Call {
    Call::arrived(
        Protocol::Http1,
        Peer::Application,
        method,
        Uri::from_static("/a?b"),
        "x".to_owned(),
        HeaderMap::new(),
        Box::pin(
            Full::new(Data::uncredited(Bytes::from_static(body.as_bytes())))
                .map_err(|never| match never {}),
        ),
    )
}

/// What the caller gets for `answer`, after which the application closes if it `closes`; and whether the connection was kept.
async fn answered(method: Method, answer: &[u8], closes: bool) -> (Result<String, Kind>, bool) {
    let (near, mut far) = duplex(256 << 10);
    let idle = Rc::<Idle<DuplexStream>>::default();
    far.write_all(answer).await.unwrap();
    if closes {
        far.shutdown().await.unwrap();
    }
    let setup = setup();
    let called = call(&idle, Ready::new(near), request(method, ""), &setup);
    let said = match called.await {
        Err(err) => Err(err.kind),
        Ok(reply) => match reply.body.collect().await {
            Err(err) => Err(err.kind),
            Ok(body) => {
                let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
                Ok(format!("{} {text}", reply.status.as_u16()))
            }
        },
    };
    drop(far);
    let is_kept = !idle.0.borrow().is_empty();
    (said, is_kept)
}

#[expect(clippy::too_many_lines, reason = "a table, a case a line")]
#[tokio::test]
async fn a_response_is_understood_or_its_connection_ends() {
    let many: String = (0..145).map(|n| format!("a{n}: b\r\n")).collect();
    let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(50_000));
    let early = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let (eight, nine) = (early.repeat(8), early.repeat(9));
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let (eight, nine) = (format!("{eight}{ok}"), format!("{nine}{ok}"));
    let get = Method::GET;
    for (method, answer, closes, said, is_kept) in [
        (
            &get,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab",
            false,
            Ok("200 ab"),
            true,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nab",
            false,
            Ok("200 ab"),
            true,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            false,
            Ok("200 ab"),
            true,
        ),
        (
            &get,
            "HTTP/1.1 204 No Content\r\n\r\n",
            false,
            Ok("204 "),
            true,
        ),
        (
            &get,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
            false,
            Ok("304 "),
            true,
        ),
        (
            &Method::HEAD,
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
            false,
            Ok("200 "),
            true,
        ),
        (&get, "HTTP/1.1 200 OK\r\n\r\nab", true, Ok("200 ab"), false),
        (
            &get,
            "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nab",
            false,
            Ok("200 ab"),
            false,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nab",
            false,
            Ok("200 ab"),
            false,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n",
            false,
            Ok("200 ab"),
            false,
        ),
        (&get, &eight, false, Ok("200 "), true),
        (&get, &nine, false, Err(Kind::Protocol), false),
        (
            &get,
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            false,
            Err(Kind::Protocol),
            false,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nab",
            false,
            Err(Kind::Protocol),
            false,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nab",
            false,
            Err(Kind::Protocol),
            false,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            false,
            Err(Kind::Protocol),
            false,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            false,
            Err(Kind::Protocol),
            false,
        ),
        (
            &get,
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            false,
            Err(Kind::Protocol),
            false,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            false,
            Err(Kind::Protocol),
            false,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\ncontent-length: 0\n\n",
            false,
            Err(Kind::Protocol),
            false,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            false,
            Err(Kind::Protocol),
            false,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\na: b\0\r\n\r\n",
            false,
            Err(Kind::Protocol),
            false,
        ),
        (
            &get,
            "HTTP/2 200\r\n\r\n",
            false,
            Err(Kind::Protocol),
            false,
        ),
        (&get, "SSH-2.0-x\r\n\r\n", false, Err(Kind::Protocol), false),
        (&get, &many, false, Err(Kind::Protocol), false),
        (&get, &long, false, Err(Kind::Protocol), false),
        (&get, "", true, Err(Kind::ConnectionLost), false),
        (&get, "HTTP/1.1 200", true, Err(Kind::ConnectionLost), false),
        (
            &get,
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
            true,
            Err(Kind::ConnectionLost),
            false,
        ),
        (
            &get,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
            true,
            Err(Kind::ConnectionLost),
            false,
        ),
    ] {
        let expected = (said.map(str::to_owned), is_kept);
        let got = answered(method.clone(), answer.as_bytes(), closes).await;
        assert_eq!(got, expected, "{answer:?}");
    }
}

#[tokio::test]
async fn a_kept_connection_serves_the_next_call_and_a_closed_one_is_forgotten() {
    let (near, mut far) = duplex(1 << 10);
    let idle = Rc::<Idle<DuplexStream>>::default();
    let setup = setup();
    let mut ready = Ready::new(near);
    for body in ["one", "two"] {
        far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await
            .unwrap();
        let reply = call(&idle, ready, request(Method::POST, body), &setup)
            .await
            .unwrap();
        reply.body.collect().await.unwrap();
        let expected = format!("POST /a?b HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n{body}");
        let mut sent = vec![0; expected.len()];
        far.read_exact(&mut sent).await.unwrap();
        assert_eq!(String::from_utf8(sent).unwrap(), expected);
        ready = idle.take().expect("kept");
    }
    idle.give(ready.0);
    drop(far);
    assert!(idle.take().is_none());
}

#[tokio::test]
async fn what_an_application_says_unasked_ends_its_connection() {
    let (near, mut far) = duplex(1 << 10);
    let idle = Rc::<Idle<DuplexStream>>::default();
    idle.give(Wire::new(near));
    far.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        .await
        .unwrap();
    assert!(idle.take().is_none());
}

#[tokio::test]
async fn a_connection_that_takes_nothing_never_had_the_call() {
    let (near, far) = duplex(1 << 10);
    drop(far);
    let idle = Rc::default();
    let failed = call(&idle, Ready::new(near), request(Method::GET, ""), &setup()).await;
    let err = failed.expect_err("nobody is there");
    assert_eq!(
        (err.kind, err.processed),
        (Kind::ConnectionLost, Processed::No)
    );
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_a_call_in_progress() {
    let (near, _far) = duplex(1 << 10);
    let (idle, setup) = (Rc::default(), setup());
    let cut = setup.cut.clone();
    let cutting = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cut.cancel();
    };
    let calling = call(&idle, Ready::new(near), request(Method::GET, ""), &setup);
    let (called, ()) = tokio::join!(calling, cutting);
    assert_eq!(called.err().map(|err| err.kind), Some(Kind::Cut));
}
