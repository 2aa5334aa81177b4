//! What arrives: bytes to frames, frames to events. A fault of the connection is the caller's to end it with; a fault of a
//! stream is answered here.

use tokio::time::Instant;

use super::super::frame::{self, Code, Fault, Frame, HEAD, Head, PREFACE, Settings};
use super::super::meter::Limit;
use super::super::stream::{By, Wrong};
use super::{Connection, Entry, Event, Gone, Role};

pub(super) fn protocol(why: &'static str) -> Fault {
    Fault::Connection(Code::PROTOCOL_ERROR, why)
}

fn flow(why: &'static str) -> Fault {
    Fault::Connection(Code::FLOW_CONTROL_ERROR, why)
}

/// Who hears what happened.
pub(super) trait Told: FnMut(Event<'_>) {}

impl<F: FnMut(Event<'_>)> Told for F {}

impl Connection {
    /// What came before has been looked at: a stream that is reset from now on had begun.
    pub fn begin_turn(&mut self) {
        self.meter.begin_turn();
        self.arrived = 0;
        for stream in self.new.drain(..) {
            if let Some(entry) = self.streams.get_mut(&stream) {
                (entry.is_new, entry.is_arrived) = (false, false);
            }
        }
    }

    /// No more requests are taken in a turn: what comes behind them waits for the next one.
    pub fn allow_requests(&mut self, most: usize) {
        self.most_arrived = most;
    }

    /// That many have come.
    pub fn has_enough(&self) -> bool {
        self.arrived >= self.most_arrived
    }

    /// Takes the whole frames of what the socket held, as many as the turn allows, and says how many bytes they were: the rest comes
    /// again with more behind it.
    /// After a fault nothing more is to be received.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        now: Instant,
        told: &mut impl FnMut(Event<'_>),
    ) -> Result<usize, Fault> {
        let mut rest = bytes;
        if std::mem::replace(&mut self.unwanted, Ok(false))? {
            told(Event::Met(Limit::PrematureResets));
        }
        self.take_preface(&mut rest)?;
        while self.has_preface
            && !self.has_enough()
            && let Some((head, payload)) = next_frame(&mut rest)?
        {
            if let Err(fault) = self.take(head, payload, now, told) {
                self.fail_stream(fault, now, told)?;
            }
        }
        Ok(bytes.len() - rest.len())
    }

    fn take_preface(&mut self, rest: &mut &[u8]) -> Result<(), Fault> {
        if self.has_preface {
            return Ok(());
        }
        let length = rest.len().min(PREFACE.len());
        if rest.get(..length) != PREFACE.get(..length) {
            return Err(protocol("the preface is not that of HTTP/2"));
        }
        if let Some(behind) = rest.get(PREFACE.len()..) {
            self.has_preface = true;
            *rest = behind;
        }
        Ok(())
    }

    fn take(
        &mut self,
        head: Head,
        payload: &[u8],
        now: Instant,
        told: &mut impl Told,
    ) -> Result<(), Fault> {
        if !self.has_settings && (head.kind != frame::kind::SETTINGS || head.has(frame::flag::ACK))
        {
            return Err(protocol("the first frame is not SETTINGS"));
        }
        let frame = frame::parse(head, payload);
        self.check_order(head)?;
        match frame? {
            Frame::Data {
                stream,
                data,
                charged,
                ends_stream,
            } => self.data(stream, data, charged, ends_stream, told),
            Frame::Headers {
                stream,
                fragment,
                depends_on_itself,
                ends_stream,
                ends_block,
            } => {
                self.begin_block(stream, ends_stream, now)?;
                if depends_on_itself && let Some(block) = &mut self.block {
                    block.gathered.spoil("a stream depends on itself");
                }
                self.fragment(fragment, ends_block, told)
            }
            Frame::Continuation {
                fragment,
                ends_block,
                ..
            } => {
                self.meter.continuation()?;
                self.fragment(fragment, ends_block, told)
            }
            Frame::Reset { stream, code } => self.peer_reset(stream, code, now, told),
            Frame::WindowUpdate { stream, increment } => self.room(stream, increment, told),
            Frame::Settings(settings) => self.settings(settings, told),
            Frame::SettingsAck => self.acknowledged(now),
            Frame::Ping { payload, is_answer } => self.heard_ping(payload, is_answer, now, told),
            Frame::GoAway {
                last_stream,
                code,
                debug,
            } => {
                self.peer_leaves(last_stream, code, debug, told);
                Ok(self.meter.unknown()?)
            }
            Frame::Priority => Ok(self.meter.priority()?),
            Frame::Unknown => Ok(self.meter.unknown()?),
        }
    }

    /// RFC 9113, 6.2 and 6.10: nothing comes between the frames of a block.
    fn check_order(&self, head: Head) -> Result<(), Fault> {
        let continues = head.kind == frame::kind::CONTINUATION;
        match &self.block {
            None if continues => Err(protocol("CONTINUATION of nothing")),
            Some(block) if !continues || block.stream != head.stream => {
                Err(protocol("a frame inside a block of fields"))
            }
            _ => Ok(()),
        }
    }

    fn data(
        &mut self,
        stream: u32,
        data: &[u8],
        charged: u32,
        ends_stream: bool,
        told: &mut impl Told,
    ) -> Result<(), Fault> {
        if self.is_idle(stream) {
            return Err(protocol("DATA on a stream that nobody has opened"));
        }
        if charged == 0 && !ends_stream {
            self.meter.empty()?;
        }
        self.receive
            .receive(charged)
            .map_err(|broken| flow(broken.0))?;
        let Some(entry) = self.streams.get_mut(&stream) else {
            // Nobody will forward it.
            self.give_back(charged);
            return self.behind_the_end(stream);
        };
        if let Err(broken) = entry.receive.receive(charged) {
            self.give_back(charged);
            let code = Code::FLOW_CONTROL_ERROR;
            return Err(Fault::Stream(stream, code, broken.0));
        }
        // From here on the stream holds it: whatever ends the stream gives it back.
        let taken = entry.take_data(data.len(), ends_stream);
        taken.map_err(|(code, why)| Fault::Stream(stream, code, why))?;
        if !data.is_empty() || ends_stream {
            told(Event::Data {
                stream,
                data,
                ends_stream,
            });
        }
        // Nobody forwards padding.
        let padding = charged - u32::try_from(data.len()).unwrap_or(charged);
        if padding > 0 {
            self.forwarded(stream, padding);
        }
        self.close_if_ended(stream);
        Ok(())
    }

    /// A frame of a stream that is gone. It may have been on its way when we reset the stream.
    pub(super) fn behind_the_end(&mut self, stream: u32) -> Result<(), Fault> {
        match self.how_gone(stream) {
            Gone::Reset(By::Us) => Ok(()),
            Gone::Reset(By::Peer) | Gone::Forgotten | Gone::Unknown => {
                self.meter.library_reset()?;
                frame::reset(stream, Code::STREAM_CLOSED, &mut self.out);
                Ok(())
            }
            Gone::Ended => {
                let why = "a frame behind the end of its stream";
                Err(Fault::Connection(Code::STREAM_CLOSED, why))
            }
        }
    }

    fn peer_reset(
        &mut self,
        stream: u32,
        code: Code,
        now: Instant,
        told: &mut impl Told,
    ) -> Result<(), Fault> {
        if self.is_idle(stream) {
            return Err(protocol("RST_STREAM of a stream that nobody has opened"));
        }
        let Some(entry) = self.streams.get(&stream) else {
            return Ok(());
        };
        let (opened, is_new) = (entry.opened, entry.is_new);
        self.forget(stream, Gone::Reset(By::Peer));
        told(Event::Reset { stream, code });
        if self.role == Role::Server {
            if is_new {
                self.meter.reset_before_begun()?;
            }
            self.count_reset(opened, now, told)?;
        }
        Ok(())
    }

    fn count_reset(
        &mut self,
        opened: Instant,
        now: Instant,
        told: &mut impl Told,
    ) -> Result<(), Fault> {
        if self.meter.reset(opened, now)? {
            told(Event::Met(Limit::PrematureResets));
        }
        Ok(())
    }

    fn settings(&mut self, settings: Settings, told: &mut impl Told) -> Result<(), Fault> {
        self.meter.settings()?;
        let is_first = !std::mem::replace(&mut self.has_settings, true);
        if self.role == Role::Client && settings.enable_push == Some(true) {
            return Err(protocol("a server that says it takes pushes"));
        }
        if let Some(size) = settings.header_table_size {
            self.encoder.allow(size);
        }
        // It may take as many as it likes if it says nothing (RFC 9113, 6.5.2).
        if let Some(streams) = settings
            .max_concurrent_streams
            .or(is_first.then_some(u32::MAX))
        {
            self.peer.streams = streams;
        }
        if let Some(size) = settings.max_frame_size {
            self.peer.frame_size = size;
        }
        if let Some(window) = settings.initial_window_size {
            self.move_windows(window, told)?;
        }
        frame::settings_ack(&mut self.out);
        Ok(())
    }

    fn acknowledged(&mut self, now: Instant) -> Result<(), Fault> {
        self.is_acknowledged = true;
        let Some(rest) = self.unacknowledged.checked_sub(1) else {
            return Ok(self.meter.settings()?);
        };
        self.unacknowledged = rest;
        if rest == 0 {
            self.reset_taken(now);
        }
        Ok(())
    }

    /// RFC 9113, 6.9.2: open streams follow.
    fn move_windows(&mut self, window: u32, told: &mut impl Told) -> Result<(), Fault> {
        let delta = i64::from(window) - i64::from(self.peer.window);
        self.peer.window = window;
        for (stream, entry) in &mut self.streams {
            let shifted = entry.send.shift(delta);
            shifted.map_err(|broken| flow(broken.0))?;
            told(Event::Room { stream: *stream });
        }
        Ok(())
    }

    fn heard_ping(
        &mut self,
        payload: [u8; 8],
        is_answer: bool,
        now: Instant,
        told: &mut impl Told,
    ) -> Result<(), Fault> {
        if is_answer {
            told(Event::Pong(payload));
            return Ok(self.meter.unknown()?);
        }
        self.meter.ping(now)?;
        frame::ping(payload, true, &mut self.out);
        Ok(())
    }

    /// Streams of ours that the peer did not take are told so, and gone.
    fn peer_leaves(&mut self, last_stream: u32, code: Code, debug: &[u8], told: &mut impl Told) {
        told(Event::GoAway {
            last_stream,
            code,
            debug,
        });
        let ours = self.streams.keys().copied();
        let untaken: Vec<_> = ours
            .filter(|stream| self.is_ours(*stream) && *stream > last_stream)
            .collect();
        for stream in untaken {
            self.forget(stream, Gone::Reset(By::Us));
            told(Event::Untaken { stream });
        }
    }

    fn room(&mut self, stream: u32, increment: u32, told: &mut impl Told) -> Result<(), Fault> {
        self.meter.window_update()?;
        if stream == 0 {
            let grown = self.send.grow(increment);
            grown.map_err(|broken| flow(broken.0))?;
        } else if self.is_idle(stream) {
            return Err(protocol("WINDOW_UPDATE of a stream that nobody has opened"));
        } else if let Some(entry) = self.streams.get_mut(&stream) {
            let grown = entry.send.grow(increment);
            grown.map_err(|broken| Fault::Stream(stream, Code::FLOW_CONTROL_ERROR, broken.0))?;
        } else {
            // It had ended when this was sent.
            return Ok(());
        }
        told(Event::Room { stream });
        Ok(())
    }

    /// Answers the fault of a stream; that of the connection goes on.
    fn fail_stream(
        &mut self,
        fault: Fault,
        now: Instant,
        told: &mut impl Told,
    ) -> Result<(), Fault> {
        let Fault::Stream(stream, code, why) = fault else {
            return Err(fault);
        };
        if self.is_idle(stream) {
            // A PRIORITY that depends on itself, a WINDOW_UPDATE of nothing: there is no stream to reset.
            return Err(Fault::Connection(code, why));
        }
        let opened = self.streams.get(&stream).map(|entry| entry.opened);
        // Also where the frame was the stream's last, and nothing is left to be reset on our side.
        if !self.reset(stream, code) {
            frame::reset(stream, code, &mut self.out);
        }
        if opened.is_some() {
            told(Event::Failed { stream, code, why });
        }
        self.meter.library_reset()?;
        match opened {
            Some(opened) if self.role == Role::Server && code != Code::REFUSED_STREAM => {
                self.count_reset(opened, now, told)
            }
            _ => Ok(()),
        }
    }
}

impl Entry {
    fn take_data(&mut self, length: usize, ends: bool) -> Result<(), (Code, &'static str)> {
        self.state.receive_data(ends).map_err(|wrong| match wrong {
            Wrong::Stream(code, why) => (code, why),
            Wrong::Late => (Code::STREAM_CLOSED, "DATA behind a reset"),
        })?;
        let Some(expected) = self.expected.as_mut() else {
            return Ok(());
        };
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let left = expected.checked_sub(length);
        *expected = left.ok_or((Code::PROTOCOL_ERROR, "more body than content-length said"))?;
        match (*expected, ends) {
            (1.., true) => Err((Code::PROTOCOL_ERROR, "less body than content-length said")),
            _ => Ok(()),
        }
    }
}

/// The next whole frame, if it is there; its length is judged before its payload is waited for.
fn next_frame<'a>(rest: &mut &'a [u8]) -> Result<Option<(Head, &'a [u8])>, Fault> {
    let Some((head, behind)) = rest.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let head = Head::parse(*head);
    if head.length > frame::SMALLEST_MAX_SIZE {
        let why = "a frame larger than we allow";
        return Err(Fault::Connection(Code::FRAME_SIZE_ERROR, why));
    }
    let Some((payload, behind)) = behind.split_at_checked(head.length as usize) else {
        return Ok(None);
    };
    *rest = behind;
    Ok(Some((head, payload)))
}

/// Streams that whole frames among these bytes reset.
pub fn resets(mut bytes: &[u8]) -> impl Iterator<Item = u32> {
    let frames = std::iter::from_fn(move || next_frame(&mut bytes).ok().flatten());
    let resets = frames.filter(|(head, _)| head.kind == frame::kind::RST_STREAM);
    resets.map(|(head, _)| head.stream)
}
