//! Numbers that begin within a byte (RFC 7541, 5.1).

use super::Error;

/// Appends `value`; its first byte has `prefix` bits for it, and `flags` above them.
pub(super) fn encode(value: u32, prefix: u8, flags: u8, out: &mut Vec<u8>) {
    let most = most(prefix);
    if value < most {
        out.push(flags | low_byte(value));
        return;
    }
    out.push(flags | low_byte(most));
    let mut rest = value - most;
    while rest >= 128 {
        out.push(low_byte(rest) | 128);
        rest >>= 7;
    }
    out.push(low_byte(rest));
}

/// Takes a number off the front of `bytes`.
pub(super) fn decode(bytes: &mut &[u8], prefix: u8) -> Result<u32, Error> {
    let most = most(prefix);
    let first = u32::from(take(bytes)?) & most;
    if first < most {
        return Ok(first);
    }
    let mut value = u64::from(first);
    // Five bytes hold 35 bits; zeros in front of a number would go on for ever.
    for shift in [0, 7, 14, 21, 28] {
        let byte = take(bytes)?;
        value += u64::from(byte & 127) << shift;
        if byte < 128 {
            return u32::try_from(value).map_err(|_| Error::Number);
        }
    }
    Err(Error::Number)
}

fn take(bytes: &mut &[u8]) -> Result<u8, Error> {
    let (first, rest) = bytes.split_first().ok_or(Error::Truncated)?;
    *bytes = rest;
    Ok(*first)
}

fn most(prefix: u8) -> u32 {
    (1 << prefix) - 1
}

#[expect(clippy::cast_possible_truncation, reason = "the low byte is meant")]
fn low_byte(value: u32) -> u8 {
    value as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7541, C.1.
    #[test]
    fn the_examples_hold() {
        for (value, prefix, expected) in [
            (10, 5, &[0b0000_1010][..]),
            (1337, 5, &[0b0001_1111, 0b1001_1010, 0b0000_1010]),
            (42, 8, &[0b0010_1010]),
        ] {
            let mut bytes = Vec::new();
            encode(value, prefix, 0, &mut bytes);
            assert_eq!(bytes, expected);
            assert_eq!(decode(&mut &bytes[..], prefix), Ok(value));
        }
    }

    #[test]
    fn a_number_has_an_end_and_fits_32_bits() {
        for (bytes, expected) in [
            (&[][..], Error::Truncated),
            (&[31], Error::Truncated),
            (&[31, 128], Error::Truncated),
            (&[31, 255, 255, 255, 255, 15], Error::Number),
            (&[31, 255, 255, 255, 255, 31], Error::Number),
            (&[31, 128, 128, 128, 128, 128, 0], Error::Number),
        ] {
            assert_eq!(decode(&mut &*bytes, 5), Err(expected), "{bytes:?}");
        }
        let largest = [31, 224, 255, 255, 255, 15];
        assert_eq!(decode(&mut &largest[..], 5), Ok(u32::MAX));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: u32, prefix in 1_u8..=8, behind: u8) {
            let mut bytes = Vec::new();
            encode(value, prefix, 0, &mut bytes);
            bytes.push(behind);
            let mut rest = &bytes[..];
            prop_assert_eq!(decode(&mut rest, prefix), Ok(value));
            prop_assert_eq!(rest, &[behind]);
        }
    }
}
