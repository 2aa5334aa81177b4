//! The key of a call: where it comes from, what it may look like, whose it is.

use std::sync::Arc;

use tonic::metadata::MetadataMap;
use tonic::{Code, Request};

use super::fingerprint::fingerprint;
use crate::method::{KeyPolicy, Method};
use crate::validate::Decoded;
use crate::{Caller, Failure};

const METADATA: &str = "idempotency-key";
const LONGEST: usize = 255;

/// A call that brought a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    owner: String,
    method: String,
    key: String,
    fingerprint: Vec<u8>,
}

impl Call {
    /// `None`: the call has no key and needs none.
    pub fn of<T>(request: &Request<T>) -> Result<Option<Self>, Failure> {
        let caller = Caller::of(request)?;
        let extensions = request.extensions();
        let (Some(method), Some(Decoded(message))) =
            (extensions.get::<Arc<Method>>(), extensions.get::<Decoded>())
        else {
            return Err(Failure::internal(
                &"no decoded request: the server's checks did not run",
            ));
        };
        let in_body = match method.key_field.as_str() {
            "" => None,
            field => message
                .get_field_by_name(field)
                .and_then(|value| value.as_str().map(str::to_owned))
                .filter(|key| !key.is_empty()),
        };
        let Some(key) = choose(from_metadata(request.metadata())?, in_body, method.key)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            owner: caller.key_owner(),
            method: method.name.clone(),
            key,
            fingerprint: fingerprint(message, &method.key_field),
        }))
    }

    /// The user or service the key belongs to.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    pub fn method(&self) -> &str {
        &self.method
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn fingerprint(&self) -> &[u8] {
        &self.fingerprint
    }

    #[cfg(test)]
    pub(super) fn for_test(owner: &str, key: &str, request: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            method: "test.Service/Method".to_owned(),
            key: key.to_owned(),
            fingerprint: request.as_bytes().to_vec(),
        }
    }
}

/// An RFC 8941 string or, because clients send it, a bare token: the same key.
fn from_metadata(metadata: &MetadataMap) -> Result<Option<String>, Failure> {
    let mut values = metadata.get_all(METADATA).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid("there is more than one"));
    }
    let text = value
        .to_str()
        .map_err(|_| invalid("not printable ASCII"))?
        .trim();
    let key = match text.strip_prefix('"') {
        None => text.to_owned(),
        Some(quoted) => unquote(quoted).ok_or_else(|| invalid("the quotes do not match"))?,
    };
    Ok(Some(key))
}

/// What stands before the closing quote, `\"` and `\\` undone.
fn unquote(quoted: &str) -> Option<String> {
    let mut key = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(key),
            '\\' => match chars.next()? {
                escaped @ ('"' | '\\') => key.push(escaped),
                _ => return None,
            },
            other => key.push(other),
        }
    }
}

fn choose(
    in_metadata: Option<String>,
    in_body: Option<String>,
    policy: KeyPolicy,
) -> Result<Option<String>, Failure> {
    if let (Some(header), Some(body)) = (&in_metadata, &in_body)
        && header != body
    {
        return Err(Failure::new(
            Code::InvalidArgument,
            "IDEMPOTENCY_KEY_CONFLICT",
            "the idempotency keys of header and body differ",
        ));
    }
    match in_metadata.or(in_body) {
        Some(key) => check(&key).map(|()| Some(key)),
        None if policy == KeyPolicy::Required => Err(Failure::new(
            Code::InvalidArgument,
            "IDEMPOTENCY_KEY_REQUIRED",
            "the method needs an idempotency key",
        )),
        None => Ok(None),
    }
}

fn check(key: &str) -> Result<(), Failure> {
    if key.is_empty() || key.len() > LONGEST {
        return Err(invalid("a key has 1 to 255 characters"));
    }
    if !key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(invalid("not printable ASCII"));
    }
    Ok(())
}

fn invalid(why: &str) -> Failure {
    Failure::new(
        Code::InvalidArgument,
        "IDEMPOTENCY_KEY_INVALID",
        format!("the idempotency key is malformed: {why}"),
    )
    .with("problem", why)
}

pub(super) fn reused() -> Failure {
    Failure::new(
        Code::InvalidArgument,
        "IDEMPOTENCY_KEY_REUSED",
        "the idempotency key was used with another request",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(value: &str) -> Result<Option<String>, &'static str> {
        let mut metadata = MetadataMap::new();
        metadata.insert(METADATA, value.parse().unwrap());
        from_metadata(&metadata).map_err(|failure| failure.reason())
    }

    #[test]
    fn quoted_and_bare_keys_are_the_same_key() {
        let invalid = Err("IDEMPOTENCY_KEY_INVALID");
        for (value, expected) in [
            ("8e03", Ok(Some("8e03".to_owned()))),
            ("\"8e03\"", Ok(Some("8e03".to_owned()))),
            (r#""a\"b\\c""#, Ok(Some(r#"a"b\c"#.to_owned()))),
            ("\"8e03", invalid.clone()),
            ("\"8e03\";p=1", invalid.clone()),
            (r#""a\nb""#, invalid),
        ] {
            assert_eq!(header(value), expected, "{value}");
        }
    }

    #[test]
    fn the_key_is_chosen_by_place_and_policy() {
        let key = |key: &str| Some(key.to_owned());
        let long = "k".repeat(256);
        for (metadata, body, policy, expected) in [
            (None, None, KeyPolicy::None, Ok(None)),
            (None, None, KeyPolicy::Generated, Ok(None)),
            (
                None,
                None,
                KeyPolicy::Required,
                Err("IDEMPOTENCY_KEY_REQUIRED"),
            ),
            (key("a"), None, KeyPolicy::Required, Ok(key("a"))),
            (None, key("a"), KeyPolicy::Required, Ok(key("a"))),
            (key("a"), key("a"), KeyPolicy::Required, Ok(key("a"))),
            (
                key("a"),
                key("b"),
                KeyPolicy::Required,
                Err("IDEMPOTENCY_KEY_CONFLICT"),
            ),
            (
                key(""),
                None,
                KeyPolicy::Required,
                Err("IDEMPOTENCY_KEY_INVALID"),
            ),
            (
                key(&long),
                None,
                KeyPolicy::None,
                Err("IDEMPOTENCY_KEY_INVALID"),
            ),
            (
                key("ä"),
                None,
                KeyPolicy::None,
                Err("IDEMPOTENCY_KEY_INVALID"),
            ),
            (
                key("a\tb"),
                None,
                KeyPolicy::None,
                Err("IDEMPOTENCY_KEY_INVALID"),
            ),
        ] {
            let chosen = choose(metadata.clone(), body, policy).map_err(|failure| failure.reason());
            assert_eq!(chosen, expected, "{metadata:?}");
        }
    }
}
