//! Blocks that anybody could send (RFC 7541). What is decoded fits its bounds, does not depend on where the block was cut, and comes
//! out of our own encoder and back as it was.

use crate::http2::hpack::{Bounds, Decoder, Encoder, Error, Field, Indexing, Size};

const BOUNDS: Bounds = Bounds {
    bytes: 4 << 10,
    count: 64,
};
const TABLE: u32 = 4096;

pub(super) fn run(bytes: &[u8]) {
    let Some((cut, rest)) = bytes.split_first() else {
        return;
    };
    let (mut whole, mut cut_up) = (Decoder::new(TABLE), Decoder::new(TABLE));
    let (mut encoder, mut reader) = (Encoder::new(TABLE), Decoder::new(TABLE));
    // Several blocks of one connection, so that the table is used.
    for block in rest.split(|byte| *byte == 0xff) {
        let decoded = decode(&mut whole, block, block.len());
        let in_pieces = decode(&mut cut_up, block, usize::from(*cut));
        let Ok((size, fields)) = decoded else {
            assert!(in_pieces.is_err(), "cut up it was taken");
            return;
        };
        let pieces = in_pieces.expect("whole it was taken");
        assert_eq!((size, &fields), (pieces.0, &pieces.1));
        let taken: usize = fields.iter().map(Field::size).sum();
        assert!(taken <= BOUNDS.bytes && fields.len() <= BOUNDS.count);
        again(&mut encoder, &mut reader, &fields);
    }
}

type Decoded = Result<(Size, Vec<Field>), Error>;

fn decode(decoder: &mut Decoder, block: &[u8], step: usize) -> Decoded {
    let mut fields = Vec::new();
    let mut pieces: Vec<&[u8]> = block.chunks(step.max(1)).collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        decoder.decode(piece, false, BOUNDS, |field| fields.push(field))?;
    }
    let size = decoder.decode(last, true, BOUNDS, |field| fields.push(field))?;
    Ok((size, fields))
}

fn again(encoder: &mut Encoder, reader: &mut Decoder, fields: &[Field]) {
    let mut block = Vec::new();
    encoder.begin(&mut block);
    for field in fields {
        encoder.forward(field, Indexing::Incremental, &mut block);
    }
    let (_, read) = decode(reader, &block, block.len()).expect("we read what we write");
    assert_eq!(read, fields);
}
