//! Blocks to fields, a fragment at a time. What a block may grow to is enforced while it is decoded: fields past the
//! bounds go into the table, so that it stays in step, and nowhere else.

use bytes::Bytes;

use super::table::Table;
use super::{Error, Field, huffman, integer};

/// What a header list may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes, counted as name, value and 32 a field.
    pub bytes: usize,
    pub count: usize,
}

/// What a header list came to, fields that were not handed out included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub bytes: usize,
    pub count: usize,
}

impl Size {
    pub fn fits(&self, bounds: Bounds) -> bool {
        self.bytes <= bounds.bytes && self.count <= bounds.count
    }
}

/// The receiving side of one connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// What the peer's encoder may set the table to: our SETTINGS_HEADER_TABLE_SIZE.
    allowed: u32,
    /// The beginning of a field whose end is in the next fragment.
    tail: Vec<u8>,
    size: Size,
    began: bool,
}

/// One step of a block.
enum Item {
    Field { field: Field, inserted: bool },
    Capacity(u32),
}

impl Decoder {
    /// `allowed`: bytes of the dynamic table.
    pub fn new(allowed: u32) -> Self {
        Self {
            table: Table::new(allowed as usize),
            allowed,
            tail: Vec::new(),
            size: Size::default(),
            began: false,
        }
    }

    /// Decodes one fragment of a block; `last` says that it is the block's last, and only then the size is the list's.
    /// After an error the connection is of no use.
    pub fn decode(
        &mut self,
        fragment: &[u8],
        last: bool,
        bounds: Bounds,
        mut each: impl FnMut(Field),
    ) -> Result<Size, Error> {
        let joined = match self.tail.is_empty() {
            true => None,
            false => {
                let mut joined = std::mem::take(&mut self.tail);
                joined.extend_from_slice(fragment);
                Some(joined)
            }
        };
        let mut rest = joined.as_deref().unwrap_or(fragment);
        while !rest.is_empty() {
            let mut ahead = rest;
            match self.item(&mut ahead) {
                Err(Error::Truncated) if !last => break,
                item => self.apply(item?, bounds, &mut each)?,
            }
            rest = ahead;
        }
        self.keep(rest, bounds)?;
        let size = self.size;
        if last {
            self.size = Size::default();
            self.began = false;
        }
        Ok(size)
    }

    /// A field that is not there yet is kept, but not for ever.
    fn keep(&mut self, rest: &[u8], bounds: Bounds) -> Result<(), Error> {
        if rest.len() > bounds.bytes * 4 {
            return Err(Error::FieldSize(bounds.bytes * 4));
        }
        self.tail.extend_from_slice(rest);
        Ok(())
    }

    fn apply(
        &mut self,
        item: Item,
        bounds: Bounds,
        each: &mut impl FnMut(Field),
    ) -> Result<(), Error> {
        let (field, inserted) = match item {
            Item::Capacity(capacity) => return self.resize(capacity),
            Item::Field { field, inserted } => (field, inserted),
        };
        let field = match inserted {
            true => field.check(),
            false => field,
        };
        self.began = true;
        self.size.bytes += field.size();
        self.size.count += 1;
        if inserted {
            self.table.insert(field.name.clone(), field.value.clone());
        }
        if self.size.fits(bounds) {
            each(field);
        }
        Ok(())
    }

    /// RFC 7541, 4.2: at the beginning of a block, within what we announced.
    fn resize(&mut self, capacity: u32) -> Result<(), Error> {
        if self.began {
            return Err(Error::LateUpdate);
        }
        if capacity > self.allowed {
            return Err(Error::TableSize(capacity, self.allowed));
        }
        self.table.set_capacity(capacity as usize);
        Ok(())
    }

    /// RFC 7541, 6: which of the five forms a byte begins.
    fn item(&self, bytes: &mut &[u8]) -> Result<Item, Error> {
        let first = bytes.first().copied().ok_or(Error::Truncated)?;
        if first & 0x80 != 0 {
            return self.indexed(integer::decode(bytes, 7)?);
        }
        if first & 0xe0 == 0x20 {
            return Ok(Item::Capacity(integer::decode(bytes, 5)?));
        }
        let inserted = first & 0x40 != 0;
        let name = integer::decode(bytes, if inserted { 6 } else { 4 })?;
        let name = match name {
            0 => string(bytes)?.into(),
            index => self.table.entry(index).ok_or(Error::Index(index))?.0,
        };
        let field = Field {
            name,
            value: string(bytes)?.into(),
            never_indexed: first & 0xf0 == 0x10,
        };
        Ok(Item::Field { field, inserted })
    }

    fn indexed(&self, index: u32) -> Result<Item, Error> {
        let (name, value) = self.table.entry(index).ok_or(Error::Index(index))?;
        let field = Field {
            name,
            value,
            never_indexed: false,
        };
        Ok(Item::Field {
            field,
            inserted: false,
        })
    }

    #[cfg(test)]
    pub(super) fn table_size(&self) -> usize {
        self.table.size()
    }
}

/// RFC 7541, 5.2. The text is copied: a slice of the input would keep a whole read buffer alive in the table.
fn string(bytes: &mut &[u8]) -> Result<Bytes, Error> {
    let first = bytes.first().copied().ok_or(Error::Truncated)?;
    let length = integer::decode(bytes, 7)? as usize;
    let (text, rest) = bytes.split_at_checked(length).ok_or(Error::Truncated)?;
    *bytes = rest;
    match first & 0x80 {
        0 => Ok(Bytes::copy_from_slice(text)),
        _ => huffman::decode(text).map(|text| Bytes::copy_from_slice(&text)),
    }
}
