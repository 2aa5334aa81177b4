//! The life of one stream (RFC 9113, 5.1 and 8.1): which frame may come next, in either direction. A stream that is idle
//! has no state: its id is above every id seen, which the connection knows.

use super::frame::Code;

/// Who ended a stream before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Us,
    Peer,
}

/// What a block of fields is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A response head of 1xx; the real one follows.
    Informational,
    Head,
    Trailers,
}

/// How far a direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    BeforeHead,
    Body,
    Ended,
}

/// Why a frame may not come here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The stream is to be reset with this code.
    #[error("{1} ({0:?})")]
    Stream(Code, &'static str),
    /// It arrived after we had reset the stream: its sender could not know.
    #[error("the stream was reset before")]
    Late,
}

/// Both directions of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    receiving: Half,
    sending: Half,
    reset: Option<By>,
}

const CLOSED: Wrong = Wrong::Stream(Code::STREAM_CLOSED, "a frame behind the end of its stream");

impl Default for Stream {
    fn default() -> Self {
        Self {
            receiving: Half::BeforeHead,
            sending: Half::BeforeHead,
            reset: None,
        }
    }
}

impl Stream {
    /// A block of fields came.
    pub fn receive_fields(&mut self, informational: bool, ends: bool) -> Result<Part, Wrong> {
        self.may_receive()?;
        self.receiving.fields(informational, ends)
    }

    /// DATA came.
    pub fn receive_data(&mut self, ends: bool) -> Result<(), Wrong> {
        self.may_receive()?;
        self.receiving.data(ends)
    }

    /// RST_STREAM came.
    pub fn receive_reset(&mut self) {
        self.reset.get_or_insert(By::Peer);
    }

    /// A block of fields is to be sent.
    pub fn send_fields(&mut self, informational: bool, ends: bool) -> Result<Part, Wrong> {
        self.may_send()?;
        self.sending.fields(informational, ends)
    }

    /// DATA is to be sent.
    pub fn send_data(&mut self, ends: bool) -> Result<(), Wrong> {
        self.may_send()?;
        self.sending.data(ends)
    }

    /// RST_STREAM is to be sent: not for a stream that is closed, nor twice.
    #[must_use]
    pub fn send_reset(&mut self) -> bool {
        let goes = !self.is_closed();
        if goes {
            self.reset = Some(By::Us);
        }
        goes
    }

    /// Nothing more of it will pass.
    pub fn is_closed(&self) -> bool {
        let ended = self.receiving == Half::Ended && self.sending == Half::Ended;
        ended || self.reset.is_some()
    }

    pub fn has_received_head(&self) -> bool {
        self.receiving != Half::BeforeHead
    }

    pub fn has_received_all(&self) -> bool {
        self.receiving == Half::Ended
    }

    pub fn has_sent_all(&self) -> bool {
        self.sending == Half::Ended
    }

    fn may_receive(&self) -> Result<(), Wrong> {
        match self.reset {
            None => Ok(()),
            Some(By::Us) => Err(Wrong::Late),
            Some(By::Peer) => Err(CLOSED),
        }
    }

    fn may_send(&self) -> Result<(), Wrong> {
        match self.reset {
            None => Ok(()),
            Some(_) => Err(Wrong::Late),
        }
    }
}

impl Half {
    fn fields(&mut self, informational: bool, ends: bool) -> Result<Part, Wrong> {
        let malformed = |why| Err(Wrong::Stream(Code::PROTOCOL_ERROR, why));
        let part = match (*self, informational, ends) {
            (Self::Ended, _, _) => return Err(CLOSED),
            (Self::BeforeHead, true, true) => return malformed("a 1xx head that ends its stream"),
            (Self::BeforeHead, true, false) => return Ok(Part::Informational),
            (Self::BeforeHead, false, _) => Part::Head,
            (Self::Body, _, false) => return malformed("trailers that do not end their stream"),
            (Self::Body, _, true) => Part::Trailers,
        };
        *self = if ends { Self::Ended } else { Self::Body };
        Ok(part)
    }

    fn data(&mut self, ends: bool) -> Result<(), Wrong> {
        match self {
            Self::Ended => return Err(CLOSED),
            Self::BeforeHead => {
                let why = "DATA in front of the head";
                return Err(Wrong::Stream(Code::PROTOCOL_ERROR, why));
            }
            Self::Body if ends => *self = Self::Ended,
            Self::Body => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOCOL: Code = Code::PROTOCOL_ERROR;

    /// `i` 1xx head, `h` fields, `d` DATA, in capitals with the end of the stream.
    fn run(events: &str) -> Result<Stream, Wrong> {
        let mut stream = Stream::default();
        for event in events.chars() {
            match event.to_ascii_lowercase() {
                'd' => stream.receive_data(event.is_uppercase())?,
                kind => {
                    stream.receive_fields(kind == 'i', event.is_uppercase())?;
                }
            }
        }
        Ok(stream)
    }

    #[test]
    fn a_message_is_a_head_data_and_trailers() {
        for (events, ended) in [
            ("H", true),
            ("h", false),
            ("hD", true),
            ("hddD", true),
            ("hH", true),
            ("hdH", true),
            ("ih", false),
            ("iihdH", true),
        ] {
            let stream = run(events).expect(events);
            assert_eq!(stream.has_received_all(), ended, "{events}");
            assert!(!stream.is_closed(), "{events}: the other direction is open");
        }
        for (events, code) in [
            ("d", PROTOCOL),
            ("I", PROTOCOL),
            ("hh", PROTOCOL),
            ("hi", PROTOCOL),
            ("id", PROTOCOL),
            ("Hd", Code::STREAM_CLOSED),
            ("HH", Code::STREAM_CLOSED),
            ("hDd", Code::STREAM_CLOSED),
            ("hHH", Code::STREAM_CLOSED),
        ] {
            let wrong = run(events).expect_err(events);
            assert!(
                matches!(wrong, Wrong::Stream(found, _) if found == code),
                "{events}: {wrong}"
            );
        }
    }

    #[test]
    fn it_is_closed_when_both_directions_have_ended() {
        let mut stream = run("H").unwrap();
        assert_eq!(stream.send_fields(true, false), Ok(Part::Informational));
        assert_eq!(stream.send_fields(false, false), Ok(Part::Head));
        stream.send_data(false).unwrap();
        assert!(!stream.is_closed());
        assert_eq!(stream.send_fields(false, true), Ok(Part::Trailers));
        assert!(stream.is_closed() && stream.has_sent_all());
        assert!(!stream.send_reset(), "there is nothing left to reset");
    }

    #[test]
    fn what_comes_behind_our_reset_is_late_and_behind_the_peers_is_wrong() {
        let mut stream = run("h").unwrap();
        assert!(stream.send_reset());
        assert!(!stream.send_reset(), "once");
        assert_eq!(stream.receive_data(false), Err(Wrong::Late));
        assert_eq!(stream.send_data(false), Err(Wrong::Late));
        let mut stream = run("h").unwrap();
        stream.receive_reset();
        assert!(stream.is_closed());
        assert_eq!(stream.receive_data(false), Err(CLOSED));
        assert_eq!(stream.send_data(false), Err(Wrong::Late));
    }
}
