//! What a route or a leg changes on the way: header additions and removals, and the prefix of the path.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use outrigger_consul::config::router::HeaderModifiers;

use crate::stack::{Call, Reply};

/// All changes of one leaf, in the order of the chain.
#[derive(Clone, Debug, Default)]
pub struct Modify {
    request: Vec<Changes>,
    response: Vec<Changes>,
    /// Replaces the first by the second at the start of the path.
    rewrite: Option<(String, String)>,
}

#[derive(Clone, Debug, Default)]
struct Changes {
    add: Vec<(HeaderName, HeaderValue)>,
    set: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

/// A header name or value that HTTP does not allow.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a valid header")]
pub struct Error(String);

// === impl Modify ===

impl Modify {
    /// This, and then what a further node asks for.
    pub fn and(
        &self,
        request: Option<&HeaderModifiers>,
        response: Option<&HeaderModifiers>,
    ) -> Result<Self, Error> {
        let mut more = self.clone();
        more.request.extend(request.map(Changes::new).transpose()?);
        more.response
            .extend(response.map(Changes::new).transpose()?);
        Ok(more)
    }

    #[must_use]
    pub fn rewriting(mut self, prefix: &str, replacement: &str) -> Self {
        self.rewrite = Some((prefix.to_owned(), replacement.to_owned()));
        self
    }

    pub fn request(&self, call: &mut Call) {
        for changes in &self.request {
            changes.apply(call.headers.edit());
        }
        if let Some((prefix, replacement)) = &self.rewrite
            && let Some(uri) = rewritten(&call.uri, prefix, replacement)
        {
            call.uri = uri;
        }
    }

    pub fn response(&self, reply: &mut Reply) {
        for changes in &self.response {
            changes.apply(&mut reply.headers);
        }
    }
}

fn rewritten(uri: &Uri, prefix: &str, replacement: &str) -> Option<Uri> {
    let target = uri.path_and_query()?.as_str();
    // The match may have ignored case, so the length counts, not the bytes.
    let (_, rest) = target.split_at_checked(prefix.len())?;
    Uri::try_from(format!("{replacement}{rest}")).ok()
}

// === impl Changes ===

impl Changes {
    fn new(modifiers: &HeaderModifiers) -> Result<Self, Error> {
        let pairs = |map: &BTreeMap<String, String>| {
            map.iter()
                .map(|(name, value)| {
                    Ok((
                        parse(name)?,
                        HeaderValue::from_str(value).map_err(|_| Error(value.clone()))?,
                    ))
                })
                .collect::<Result<_, Error>>()
        };
        Ok(Self {
            add: pairs(&modifiers.add)?,
            set: pairs(&modifiers.set)?,
            remove: modifiers
                .remove
                .iter()
                .map(|name| parse(name))
                .collect::<Result<_, _>>()?,
        })
    }

    fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}

fn parse(name: &str) -> Result<HeaderName, Error> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| Error(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_removed_set_then_added() {
        let modifiers = HeaderModifiers {
            add: [("x-a".to_owned(), "2".to_owned())].into(),
            set: [("x-a".to_owned(), "1".to_owned())].into(),
            remove: vec!["X-B".to_owned()],
        };
        let mut headers = HeaderMap::from_iter([
            (
                HeaderName::from_static("x-a"),
                HeaderValue::from_static("0"),
            ),
            (
                HeaderName::from_static("x-b"),
                HeaderValue::from_static("0"),
            ),
        ]);
        Changes::new(&modifiers).unwrap().apply(&mut headers);
        assert_eq!(
            headers.get_all("x-a").iter().collect::<Vec<_>>(),
            ["1", "2"]
        );
        assert!(!headers.contains_key("x-b"));
    }

    #[test]
    fn a_prefix_is_rewritten_with_its_query_kept() {
        for (uri, prefix, replacement, expected) in [
            ("/old/x?y=1", "/old", "/new", "/new/x?y=1"),
            ("/a", "/a", "/b", "/b"),
            ("/svc.V1/Get", "/svc.V1/", "/svc.V2/", "/svc.V2/Get"),
        ] {
            assert_eq!(
                rewritten(&uri.parse().unwrap(), prefix, replacement)
                    .unwrap()
                    .to_string(),
                expected
            );
        }
    }
}
