//! The mesh file as it is written: every value the checks may have to point at keeps its line and column.
//!
//! Nothing is decided here. Unknown keys and wrong types are refused while reading; `check` turns the rest into the final types.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_saphyr::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) version: Spanned<u32>,
    #[serde(default)]
    pub(super) intentions: super::Policy,
    pub(super) registry: Option<Spanned<String>>,
    pub(super) services: Spanned<Entries<Service>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) command: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) dir: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) env: Entries<Scalar>,
    #[serde(default)]
    pub(super) listen: super::Listen,
    #[serde(default)]
    pub(super) protocol: super::Protocol,
    pub(super) check: Option<Spanned<Check>>,
    #[serde(default)]
    pub(super) upstreams: Vec<Spanned<Upstream>>,
    pub(super) contract: Option<Spanned<String>>,
    pub(super) versions: Option<Spanned<Entries<Option<Version>>>>,
    pub(super) edge: Option<Spanned<Edge>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Version {
    pub(super) replicas: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) env: Entries<Scalar>,
    pub(super) command: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    pub(super) grpc: Option<String>,
    pub(super) http: Option<String>,
    pub(super) tcp: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edge {
    pub(super) plain: Spanned<u16>,
}

/// `inventory`, or `{name: payments, bind: 15201, protocol: tcp}`.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) bind: Option<u16>,
    pub(super) protocol: Option<super::Protocol>,
}

impl<'de> Deserialize<'de> for Upstream {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            name: String,
            bind: Option<u16>,
            protocol: Option<super::Protocol>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Upstream;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .write_str("the name of a service, or {name: …, bind: <port>, protocol: …}")
            }

            fn visit_str<E>(self, name: &str) -> Result<Upstream, E> {
                Ok(Upstream {
                    name: name.to_owned(),
                    bind: None,
                    protocol: None,
                })
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Upstream, M::Error> {
                let long = Long::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Upstream {
                    name: long.name,
                    bind: long.bind,
                    protocol: long.protocol,
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A value of `env`: text, a number or a boolean, all of which the application reads as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scalar(pub(super) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asking for a string keeps the spelling: `1.10` stays `1.10`, and null is refused.
        String::deserialize(deserializer).map(Self)
    }
}

/// A mapping in the order of the file, its keys with their places.
#[derive(Debug)]
pub(super) struct Entries<V>(pub(super) Vec<(Spanned<String>, V)>);

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl Entries<Scalar> {
    pub(super) fn to_map(&self) -> BTreeMap<String, String> {
        self.0
            .iter()
            .map(|(key, value)| (key.value.clone(), value.0.clone()))
            .collect()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for InOrder<V> {
            type Value = Entries<V>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a mapping")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries<V>, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}
