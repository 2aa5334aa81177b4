//! Turns what was seen on a stream into its `Outcome`: rows E1 to E28 of the evidence table.

use http::{HeaderMap, HeaderName, StatusCode};
use tokio::time::Instant;
use tonic::Code;

use super::{By, Counts, Ending, Outcome, Phase};
use crate::contract;
use crate::error::{Error, Kind, Processed};
use crate::grpc;
use crate::grpc::message::Tally;
use crate::grpc::metadata::{self, Pushback};
use crate::grpc::status::{self, Said};
use crate::http2::Link;

pub const REASON: HeaderName = HeaderName::from_static("x-outrigger-reason");

/// Watches one response.
#[derive(Clone, Debug)]
pub struct Judge {
    is_grpc: bool,
    kind: contract::Kind,
    started: Instant,
    head: Option<Head>,
    tally: Tally,
    first_message: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Head {
    at: Instant,
    status: StatusCode,
    said: Said,
    reason: Option<Kind>,
    pushback: Option<Pushback>,
    /// The content type is one of gRPC's, or a status is there already.
    speaks_grpc: bool,
}

/// Where a status was found.
struct Found {
    said: Said,
    ending: Ending,
    reason: Option<Kind>,
    pushback: Option<Pushback>,
}

impl Judge {
    /// `reason` headers are believed: whoever hears an untrusted peer strips them first.
    pub fn new(is_grpc: bool, kind: contract::Kind, started: Instant) -> Self {
        Self {
            is_grpc,
            kind,
            started,
            head: None,
            tally: Tally::new(is_grpc),
            first_message: None,
        }
    }

    pub fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    pub fn set_kind(&mut self, kind: contract::Kind) {
        self.kind = kind;
    }

    /// The response headers.
    pub fn head(&mut self, status: StatusCode, headers: &HeaderMap, now: Instant) {
        let said = status::read(headers);
        // Where a status is still to come, its reason comes with it.
        let is_open = self.is_grpc && said == Said::Nothing;
        self.head = Some(Head {
            at: now,
            status,
            said,
            reason: (!is_open).then(|| reason(headers)).flatten(),
            pushback: self.pushback(headers),
            speaks_grpc: said != Said::Nothing || grpc::is_grpc(headers),
        });
    }

    /// The next piece of the response body. Only the first one's time is asked for.
    pub fn data(&mut self, piece: &[u8], now: impl FnOnce() -> Instant) {
        self.tally.see(piece);
        if !piece.is_empty() {
            self.first_message.get_or_insert_with(now);
        }
    }

    /// Nothing of what follows has to be seen here before the end: the first message was.
    pub fn is_under_way(&self) -> bool {
        self.first_message.is_some()
    }

    /// What comes from now on passes by `link`, which counts it.
    pub fn linked(&mut self, link: &Link) {
        self.tally.move_to(link.count());
    }

    /// Whether the headers alone are the whole answer, or the answer is not gRPC at all.
    pub fn answered_by_head(&self) -> bool {
        self.head.as_ref().is_some_and(|head| {
            head.said != Said::Nothing
                || (self.is_grpc && (head.status != StatusCode::OK || !head.speaks_grpc))
        })
    }

    /// The stream ended in order.
    pub fn end(&self, trailers: Option<&HeaderMap>, now: Instant) -> Outcome {
        let Some(head) = &self.head else {
            return self.outcome(
                Code::Internal,
                Ending::Local,
                By::Mesh,
                Some(Kind::Internal),
                now,
            );
        };
        if !self.is_grpc {
            return self.http(head, now);
        }
        let found = self.found(head, trailers);
        let outcome = match found.said {
            Said::Nonsense => self.outcome(
                Code::Internal,
                found.ending,
                By::Peer,
                Some(Kind::Protocol),
                now,
            ),
            Said::Nothing if head.status != StatusCode::OK => {
                let ending = Ending::HttpStatus(head.status.as_u16());
                Outcome {
                    http_status: Some(head.status.as_u16()),
                    ..self.outcome(status::from_http(head.status), ending, By::Peer, None, now)
                }
            }
            Said::Nothing => self.outcome(
                Code::Unknown,
                Ending::MissingTrailers,
                By::Peer,
                Some(Kind::MissingTrailers),
                now,
            ),
            Said::Code(_) if head.status == StatusCode::OK && !head.speaks_grpc => self.outcome(
                Code::Unknown,
                Ending::MissingTrailers,
                By::Peer,
                Some(Kind::MissingTrailers),
                now,
            ),
            Said::Code(code) => match found.reason {
                Some(reason) if code != Code::Ok => {
                    let processed = proves(reason, found.ending);
                    Outcome {
                        processed,
                        ..self.outcome(code, found.ending, By::Peer, Some(reason), now)
                    }
                }
                _ if self.is_broken(code) => self.outcome(
                    Code::Internal,
                    found.ending,
                    By::App,
                    Some(Kind::Protocol),
                    now,
                ),
                _ => self.outcome(code, found.ending, By::App, None, now),
            },
        };
        Outcome {
            pushback: found.pushback,
            ..outcome
        }
    }

