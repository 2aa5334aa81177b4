//! Pages of a list (AIP-158). A token is a sealed position: it fits only the
//! list it was made for, with the same arguments, for three days, and grants
//! nothing: permission is checked on every page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use prost::Message;
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::Failure;
use crate::seal::Sealer;

const DEFAULT_SIZE: u32 = 50;
const LARGEST_SIZE: u32 = 1000;
const LIFETIME: SignedDuration = SignedDuration::from_hours(72);

/// Reads and writes the page tokens of one service.
#[derive(Clone, Debug)]
pub struct Tokens(Sealer);

/// One page that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub size: u32,
    /// The keyset position after which the page starts; `None` for the first.
    pub after: Option<String>,
}

/// A list: the method and every argument but size and token.
#[derive(Clone, Debug)]
pub struct List<'a> {
    method: &'a str,
    arguments: Vec<u8>,
}

/// What is inside a token.
#[derive(Clone, PartialEq, Message)]
struct Position {
    #[prost(string, tag = "1")]
    after: String,
    #[prost(bytes = "vec", tag = "2")]
    arguments: Vec<u8>,
    #[prost(int64, tag = "3")]
    issued_at: i64,
}

impl<'a> List<'a> {
    /// `arguments`: the request with `page_size` and `page_token` cleared.
    pub fn new(method: &'a str, arguments: &impl Message) -> Self {
        let arguments = Sha256::digest(arguments.encode_to_vec()).to_vec();
        Self { method, arguments }
    }
}

impl Tokens {
    pub fn new(sealer: Sealer) -> Self {
        Self(sealer)
    }

    /// The page asked for: 0 is 50, more than 1000 is 1000.
    pub fn read(
        &self,
        list: &List<'_>,
        page_size: i32,
        page_token: &str,
        now: Timestamp,
    ) -> Result<Page, Failure> {
        let size = match u32::try_from(page_size) {
            Err(_) => return Err(Failure::field("page_size", "must not be negative")),
            Ok(0) => DEFAULT_SIZE,
            Ok(size) => size.min(LARGEST_SIZE),
        };
        let after = match page_token {
            "" => None,
            token => Some(self.open(list, token, now).ok_or_else(token_invalid)?),
        };
        Ok(Page { size, after })
    }

    /// The token of the page after `after`, the position of the last row shown.
    pub fn next(&self, list: &List<'_>, after: &str, now: Timestamp) -> String {
        let position = Position {
            after: after.to_owned(),
            arguments: list.arguments.clone(),
            issued_at: now.as_second(),
        };
        URL_SAFE_NO_PAD.encode(
            self.0
                .seal(&purpose(list.method), &position.encode_to_vec()),
        )
    }

    fn open(&self, list: &List<'_>, token: &str, now: Timestamp) -> Option<String> {
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let plain = self.0.open(&purpose(list.method), &sealed).ok()?;
        let position = Position::decode(plain.as_slice()).ok()?;
        let age = now.as_second().saturating_sub(position.issued_at);
        (position.arguments == list.arguments && age <= LIFETIME.as_secs())
            .then_some(position.after)
    }
}

fn purpose(method: &str) -> String {
    format!("page of {method}")
}

fn token_invalid() -> Failure {
    Failure::new(
        Code::InvalidArgument,
        "PAGE_TOKEN_INVALID",
        "the page token does not belong to this list; start from the first page",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens::new(Sealer::from_key(&[1; 32]))
    }

    fn list(category: &str) -> List<'static> {
        List::new("a.B/List", &category.to_owned())
    }

    #[test]
    fn sizes_are_coerced_and_negative_ones_refused() {
        for (asked, size) in [(0, 50), (1, 1), (1000, 1000), (i32::MAX, 1000)] {
            let page = tokens()
                .read(&list("a"), asked, "", Timestamp::UNIX_EPOCH)
                .unwrap();
            assert_eq!(page, Page { size, after: None });
        }
        let failure = tokens()
            .read(&list("a"), -1, "", Timestamp::UNIX_EPOCH)
            .unwrap_err();
        assert_eq!(failure.reason(), "FIELD_INVALID");
    }

    #[test]
    fn a_token_fits_its_own_list_for_three_days() {
        let made = Timestamp::UNIX_EPOCH;
        let token = tokens().next(&list("a"), "P-101", made);
        let hours = |hours| made + SignedDuration::from_hours(hours);
        let read = |tokens: &Tokens, list: &List<'_>, token: &str, now| {
            tokens
                .read(list, 7, token, now)
                .map(|page| page.after)
                .map_err(|f| f.reason())
        };
        let invalid = Err("PAGE_TOKEN_INVALID");
        let after = Ok(Some("P-101".to_owned()));
        assert_eq!(read(&tokens(), &list("a"), &token, hours(72)), after);
        assert_eq!(read(&tokens(), &list("a"), &token, hours(73)), invalid);
        assert_eq!(read(&tokens(), &list("b"), &token, made), invalid);
        assert_eq!(
            read(&tokens(), &list("a"), &format!("{token}A"), made),
            invalid
        );
        assert_eq!(read(&tokens(), &list("a"), "P-101", made), invalid);
        let other = List::new("a.B/Other", &"a".to_owned());
        assert_eq!(read(&tokens(), &other, &token, made), invalid);
        let foreign = Tokens::new(Sealer::from_key(&[2; 32]));
        assert_eq!(read(&foreign, &list("a"), &token, made), invalid);
    }
}
