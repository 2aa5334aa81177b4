//! Header compression (RFC 7541): bytes in, bytes out, no I/O. Whatever is wrong with a block ends the connection with
//! COMPRESSION_ERROR, because the tables of both sides are no longer the same.

/// Blocks to fields.
mod decode;

/// Fields to blocks.
mod encode;

/// What both sides remember.
mod table;

/// Strings.
mod huffman;

/// Numbers.
mod integer;

/// Names and values.
mod text;

#[cfg(test)]
mod tests;

pub use decode::{Bounds, Decoder, Size};
pub use encode::{Encoder, Indexing};
pub use text::{Name, Value};

/// A field of a header list, its name in lower case as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Name,
    pub value: Value,
    /// Its sender forbids whoever forwards it to put it into a table (RFC 7541, 6.2.3).
    pub never_indexed: bool,
}

impl Field {
    /// Name and value checked, if they can be. A pseudo field becomes no header, so its value stays text too.
    #[must_use]
    fn check(self) -> Self {
        let name = self.name.check();
        let value = match &name {
            Name::Checked(_) => self.value.check(),
            Name::Text(_) => self.value,
        };
        Self {
            name,
            value,
            ..self
        }
    }

    /// What it counts for in a header list and in a table: RFC 7541, 4.1.
    pub fn size(&self) -> usize {
        table::size(&self.name, &self.value)
    }
}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the block ends inside a field")]
    Truncated,
    #[error("a number is larger than 32 bits")]
    Number,
    #[error("a string is no Huffman code")]
    Huffman,
    #[error("index {0} names nothing")]
    Index(u32),
    #[error("a table size of {0} is larger than the {1} we allow")]
    TableSize(u32, u32),
    #[error("a table size update stands behind a field")]
    LateUpdate,
    #[error("one field is larger than {0} bytes")]
    FieldSize(usize),
}
