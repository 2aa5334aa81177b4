//! What tonic does not show of a call: the compressed flag in front of each message, read as its bytes pass.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::BodyExt as _;
use tonic::body::Body;

/// A flag and four bytes of length.
const PREFIX: usize = 5;

/// The flags of the messages of one direction of a call; an extension of its request or its response.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags(Arc<Mutex<Reader>>);

#[derive(Debug, Default)]
struct Reader {
    flags: VecDeque<bool>,
    prefix: Vec<u8>,
    /// Bytes of the message that are still to come.
    left: usize,
}

impl Flags {
    /// Whether the oldest message not yet asked about came compressed; `None` before it came.
    pub(crate) fn next(&self) -> Option<bool> {
        self.locked().flags.pop_front()
    }

    /// The same body, read along.
    pub(crate) fn of(&self, body: Body) -> Body {
        let flags = self.clone();
        Body::new(body.map_frame(move |frame| {
            if let Some(data) = frame.data_ref() {
                flags.locked().read(data);
            }
            frame
        }))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Reader> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match self.left {
                0 => bytes.len().min(PREFIX - self.prefix.len()),
                left => bytes.len().min(left),
            };
            let (part, rest) = bytes.split_at(taken);
            bytes = rest;
            match self.left {
                0 => self.extend_prefix(part),
                _ => self.left -= taken,
            }
        }
    }

    fn extend_prefix(&mut self, part: &[u8]) {
        self.prefix.extend(part);
        if let [flag, length @ ..] = &self.prefix[..]
            && let Ok(length) = <[u8; 4]>::try_from(length)
        {
            self.flags.push_back(*flag == 1);
            self.left = u32::from_be_bytes(length) as usize;
            self.prefix.clear();
        }
    }
}
