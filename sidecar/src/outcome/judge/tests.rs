use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::*;

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

fn grpc_head() -> HeaderMap {
    map(&[("content-type", "application/grpc")])
}

fn judge(kind: contract::Kind) -> Judge {
    Judge::new(true, kind, Instant::now())
}

fn message(size: u8) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, size];
    bytes.extend(std::iter::repeat_n(1, usize::from(size)));
    bytes
}

fn ended(
    kind: contract::Kind,
    status: u16,
    head: &HeaderMap,
    messages: usize,
    trailers: Option<&HeaderMap>,
) -> Outcome {
    let mut judge = judge(kind);
    judge.head(StatusCode::from_u16(status).unwrap(), head, Instant::now());
    for _ in 0..messages {
        judge.data(&message(3), Instant::now);
    }
    judge.end(trailers, Instant::now())
}

fn check(
    row: &str,
    outcome: &Outcome,
    code: Code,
    by: By,
    processed: Processed,
    reason: Option<Kind>,
) {
    assert_eq!(
        (outcome.code, outcome.by, outcome.processed, outcome.reason),
        (code, by, processed, reason),
        "{row}: {outcome:?}"
    );
}

#[tokio::test]
async fn e1_status_zero_is_ok() {
    let outcome = ended(
        contract::Kind::Unary,
        200,
        &grpc_head(),
        1,
        Some(&map(&[("grpc-status", "0")])),
    );
    check("E1", &outcome, Code::Ok, By::App, Processed::Maybe, None);
    assert_eq!(
        (outcome.ending, outcome.phase),
        (Ending::Trailers, Phase::Messages)
    );
}

#[tokio::test]
async fn e2_e3_an_applications_status_is_its_own() {
    for number in 1..=16 {
        let text: &'static str = Box::leak(number.to_string().into_boxed_str());
        let code = Code::from_i32(number);
        let head = map(&[("content-type", "application/grpc"), ("grpc-status", text)]);
        let only = ended(contract::Kind::Unary, 200, &head, 0, None);
        check("E2", &only, code, By::App, Processed::Maybe, None);
        assert_eq!(only.ending, Ending::TrailersOnly);
        for messages in [0, 1, 3] {
            let outcome = ended(
                contract::Kind::ServerStreaming,
                200,
                &grpc_head(),
                messages,
                Some(&map(&[("grpc-status", text)])),
            );
            check("E3", &outcome, code, By::App, Processed::Maybe, None);
            assert_eq!(outcome.ending, Ending::Trailers);
        }
    }
}

#[tokio::test]
async fn e4_a_status_above_sixteen_is_unknown() {
    check(
        "E4",
        &ended(
            contract::Kind::Unary,
            200,
            &grpc_head(),
            1,
            Some(&map(&[("grpc-status", "17")])),
        ),
        Code::Unknown,
        By::App,
        Processed::Maybe,
        None,
    );
}

#[tokio::test]
async fn e5_a_status_that_is_none_is_a_protocol_error() {
    for trailers in [
        map(&[("grpc-status", "fine")]),
        map(&[("grpc-status", "0"), ("grpc-status", "14")]),
    ] {
        check(
            "E5",
            &ended(contract::Kind::Unary, 200, &grpc_head(), 1, Some(&trailers)),
            Code::Internal,
            By::Peer,
            Processed::Maybe,
            Some(Kind::Protocol),
        );
    }
}

#[tokio::test]
async fn e6_an_answer_without_status_is_unknown() {
    for (head, messages, trailers) in [
        (grpc_head(), 0, None),
        (grpc_head(), 1, None),
        (grpc_head(), 1, Some(map(&[("x", "y")]))),
        (map(&[("content-type", "text/html")]), 0, None),
        (
            map(&[("content-type", "text/html")]),
            0,
            Some(map(&[("grpc-status", "0")])),
        ),
    ] {
        let outcome = ended(
            contract::Kind::Unary,
            200,
            &head,
            messages,
            trailers.as_ref(),
        );
        check(
            "E6",
            &outcome,
            Code::Unknown,
            By::Peer,
            Processed::Maybe,
            Some(Kind::MissingTrailers),
        );
    }
}

#[tokio::test]
async fn e7_another_http_status_with_a_grpc_status_is_that_status() {
    let head = map(&[("content-type", "application/grpc"), ("grpc-status", "5")]);
    check(
        "E7",
        &ended(contract::Kind::Unary, 503, &head, 0, None),
        Code::NotFound,
        By::App,
        Processed::Maybe,
        None,
    );
}

