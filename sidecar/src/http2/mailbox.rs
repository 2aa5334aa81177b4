//! What arrived on a stream and was not taken by its call yet. Small pieces that wait are merged, so that what waits costs no more
//! memory than its bytes, which the stream's window bounds.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use smallvec::SmallVec;

use super::fields::Response;
use super::frame::Code;
use super::link::Link;

/// Pieces below this are merged while they wait.
const SMALL: usize = 4 << 10;

/// How a stream stopped receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In order.
    Complete,
    /// The peer reset it.
    Reset(Code),
    /// We reset it, for what came.
    Failed(Code, &'static str),
    /// We reset it, because more waited than may and it held most of that.
    Crowding,
    /// The peer provably did not take it.
    Untaken,
    /// The connection is over; what is known of why stands there.
    Lost,
}

/// Frames of a body.
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// The receiving half of a stream, between its connection's driver and its call.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    mail: RefCell<Mail>,
    /// How it stopped receiving.
    end: Cell<Option<End>>,
    /// It takes nothing more either.
    broken: Cell<Option<End>>,
    /// What comes may pass by it.
    link: RefCell<Option<Rc<Link>>>,
    /// Nobody will read what comes.
    is_discarding: Cell<bool>,
    receiver: RefCell<Option<Waker>>,
    sender: RefCell<Option<Waker>>,
}

#[derive(Debug, Default)]
struct Mail {
    /// 1xx heads in front of it.
    early: VecDeque<Response>,
    head: Option<Response>,
    /// Few, because small ones are merged; mostly one.
    pieces: SmallVec<[Bytes; 1]>,
    /// Small pieces behind them, merged.
    tail: BytesMut,
    trailers: Option<HeaderMap>,
}

impl Mail {
    fn put(&mut self, data: &[u8]) {
        if self.pieces.is_empty() && self.tail.is_empty() {
            self.pieces.push(Bytes::copy_from_slice(data));
        } else if data.len() < SMALL {
            self.tail.extend_from_slice(data);
        } else {
            if !self.tail.is_empty() {
                self.pieces.push(self.tail.split().freeze());
            }
            self.pieces.push(Bytes::copy_from_slice(data));
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        if !self.pieces.is_empty() {
            return Some(self.pieces.remove(0));
        }
        (!self.tail.is_empty()).then(|| self.tail.split().freeze())
    }

    fn has_more(&self) -> bool {
        !self.pieces.is_empty() || !self.tail.is_empty() || self.trailers.is_some()
    }
}

impl Mailbox {
    // The driver's side.

    pub(super) fn head(&self, response: Response) {
        let mut mail = self.mail.borrow_mut();
        match response.is_informational() {
            true => mail.early.push_back(response),
            false => mail.head = Some(response),
        }
        drop(mail);
        wake(&self.receiver);
    }

    /// How many bytes of it are done with, because nobody wants them or they passed: their credit is to be given back.
    pub(super) fn data(&self, data: &[u8], ends: bool) -> usize {
        if self.is_discarding.get() {
            return data.len();
        }
        // The end is for the call to see, and goes with the last bytes.
        let passed = if ends { 0 } else { self.pass(data) };
        let rest = data.get(passed..).unwrap_or_default();
        if !rest.is_empty() {
            self.mail.borrow_mut().put(rest);
            wake(&self.receiver);
        }
        passed
    }

    fn pass(&self, data: &[u8]) -> usize {
        match &*self.link.borrow() {
            Some(link) if !self.mail.borrow().has_more() => link.pass(data),
            _ => 0,
        }
    }

    pub(super) fn trailers(&self, trailers: HeaderMap) {
        self.mail.borrow_mut().trailers = Some(trailers);
        self.end(End::Complete);
    }

    /// The first end is how it stopped receiving: what came whole stays so, also when a reset follows that says that no more is
    /// wanted of us.
    pub(super) fn end(&self, end: End) {
        if self.end.get().is_none() {
            self.end.set(Some(end));
            wake(&self.receiver);
        }
        if end != End::Complete && self.broken.get().is_none() {
            self.broken.set(Some(end));
            wake(&self.sender);
        }
    }

    pub(super) fn room(&self) {
        wake(&self.sender);
    }

    // The call's side.

    /// The next 1xx head.
    pub(super) fn take_early(&self) -> Option<Response> {
        self.mail.borrow_mut().early.pop_front()
    }

