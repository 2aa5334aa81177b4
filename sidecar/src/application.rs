//! The end of the inbound and edge stacks: one exchange with our application. Never repeats a call.
//!
//! An application that cannot be reached has not seen the call: the answer is `no_endpoint`, proved unprocessed, so that the caller's
//! sidecar moves on at once.

use std::pin::pin;
use std::rc::Rc;

use tokio::time::Instant;

use crate::connect::Application;
use crate::error::{Error, Kind, Processed};
use crate::exchange;
use crate::grpc::timeout;
use crate::snapshot::Thread;
use crate::stack::{self, Call, Protocol, Reply};

#[derive(Debug)]
pub struct Stage {
    thread: Rc<Thread>,
}

impl Stage {
    pub fn new(thread: &Rc<Thread>) -> Self {
        Self {
            thread: thread.clone(),
        }
    }
}

impl stack::Stage for Stage {
    async fn call(&self, call: Call) -> Result<Reply, Error> {
        let Some(application) = &self.thread.application else {
            return Err(Error::unprocessed(
                Kind::NoEndpoint,
                "this instance has no application to call",
            ));
        };
        if !application.takes_calls() {
            return Err(Error::unprocessed(
                Kind::NoRoute,
                "the application is declared to speak tcp and takes no calls; declare what it speaks, or set protocol = \"tcp\" for the upstream at the caller",
            ));
        }
        let line = call.facts.line.clone();
        let asked = pin!(ask(application, call));
        application.strangers.answered(line, asked).await
    }
}

/// The deadline is written once the call goes: it may have waited.
async fn ask(application: &Rc<Application>, mut call: Call) -> Result<Reply, Error> {
    if call.protocol == Protocol::Grpc
        && let Some(deadline) = call.deadline
    {
        let left = timeout::encode(deadline.saturating_duration_since(Instant::now()));
        let left = left.ok_or_else(|| {
            Error::unprocessed(
                Kind::DeadlineExceeded,
                "the deadline passed before the application was asked",
            )
        })?;
        call.headers.say(timeout::HEADER, left);
    }
    call.facts.dispatched.set(true);
    call.facts.attempts.set(1);
    exchange::to_application(application, call)
        .await
        .map_err(unreachable)
}

/// What never reached the application is nobody's doing but its absence.
fn unreachable(error: Error) -> Error {
    let absent = error.unsent
        || (error.processed == Processed::No
            && matches!(
                error.kind,
                Kind::Connect | Kind::Handshake | Kind::ConnectionLost
            ));
    if absent {
        Error {
            unsent: false,
            kind: Kind::NoEndpoint,
            detail: format!("the application cannot be reached: {}", error.detail).into(),
            ..error
        }
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_application_is_no_endpoint_and_unprocessed() {
        for (error, kind, processed) in [
            (
                Error::unprocessed(Kind::Connect, "refused"),
                Kind::NoEndpoint,
                Processed::No,
            ),
            (Error::unsent("gone"), Kind::NoEndpoint, Processed::No),
            (
                Error::new(Kind::ConnectionLost, "end of file"),
                Kind::ConnectionLost,
                Processed::Maybe,
            ),
            (Error::reset(7, Processed::No), Kind::Refused, Processed::No),
        ] {
            let error = unreachable(error);
            assert_eq!(
                (error.kind, error.processed, error.unsent),
                (kind, processed, false)
            );
        }
    }
}