#[tokio::test]
async fn e8_another_http_status_maps() {
    for (http, code) in [
        (400, Code::Internal),
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::Unimplemented),
        (429, Code::Unavailable),
        (503, Code::Unavailable),
        (500, Code::Unknown),
    ] {
        let outcome = ended(
            contract::Kind::Unary,
            http,
            &map(&[("content-type", "text/plain")]),
            0,
            None,
        );
        check("E8", &outcome, code, By::Peer, Processed::Maybe, None);
        assert_eq!(
            (outcome.ending, outcome.http_status),
            (Ending::HttpStatus(http), Some(http))
        );
    }
}

#[tokio::test]
async fn e9_a_unary_ok_has_exactly_one_message() {
    for messages in [0, 2] {
        let outcome = ended(
            contract::Kind::Unary,
            200,
            &grpc_head(),
            messages,
            Some(&map(&[("grpc-status", "0")])),
        );
        check(
            "E9",
            &outcome,
            Code::Internal,
            By::App,
            Processed::Maybe,
            Some(Kind::Protocol),
        );
        let stream = ended(
            contract::Kind::ServerStreaming,
            200,
            &grpc_head(),
            messages,
            Some(&map(&[("grpc-status", "0")])),
        );
        check("E9", &stream, Code::Ok, By::App, Processed::Maybe, None);
    }
    let mut cut = judge(contract::Kind::ServerStreaming);
    cut.head(StatusCode::OK, &grpc_head(), Instant::now());
    cut.data(&[0, 0, 0, 0, 9, 1], Instant::now);
    check(
        "E9",
        &cut.end(Some(&map(&[("grpc-status", "0")])), Instant::now()),
        Code::Internal,
        By::App,
        Processed::Maybe,
        Some(Kind::Protocol),
    );
}

#[tokio::test]
async fn e10_a_refused_stream_is_unprocessed() {
    let refused =
        judge(contract::Kind::Unary).failed(&Error::reset(7, Processed::No), Instant::now());
    check(
        "E10",
        &refused,
        Code::Unavailable,
        By::Peer,
        Processed::No,
        Some(Kind::Refused),
    );
    assert_eq!(refused.ending, Ending::Reset(7));
    let above = judge(contract::Kind::Unary).failed(
        &Error::unprocessed(Kind::Refused, "above the last stream of GOAWAY"),
        Instant::now(),
    );
    check(
        "E10",
        &above,
        Code::Unavailable,
        By::Peer,
        Processed::No,
        Some(Kind::Refused),
    );
    assert_eq!(above.ending, Ending::GoAway);
}

#[tokio::test]
async fn e11_e12_a_reset_maps_by_its_code() {
    for (reset, code) in [
        (0, Code::Internal),
        (2, Code::Internal),
        (8, Code::Cancelled),
        (11, Code::ResourceExhausted),
        (12, Code::PermissionDenied),
        (13, Code::Internal),
        (99, Code::Unknown),
    ] {
        let before = judge(contract::Kind::Unary)
            .failed(&Error::reset(reset, Processed::Maybe), Instant::now());
        check(
            "E11",
            &before,
            code,
            By::Peer,
            Processed::Maybe,
            Some(Kind::Reset),
        );
        assert_eq!(
            (before.ending, before.phase),
            (Ending::Reset(reset), Phase::Sent)
        );
        let mut after = judge(contract::Kind::Unary);
        after.head(StatusCode::OK, &grpc_head(), Instant::now());
        let after = after.failed(&Error::reset(reset, Processed::Maybe), Instant::now());
        check(
            "E12",
            &after,
            code,
            By::Peer,
            Processed::Maybe,
            Some(Kind::Reset),
        );
        assert_eq!(after.phase, Phase::Headers);
    }
    let late =
        judge(contract::Kind::Unary).failed(&Error::reset(7, Processed::Maybe), Instant::now());
    check(
        "E12",
        &late,
        Code::Unavailable,
        By::Peer,
        Processed::Maybe,
        Some(Kind::Reset),
    );
}

#[tokio::test]
async fn e14_a_lost_connection_proves_nothing() {
    let outcome = judge(contract::Kind::Unary).failed(
        &Error::new(Kind::ConnectionLost, "end of file"),
        Instant::now(),
    );
    check(
        "E14",
        &outcome,
        Code::Unavailable,
        By::Peer,
        Processed::Maybe,
        Some(Kind::ConnectionLost),
    );
    assert_eq!(outcome.ending, Ending::Lost);
}

#[tokio::test]
async fn e16_e24_what_is_refused_here_is_the_meshs() {
    for kind in [
        Kind::NoEndpoint,
        Kind::BreakerOpen,
        Kind::Overloaded,
        Kind::NoRoute,
        Kind::NotReady,
        Kind::Draining,
        Kind::RateLimited,
        Kind::Malformed,
        Kind::Denied,
    ] {
        let outcome = judge(contract::Kind::Unary)
            .failed(&Error::unprocessed(kind, "refused"), Instant::now());
        check(
            "E24",
            &outcome,
            kind.code(),
            By::Mesh,
            Processed::No,
            Some(kind),
        );
        assert_eq!(outcome.ending, Ending::Local);
    }
}

