//! How scalars may be spelt. Numbers are read as text: a double would round what it is asked to judge.

use prost_reflect::Kind;

use super::expected::Expected;

/// From here on a double does not hold every whole number.
const EXACT: u64 = 1 << 53;
/// Digits in front of the point beyond which no number of ours is.
const LONGEST: usize = 400;

const NOT_WHOLE: &str = "must be a whole number in plain decimal";
const NOT_EXACT: &str = "cannot be kept exactly; write it as a string";
const RANGE: &str = "is out of range";

/// What is wrong with a string, if anything is.
pub(super) fn of_text(expected: &Expected, text: &str) -> Option<&'static str> {
    match expected {
        Expected::Scalar(kind) if is_integer(kind) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            (!plain).then_some(NOT_WHOLE)
        }
        Expected::Scalar(kind @ (Kind::Float | Kind::Double)) => {
            if ["NaN", "Infinity", "-Infinity"].contains(&text) {
                return None;
            }
            let plain = |byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
            if !text.bytes().all(plain) {
                return Some("must be a number, NaN, Infinity or -Infinity");
            }
            (!is_finite(kind, text)).then_some(RANGE)
        }
        // A leap second would become the one before it.
        Expected::Timestamp => {
            (text.get(17..19) == Some("60")).then_some("must not name a leap second")
        }
        Expected::FieldMask => {
            let plain = |name: &str| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
            };
            let fits = text.is_empty() || text.split([',', '.']).all(plain);
            (!fits).then_some("must be names of fields such as a,bC.d")
        }
        _ => None,
    }
}

/// What is wrong with a number, if anything is.
pub(super) fn of_number(expected: &Expected, spelt: &str) -> Option<&'static str> {
    match expected {
        Expected::Scalar(kind) if is_integer(kind) => of_whole(spelt),
        Expected::Scalar(kind @ (Kind::Float | Kind::Double)) => {
            (!is_finite(kind, spelt)).then_some(RANGE)
        }
        Expected::Free => (!is_finite(&Kind::Double, spelt)).then_some(RANGE),
        // A number where none belongs is the parser's to refuse.
        _ => None,
    }
}

fn of_whole(spelt: &str) -> Option<&'static str> {
    if !spelt.contains(['.', 'e', 'E']) {
        let fits = spelt.parse::<u64>().is_ok() || spelt.parse::<i64>().is_ok();
        return (!fits).then_some(RANGE);
    }
    match whole(spelt) {
        None => Some(NOT_WHOLE),
        Some(digits) => {
            let value: Result<u64, _> = digits.parse();
            (!value.is_ok_and(|value| value <= EXACT)).then_some(NOT_EXACT)
        }
    }
}

/// The digits of a whole number that is written with a point or an exponent, without its sign.
fn whole(spelt: &str) -> Option<String> {
    let unsigned = spelt.strip_prefix('-').unwrap_or(spelt);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i32 = exponent.parse().ok()?;
    let point = i64::try_from(before.len()).ok()? + i64::from(exponent);
    let mut digits = format!("{before}{behind}");
    let significant = digits.trim_end_matches('0').len();
    if significant == 0 {
        return Some("0".to_owned());
    }
    let point = usize::try_from(point).ok()?;
    if point < significant || point > LONGEST {
        return None;
    }
    digits.truncate(significant);
    digits.extend(std::iter::repeat_n('0', point - significant));
    Some(digits)
}

fn is_finite(kind: &Kind, text: &str) -> bool {
    match kind {
        Kind::Float => text.parse().is_ok_and(f32::is_finite),
        _ => text.parse().is_ok_and(f64::is_finite),
    }
}

fn is_integer(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Int32
            | Kind::Int64
            | Kind::Uint32
            | Kind::Uint64
            | Kind::Sint32
            | Kind::Sint64
            | Kind::Fixed32
            | Kind::Fixed64
            | Kind::Sfixed32
            | Kind::Sfixed64
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_kept_exactly_or_refused() {
        for (spelt, expected) in [
            ("0", None),
            ("-9223372036854775808", None),
            ("18446744073709551615", None),
            ("18446744073709551616", Some(RANGE)),
            ("1.0", None),
            ("1e2", None),
            ("-1.5e1", None),
            ("0.0", None),
            ("0e999", None),
            ("100e-2", None),
            ("9007199254740992.0", None),
            ("9007199254740993.0", Some(NOT_EXACT)),
            ("1e16", Some(NOT_EXACT)),
            ("1.5", Some(NOT_WHOLE)),
            ("1e-1", Some(NOT_WHOLE)),
            ("1e400", Some(NOT_EXACT)),
            ("1e99999999999", Some(NOT_WHOLE)),
        ] {
            let kind = Expected::Scalar(Kind::Int64);
            let found = of_number(&kind, spelt);
            // How it is refused does not matter for what no type holds.
            assert_eq!(found.is_some(), expected.is_some(), "{spelt}: {found:?}");
        }
    }

    #[test]
    fn texts_are_spelt_as_the_contract_says() {
        let int = Expected::Scalar(Kind::Int32);
        let float = Expected::Scalar(Kind::Float);
        let double = Expected::Scalar(Kind::Double);
        for (expected, text, fits) in [
            (&int, "1", true),
            (&int, "-1", true),
            (&int, "+1", false),
            (&int, "1e2", false),
            (&int, "1.0", false),
            (&int, "", false),
            (&int, " 1", false),
            (&double, "1e300", true),
            (&double, "1e400", false),
            (&double, "NaN", true),
            (&double, "nan", false),
            (&double, "inf", false),
            (&double, "Infinity", true),
            (&double, "-Infinity", true),
            (&double, "infinity", false),
            (&float, "1e39", false),
            (&Expected::Timestamp, "2026-06-30T23:59:59Z", true),
            (&Expected::Timestamp, "2026-06-30T23:59:60Z", false),
            (&Expected::FieldMask, "", true),
            (&Expected::FieldMask, "a,bC.d", true),
            (&Expected::FieldMask, "a..b", false),
            (&Expected::FieldMask, "a_b", false),
            (&Expected::FieldMask, "a,", false),
            (&Expected::Scalar(Kind::String), "a_b..", true),
        ] {
            let found = of_text(expected, text);
            assert_eq!(found.is_none(), fits, "{expected:?} {text}: {found:?}");
        }
    }
}
