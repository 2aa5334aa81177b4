//! `grpc-timeout`: how long a caller is willing to wait, and what of it is left for the next hop.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

pub const HEADER: HeaderName = HeaderName::from_static("grpc-timeout");

/// Values have at most eight digits.
const LIMIT: u128 = 100_000_000;

/// Units from the finest, with their length in nanoseconds.
const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// The header is present but says nothing: never read as "no limit".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid grpc-timeout; expected 1 to 8 digits and one of H M S m u n")]
pub struct Malformed;

/// What the caller asked for; `None` = no limit.
pub fn of(headers: &HeaderMap) -> Result<Option<Duration>, Malformed> {
    let mut values = headers.get_all(HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => parse(value.as_bytes()).map(Some),
        (Some(_), Some(_)) => Err(Malformed),
    }
}

/// Reads `1*8DIGIT unit`.
pub fn parse(text: &[u8]) -> Result<Duration, Malformed> {
    let (unit, digits) = text.split_last().ok_or(Malformed)?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    let length = UNITS
        .iter()
        .find(|(letter, _)| letter == unit)
        .map(|(_, length)| *length)
        .ok_or(Malformed)?;
    let count = digits
        .iter()
        .fold(0_u128, |sum, digit| sum * 10 + u128::from(digit - b'0'));
    let nanos = count * length;
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| Malformed)?;
    let rest = u32::try_from(nanos % 1_000_000_000).map_err(|_| Malformed)?;
    Ok(Duration::new(seconds, rest))
}

/// What is left, rounded down, in the first unit whose value has at most eight digits. `None` = nothing is left: do not send.
pub fn encode(left: Duration) -> Option<HeaderValue> {
    let nanos = left.as_nanos();
    if nanos == 0 {
        return None;
    }
    let (letter, value) = UNITS
        .iter()
        .map(|(letter, length)| (*letter, nanos / length))
        .find(|(_, value)| *value < LIMIT)
        .unwrap_or((b'H', LIMIT - 1));
    // Eight digits and a letter, written from the end.
    let mut text = [letter; 9];
    let (mut first, mut rest) = (text.len() - 1, value);
    while rest > 0 || first == text.len() - 1 {
        first -= 1;
        if let (Some(place), Ok(digit)) = (text.get_mut(first), u8::try_from(rest % 10)) {
            *place = b'0' + digit;
        }
        rest /= 10;
    }
    let text = text.get(first..).unwrap_or_default();
    Some(HeaderValue::from_bytes(text).expect("digits and a letter are a valid header value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_rounded_down_into_the_first_unit_that_fits() {
        for (nanos, expected) in [
            (1_u64, "1n"),
            (99_999_999, "99999999n"),
            (100_000_000, "100000u"),
            (250_000_000, "250000u"),
            (15_000_000_000, "15000000u"),
            (99_999_999_999, "99999999u"),
            (100_000_000_000, "100000m"),
            (3_600_000_000_000, "3600000m"),
            (108_000_000_000_000, "108000S"),
        ] {
            let header = encode(Duration::from_nanos(nanos)).unwrap();
            assert_eq!(header.to_str().unwrap(), expected, "{nanos}");
        }
        assert_eq!(encode(Duration::ZERO), None);
    }

    #[test]
    fn every_unit_and_length_parses() {
        for (letter, length) in UNITS {
            for digits in 1..=8 {
                let text = format!("{}{}", "9".repeat(digits), char::from(letter));
                let expected = (10_u128.pow(u32::try_from(digits).unwrap()) - 1) * length;
                assert_eq!(
                    parse(text.as_bytes()).unwrap().as_nanos(),
                    expected,
                    "{text}"
                );
            }
        }
        assert_eq!(parse(b"0S"), Ok(Duration::ZERO));
        assert_eq!(parse(b"007m"), Ok(Duration::from_millis(7)));
    }

    #[test]
    fn malformed_values_are_refused_never_infinite() {
        for text in [
            "",
            "1",
            "S",
            "m",
            "123456789S",
            "-1S",
            "+1S",
            "1.5S",
            "1 S",
            " 1S",
            "1S ",
            "1s",
            "1h",
            "1x",
            "1SS",
            "S1",
            "0x1S",
            "1e3m",
            "١S",
            "inf",
            "NaN",
            "1,S",
            "100000000000n",
            "1\u{b5}",
            "null",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(Malformed), "{text:?}");
        }
    }

    #[test]
    fn two_headers_are_malformed() {
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers), Ok(None));
        headers.append(HEADER, HeaderValue::from_static("1S"));
        assert_eq!(of(&headers), Ok(Some(Duration::from_secs(1))));
        headers.append(HEADER, HeaderValue::from_static("2S"));
        assert_eq!(of(&headers), Err(Malformed));
    }

    #[test]
    fn what_is_forwarded_never_exceeds_what_came() {
        for text in [
            "1n",
            "99999999n",
            "99999999u",
            "99999999m",
            "99999999S",
            "99999999M",
            "99999999H",
            "7H",
        ] {
            let came = parse(text.as_bytes()).unwrap();
            let forwarded = encode(came).unwrap();
            assert!(parse(forwarded.as_bytes()).unwrap() <= came, "{text}");
        }
    }
}
