//! The static table (RFC 7541, appendix A) and the dynamic one behind it: newest entry first, oldest evicted.

use std::collections::VecDeque;
use std::sync::LazyLock;

use bytes::Bytes;

use super::{Field, Name, Value};

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

/// The tags of the static table.
static TAGS: LazyLock<Tags> = LazyLock::new(|| {
    let mut tags = Tags::default();
    for (name, value) in STATIC.iter().rev() {
        tags.push_front(Tag::of(name.as_bytes(), value.as_bytes()));
    }
    tags
});

/// The static table, checked.
static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let entries = STATIC.iter().map(|(name, value)| {
        let field = Field {
            name: bytes(name).into(),
            value: bytes(value).into(),
            never_indexed: false,
        };
        let Field { name, value, .. } = field.check();
        Entry { name, value }
    });
    entries.collect()
});

/// What is looked at first when a field is searched: one in four thousand millions is found in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag {
    name: u32,
    field: u32,
}

/// Of the entries of a table, newest first, as the entries stand.
#[derive(Debug, Default)]
struct Tags {
    names: VecDeque<u32>,
    fields: VecDeque<u32>,
}

impl Tag {
    fn of(name: &[u8], value: &[u8]) -> Self {
        let name = mix(0, name);
        Self {
            name: fold(name),
            field: fold(mix(name, value)),
        }
    }
}

impl Tags {
    fn push_front(&mut self, tag: Tag) {
        self.names.push_front(tag.name);
        self.fields.push_front(tag.field);
    }

    fn pop_back(&mut self) {
        self.names.pop_back();
        self.fields.pop_back();
    }
}

fn place(tags: &VecDeque<u32>, wanted: u32) -> Option<usize> {
    let (front, back) = tags.as_slices();
    let behind = || Some(front.len() + scan(back, wanted)?);
    scan(front, wanted).or_else(behind)
}

/// Eight at a time, without leaving in between: the compiler makes one comparison of it.
fn scan(tags: &[u32], wanted: u32) -> Option<usize> {
    let (eights, rest) = tags.as_chunks::<8>();
    let is_in = |eight: &[u32; 8]| {
        eight
            .iter()
            .fold(false, |found, tag| found | (*tag == wanted))
    };
    let within = |tags: &[u32]| tags.iter().position(|tag| *tag == wanted);
    match eights.iter().position(is_in) {
        Some(place) => Some(place * 8 + within(eights.get(place)?)?),
        None => Some(eights.len() * 8 + within(rest)?),
    }
}

/// Eight bytes a step; it need not withstand anybody, because a peer's table is searched by its own fields only.
fn mix(seed: u64, bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(ODD);
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = step(seed, bytes.len() as u64);
    for word in words {
        hash = step(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    step(hash, u64::from_le_bytes(last))
}

fn fold(hash: u64) -> u32 {
    // The high half: multiplication moves what differs upwards.
    u32::try_from(hash >> 32).unwrap_or(u32::MAX)
}

pub(super) fn size(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + OVERHEAD
}

#[derive(Clone, Debug)]
struct Entry {
    name: Name,
    value: Value,
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
    /// Of each entry.
    tags: Tags,
    size: usize,
    capacity: usize,
}

impl Table {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            tags: Tags::default(),
            size: 0,
            capacity,
        }
    }

    pub(super) fn entry(&self, index: u32) -> Option<(Name, Value)> {
        let index = usize::try_from(index).ok()?.checked_sub(1)?;
        let dynamic = || self.entries.get(index - ENTRIES.len());
        let entry = ENTRIES.get(index).or_else(dynamic)?;
        Some((entry.name.clone(), entry.value.clone()))
    }

    pub(super) fn find(&self, name: &[u8], value: &[u8]) -> Found {
        let wanted = Tag::of(name, value);
        // Both tables together hold far fewer than 32 bits of entries: each counts 32 bytes.
        let index = |place: usize| u32::try_from(place + 1).unwrap_or(u32::MAX);
        let field = self.place(|tags| &tags.fields, wanted.field);
        if let Some(place) = field.filter(|place| self.texts(*place) == Some((name, value))) {
            return Found::Field(index(place));
        }
        let named = self.place(|tags| &tags.names, wanted.name);
        let is_named = |place: &usize| self.texts(*place).is_some_and(|held| held.0 == name);
        named
            .filter(is_named)
            .map_or(Found::Nothing, |place| Found::Name(index(place)))
    }

    /// In both tables.
    fn place(&self, of: impl Fn(&Tags) -> &VecDeque<u32>, wanted: u32) -> Option<usize> {
        let dynamic = || Some(STATIC.len() + place(of(&self.tags), wanted)?);
        place(of(&TAGS), wanted).or_else(dynamic)
    }

    fn texts(&self, place: usize) -> Option<(&[u8], &[u8])> {
        if let Some((name, value)) = STATIC.get(place) {
            return Some((name.as_bytes(), value.as_bytes()));
        }
        let entry = self.entries.get(place - STATIC.len())?;
        Some((&entry.name, &entry.value))
    }

    /// One that is larger than the table empties it, and is not in it (RFC 7541, 4.4).
    pub(super) fn insert(&mut self, name: Name, value: Value) {
        let size = size(&name, &value);
        self.shrink_to(self.capacity.saturating_sub(size));
        if size <= self.capacity {
            self.size += size;
            self.tags.push_front(Tag::of(&name, &value));
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
            self.tags.pop_back();
            self.size -= size(&oldest.name, &oldest.value);
        }
    }
}
