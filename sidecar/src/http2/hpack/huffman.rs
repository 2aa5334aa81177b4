//! The Huffman code of strings (RFC 7541, appendix B). It is canonical: codes of one length are consecutive numbers in the
//! order of their symbols, so the lengths say everything.

use std::sync::LazyLock;

use smallvec::SmallVec;

use super::Error;

/// A decoded text; most are short.
pub(super) type Text = SmallVec<[u8; 128]>;

/// Bits of each byte's code; the last is the end of the string, which never stands inside one.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const END: u16 = 256;
/// A state of decoding is an inner node of the code's tree.
const NODES: usize = 256;

/// Code and length of each byte.
const CODES: [(u32, u8); 257] = codes();

const fn codes() -> [(u32, u8); 257] {
    let mut codes = [(0, 0); 257];
    let (mut code, mut length) = (0, 5);
    while length <= 30 {
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] == length {
                codes[symbol] = (code, length);
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    codes
}

/// Bytes that `text` takes when it is encoded.
pub(super) fn encoded_length(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|byte| usize::from(code(*byte).1)).sum();
    bits.div_ceil(8)
}

/// Appends the code of `text`, filled up with ones.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0_u64, 0_u8);
    for byte in text {
        let (code, length) = code(*byte);
        bits = bits << length | u64::from(code);
        held += length;
        while held >= 8 {
            held -= 8;
            out.push(low_byte(bits >> held));
        }
    }
    if held > 0 {
        let filling = 8 - held;
        out.push(low_byte(bits << filling) | ((1 << filling) - 1));
    }
}

fn code(byte: u8) -> (u32, u8) {
    CODES.get(usize::from(byte)).copied().unwrap_or_default()
}

#[expect(clippy::cast_possible_truncation, reason = "the low byte is meant")]
fn low_byte(bits: u64) -> u8 {
    bits as u8
}

/// What four bits lead to.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    node: u8,
    /// Four bits end at most one symbol, because none is shorter than five.
    symbol: Option<u8>,
    /// The bits led to the end of the string, which must not be there.
    fails: bool,
}

/// The tree of codes, and where four bits at a time lead in it.
struct Tree {
    steps: Vec<[Step; 16]>,
    /// Whether a string may stop there: behind at most seven ones.
    accepts: Vec<bool>,
}

static TREE: LazyLock<Tree> = LazyLock::new(Tree::grow);

/// A node's two children: another node, or a symbol.
#[derive(Clone, Copy)]
enum Child {
    None,
    Node(u8),
    Symbol(u16),
}

impl Tree {
    fn grow() -> Self {
        let children = children();
        let steps = (0..=u8::MAX).map(|node| {
            let mut steps = [Step::default(); 16];
            for (bits, step) in (0_u8..).zip(&mut steps) {
                *step = walk(&children, node, bits);
            }
            steps
        });
        let mut accepts = vec![false; NODES];
        let mut node = 0;
        for _ in 0..8 {
            accepts[usize::from(node)] = true;
            if let Child::Node(next) = children[usize::from(node)][1] {
                node = next;
            }
        }
        Self {
            steps: steps.collect(),
            accepts,
        }
    }
}

fn children() -> Vec<[Child; 2]> {
    let mut children = vec![[Child::None; 2]; NODES];
    let mut nodes = 1_u16;
    for (symbol, (code, length)) in (0_u16..).zip(CODES) {
        let mut node = 0_usize;
        for bit in (0..length).rev() {
            let child = &mut children[node][usize::from(code >> bit & 1 == 1)];
            if bit == 0 {
                *child = Child::Symbol(symbol);
            } else if let Child::Node(next) = *child {
                node = usize::from(next);
            } else {
                // A full tree of 257 leaves has 256 inner nodes.
                let next = u8::try_from(nodes).expect("at most 256 inner nodes");
                *child = Child::Node(next);
                nodes += 1;
                node = usize::from(next);
            }
        }
    }
    children
}

fn walk(children: &[[Child; 2]], from: u8, bits: u8) -> Step {
    let mut step = Step {
        node: from,
        ..Step::default()
    };
    for bit in (0..4).rev() {
        match children[usize::from(step.node)][usize::from(bits >> bit & 1)] {
            Child::Node(next) => step.node = next,
            Child::Symbol(END) | Child::None => step.fails = true,
            Child::Symbol(symbol) => {
                step.symbol = u8::try_from(symbol).ok();
                step.node = 0;
            }
        }
    }
    step
}

/// The text of a code.
pub(super) fn decode(code: &[u8]) -> Result<Text, Error> {
    let tree = &*TREE;
    // The shortest code has five bits.
    let mut text = Text::with_capacity(code.len() * 8 / 5);
    let mut node = 0;
    for byte in code {
        for bits in [byte >> 4, byte & 15] {
            let step = tree.steps[usize::from(node)][usize::from(bits)];
            if step.fails {
                return Err(Error::Huffman);
            }
            text.extend(step.symbol);
            node = step.node;
        }
    }
    match tree.accepts[usize::from(node)] {
        true => Ok(text),
        false => Err(Error::Huffman),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_are_those_of_the_appendix() {
        for (symbol, code) in [
            (usize::from(b'0'), (0x0, 5)),
            (usize::from(b'a'), (0x3, 5)),
            (usize::from(b'X'), (0xfc, 8)),
            (0, (0x1ff8, 13)),
            (10, (0x3fff_fffc, 30)),
            (92, (0x7fff0, 19)),
            (249, (0xfff_fffe, 28)),
            (255, (0x3ff_ffee, 26)),
            (256, (0x3fff_ffff, 30)),
        ] {
            assert_eq!(CODES[symbol], code, "{symbol}");
        }
    }

    /// RFC 7541, 5.2.
    #[test]
    fn a_string_ends_with_at_most_seven_ones() {
        assert_eq!(decode(&[]), Ok(Text::new()));
        assert_eq!(decode(&[0b0001_1111]), Ok(Text::from_slice(b"a")));
        for (code, why) in [
            (&[0b0001_1000][..], "filled with zeros"),
            (&[0b0001_1111, 0xff], "more than seven ones"),
            (&[0xff], "a byte of nothing"),
            (&[0xff, 0xff, 0xff, 0xff], "the end itself"),
            (&[0x1f, 0xff, 0xff, 0xff, 0xfc], "the end inside"),
        ] {
            assert_eq!(decode(code), Err(Error::Huffman), "{why}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text: Vec<u8>) {
            let mut code = Vec::new();
            encode(&text, &mut code);
            prop_assert_eq!(code.len(), encoded_length(&text));
            prop_assert_eq!(decode(&code), Ok(Text::from_vec(text)));
        }
    }
}
