//! One connection without its socket (RFC 9113, 3 to 6): bytes in, events and bytes out, in either role. It holds what all
//! of its streams share: the tables, the windows, the settings of both sides. Timers, and bounds on what a peer may repeat,
//! are its driver's.

/// What arrives.
mod receive;

/// Blocks of fields among it.
mod block;

/// What is sent.
mod send;

/// Resets that wait for the peer.
mod abandoned;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use abandoned::Abandoned;
use http::HeaderMap;
use tokio::time::Instant;

pub use receive::resets;
pub use send::{Full, Outgoing};

use super::fields::{Gathered, Request, Response};
use super::flow::{Allowance, Window};
use super::frame::{self, Code, Settings};
use super::hpack::{Bounds, Decoder, Encoder};
use super::meter::{Limit, Meter, Tolerance};
use super::stream::{By, Stream};

/// Before its SETTINGS say otherwise, every peer has these (RFC 9113, 6.5.2 and 6.9.2).
const FIRST_WINDOW: u32 = 65_535;
const FIRST_TABLE: u32 = 4096;
/// Streams we open before the peer said how many it takes.
const FIRST_STREAMS: u32 = 100;
/// Streams that ended in order and are still told apart from those that never were.
const ENDED_REMEMBERED: usize = 128;
/// Once so much waits for the socket, no further DATA is taken.
const OUT_BUFFER: usize = 256 << 10;

/// Which side of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

/// What we allow the peer.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes of a stream's window, at most 2^31 - 1.
    pub stream_window: u32,
    /// Bytes of the connection's window, at least the 65,535 it begins with.
    pub connection_window: u32,
    /// Streams the peer may have open; as a client, those that we open at most.
    pub max_concurrent_streams: u32,
    pub header_list: Bounds,
    /// Streams that we reset are remembered, because frames of theirs may be on their way.
    pub reset_memory: usize,
    /// The peer may end a connection whose streams are reset before it has taken them.
    pub asks_before_resets: bool,
    pub tolerance: Tolerance,
}

/// What the peer did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Request {
        stream: u32,
        request: Request,
        ends_stream: bool,
    },
    /// Also a 1xx one.
    Response {
        stream: u32,
        response: Response,
        ends_stream: bool,
    },
    /// A request's head past its bounds: a server answers it.
    TooLarge {
        stream: u32,
        is_grpc: bool,
    },
    /// All of it is charged to the windows until [`Connection::forwarded`] gives it back.
    Data {
        stream: u32,
        data: &'a [u8],
        ends_stream: bool,
    },
    Trailers {
        stream: u32,
        trailers: HeaderMap,
    },
    /// The peer reset it.
    Reset {
        stream: u32,
        code: Code,
    },
    /// We reset it, for what came.
    Failed {
        stream: u32,
        code: Code,
        why: &'static str,
    },
    /// There is more room to send: on one stream, or on the connection, which is 0.
    Room {
        stream: u32,
    },
    /// The peer wants no further stream.
    GoAway {
        last_stream: u32,
        code: Code,
        debug: &'a [u8],
    },
    /// The peer's GOAWAY said that it did not take this one.
    Untaken {
        stream: u32,
    },
    Pong([u8; 8]),
    /// A bound was met; what follows from it was done.
    Met(Limit),
}

/// One stream of the connection.
#[derive(Debug)]
struct Entry {
    state: Stream,
    receive: Window,
    send: Allowance,
    /// What is left of the content-length that the peer named.
    expected: Option<u64>,
    /// The answer has no body whatever it says: it is one to HEAD.
    is_bodiless: bool,
    /// 1xx heads that came.
    informational: u32,
    opened: Instant,
    /// Opened in this turn: nobody has looked at it.
    is_new: bool,
    /// It counts as open.
    is_open: bool,
    /// It counts among the requests of this turn.
    is_arrived: bool,
}

/// A block whose end has not come.
#[derive(Debug, Default)]
struct Block {
    stream: u32,
    ends_stream: bool,
    gathered: Gathered,
    /// It is decoded for the table only.
    is_ignored: bool,
}

/// How a stream that is gone had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    Ended,
    Reset(By),
    /// We may have reset it; it is too long ago to tell.
    Forgotten,
    /// It was never opened, or the peer ended it long ago.
    Unknown,
}

