//! `grpc-timeout` and `grpc-message`: what is read is written again with the same meaning.

use http::HeaderValue;

use crate::grpc::{status, timeout};

/// A deadline never grows on its way, and only digits with a unit are one.
pub(super) fn timeout(bytes: &[u8]) {
    let is_one = match bytes.split_last() {
        Some((unit, digits)) => {
            b"HMSmun".contains(unit)
                && (1..=8).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
        }
        None => false,
    };
    let Ok(limit) = timeout::parse(bytes) else {
        assert!(!is_one, "refused");
        return;
    };
    assert!(is_one, "taken");
    let Some(encoded) = timeout::encode(limit) else {
        assert!(limit.is_zero(), "only nothing is left out");
        return;
    };
    let next = timeout::parse(encoded.as_bytes()).expect("we write what we read");
    assert!(next <= limit, "{limit:?} became {next:?}");
    // The next unit is at most a thousand times as long, so five digits are left at least.
    assert!(limit - next <= limit / 100_000, "{limit:?} became {next:?}");
}

/// Whatever a peer sends is read; what we write is read back as it was, up to the cut.
pub(super) fn status(bytes: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let text = status::decode_message(&value);
        let again = status::decode_message(&status::encode_message(&text));
        assert!(text.starts_with(&again));
    }
    let text = String::from_utf8_lossy(bytes);
    let encoded = status::encode_message(&text);
    assert!(
        encoded
            .as_bytes()
            .iter()
            .all(|byte| (b' '..=b'~').contains(byte))
    );
    let again = status::decode_message(&encoded);
    assert!(text.starts_with(&again));
    assert!(
        again.len() == text.len() || again.len() + 4 > 1024,
        "{}",
        again.len()
    );
}
