use http::Method;
use http_body_util::StreamBody;

use super::*;
use crate::error::Processed;
use crate::stack::Peer;

type Frames = Vec<Result<Frame<Data>, Error>>;

fn call(protocol: Protocol) -> Call {
    Call::arrived(
        protocol,
        Peer::Application,
        Method::POST,
        "/s.S/M".parse().unwrap(),
        "s".to_owned(),
        HeaderMap::new(),
        observe::empty(),
    )
}

fn answer(status: u16, content_type: &'static str, frames: Frames) -> Answer {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: Box::pin(StreamBody::new(futures::stream::iter(frames))),
    }
}

fn data() -> Result<Frame<Data>, Error> {
    Ok(Frame::data(Data::uncredited(Bytes::from_static(&[
        0, 0, 0, 0, 0,
    ]))))
}

fn trailers(status: &'static str) -> Result<Frame<Data>, Error> {
    Ok(Frame::trailers(HeaderMap::from_iter([(
        status::STATUS,
        HeaderValue::from_static(status),
    )])))
}

async fn through(protocol: Protocol, result: Result<Answer, Error>) -> Answer {
    let result = std::cell::Cell::new(Some(result));
    let stage = layer(&"orders".into()).layer(move |_| std::future::ready(result.take().unwrap()));
    stage.call(call(protocol)).await.unwrap()
}

/// Messages, then what ended the stream: a status, or the reset code.
async fn read(mut body: Body) -> (usize, Result<Option<String>, Option<u32>>) {
    let mut messages = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Err(error) => return (messages, Err(error.reset)),
            Ok(frame) => match frame.into_trailers() {
                Ok(trailers) => {
                    return (
                        messages,
                        Ok(Some(trailers[status::STATUS].to_str().unwrap().to_owned())),
                    );
                }
                Err(_) => messages += 1,
            },
        }
    }
    (messages, Ok(None))
}

#[tokio::test]
async fn a_grpc_caller_hears_every_error_as_trailers_only() {
    for kind in Kind::all() {
        let reply = through(Protocol::Grpc, Err(Error::unprocessed(kind, "100% wrong"))).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(reply.body.is_end_stream());
        assert_eq!(
            reply.headers[status::STATUS].to_str().unwrap(),
            (kind.code() as i32).to_string()
        );
        assert_eq!(reply.headers[status::MESSAGE], "100%25 wrong");
        assert_eq!(reply.headers[REASON], kind.flag());
        assert!(reply.headers.contains_key(status::DETAILS));
        assert_eq!(reply.headers.contains_key(PUSHBACK), kind == Kind::Cut);
    }
}

#[tokio::test]
async fn an_http_caller_hears_the_http_column() {
    for kind in Kind::all() {
        let reply = through(
            Protocol::Http1,
            Err(Error::new(kind, "why").with_pushback(std::time::Duration::from_millis(1500))),
        )
        .await;
        assert_eq!(reply.status, kind.http());
        assert_eq!(reply.headers[RETRY_AFTER], "2");
        let body = reply.body.collect().await.unwrap().to_bytes();
        assert_eq!(body, "why\n");
    }
}

#[tokio::test]
async fn a_whole_answer_passes_unchanged() {
    let reply = through(
        Protocol::Grpc,
        Ok(answer(
            200,
            "application/grpc",
            vec![data(), data(), trailers("5")],
        )),
    )
    .await;
    assert_eq!(read(reply.body).await, (2, Ok(Some("5".to_owned()))));
}

#[tokio::test]
async fn an_answer_without_a_status_gets_one() {
    for (frames, messages) in [(vec![data()], 1), (vec![data(), data()], 2)] {
        let reply = through(Protocol::Grpc, Ok(answer(200, "application/grpc", frames))).await;
        assert_eq!(read(reply.body).await, (messages, Ok(Some("2".to_owned()))));
    }
    let nonsense = through(
        Protocol::Grpc,
        Ok(answer(
            200,
            "application/grpc",
            vec![data(), trailers("fine")],
        )),
    )
    .await;
    assert_eq!(read(nonsense.body).await, (1, Ok(Some("13".to_owned()))));
}

#[tokio::test]
async fn an_http_error_becomes_trailers_only() {
    for (http, content_type, code) in [
        (503, "text/plain", "14"),
        (404, "text/html", "12"),
        (200, "text/html", "2"),
        (500, "application/grpc", "2"),
    ] {
        let reply = through(Protocol::Grpc, Ok(answer(http, content_type, vec![data()]))).await;
        assert_eq!(
            (
                reply.status,
                reply.headers[status::STATUS].to_str().unwrap()
            ),
            (StatusCode::OK, code),
            "{http} {content_type}"
        );
        assert!(reply.body.is_end_stream());
    }
}

#[tokio::test]
async fn after_headers_a_reset_is_forwarded_and_the_rest_becomes_trailers() {
    for (error, expected) in [
        (Error::reset(8, Processed::Maybe), Err(Some(8))),
        (Error::reset(7, Processed::Maybe), Err(Some(7))),
        (
            Error::new(Kind::ConnectionLost, "gone"),
            Ok(Some("14".to_owned())),
        ),
        (
            Error::new(Kind::DeadlineExceeded, "late"),
            Ok(Some("4".to_owned())),
        ),
        (Error::new(Kind::Cut, "cut"), Ok(Some("14".to_owned()))),
    ] {
        let reply = through(
            Protocol::Grpc,
            Ok(answer(200, "application/grpc", vec![data(), Err(error)])),
        )
        .await;
        assert_eq!(read(reply.body).await, (1, expected));
    }
}

#[tokio::test]
async fn an_http_answer_is_left_alone() {
    let reply = through(Protocol::Http2, Ok(answer(503, "text/plain", vec![data()]))).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(read(reply.body).await, (1, Ok(None)));
}

#[tokio::test]
async fn a_grpc_answer_names_no_length_that_it_might_not_keep() {
    let broken = Err(Error::new(Kind::ConnectionLost, "gone"));
    let mut long = answer(200, "application/grpc", vec![data(), broken]);
    long.headers.insert(CONTENT_LENGTH, HeaderValue::from(300));
    let reply = through(Protocol::Grpc, Ok(long)).await;
    assert!(!reply.headers.contains_key(CONTENT_LENGTH));
    assert_eq!(read(reply.body).await, (1, Ok(Some("14".to_owned()))));
}
