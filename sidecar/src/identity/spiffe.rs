//! A SPIFFE id as Consul writes it for a service: `spiffe://<trust domain>/ns/<namespace>/dc/<datacenter>/svc/<service>`.
//!
//! Ids are compared byte by byte, so only the one canonical spelling parses: lower case, no percent escapes, no other path shape. What
//! cannot be read is refused, never repaired.

use std::fmt;

/// A parsed id. Equality is byte equality of the whole id.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    uri: Box<str>,
    trust_domain: Span,
    namespace: Span,
    datacenter: Span,
    service: Span,
}

/// A piece of the id, as byte positions in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Span {
    start: u16,
    end: u16,
}

/// Why a text is not a service's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a SPIFFE id begins with spiffe://")]
    Scheme,
    #[error("a SPIFFE id has at most 2048 bytes")]
    Length,
    #[error("a SPIFFE id holds only a-z 0-9 - _ . and slashes")]
    Character,
    #[error("a service's id has the path /ns/<namespace>/dc/<datacenter>/svc/<service>")]
    Shape,
}

const SCHEME: &str = "spiffe://";
const LONGEST: usize = 2048;

// === impl SpiffeId ===

impl SpiffeId {
    /// The id of a service, as the issuing authority writes it.
    pub fn service(trust_domain: &str, datacenter: &str, service: &str) -> Result<Self, Error> {
        Self::parse(&format!(
            "{SCHEME}{trust_domain}/ns/default/dc/{datacenter}/svc/{service}"
        ))
    }

    /// Parses the canonical spelling of a service's id; anything else is an error.
    pub fn parse(uri: &str) -> Result<Self, Error> {
        if uri.len() > LONGEST {
            return Err(Error::Length);
        }
        let rest = uri.strip_prefix(SCHEME).ok_or(Error::Scheme)?;
        if !rest
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/'))
        {
            return Err(Error::Character);
        }
        let mut pieces = Pieces {
            rest,
            at: SCHEME.len(),
        };
        let trust_domain = pieces.value()?;
        pieces.word("ns")?;
        let namespace = pieces.value()?;
        pieces.word("dc")?;
        let datacenter = pieces.value()?;
        pieces.word("svc")?;
        let service = pieces.value()?;
        if !pieces.rest.is_empty() || uri.ends_with('/') {
            return Err(Error::Shape);
        }
        Ok(Self {
            uri: uri.into(),
            trust_domain,
            namespace,
            datacenter,
            service,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.uri
    }

    pub fn trust_domain(&self) -> &str {
        self.piece(self.trust_domain)
    }

    pub fn namespace(&self) -> &str {
        self.piece(self.namespace)
    }

    pub fn datacenter(&self) -> &str {
        self.piece(self.datacenter)
    }

    /// The registry's name of the service.
    pub fn service_name(&self) -> &str {
        self.piece(self.service)
    }

    fn piece(&self, span: Span) -> &str {
        self.uri
            .get(usize::from(span.start)..usize::from(span.end))
            .expect("spans were cut from this text")
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

/// Takes path segments off the front and remembers where they stood.
struct Pieces<'a> {
    rest: &'a str,
    at: usize,
}

// === impl Pieces ===

impl Pieces<'_> {
    fn value(&mut self) -> Result<Span, Error> {
        let (segment, rest) = self.rest.split_once('/').unwrap_or((self.rest, ""));
        if segment.is_empty() || segment.bytes().all(|byte| byte == b'.') {
            return Err(Error::Shape);
        }
        let position = |at: usize| u16::try_from(at).map_err(|_| Error::Length);
        let span = Span {
            start: position(self.at)?,
            end: position(self.at + segment.len())?,
        };
        self.at += segment.len() + 1;
        self.rest = rest;
        Ok(span)
    }

    fn word(&mut self, expected: &str) -> Result<(), Error> {
        let (segment, rest) = self.rest.split_once('/').ok_or(Error::Shape)?;
        if segment != expected {
            return Err(Error::Shape);
        }
        self.at += segment.len() + 1;
        self.rest = rest;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: &str = "spiffe://11111111-2222.consul/ns/default/dc/dc1/svc/orders";

    #[test]
    fn a_service_id_gives_its_pieces() {
        let id = SpiffeId::parse(ORDERS).unwrap();
        assert_eq!(id.trust_domain(), "11111111-2222.consul");
        assert_eq!(id.namespace(), "default");
        assert_eq!(id.datacenter(), "dc1");
        assert_eq!(id.service_name(), "orders");
        assert_eq!(id.to_string(), ORDERS);
        assert_eq!(
            SpiffeId::service("11111111-2222.consul", "dc1", "orders").unwrap(),
            id
        );
    }

    #[test]
    fn any_other_spelling_is_refused() {
        let cases = [
            ("", Error::Scheme),
            ("https://td/ns/default/dc/dc1/svc/orders", Error::Scheme),
            ("SPIFFE://td/ns/default/dc/dc1/svc/orders", Error::Scheme),
            ("spiffe://TD/ns/default/dc/dc1/svc/orders", Error::Character),
            ("spiffe://td/ns/default/dc/dc1/svc/Orders", Error::Character),
            (
                "spiffe://td/ns/default/dc/dc1/svc/orders\0",
                Error::Character,
            ),
            ("spiffe://td/ns/default/dc/dc1/svc/*", Error::Character),
            (
                "spiffe://td/ns/default/dc/dc1/svc/ord%65rs",
                Error::Character,
            ),
            (
                "spiffe://td/ns/default/dc/dc1/svc/orders?x",
                Error::Character,
            ),
            (
                "spiffe://td:1/ns/default/dc/dc1/svc/orders",
                Error::Character,
            ),
            (
                "spiffe://user@td/ns/default/dc/dc1/svc/orders",
                Error::Character,
            ),
            ("spiffe:///ns/default/dc/dc1/svc/orders", Error::Shape),
            ("spiffe://td/ns/default/dc/dc1/svc/", Error::Shape),
            ("spiffe://td/ns/default/dc/dc1/svc", Error::Shape),
            ("spiffe://td/ns/default/dc/dc1/svc/orders/", Error::Shape),
            ("spiffe://td/ns/default/dc/dc1/svc/orders/x", Error::Shape),
            ("spiffe://td/ns/default/dc/dc1/svc/..", Error::Shape),
            ("spiffe://td//ns/default/dc/dc1/svc/orders", Error::Shape),
            (
                "spiffe://td/ap/one/ns/default/dc/dc1/svc/orders",
                Error::Shape,
            ),
            ("spiffe://td/agent/client/dc/dc1/id/node", Error::Shape),
            ("spiffe://td", Error::Shape),
        ];
        for (text, expected) in cases {
            assert_eq!(SpiffeId::parse(text), Err(expected), "{text:?}");
        }
        assert_eq!(
            SpiffeId::parse(&format!("{ORDERS}{}", "a".repeat(3000))),
            Err(Error::Length)
        );
    }
}
