//! HTTP/1.1 over real sockets: what a caller may send at the edge, what an application may answer (C13).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use outrigger_tests::mesh::Service;
use outrigger_tests::sidecar::Sidecar;
use outrigger_tests::{Mesh, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A sidecar with an edge listener in front of an HTTP/1.1 application of the test's own.
async fn with_edge(address: &str, test: impl AsyncFnOnce(&str)) {
    Mesh::builder()
        .service(Service::new("shop").protocol("http").instances(0))
        .run(async |mesh| {
            let file = mesh.sidecar_file("shop", address);
            let config = std::fs::read_to_string(&file)
                .unwrap()
                .replace("protocol = \"grpc\"", "protocol = \"http\"")
                .replace("check = { grpc = \"\" }", "check = { tcp = true }");
            let config = format!("{config}[edge]\nplain = \"127.0.0.1:0\"\n");
            let folder: &Path = file.parent().unwrap();
            let sidecar = Sidecar::start("shop", &config, folder).await;
            sidecar.becomes("/ready").await;
            let edge = sidecar.addresses.edge.clone().unwrap();
            test(&edge).await;
            sidecar.stop().await;
        })
        .await;
}

/// An application on a library of its own, which counts the requests it saw.
async fn counting() -> (String, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let router = axum::Router::new().fallback(async move |request: Request| {
        counted.fetch_add(1, Ordering::SeqCst);
        let names: Vec<String> = request.headers().keys().map(ToString::to_string).collect();
        let path = request.uri().path().to_owned();
        let body: Bytes = axum::body::to_bytes(request.into_body(), usize::MAX)
            .await
            .unwrap_or_default();
        format!(
            "path={path} bytes={} names={}.",
            body.len(),
            names.join(",")
        )
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, seen, tasks)
}

/// Sends `bytes` on a connection of their own; all statuses that came, the text, and whether the connection was closed behind them.
async fn exchange(address: &str, bytes: &[u8], responses: usize) -> (Vec<u16>, String, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.split();
    let sending = async {
        // Who is refused early may not take all of it.
        let _: std::io::Result<()> = write.write_all(bytes).await;
    };
    let hearing = async {
        let mut text = Vec::new();
        let mut piece = vec![0; 16 << 10];
        loop {
            let count = timeout(PATIENCE, read.read(&mut piece))
                .await
                .expect("in time");
            match count {
                Ok(count) if count > 0 => text.extend_from_slice(&piece[..count]),
                Ok(_) | Err(_) => return (text, true),
            }
            let says_close = String::from_utf8_lossy(&text).contains("connection: close");
            if whole_responses(&text) >= responses && !says_close {
                return (text, false);
            }
        }
    };
    let (_, (text, is_closed)) = tokio::join!(sending, hearing);
    let text = String::from_utf8_lossy(&text).into_owned();
    let statuses = text
        .match_indices("HTTP/1.1 ")
        .filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok())
        .collect();
    (statuses, text, is_closed)
}

/// Answers of our application end with names and a full stop.
fn whole_responses(text: &[u8]) -> usize {
    let text = String::from_utf8_lossy(text);
    let answers = text.split("names=").skip(1);
    answers.filter(|answer| answer.contains('.')).count()
}

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    /// Of each answer, in order.
    statuses: &'static [u16],
    is_closed: bool,
    /// By the application.
    seen: usize,
}

fn case(
    name: &'static str,
    bytes: impl Into<Vec<u8>>,
    statuses: &'static [u16],
    is_closed: bool,
    seen: usize,
) -> Case {
    Case {
        name,
        bytes: bytes.into(),
        statuses,
        is_closed,
        seen,
    }
}

/// Refused: one answer, closed, nothing seen by the application.
fn no(name: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    case(name, bytes, &[400], true, 0)
}

/// Carried: answered, and the connection serves on.
fn yes(name: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    case(name, bytes, &[200], false, 1)
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nhost: x\r\n{fields}\r\n{body}").into_bytes()
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes()
}