    pub(super) fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Result<Response, End>> {
        if let Some(response) = self.mail.borrow_mut().head.take() {
            return Poll::Ready(Ok(response));
        }
        match self.end.get() {
            Some(end) => Poll::Ready(Err(end)),
            None => wait(&self.receiver, cx),
        }
    }

    /// `None` at the end. After a reset what came before it is not handed out any more.
    pub(super) fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, End>>> {
        let end = self.end.get();
        if let Some(failed) = end.filter(|end| *end != End::Complete) {
            return Poll::Ready(Some(Err(failed)));
        }
        let mut mail = self.mail.borrow_mut();
        if let Some(bytes) = mail.take() {
            return Poll::Ready(Some(Ok(Piece::Data(bytes))));
        }
        if let Some(trailers) = mail.trailers.take() {
            return Poll::Ready(Some(Ok(Piece::Trailers(trailers))));
        }
        match end {
            Some(_) => Poll::Ready(None),
            None => wait(&self.receiver, cx),
        }
    }

    /// From now on what comes may pass, while nothing waits here.
    pub(super) fn link(&self, link: Rc<Link>) {
        self.link.replace(Some(link));
    }

    /// The stream ended before its time: the peer reset it, or its connection is over.
    pub(super) fn poll_broken(&self, cx: &mut Context<'_>) -> Poll<End> {
        match self.broken.get() {
            Some(end) => Poll::Ready(end),
            None => wait(&self.sender, cx),
        }
    }

    /// Wakes the task when there may be room to send.
    pub(super) fn wait_for_room(&self, cx: &mut Context<'_>) {
        let _: Poll<()> = wait(&self.sender, cx);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.get().is_some()
    }

    /// Everything was taken, or there was nothing.
    pub(super) fn is_over(&self) -> bool {
        self.end.get() == Some(End::Complete) && !self.mail.borrow().has_more()
    }

    /// From now on nothing is kept; how many bytes were.
    pub(super) fn discard(&self) -> u32 {
        self.is_discarding.set(true);
        let mail = &mut *self.mail.borrow_mut();
        let pieces = mail.pieces.drain(..).map(|piece| piece.len());
        let bytes = pieces.sum::<usize>() + std::mem::take(&mut mail.tail).len();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

fn wake(waker: &RefCell<Option<Waker>>) {
    if let Some(waker) = waker.borrow_mut().take() {
        waker.wake();
    }
}

fn wait<T>(place: &RefCell<Option<Waker>>, cx: &Context<'_>) -> Poll<T> {
    let mut place = place.borrow_mut();
    match &mut *place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker;

    fn pieces(mailbox: &Mailbox) -> Vec<Bytes> {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut pieces = Vec::new();
        while let Poll::Ready(Some(Ok(Piece::Data(bytes)))) = mailbox.poll_piece(&mut cx) {
            pieces.push(bytes);
        }
        pieces
    }

    #[test]
    fn small_pieces_that_wait_are_merged_and_stay_in_order() {
        let mailbox = Mailbox::default();
        let large = vec![7; SMALL];
        for data in [&b"a"[..], b"b", b"c", &large, b"d", b"e"] {
            assert_eq!(mailbox.data(data, false), 0);
        }
        let expected = [&b"a"[..], b"bc", &large, b"de"];
        assert_eq!(pieces(&mailbox), expected);
        assert!(!mailbox.is_over());
        mailbox.end(End::Complete);
        assert!(mailbox.is_over());
    }

    #[test]
    fn a_reset_behind_the_end_stops_sending_and_takes_nothing_away() {
        let mailbox = Mailbox::default();
        mailbox.data(b"x", false);
        mailbox.end(End::Complete);
        mailbox.end(End::Reset(Code::NO_ERROR));
        mailbox.end(End::Lost);
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        assert_eq!(
            mailbox.poll_broken(&mut cx),
            Poll::Ready(End::Reset(Code::NO_ERROR))
        );
        assert_eq!(pieces(&mailbox), [&b"x"[..]]);
        assert!(mailbox.is_broken() && mailbox.is_over());
    }

    #[test]
    fn what_came_before_a_reset_is_not_handed_out() {
        let mailbox = Mailbox::default();
        mailbox.data(b"x", false);
        mailbox.end(End::Reset(Code::CANCEL));
        assert!(pieces(&mailbox).is_empty());
    }

    #[test]
    fn what_nobody_reads_is_not_kept() {
        let mailbox = Mailbox::default();
        mailbox.data(b"x", false);
        assert_eq!(mailbox.discard(), 1);
        assert_eq!(mailbox.data(b"y", false), 1);
        assert!(pieces(&mailbox).is_empty());
    }
}
