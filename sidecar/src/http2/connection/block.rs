//! Blocks of fields as they arrive: heads, 1xx and trailers, in as many frames as they come. What is wrong with one is its stream's
//! fault, unless the tables of both sides are no longer the same.

use tokio::time::Instant;

use super::super::fields::{Gathered, Malformed};
use super::super::frame::{Code, Fault};
use super::super::hpack::Size;
use super::super::meter::Limit;
use super::super::stream::{Part, Wrong};
use super::receive::{Told, protocol};
use super::{Block, Connection, Event, Gone, Role};

impl Connection {
    pub(super) fn begin_block(
        &mut self,
        stream: u32,
        ends_stream: bool,
        now: Instant,
    ) -> Result<(), Fault> {
        self.meter.block_begins();
        let mut block = Block {
            stream,
            ends_stream,
            gathered: Gathered::default(),
            is_ignored: false,
        };
        if !self.streams.contains_key(&stream) {
            if self.is_idle(stream) {
                self.begin_stream(stream, now)?;
            } else if self.how_gone(stream) == Gone::Unknown {
                return Err(protocol("a stream below one that was opened before"));
            } else {
                self.behind_the_end(stream)?;
                block.is_ignored = true;
            }
        }
        self.block = Some(block);
        Ok(())
    }

    fn begin_stream(&mut self, stream: u32, now: Instant) -> Result<(), Fault> {
        if self.role == Role::Client || self.is_ours(stream) {
            return Err(protocol("HEADERS on a stream that the peer cannot open"));
        }
        self.highest = stream;
        let entry = self.entry(now);
        self.insert(stream, entry);
        Ok(())
    }

    pub(super) fn fragment(
        &mut self,
        fragment: &[u8],
        last: bool,
        told: &mut impl Told,
    ) -> Result<(), Fault> {
        let Some(block) = self.block.as_mut() else {
            return Err(protocol("CONTINUATION of nothing"));
        };
        let bounds = self.config.header_list;
        let gathered = &mut block.gathered;
        let decoded = self
            .decoder
            .decode(fragment, last, bounds, |field| gathered.add(field));
        let size = decoded.map_err(|_| {
            Fault::Connection(Code::COMPRESSION_ERROR, "a block that cannot be decoded")
        })?;
        if size.bytes > bounds.bytes * 4 {
            return Err(Limit::HeaderList.into());
        }
        match self.block.take_if(|_| last) {
            Some(block) if !block.is_ignored => self.fields(block, size, told),
            _ => Ok(()),
        }
    }

    /// A whole block.
    fn fields(&mut self, block: Block, size: Size, told: &mut impl Told) -> Result<(), Fault> {
        if self.is_refused(block.stream) {
            told(Event::Met(Limit::MaxConcurrentStreams));
            let why = "more streams than are allowed";
            return Err(Fault::Stream(block.stream, Code::REFUSED_STREAM, why));
        }
        if !size.fits(self.config.header_list) {
            return self.too_large(&block, size, told);
        }
        match self.role == Role::Client && !self.has_head(block.stream) {
            true => self.response(block, told),
            false => self.request_or_trailers(block, told),
        }
    }

    fn response(&mut self, block: Block, told: &mut impl Told) -> Result<(), Fault> {
        let Block {
            stream,
            ends_stream,
            gathered,
            ..
        } = block;
        let response = gathered
            .response()
            .map_err(|wrong| malformed(stream, wrong))?;
        self.part(stream, response.is_informational(), ends_stream)?;
        if response.is_informational() {
            self.count_informational(stream, told)?;
        } else {
            let bodiless = matches!(response.status.as_u16(), 204 | 304);
            self.expect(stream, response.content_length, bodiless, ends_stream)?;
        }
        told(Event::Response {
            stream,
            response,
            ends_stream,
        });
        self.close_if_ended(stream);
        self.reset_answered(stream);
        Ok(())
    }

