//! The answers of a dialogue: those to a message come before the next message is read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::{refused, wanted};
use crate::testing::{StreamingOutputCallRequest, StreamingOutputCallResponse};

#[derive(Debug)]
pub(super) struct Answers {
    requests: Streaming<StreamingOutputCallRequest>,
    ready: VecDeque<StreamingOutputCallResponse>,
}

impl Answers {
    pub(super) fn new(requests: Streaming<StreamingOutputCallRequest>) -> Self {
        Self {
            requests,
            ready: VecDeque::new(),
        }
    }
}

impl Stream for Answers {
    type Item = Result<StreamingOutputCallResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(answer)));
            }
            let Some(request) = ready!(Pin::new(&mut self.requests).poll_next(context)) else {
                return Poll::Ready(None);
            };
            let answers = request.and_then(|mut request| {
                refused(request.response_status.take())?;
                wanted(request)
            });
            match answers {
                Ok(answers) => self.ready.extend(answers),
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
        }
    }
}