/// What hyper would have answered 200, and what a gateway must not.
#[expect(clippy::too_many_lines, reason = "a table, a case a line")]
fn lenient() -> Vec<Case> {
    vec![
        no(
            "length, then chunks",
            post(
                "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
        ),
        no(
            "chunks, then length",
            post(
                "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
                "0\r\n\r\n",
            ),
        ),
        no(
            "gzip and chunked",
            post("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        ),
        no(
            "gzip, chunked in two fields",
            post(
                "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
        ),
        no(
            "chunked twice",
            post(
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
        ),
        no(
            "a request line with a bare LF",
            "GET / HTTP/1.1\nhost: x\r\n\r\n",
        ),
        no("a field with a bare LF", "GET / HTTP/1.1\r\nhost: x\n\r\n"),
        no("an end with a bare LF", "GET / HTTP/1.1\r\nhost: x\r\n\n"),
        no("no host", "GET / HTTP/1.1\r\na: b\r\n\r\n"),
        no("no host in the old version", "GET / HTTP/1.0\r\n\r\n"),
        no("two hosts", "GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n"),
        no(
            "the same host twice",
            "GET / HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n",
        ),
        no(
            "an absolute target of another host",
            "GET http://y/ HTTP/1.1\r\nhost: x\r\n\r\n",
        ),
        no("a host with a user", "GET / HTTP/1.1\r\nhost: a@x\r\n\r\n"),
        no("dots in the path", get("/a/../b")),
        no("hidden dots in the path", get("/a/%2e%2E/b")),
        no("a hidden slash", get("/a%2fb")),
        no("a hidden backslash", get("/a%5Cb")),
        no("a hidden NUL", get("/a%00")),
        no("an empty segment", get("//a")),
        no("a parameter", get("/admin;x=y")),
        no("a backslash", get("/a\\b")),
        no("raw UTF-8", get("/\u{e9}")),
        no("a fragment", get("/a#b")),
        no(
            "a size of chunks that overflows",
            post("transfer-encoding: chunked\r\n", "10000000000000000\r\n"),
        ),
        no(
            "a size that is no number",
            post("transfer-encoding: chunked\r\n", "0x1\r\na\r\n0\r\n\r\n"),
        ),
        no(
            "a bare LF in an extension",
            post("transfer-encoding: chunked\r\n", "1;a\nb\r\na\r\n0\r\n\r\n"),
        ),
        no(
            "a bare LF behind a size",
            post("transfer-encoding: chunked\r\n", "1\na\r\n0\r\n\r\n"),
        ),
        no(
            "a bare LF behind a chunk",
            post("transfer-encoding: chunked\r\n", "1\r\na\n0\r\n\r\n"),
        ),
        no(
            "a chunk longer than it says",
            post("transfer-encoding: chunked\r\n", "1\r\nab\r\n0\r\n\r\n"),
        ),
    ]
}

/// What hyper refused by itself.
#[expect(clippy::too_many_lines, reason = "a table, a case a line")]
fn strict() -> Vec<Case> {
    let many: String = (0..101).map(|n| format!("a{n}: b\r\n")).collect();
    vec![
        no(
            "two lengths",
            post("content-length: 1\r\ncontent-length: 2\r\n", "ab"),
        ),
        no(
            "a length with a sign",
            post("content-length: +5\r\n", "abcde"),
        ),
        no(
            "a hexadecimal length",
            post("content-length: 0x5\r\n", "abcde"),
        ),
        no(
            "a list of lengths",
            post("content-length: 5, 5\r\n", "abcde"),
        ),
        no("no length in its field", post("content-length:\r\n", "")),
        no("identity", post("transfer-encoding: identity\r\n", "")),
        no(
            "not quite chunked",
            post("transfer-encoding: xchunked\r\n", "0\r\n\r\n"),
        ),
        no(
            "a vertical tab before chunked",
            post("transfer-encoding: \x0bchunked\r\n", "0\r\n\r\n"),
        ),
        no(
            "chunked, identity",
            post("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ),
        no(
            "a blank before the colon",
            post("content-length : 1\r\n", "a"),
        ),
        no("a folded field", post("a: b\r\n c\r\n", "")),
        no("a folded first field", "GET / HTTP/1.1\r\n host: x\r\n\r\n"),
        no("a bare CR in a value", post("a: b\rc\r\n", "")),
        no("a NUL in a value", post("a: b\0c\r\n", "")),
        no("a NUL in the path", get("/a\0b")),
        no(
            "chunks in the old version",
            "POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        case("101 fields", post(&many, ""), &[431], true, 0),
        case(
            "a head of 500 KB",
            post(&format!("a: {}\r\n", "b".repeat(500_000)), ""),
            &[431],
            true,
            0,
        ),
        case(
            "a target of 70 KB",
            get(&format!("/{}", "a".repeat(70_000))),
            &[414],
            true,
            0,
        ),
        case(
            "a target past its bound",
            get(&format!("/{}", "a".repeat(8192))),
            &[414],
            true,
            0,
        ),
        case(
            "a tunnel",
            "CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n",
            &[501],
            true,
            0,
        ),
        case(
            "an echo of what a proxy added",
            "TRACE / HTTP/1.1\r\nhost: x\r\n\r\n",
            &[501],
            true,
            0,
        ),
        case(
            "a version that is none of ours",
            "GET / HTTP/3.0\r\nhost: x\r\n\r\n",
            &[505],
            true,
            0,
        ),
        case("no version", "GET /\r\n\r\n", &[], true, 0),
    ]
}

/// What is legal.
fn legal() -> Vec<Case> {
    vec![
        yes(
            "the same length twice",
            post("content-length: 2\r\ncontent-length: 2\r\n", "ab"),
        ),
        yes(
            "chunks with an extension",
            post("transfer-encoding: chunked\r\n", "2;a=b\r\nab\r\n0\r\n\r\n"),
        ),
        yes(
            "trailers",
            post(
                "transfer-encoding: chunked\r\n",
                "2\r\nab\r\n0\r\na: b\r\n\r\n",
            ),
        ),
        yes(
            "an empty line first",
            [b"\r\n".to_vec(), get("/a")].concat(),
        ),
        yes(
            "an absolute target",
            "GET http://x/a HTTP/1.1\r\nhost: X\r\n\r\n",
        ),
        yes(
            "an upgrade that is not made",
            "GET /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
        ),
        yes("dots in the query", get("/a?b=/../c;d//e")),
        case(
            "two at once",
            [get("/a"), get("/b")].concat(),
            &[200, 200],
            false,
            2,
        ),
        case(
            "one that closes",
            "GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n",
            &[200],
            true,
            1,
        ),
        case(
            "the old version",
            "GET /a HTTP/1.0\r\nhost: x\r\n\r\n",
            &[200],
            true,
            1,
        ),
    ]
}

/// A second request where only a confused server would find one.
fn smuggled() -> Vec<Case> {
    let hidden = |fields: &str, body: &str| post(fields, &format!("{body}{SMUGGLED}"));
    let length = SMUGGLED.len();
    vec![
        yes(
            "a request as a body",
            hidden(&format!("content-length: {length}\r\n"), ""),
        ),
        yes(
            "a request in a chunk",
            post(
                "transfer-encoding: chunked\r\n",
                &format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
            ),
        ),
        no(
            "CL.TE",
            hidden(
                &format!(
                    "content-length: {}\r\ntransfer-encoding: chunked\r\n",
                    length + 5
                ),
                "0\r\n\r\n",
            ),
        ),
        no(
            "TE.CL",
            hidden(
                "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
                "5c\r\n",
            ),
        ),
        no(
            "TE.TE",
            hidden(
                "transfer-encoding: chunked\r\ntransfer-encoding: cow\r\n",
                "0\r\n\r\n",
            ),
        ),
        no(
            "a length hidden by a blank",
            hidden(&format!("content-length : {length}\r\n"), ""),
        ),
        no(
            "a length hidden by a fold",
            hidden(&format!("a: b\r\n content-length: {length}\r\n"), ""),
        ),
        no(
            "a coding hidden by a bare LF",
            hidden("a: b\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        no(
            "a coding hidden by a bare CR",
            hidden("a: b\rtransfer-encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        case(
            "behind a good one",
            [
                get("/a"),
                hidden("content-length: 1\r\ncontent-length: 0\r\n", ""),
            ]
            .concat(),
            &[200, 400],
            true,
            1,
        ),
        case(
            "behind a broken last chunk",
            [
                get("/a"),
                hidden("transfer-encoding: chunked\r\n", "0\r\n\n"),
            ]
            .concat(),
            &[200, 400],
            true,
            1,
        ),
    ]
}

/// C13: bytes sent, and what became of them.
#[tokio::test]
async fn c13_what_two_servers_could_read_in_two_ways_is_refused_at_the_edge() {
    let (address, seen, _tasks) = counting().await;
    with_edge(&address, async |edge| {
        let cases = [lenient(), strict(), legal(), smuggled()];
        let cases: Vec<Case> = cases.into_iter().flatten().collect();
        assert!(cases.len() >= 60, "{} cases", cases.len());
        let mut wrong = Vec::new();
        for case in cases {
            let before = seen.load(Ordering::SeqCst);
            let (statuses, text, is_closed) =
                exchange(edge, &case.bytes, case.statuses.len()).await;
            let new = seen.load(Ordering::SeqCst) - before;
            let got = (statuses.as_slice(), is_closed, new);
            if got != (case.statuses, case.is_closed, case.seen) || text.contains("smuggled") {
                wrong.push(format!("{}: {got:?}\n{text}", case.name));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    })
    .await;
}

/// Fields that name the mesh or a proxy come in under no spelling.
#[tokio::test]
async fn fields_that_other_servers_could_take_for_ours_do_not_pass_the_edge() {
    let (address, _seen, _tasks) = counting().await;
    with_edge(&address, async |edge| {
        let head = "GET /a HTTP/1.1\r\nhost: x\r\nx_forwarded_client_cert: a\r\nX_Outrigger_Peer: b\r\nX-Outrigger-Principal: c\r\nupgrade: h2c\r\nhttp2-settings: d\r\nkept: e\r\nconnection: drop-me\r\ndrop-me: f\r\n\r\n";
        let (statuses, text, _) = exchange(edge, head.as_bytes(), 1).await;
        assert_eq!(statuses, [200], "{text}");
        assert!(text.contains("kept"), "{text}");
        for name in ["forwarded_client", "peer", "principal", "upgrade", "http2", "drop-me"] {
            assert!(!text.contains(name), "{name} passed: {text}");
        }
    })
    .await;
}

/// An application that answers the n-th connection's one request with the n-th of these texts, and closes.
async fn answering(answers: Vec<String>) -> (String, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            let mut piece = [0; 4096];
            // A health check connects and says nothing.
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece).await {
                    Ok(count) if count > 0 => head.extend_from_slice(&piece[..count]),
                    Ok(_) | Err(_) => break,
                }
            }
            if head.is_empty() {
                continue;
            }
            let index = counted.fetch_add(1, Ordering::SeqCst);
            let answer = answers.get(index).cloned().unwrap_or_default();
            let _: std::io::Result<()> = stream.write_all(answer.as_bytes()).await;
            let _: std::io::Result<()> = stream.shutdown().await;
        }
    });
    (address, taken, tasks)
}

/// C13, R33: what an application may answer, one connection each; `None` is an answer that is cut short.
#[expect(clippy::too_many_lines, reason = "a table, a case a line")]
#[tokio::test]
async fn c13_a_response_that_could_be_read_in_two_ways_is_the_applications_fault() {
    let many: String = (0..200).map(|n| format!("a{n}: b\r\n")).collect();
    let ok = "HTTP/1.1 200 OK\r\n";
    let cases: Vec<(&str, String, Option<u16>)> = vec![
        (
            "a plain one",
            format!("{ok}content-length: 2\r\n\r\nab"),
            Some(200),
        ),
        ("until the end", format!("{ok}\r\nab"), Some(200)),
        (
            "two lengths",
            format!("{ok}content-length: 2\r\ncontent-length: 3\r\n\r\nab"),
            Some(502),
        ),
        (
            "a list of lengths",
            format!("{ok}content-length: 2, 2\r\n\r\nab"),
            Some(502),
        ),
        (
            "length and chunks",
            format!("{ok}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            Some(502),
        ),
        (
            "gzip and chunked",
            format!("{ok}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            Some(502),
        ),
        (
            "bare LFs",
            "HTTP/1.1 200 OK\ncontent-length: 0\n\n".to_owned(),
            Some(502),
        ),
        (
            "a folded field",
            format!("{ok}a: b\r\n c\r\ncontent-length: 0\r\n\r\n"),
            Some(502),
        ),
        (
            "a blank before the colon",
            format!("{ok}content-length : 0\r\n\r\n"),
            Some(502),
        ),
        (
            "a NUL",
            format!("{ok}a: \0\r\ncontent-length: 0\r\n\r\n"),
            Some(502),
        ),
        (
            "too many fields",
            format!("{ok}{many}content-length: 0\r\n\r\n"),
            Some(502),
        ),
        (
            "a head of 50 KB",
            format!("{ok}a: {}\r\n\r\n", "b".repeat(50_000)),
            Some(502),
        ),
        (
            "nine early heads",
            format!(
                "{}{ok}content-length: 0\r\n\r\n",
                "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(9)
            ),
            Some(502),
        ),
        (
            "another protocol",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".to_owned(),
            Some(502),
        ),
        (
            "no HTTP",
            "220 mail.example ESMTP\r\n\r\n".to_owned(),
            Some(502),
        ),
        ("nothing", String::new(), Some(502)),
        ("half a head", "HTTP/1.1 200 O".to_owned(), Some(502)),
        (
            "half a body",
            format!("{ok}content-length: 4\r\n\r\nab"),
            None,
        ),
        (
            "half a chunk",
            format!("{ok}transfer-encoding: chunked\r\n\r\n4\r\nab"),
            None,
        ),
        (
            "a broken chunk",
            format!("{ok}transfer-encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n"),
            None,
        ),
        (
            "more than it said",
            format!("{ok}content-length: 2\r\n\r\nab{ok}content-length: 3\r\n\r\nbad"),
            Some(200),
        ),
        (
            "after all that, a plain one",
            format!("{ok}content-length: 2\r\n\r\nab"),
            Some(200),
        ),
    ];
    let answers = cases.iter().map(|(_, answer, _)| answer.clone()).collect();
    let (address, taken, _tasks) = answering(answers).await;
    with_edge(&address, async |edge| {
        for (index, (name, answer, expected)) in cases.iter().enumerate() {
            eventually("the application has taken the one before", async || {
                (taken.load(Ordering::SeqCst) == index)
                    .then_some(())
                    .ok_or("not yet")
            })
            .await;
            let got = reqwest::get(format!("http://{edge}/a")).await.unwrap();
            let status = got.status().as_u16();
            let body = got.text().await;
            match expected {
                Some(expected) => assert_eq!(status, *expected, "{name}: {answer:?} {body:?}"),
                None => assert!(status == 200 && body.is_err(), "{name}: {status} {body:?}"),
            }
            assert!(!body.unwrap_or_default().contains("bad"), "{name}");
        }
        assert_eq!(
            taken.load(Ordering::SeqCst),
            cases.len(),
            "none was asked twice"
        );
    })
    .await;
}
