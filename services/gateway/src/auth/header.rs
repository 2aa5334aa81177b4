//! The `Authorization` header (RFC 6750): exactly one, `Bearer`, one space, a token.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Longer ones are not read.
const LONGEST: usize = 8 * 1024;

/// There is a header, and it is not a bearer token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The token; `None` without a header.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Malformed> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(Malformed)?;
    let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let fits = token.len() <= LONGEST && values.next().is_none();
    (scheme.eq_ignore_ascii_case("bearer") && plain && fits)
        .then_some(Some(token))
        .ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let values = values
            .iter()
            .map(|value| HeaderValue::from_str(value).unwrap());
        values.map(|value| (AUTHORIZATION, value)).collect()
    }

    #[test]
    fn one_bearer_token_and_nothing_else() {
        let long = format!("Bearer {}", "a".repeat(LONGEST + 1));
        for (values, expected) in [
            (&[][..], Ok(None)),
            (&["Bearer abc"], Ok(Some("abc"))),
            (&["bEARER abc"], Ok(Some("abc"))),
            (&["Bearer  abc"], Err(Malformed)),
            (&["Bearer\tabc"], Err(Malformed)),
            (&["Bearer"], Err(Malformed)),
            (&["Bearer "], Err(Malformed)),
            (&["Bearer a b"], Err(Malformed)),
            (&["Basic abc"], Err(Malformed)),
            (&["Bearer abc", "Bearer abc"], Err(Malformed)),
            (&[long.as_str()], Err(Malformed)),
        ] {
            assert_eq!(bearer(&headers(values)), expected, "{values:?}");
        }
    }
}