#[tokio::test]
async fn e17_e18_a_peers_refusal_counts_only_in_trailers_only() {
    for flag in [
        "rate_limited",
        "overloaded",
        "not_ready",
        "draining",
        "no_endpoint",
        "denied",
        "refused",
        "unauthenticated",
        "malformed",
        "no_such_method",
        "too_large",
        "loop",
        "deadline_too_short",
    ] {
        let kind = Kind::from_flag(flag).unwrap();
        let status: &'static str = Box::leak((kind.code() as i32).to_string().into_boxed_str());
        let only = map(&[
            ("content-type", "application/grpc"),
            ("grpc-status", status),
            ("x-outrigger-reason", flag),
        ]);
        check(
            "E17",
            &ended(contract::Kind::Unary, 200, &only, 0, None),
            kind.code(),
            By::Peer,
            Processed::No,
            Some(kind),
        );
        let trailers = map(&[("grpc-status", status), ("x-outrigger-reason", flag)]);
        check(
            "E17 late",
            &ended(contract::Kind::Unary, 200, &grpc_head(), 1, Some(&trailers)),
            kind.code(),
            By::Peer,
            Processed::Maybe,
            Some(kind),
        );
    }
    let lost = map(&[
        ("content-type", "application/grpc"),
        ("grpc-status", "14"),
        ("x-outrigger-reason", "connection_lost"),
    ]);
    check(
        "E17 other",
        &ended(contract::Kind::Unary, 200, &lost, 0, None),
        Code::Unavailable,
        By::Peer,
        Processed::Maybe,
        Some(Kind::ConnectionLost),
    );
}

#[tokio::test]
async fn e19_e20_a_deadline_is_the_meshs_verdict() {
    for (error, processed) in [
        (
            Error::unprocessed(Kind::DeadlineExceeded, "before"),
            Processed::No,
        ),
        (
            Error::new(Kind::DeadlineExceeded, "after"),
            Processed::Maybe,
        ),
    ] {
        let outcome = judge(contract::Kind::Unary).failed(&error, Instant::now());
        check(
            "E19",
            &outcome,
            Code::DeadlineExceeded,
            By::Mesh,
            processed,
            Some(Kind::DeadlineExceeded),
        );
        assert_eq!(outcome.ending, Ending::Deadline);
    }
}

#[tokio::test]
async fn e22_a_caller_that_leaves_cancelled_it() {
    check(
        "E22",
        &judge(contract::Kind::Unary).dropped(Instant::now()),
        Code::Cancelled,
        By::Caller,
        Processed::Maybe,
        Some(Kind::Cancelled),
    );
}

#[tokio::test]
async fn e23_e25_e26_what_ends_a_running_call_proves_nothing() {
    for (row, kind) in [
        ("E23", Kind::Stalled),
        ("E25", Kind::Cut),
        ("E26", Kind::Denied),
    ] {
        let outcome =
            judge(contract::Kind::Unary).failed(&Error::new(kind, "ended"), Instant::now());
        check(
            row,
            &outcome,
            kind.code(),
            By::Mesh,
            Processed::Maybe,
            Some(kind),
        );
    }
}

#[tokio::test]
async fn trailers_win_over_headers_and_an_ok_has_no_reason() {
    let head = map(&[("content-type", "application/grpc"), ("grpc-status", "14")]);
    let outcome = ended(
        contract::Kind::ServerStreaming,
        200,
        &head,
        0,
        Some(&map(&[
            ("grpc-status", "0"),
            ("x-outrigger-reason", "denied"),
        ])),
    );
    check(
        "trap e",
        &outcome,
        Code::Ok,
        By::App,
        Processed::Maybe,
        None,
    );
}

#[tokio::test]
async fn http_answers_below_five_hundred_are_answers() {
    for (http, code) in [
        (200, Code::Ok),
        (204, Code::Ok),
        (404, Code::Ok),
        (429, Code::ResourceExhausted),
        (500, Code::Unknown),
        (503, Code::Unavailable),
    ] {
        let mut judge = Judge::new(false, contract::Kind::Unary, Instant::now());
        judge.head(
            StatusCode::from_u16(http).unwrap(),
            &HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/plain"))]),
            Instant::now(),
        );
        judge.data(b"text that is no gRPC", Instant::now);
        check(
            "trap f",
            &judge.end(None, Instant::now()),
            code,
            By::App,
            Processed::Maybe,
            None,
        );
    }
}