    fn request_or_trailers(&mut self, block: Block, told: &mut impl Told) -> Result<(), Fault> {
        let Block {
            stream,
            ends_stream,
            gathered,
            ..
        } = block;
        if self.part(stream, false, ends_stream)? == Part::Trailers {
            let trailers = gathered
                .trailers()
                .map_err(|wrong| malformed(stream, wrong))?;
            self.check_length(stream)?;
            told(Event::Trailers { stream, trailers });
        } else {
            let request = gathered
                .request()
                .map_err(|wrong| malformed(stream, wrong))?;
            self.expect(stream, request.content_length, false, ends_stream)?;
            told(Event::Request {
                stream,
                request,
                ends_stream,
            });
        }
        self.close_if_ended(stream);
        Ok(())
    }

    fn count_informational(&mut self, stream: u32, told: &mut impl Told) -> Result<(), Fault> {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return Ok(());
        };
        entry.informational += 1;
        let counted = self.meter.informational(entry.informational);
        counted.map_err(|limit| {
            told(Event::Met(limit));
            Fault::Stream(stream, Code::ENHANCE_YOUR_CALM, "too many 1xx heads")
        })
    }

    fn has_head(&self, stream: u32) -> bool {
        let entry = self.streams.get(&stream);
        entry.is_some_and(|entry| entry.state.has_received_head())
    }

    /// A new one beyond those we allow, or above the last that our GOAWAY named.
    fn is_refused(&self, stream: u32) -> bool {
        let is_new = self.role == Role::Server && !self.has_head(stream);
        let late = self.last_taken.is_some_and(|last| stream > last);
        is_new && (late || self.open > self.config.max_concurrent_streams as usize)
    }

    fn too_large(&mut self, block: &Block, size: Size, told: &mut impl Told) -> Result<(), Fault> {
        let stream = block.stream;
        let limit = match size.bytes > self.config.header_list.bytes {
            true => Limit::HeaderList,
            false => Limit::HeaderCount,
        };
        told(Event::Met(limit));
        if self.part(stream, false, block.ends_stream)? == Part::Trailers
            || self.role == Role::Client
        {
            let why = "a header list past its bounds";
            return Err(Fault::Stream(stream, Code::ENHANCE_YOUR_CALM, why));
        }
        told(Event::TooLarge {
            stream,
            is_grpc: block.gathered.is_grpc(),
        });
        Ok(())
    }

    fn part(&mut self, stream: u32, informational: bool, ends: bool) -> Result<Part, Fault> {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return Err(protocol("fields of no stream"));
        };
        let part = entry.state.receive_fields(informational, ends);
        let part = part.map_err(|wrong| of_stream(stream, wrong))?;
        if part == Part::Head && self.role == Role::Server {
            // Where its head began in a turn before, the others of this turn are fewer by one.
            entry.is_arrived = entry.is_new;
            self.arrived += usize::from(entry.is_arrived);
        }
        Ok(part)
    }

    fn expect(
        &mut self,
        stream: u32,
        content_length: Option<u64>,
        bodiless: bool,
        ends: bool,
    ) -> Result<(), Fault> {
        if let Some(entry) = self.streams.get_mut(&stream)
            && !entry.is_bodiless
            && !bodiless
        {
            entry.expected = content_length;
        }
        match ends {
            true => self.check_length(stream),
            false => Ok(()),
        }
    }

    /// RFC 9113, 8.1.1: the body is as long as was said.
    fn check_length(&self, stream: u32) -> Result<(), Fault> {
        let entry = self.streams.get(&stream);
        match entry.and_then(|entry| entry.expected) {
            None | Some(0) => Ok(()),
            Some(_) => {
                let why = "less body than content-length said";
                Err(Fault::Stream(stream, Code::PROTOCOL_ERROR, why))
            }
        }
    }
}

fn malformed(stream: u32, Malformed(why): Malformed) -> Fault {
    Fault::Stream(stream, Code::PROTOCOL_ERROR, why)
}

fn of_stream(stream: u32, wrong: Wrong) -> Fault {
    match wrong {
        Wrong::Stream(code, why) => Fault::Stream(stream, code, why),
        Wrong::Late => Fault::Stream(stream, Code::STREAM_CLOSED, "fields behind a reset"),
    }
}
