//! The static table (RFC 7541, appendix A) and the dynamic one behind it: newest entry first, oldest evicted.

use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;

use bytes::Bytes;

/// An entry counts this much besides its name and value.
const OVERHEAD: usize = 32;

#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];

/// The first index of each static name; entries of one name stand together.
static NAMES: LazyLock<HashMap<&'static [u8], usize>> = LazyLock::new(|| {
    let named = STATIC.iter().enumerate().rev();
    named
        .map(|(index, (name, _))| (name.as_bytes(), index))
        .collect()
});

pub(super) fn size(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + OVERHEAD
}

#[derive(Debug)]
struct Entry {
    name: Bytes,
    value: Bytes,
}

/// Where a field stands in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Field(u32),
    Name(u32),
    Nothing,
}

/// Both tables under one index, which begins at 1.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    capacity: usize,
}

impl Table {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            capacity,
        }
    }

    pub(super) fn entry(&self, index: u32) -> Option<(Bytes, Bytes)> {
        let index = usize::try_from(index).ok()?.checked_sub(1)?;
        if let Some((name, value)) = STATIC.get(index) {
            let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
            return Some((bytes(name), bytes(value)));
        }
        let entry = self.entries.get(index - STATIC.len())?;
        Some((entry.name.clone(), entry.value.clone()))
    }

    pub(super) fn find(&self, name: &[u8], value: &[u8]) -> Found {
        let mut found = Found::Nothing;
        let fixed = NAMES.get(name).into_iter().flat_map(|first| {
            let named = STATIC.iter().enumerate().skip(*first);
            named.take_while(|(_, entry)| entry.0.as_bytes() == name)
        });
        let fixed = fixed.map(|(index, entry)| (index, entry.1.as_bytes()));
        let dynamic = self.entries.iter().enumerate();
        let dynamic = dynamic
            .filter(|(_, entry)| entry.name == name)
            .map(|(index, entry)| (STATIC.len() + index, entry.value.as_ref()));
        for (index, held) in fixed.chain(dynamic) {
            // Both tables together hold far fewer than 32 bits of entries: each counts 32 bytes.
            let index = u32::try_from(index + 1).unwrap_or(u32::MAX);
            if held == value {
                return Found::Field(index);
            }
            if found == Found::Nothing {
                found = Found::Name(index);
            }
        }
        found
    }

    /// One that is larger than the table empties it, and is not in it (RFC 7541, 4.4).
    pub(super) fn insert(&mut self, name: Bytes, value: Bytes) {
        let size = size(&name, &value);
        self.shrink_to(self.capacity.saturating_sub(size));
        if size <= self.capacity {
            self.size += size;
            self.entries.push_front(Entry { name, value });
        }
    }

    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.shrink_to(capacity);
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    fn shrink_to(&mut self, most: usize) {
        while self.size > most
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= size(&oldest.name, &oldest.value);
        }
    }
}
