//! What is sent: heads, data within the peer's windows, resets, credit, the end.

use tokio::time::Instant;

use super::super::frame::{self, Code, Fault, HEAD, Settings};
use super::super::hpack::Indexing;
use super::super::stream::{By, Part, Wrong};
use super::{Connection, Gone, OUT_BUFFER, Role};

/// Payload of a DATA frame that smaller ones were put into, at most: the least that every peer takes (RFC 9113, 6.5.2).
const MERGED: usize = frame::SMALLEST_MAX_SIZE as usize;

/// The frame that was written last, if it was DATA: where it begins and ends in the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastData {
    stream: u32,
    begin: usize,
    length: usize,
    end: usize,
}

/// A field to be sent, and whether it goes into the tables.
pub type Outgoing<'a> = (&'a [u8], &'a [u8], Indexing);

/// Why no stream was opened; the request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("the peer allows no more streams now")]
    Streams,
    #[error("the connection has used up its stream ids")]
    Ids,
}

impl Connection {
    /// Sends a request's head on a stream of its own. Client only.
    pub fn open<'a>(
        &mut self,
        fields: impl IntoIterator<Item = Outgoing<'a>>,
        is_head: bool,
        ends_stream: bool,
        now: Instant,
    ) -> Result<u32, Full> {
        debug_assert_eq!(self.role, Role::Client);
        if self.open >= self.slots() {
            return Err(Full::Streams);
        }
        let stream = self.next;
        if stream > frame::LARGEST {
            return Err(Full::Ids);
        }
        self.next += 2;
        let mut entry = self.entry(now);
        entry.is_bodiless = is_head;
        // A new stream takes any head.
        let sent = entry.state.send_fields(false, ends_stream);
        debug_assert_eq!(sent, Ok(Part::Head));
        self.insert(stream, entry);
        self.write_block(stream, fields, ends_stream);
        Ok(stream)
    }

    /// Sends a response's head, or trailers, of a stream that is open.
    pub fn send_fields<'a>(
        &mut self,
        stream: u32,
        fields: impl IntoIterator<Item = Outgoing<'a>>,
        informational: bool,
        ends_stream: bool,
    ) -> Result<Part, Wrong> {
        let entry = self.streams.get_mut(&stream).ok_or(Wrong::Late)?;
        let part = entry.state.send_fields(informational, ends_stream)?;
        self.write_block(stream, fields, ends_stream);
        self.close_if_ended(stream);
        Ok(part)
    }

    /// Sends as much of `data` as the windows and the buffer take, and says how much. The end goes with the last byte; an
    /// empty end needs no window.
    pub fn send_data(
        &mut self,
        stream: u32,
        data: &[u8],
        ends_stream: bool,
    ) -> Result<usize, Wrong> {
        let mut sent = 0;
        loop {
            let entry = self.streams.get_mut(&stream).ok_or(Wrong::Late)?;
            let rest = data.get(sent..).unwrap_or_default();
            let wanted = match self.out.len() < OUT_BUFFER {
                true => u32::try_from(rest.len()).unwrap_or(u32::MAX),
                false => 0,
            };
            let wanted = wanted.min(self.peer.frame_size).min(self.send.available());
            let granted = entry.send.spend(wanted);
            let piece = rest.get(..granted as usize).unwrap_or_default();
            let ends = ends_stream && piece.len() == rest.len();
            if piece.is_empty() && !ends {
                return Ok(sent);
            }
            entry.state.send_data(ends)?;
            self.send.spend(granted);
            self.write_data(stream, piece, ends);
            sent += piece.len();
            if ends {
                self.close_if_ended(stream);
            }
            if sent == data.len() {
                return Ok(sent);
            }
        }
    }

    /// A frame of its own, or more of the last one: small pieces that wait for the socket cost their receiver one frame together.
    fn write_data(&mut self, stream: u32, piece: &[u8], ends: bool) {
        let behind = self.last_data.take().filter(|last| {
            last.stream == stream
                && last.end == self.out.len()
                && last.length + piece.len() <= MERGED
        });
        let length = behind.map_or(0, |last| last.length) + piece.len();
        let head = frame::data_head(stream, length, ends);
        match behind.and_then(|last| self.out.get_mut(last.begin..last.begin + HEAD)) {
            Some(place) => place.copy_from_slice(&head),
            None => {
                self.out.extend_from_slice(&head);
                self.meter.data_sent();
            }
        }
        self.out.extend_from_slice(piece);
        let end = self.out.len();
        self.last_data = (!ends).then(|| LastData {
            stream,
            begin: end - length - HEAD,
            length,
            end,
        });
    }

    /// It is the stream's own window that lets nothing more pass; else it is the connection's, or the socket.
    pub fn is_stream_full(&self, stream: u32) -> bool {
        let entry = self.streams.get(&stream);
        entry.is_some_and(|entry| entry.send.available() == 0)
    }

    /// The socket is so far behind that no more is to be read, lest the answers pile up.
    pub fn is_behind(&self) -> bool {
        self.out.len() >= 2 * OUT_BUFFER
    }

    /// DATA is taken again.
    pub fn takes_data(&self) -> bool {
        self.out.len() < OUT_BUFFER
    }

    /// Bytes of DATA that the connection takes now, whatever its streams' windows are.
    pub fn room_for_data(&self) -> usize {
        let before_socket = OUT_BUFFER.saturating_sub(self.out.len());
        before_socket.min(self.send.available() as usize)
    }

    /// These bytes of a stream's DATA have left us: both windows get them back.
    pub fn forwarded(&mut self, stream: u32, bytes: u32) {
        // The stream is gone: its bytes were given back with it.
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        let bytes = bytes.min(entry.receive.held());
        entry.receive.forwarded_quietly(bytes);
        let increment = match self.keeps_credit {
            true => None,
            false => entry.receive.due(),
        };
        // Nothing more comes on it, so nobody needs to know.
        let increment = increment.filter(|_| !entry.state.has_received_all());
        if let Some(increment) = increment {
            frame::window_update(stream, increment, &mut self.out);
        }
        self.give_back(bytes);
        self.forget_if_spent(stream);
    }

    /// From now on the peer gets no credit for what leaves us, or gets what it is owed and the rest as it comes.
    pub fn keep_credit(&mut self, keep: bool) {
        if !std::mem::replace(&mut self.keeps_credit, keep) || keep {
            return;
        }
        if let Some(increment) = self.receive.due() {
            frame::window_update(0, increment, &mut self.out);
        }
        for (stream, entry) in &mut self.streams {
            if !entry.state.has_received_all()
                && let Some(increment) = entry.receive.due()
            {
                frame::window_update(*stream, increment, &mut self.out);
            }
        }
    }

    /// Lets go of a stream; whether that took a reset, because it had not ended.
    pub fn reset(&mut self, stream: u32, code: Code) -> bool {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return false;
        };
        let goes = entry.state.send_reset();
        if goes {
            frame::reset(stream, code, &mut self.out);
            self.forget(stream, Gone::Reset(By::Us));
        } else {
            self.forget(stream, Gone::Ended);
        }
        goes
    }

    /// Nobody cares for the stream any more. A response that went out whole stands: the rest of its request is not wanted
    /// (RFC 9113, 8.1). A request that made us say so at once counts like one that its sender reset: by a deadline or by an error it
    /// is as cheap to begin what nobody waits for.
    pub fn abandon(&mut self, stream: u32, now: Instant) {
        let Some(entry) = self.streams.get(&stream) else {
            return;
        };
        let opened = entry.opened;
        if self.role == Role::Client && self.config.asks_before_resets {
            return self.abandon_when_taken(stream, now);
        }
        let is_answered = self.role == Role::Server && entry.state.has_sent_all();
        let code = match is_answered {
            true => Code::NO_ERROR,
            false => Code::CANCEL,
        };
        if self.reset(stream, code) && is_answered {
            let counted = self.meter.reset(opened, now);
            self.unwanted = match (self.unwanted, counted) {
                (Err(limit), _) | (_, Err(limit)) => Err(limit),
                (Ok(before), Ok(told)) => Ok(before || told),
            };
        }
    }

    /// Takes no stream above the last one that came; those go on.
    pub fn go_away(&mut self, code: Code, debug: &str) {
        self.last_taken = Some(self.highest);
        frame::go_away(self.highest, code, debug, &mut self.out);
    }

    /// Ends the connection for what the peer did.
    pub fn give_up(&mut self, fault: Fault) {
        match fault {
            Fault::Connection(code, why) | Fault::Stream(_, code, why) => self.go_away(code, why),
            Fault::Excess(limit) => self.go_away(Code::ENHANCE_YOUR_CALM, limit.debug()),
        }
    }

    /// The first of two steps: nothing is refused yet, because streams may be on their way (RFC 9113, 6.8).
    pub fn announce_go_away(&mut self) {
        frame::go_away(frame::LARGEST, Code::NO_ERROR, "", &mut self.out);
    }

    pub fn ping(&mut self, payload: [u8; 8]) {
        frame::ping(payload, false, &mut self.out);
    }

    /// Its acknowledgement is then no flood.
    pub(super) fn send_settings(&mut self, settings: &Settings) {
        frame::settings(settings, &mut self.out);
        self.unacknowledged += 1;
    }

    /// Larger stream windows from now on, of open streams too.
    pub fn widen_streams(&mut self, size: u32) {
        self.config.stream_window = size;
        let settings = Settings {
            initial_window_size: Some(size),
            ..Settings::default()
        };
        self.send_settings(&settings);
        for entry in self.streams.values_mut() {
            entry.receive.widen_by_settings(size);
        }
    }

    fn write_block<'a>(
        &mut self,
        stream: u32,
        fields: impl IntoIterator<Item = Outgoing<'a>>,
        ends_stream: bool,
    ) {
        self.scratch.clear();
        self.encoder.begin(&mut self.scratch);
        for (name, value, indexing) in fields {
            self.encoder.field(name, value, indexing, &mut self.scratch);
        }
        let largest = self.peer.frame_size as usize;
        frame::continued_headers(stream, &self.scratch, ends_stream, largest, &mut self.out);
        self.meter.headers_sent();
    }
}