#[derive(Debug)]
pub struct Connection {
    role: Role,
    config: Config,
    out: Vec<u8>,
    /// Nothing was taken off `out` since; whether something came behind it, its end says.
    last_data: Option<send::LastData>,
    has_preface: bool,
    has_settings: bool,
    /// The peer goes by our first SETTINGS.
    is_acknowledged: bool,
    /// SETTINGS of ours that it has not acknowledged.
    unacknowledged: u32,
    decoder: Decoder,
    encoder: Encoder,
    /// A header block on its way into `out`.
    scratch: Vec<u8>,
    block: Option<Block>,
    streams: ById<Entry>,
    /// Streams of `streams` that are not closed; the others only hold bytes that were not forwarded.
    open: usize,
    /// Streams whose `is_new` is to be taken back.
    new: Vec<u32>,
    /// Requests of this turn that nobody has let go of, and how many may come in one.
    arrived: usize,
    most_arrived: usize,
    /// What we reset, oldest first.
    reset: VecDeque<u32>,
    /// Up to here we may have reset streams that are not remembered.
    reset_forgotten: u32,
    abandoned: Abandoned,
    /// What ended in order or was reset by the peer, oldest first.
    ended: VecDeque<(u32, Gone)>,
    /// The highest stream the peer has opened.
    highest: u32,
    /// The next stream that we open.
    next: u32,
    /// Streams above it are not taken any more: our GOAWAY said so.
    last_taken: Option<u32>,
    receive: Window,
    send: Allowance,
    peer: Peer,
    /// Bytes that came and are done with, over its life.
    left: u64,
    meter: Meter,
    /// The process holds so much that nobody gets credit back.
    keeps_credit: bool,
    /// What the last streams that nobody wanted any more came to; it follows when the peer sends on.
    unwanted: Result<bool, Limit>,
}

/// What the peer allows us.
#[derive(Clone, Copy, Debug)]
struct Peer {
    window: u32,
    frame_size: u32,
    streams: u32,
}

impl Connection {
    /// Our preface and SETTINGS wait to be written.
    pub fn new(role: Role, config: Config) -> Self {
        let mut connection = Self {
            role,
            config,
            out: Vec::new(),
            last_data: None,
            has_preface: role == Role::Client,
            has_settings: false,
            is_acknowledged: false,
            unacknowledged: 0,
            decoder: Decoder::new(FIRST_TABLE),
            encoder: Encoder::new(FIRST_TABLE),
            scratch: Vec::new(),
            block: None,
            streams: HashMap::default(),
            open: 0,
            new: Vec::new(),
            arrived: 0,
            most_arrived: usize::MAX,
            reset: VecDeque::new(),
            abandoned: Abandoned::default(),
            reset_forgotten: 0,
            ended: VecDeque::new(),
            highest: 0,
            next: 1,
            last_taken: None,
            receive: Window::new(FIRST_WINDOW),
            send: Allowance::new(FIRST_WINDOW),
            peer: Peer {
                window: FIRST_WINDOW,
                frame_size: frame::SMALLEST_MAX_SIZE,
                streams: FIRST_STREAMS,
            },
            left: 0,
            meter: Meter::new(config.tolerance),
            keeps_credit: false,
            unwanted: Ok(false),
        };
        connection.announce();
        connection
    }

    fn announce(&mut self) {
        if self.role == Role::Client {
            self.out.extend_from_slice(frame::PREFACE);
        }
        let bytes = u32::try_from(self.config.header_list.bytes).unwrap_or(u32::MAX);
        let streams = self.config.max_concurrent_streams;
        let settings = Settings {
            enable_push: (self.role == Role::Client).then_some(false),
            max_concurrent_streams: (self.role == Role::Server).then_some(streams),
            initial_window_size: Some(self.config.stream_window),
            max_header_list_size: Some(bytes),
            ..Settings::default()
        };
        self.send_settings(&settings);
        if let Some(increment) = self.receive.widen(self.config.connection_window) {
            frame::window_update(0, increment, &mut self.out);
        }
    }

    /// What waits to be written; the caller takes off its front what it wrote.
    pub fn output(&mut self) -> &mut Vec<u8> {
        self.last_data = None;
        &mut self.out
    }

    pub fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// How many bytes of it there are.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Streams that are open, of both sides.
    pub fn open_streams(&self) -> usize {
        self.open
    }

    /// Streams of ours that may be open at once.
    pub fn slots(&self) -> usize {
        self.peer.streams.min(self.config.max_concurrent_streams) as usize
    }

    /// The peer has sent its SETTINGS, and before them its preface.
    pub fn has_settings(&self) -> bool {
        self.has_settings
    }

