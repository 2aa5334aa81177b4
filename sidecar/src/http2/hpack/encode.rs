//! Fields to blocks.

use bytes::Bytes;

use super::table::{Found, Table};
use super::{Field, huffman, integer};

/// Whether a field goes into the tables of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexing {
    /// For what comes again.
    Incremental,
    /// For what is unique to a call: it would push out what comes again.
    Without,
    /// As `Without`, and nobody on the way may index it either (RFC 7541, 7.1.3).
    Never,
}

/// The sending side of one connection.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// The table is never larger than this, whatever the peer allows.
    most: u32,
    /// Sizes that the next block begins with: the smallest since the last one, and the present one (RFC 7541, 4.2).
    update: Option<(u32, u32)>,
}

impl Encoder {
    /// `most`: bytes of the dynamic table, at most the 4,096 that every peer begins with.
    pub fn new(most: u32) -> Self {
        Self {
            table: Table::new(most as usize),
            most,
            update: None,
        }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE.
    pub fn allow(&mut self, size: u32) {
        let size = size.min(self.most);
        let smallest = self.update.map_or(size, |(smallest, _)| smallest.min(size));
        if self.update.is_none() && self.table.capacity() == size as usize {
            return;
        }
        self.update = Some((smallest, size));
        self.table.set_capacity(size as usize);
    }

    /// Begins a block; every field of it follows before the next one begins.
    pub fn begin(&mut self, block: &mut Vec<u8>) {
        let Some((smallest, size)) = self.update.take() else {
            return;
        };
        if smallest < size {
            integer::encode(smallest, 5, 0x20, block);
        }
        integer::encode(size, 5, 0x20, block);
    }

    pub fn field(&mut self, name: &[u8], value: &[u8], indexing: Indexing, block: &mut Vec<u8>) {
        let found = self.table.find(name, value);
        if let (Found::Field(index), Indexing::Incremental | Indexing::Without) = (found, indexing)
        {
            integer::encode(index, 7, 0x80, block);
            return;
        }
        let (prefix, flags) = match indexing {
            Indexing::Incremental => (6, 0x40),
            Indexing::Without => (4, 0),
            Indexing::Never => (4, 0x10),
        };
        match found {
            Found::Field(index) | Found::Name(index) => {
                integer::encode(index, prefix, flags, block);
            }
            Found::Nothing => {
                integer::encode(0, prefix, flags, block);
                string(name, block);
            }
        }
        match indexing {
            Indexing::Incremental => string(value, block),
            Indexing::Without | Indexing::Never => plain(value, block),
        }
        if indexing == Indexing::Incremental {
            let copy = |text: &[u8]| Bytes::copy_from_slice(text);
            self.table.insert(copy(name).into(), copy(value).into());
        }
    }

    /// A field that was received, under the rule it came with.
    pub fn forward(&mut self, field: &Field, indexing: Indexing, block: &mut Vec<u8>) {
        let indexing = match field.never_indexed {
            true => Indexing::Never,
            false => indexing,
        };
        self.field(&field.name, &field.value, indexing, block);
    }

    #[cfg(test)]
    pub(super) fn table_size(&self) -> usize {
        self.table.size()
    }
}

/// As a Huffman code where that is shorter.
fn string(text: &[u8], block: &mut Vec<u8>) {
    let length = huffman::encoded_length(text);
    if length < text.len() {
        integer::encode(counted(length), 7, 0x80, block);
        huffman::encode(text, block);
    } else {
        plain(text, block);
    }
}

/// As it is: a value that every call has its own of costs both sides more to code than its bytes are worth.
fn plain(text: &[u8], block: &mut Vec<u8>) {
    integer::encode(counted(text.len()), 7, 0, block);
    block.extend_from_slice(text);
}

fn counted(length: usize) -> u32 {
    u32::try_from(length).expect("a field is smaller than 4 GiB")
}
