//! Names and values as they stand in a block, or already checked: what a table holds is checked once, when it goes in, however often
//! it is named afterwards.

use std::ops::Deref;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// A name in lower case, as it was sent.
#[derive(Clone, Debug)]
pub enum Name {
    Text(Bytes),
    Checked(HeaderName),
}

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    Text(Bytes),
    Checked(HeaderValue),
}

// === impl Name ===

impl Name {
    /// Checked, if it can be; pseudo names stay text.
    #[must_use]
    pub fn check(self) -> Self {
        match &self {
            Self::Checked(_) => self,
            Self::Text(text) => HeaderName::from_lowercase(text).map_or(self, Self::Checked),
        }
    }

    /// `None` if a byte of it is in no name.
    pub fn header(self) -> Option<HeaderName> {
        match self {
            Self::Checked(name) => Some(name),
            Self::Text(text) => HeaderName::from_lowercase(&text).ok(),
        }
    }
}

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Text(text) => text,
            Self::Checked(name) => name.as_str().as_bytes(),
        }
    }
}

impl From<Bytes> for Name {
    fn from(text: Bytes) -> Self {
        Self::Text(text)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Name {}

// === impl Value ===

impl Value {
    /// Checked, if it can be.
    #[must_use]
    pub fn check(self) -> Self {
        match &self {
            Self::Checked(_) => self,
            Self::Text(text) => {
                HeaderValue::from_maybe_shared(text.clone()).map_or(self, Self::Checked)
            }
        }
    }

    /// `None` if a byte of it is in no value.
    pub fn header(self) -> Option<HeaderValue> {
        match self {
            Self::Checked(value) => Some(value),
            Self::Text(text) => HeaderValue::from_maybe_shared(text).ok(),
        }
    }

    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text,
            Self::Checked(value) => Bytes::from_owner(value),
        }
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Text(text) => text,
            Self::Checked(value) => value.as_bytes(),
        }
    }
}

impl From<Bytes> for Value {
    fn from(text: Bytes) -> Self {
        Self::Text(text)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Value {}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn what_is_checked_reads_as_it_was_sent() {
        for name in ["te", ":path", "X-Upper", "x-own"] {
            let checked = Name::from(bytes(name)).check();
            assert_eq!(&*checked, name.as_bytes());
            let is_name = !name.starts_with(':') && !name.starts_with('X');
            assert_eq!(matches!(checked, Name::Checked(_)), is_name, "{name}");
            assert_eq!(checked.header().is_some(), is_name, "{name}");
        }
        for (value, is_value) in [("a b", true), ("", true), ("a\nb", false)] {
            let checked = Value::from(bytes(value)).check();
            assert_eq!(&*checked, value.as_bytes());
            assert_eq!(matches!(checked, Value::Checked(_)), is_value, "{value:?}");
            assert_eq!(checked.header().is_some(), is_value, "{value:?}");
        }
    }
}