    /// A block of fields has begun and not ended.
    pub fn is_in_block(&self) -> bool {
        self.block.is_some()
    }

    /// Bytes that came and were not forwarded.
    pub fn held(&self) -> u32 {
        self.receive.held()
    }

    /// Bytes that came and are done with, over the connection's life.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The stream that holds most of them.
    pub fn largest_holder(&self) -> Option<u32> {
        let held = self
            .streams
            .iter()
            .max_by_key(|(_, entry)| entry.receive.held());
        held.map(|(stream, _)| *stream)
    }

    /// And how many that are.
    pub fn largest_held(&self) -> u32 {
        let held = self.streams.values().map(|entry| entry.receive.held());
        held.max().unwrap_or(0)
    }

    /// Streams that we reset because of what came.
    pub fn library_resets(&self) -> u32 {
        self.meter.library_resets()
    }

    /// The next stream that we open; those from it on were never sent.
    pub fn next_stream(&self) -> u32 {
        self.next
    }

    fn entry(&self, now: Instant) -> Entry {
        let size = self.config.stream_window;
        let before = if self.is_acknowledged {
            size
        } else {
            FIRST_WINDOW
        };
        Entry {
            state: Stream::default(),
            receive: Window::unheard(size, before),
            send: Allowance::new(self.peer.window),
            expected: None,
            is_bodiless: false,
            informational: 0,
            opened: now,
            is_new: true,
            is_open: true,
            is_arrived: false,
        }
    }

    fn is_ours(&self, stream: u32) -> bool {
        (stream % 2 == 1) == (self.role == Role::Client)
    }

    /// Nobody has opened it yet.
    fn is_idle(&self, stream: u32) -> bool {
        match self.is_ours(stream) {
            true => stream >= self.next,
            false => stream > self.highest,
        }
    }

    fn how_gone(&self, stream: u32) -> Gone {
        if self.reset.contains(&stream) {
            return Gone::Reset(By::Us);
        }
        let found = self.ended.iter().find(|(id, _)| *id == stream);
        match found {
            Some((_, how)) => *how,
            None if stream <= self.reset_forgotten => Gone::Forgotten,
            None => Gone::Unknown,
        }
    }

    fn insert(&mut self, stream: u32, entry: Entry) {
        self.streams.insert(stream, entry);
        self.open += 1;
        self.new.push(stream);
        self.meter.stream_opened();
    }

    /// Lets a stream go that has ended. What it still held is nobody's to forward.
    fn forget(&mut self, stream: u32, how: Gone) {
        let Some(entry) = self.streams.remove(&stream) else {
            return;
        };
        self.open -= usize::from(entry.is_open);
        self.arrived -= usize::from(entry.is_arrived);
        self.give_back(entry.receive.held());
        if how == Gone::Reset(By::Us) {
            let pushed = push_bounded(&mut self.reset, stream, self.config.reset_memory);
            self.reset_forgotten = self.reset_forgotten.max(pushed.unwrap_or(0));
        } else {
            push_bounded(&mut self.ended, (stream, how), ENDED_REMEMBERED);
        }
    }

    /// After a frame that may have been the last of its stream.
    fn close_if_ended(&mut self, stream: u32) {
        if let Some(entry) = self.streams.get_mut(&stream)
            && entry.state.is_closed()
        {
            self.open -= usize::from(std::mem::take(&mut entry.is_open));
            self.forget_if_spent(stream);
        }
    }

    /// An ended stream stays while bytes of it are held: they are the connection's to count.
    fn forget_if_spent(&mut self, stream: u32) {
        let entry = self.streams.get(&stream);
        if entry.is_some_and(|entry| entry.state.is_closed() && entry.receive.held() == 0) {
            self.forget(stream, Gone::Ended);
        }
    }

    fn give_back(&mut self, bytes: u32) {
        self.left += u64::from(bytes);
        self.receive.forwarded_quietly(bytes);
        if !self.keeps_credit
            && let Some(increment) = self.receive.due()
        {
            frame::window_update(0, increment, &mut self.out);
        }
    }
}

/// What had to make room.
fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, most: usize) -> Option<T> {
    let oldest = (queue.len() >= most).then(|| queue.pop_front());
    queue.push_back(item);
    oldest.flatten()
}

/// By stream id.
pub type ById<T> = HashMap<u32, T, BuildHasherDefault<IdHasher>>;

/// Stream ids need no hash that withstands an attack: whoever chooses them chooses in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u32(&mut self, id: u32) {
        // The table looks at the low bits for the place and at the high ones for the tag.
        self.0 = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
