use http::{HeaderMap, Method};
use http_body_util::BodyExt;

use super::*;
use crate::observe;
use crate::stack::Peer;

fn call(kind: Option<MethodKind>) -> Call {
    let mut call = Call::arrived(
        Protocol::Grpc,
        Peer::Application,
        Method::POST,
        "/s.S/M".parse().unwrap(),
        "s".to_owned(),
        HeaderMap::new(),
        observe::empty(),
    );
    call.promise = kind.map(|kind| {
        std::sync::Arc::new(crate::contract::Promise {
            method: "s.S/M".into(),
            class: crate::contract::Class::Unknown,
            kind,
        })
    });
    call
}

#[tokio::test]
async fn the_strictest_limit_that_applies_is_in_force() {
    let received = Instant::now();
    let at = |seconds| received + Duration::from_secs(seconds);
    let two = Limit::At(Duration::from_secs(2));
    for (caller, limit, kind, expected) in [
        (
            None,
            Limit::Default,
            MethodKind::Unary,
            Some((at(15), Source::Default)),
        ),
        (None, Limit::Default, MethodKind::Unknown, None),
        (None, Limit::Default, MethodKind::ServerStreaming, None),
        (None, Limit::Off, MethodKind::Unary, None),
        (None, two, MethodKind::Unary, Some((at(2), Source::Route))),
        (None, two, MethodKind::Unknown, Some((at(2), Source::Route))),
        (None, two, MethodKind::Bidirectional, None),
        (
            Some(at(60)),
            Limit::Default,
            MethodKind::Unary,
            Some((at(60), Source::Caller)),
        ),
        (
            Some(at(60)),
            Limit::Off,
            MethodKind::Unary,
            Some((at(60), Source::Caller)),
        ),
        (
            Some(at(60)),
            two,
            MethodKind::Unary,
            Some((at(2), Source::Route)),
        ),
        (
            Some(at(1)),
            two,
            MethodKind::Unary,
            Some((at(1), Source::Caller)),
        ),
        (
            Some(at(60)),
            two,
            MethodKind::ServerStreaming,
            Some((at(60), Source::Caller)),
        ),
    ] {
        assert_eq!(
            effective(caller, limit, kind, received),
            expected,
            "{caller:?} {limit:?} {kind:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_upstream_is_given_up_at_the_deadline() {
    let stage = layer(Limit::Default).layer(|call: Call| async move {
        call.facts.dispatched.set(true);
        std::future::pending().await
    });
    let start = Instant::now();
    let error = stage.call(call(Some(MethodKind::Unary))).await.unwrap_err();
    assert_eq!(
        (error.kind, error.processed),
        (Kind::DeadlineExceeded, Processed::Maybe)
    );
    assert_eq!(start.elapsed(), DEFAULT);
    assert!(
        error.detail.contains("timeouts.request"),
        "{}",
        error.detail
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_never_dispatched_is_unprocessed() {
    let stage = layer(Limit::At(Duration::from_secs(1))).layer(|_| std::future::pending());
    let error = stage.call(call(None)).await.unwrap_err();
    assert_eq!(error.processed, Processed::No);
    let late = layer(Limit::Default).layer(|_| async { panic!("asked after the deadline") });
    let mut call = call(None);
    call.deadline = Some(Instant::now());
    assert_eq!(
        late.call(call).await.unwrap_err().kind,
        Kind::DeadlineExceeded
    );
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_reply_under_way() {
    let stage = layer(Limit::At(Duration::from_secs(1))).layer(|_| async {
        let body = Box::pin(http_body_util::StreamBody::new(futures::stream::pending::<
            Result<Frame<Data>, Error>,
        >()));
        Ok(Reply {
            status: http::StatusCode::OK,
            headers: HeaderMap::new(),
            body,
        })
    });
    let mut body = stage.call(call(None)).await.unwrap().body;
    let start = Instant::now();
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert!(body.frame().await.is_none());
}