    /// The stream, or the call before it, failed.
    pub fn failed(&self, error: &Error, now: Instant) -> Outcome {
        let (ending, by) = match (error.kind, error.reset) {
            (Kind::Refused, None) => (Ending::GoAway, By::Peer),
            (Kind::Reset | Kind::Refused, code) => (Ending::Reset(code.unwrap_or(7)), By::Peer),
            (Kind::ConnectionLost, _) => (Ending::Lost, By::Peer),
            (Kind::MissingTrailers, _) => (Ending::MissingTrailers, By::Peer),
            (Kind::Protocol, code) => (code.map_or(Ending::Lost, Ending::Reset), By::Peer),
            (Kind::DeadlineExceeded, _) => (Ending::Deadline, By::Mesh),
            (Kind::Cancelled, _) => (Ending::Local, By::Caller),
            _ => (Ending::Local, By::Mesh),
        };
        let outcome = self.outcome(error.code(), ending, by, Some(error.kind), now);
        Outcome {
            processed: error.processed,
            pushback: error.pushback.map(Pushback::After),
            ..outcome
        }
    }

    /// Nobody wants the rest: the caller reset the stream or its connection ended.
    pub fn dropped(&self, now: Instant) -> Outcome {
        self.outcome(
            Code::Cancelled,
            Ending::Local,
            By::Caller,
            Some(Kind::Cancelled),
            now,
        )
    }

    pub fn received(&self) -> Counts {
        self.tally.count().into()
    }

    fn http(&self, head: &Head, now: Instant) -> Outcome {
        let (status, ending) = (
            head.status.as_u16(),
            Ending::HttpStatus(head.status.as_u16()),
        );
        let code = match status {
            429 => Code::ResourceExhausted,
            ..500 => Code::Ok,
            _ => status::from_http(head.status),
        };
        let base = match head.reason {
            Some(reason) => Outcome {
                processed: proves(reason, Ending::TrailersOnly),
                ..self.outcome(reason.code(), ending, By::Peer, Some(reason), now)
            },
            None => self.outcome(code, ending, By::App, None, now),
        };
        Outcome {
            pushback: head.pushback,
            http_status: Some(status),
            ..base
        }
    }

    /// Trailers win over the headers.
    fn found(&self, head: &Head, trailers: Option<&HeaderMap>) -> Found {
        if let Some(trailers) = trailers {
            let said = status::read(trailers);
            if said == Said::Code(Code::Ok) {
                // Nothing more is asked of a success.
                return Found {
                    said,
                    ending: Ending::Trailers,
                    reason: None,
                    pushback: None,
                };
            }
            if said != Said::Nothing {
                let pushback = self.pushback(trailers).or(head.pushback);
                return Found {
                    said,
                    ending: Ending::Trailers,
                    reason: reason(trailers),
                    pushback,
                };
            }
        }
        Found {
            said: head.said,
            ending: Ending::TrailersOnly,
            reason: head.reason,
            pushback: head.pushback,
        }
    }

    /// A message count that a unary method cannot have, or a body that ends inside a message.
    fn is_broken(&self, code: Code) -> bool {
        let count = self.tally.count();
        !count.is_whole()
            || (code == Code::Ok && self.kind == contract::Kind::Unary && count.messages != 1)
    }

    fn pushback(&self, headers: &HeaderMap) -> Option<Pushback> {
        if self.is_grpc {
            metadata::pushback(headers)
        } else {
            metadata::retry_after(headers)
        }
    }

    fn phase(&self) -> Phase {
        match &self.head {
            None => Phase::Sent,
            Some(_) if self.tally.count().bytes > 0 => Phase::Messages,
            Some(_) => Phase::Headers,
        }
    }

    fn outcome(
        &self,
        code: Code,
        ending: Ending,
        by: By,
        reason: Option<Kind>,
        now: Instant,
    ) -> Outcome {
        Outcome {
            code,
            ending,
            by,
            processed: Processed::Maybe,
            phase: self.phase(),
            reason,
            pushback: None,
            http_status: None,
            first_response: self
                .head
                .as_ref()
                .map(|head| head.at.saturating_duration_since(self.started)),
            first_message: self
                .first_message
                .map(|at| at.saturating_duration_since(self.started)),
            elapsed: now.saturating_duration_since(self.started),
            received: self.received(),
        }
    }
}

fn reason(headers: &HeaderMap) -> Option<Kind> {
    headers
        .get(REASON)
        .and_then(|value| value.to_str().ok())
        .and_then(Kind::from_flag)
}

/// A sidecar's refusal proves that no application saw the call only where the sidecar says it instead of an answer.
fn proves(reason: Kind, ending: Ending) -> Processed {
    let refusal = matches!(
        reason,
        // `refused`: the application refused the stream, and its sidecar says so in our place.
        Kind::Refused
            | Kind::RateLimited
            | Kind::Overloaded
            | Kind::NotReady
            | Kind::Draining
            | Kind::NoEndpoint
            | Kind::Denied
            | Kind::Unauthenticated
            | Kind::Malformed
            | Kind::NoSuchMethod
            | Kind::TooLarge
            | Kind::Loop
            | Kind::DeadlineTooShort
    );
    if refusal && ending == Ending::TrailersOnly {
        Processed::No
    } else {
        Processed::Maybe
    }
}

#[cfg(test)]
mod tests;
