//! What a method promises: whether it may be repeated, and how many messages travel each way.
//!
//! Read from a `FileDescriptorSet`. A method that no contract names promises nothing: class unknown, never repeated unless it is proved
//! that nobody acted on it. Only names, classes and kinds are kept; the descriptors are dropped.

use std::sync::Arc;

use hashbrown::HashMap;
use http::Method;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use prost_types::method_options::IdempotencyLevel;

/// What the contract says about repeating a method, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    #[default]
    Unknown,
    Idempotent,
    NoSideEffects,
}

/// How many messages travel each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    Unary,
    ClientStreaming,
    ServerStreaming,
    Bidirectional,
    #[default]
    Unknown,
}

/// One method of one contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// `pkg.Service/Method`.
    pub method: Arc<str>,
    pub class: Class,
    pub kind: Kind,
}

/// All methods of one service's contract; empty where there is none.
#[derive(Debug, Default)]
pub struct Contract {
    methods: HashMap<Arc<str>, Arc<Promise>>,
}

/// The bytes are no descriptor set.
#[derive(Debug, thiserror::Error)]
#[error("not a protobuf FileDescriptorSet: {0}")]
pub struct Error(#[from] prost_reflect::DescriptorError);

// === impl Class ===

impl Class {
    /// What HTTP itself promises for a method.
    pub fn of_http(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE => Self::NoSideEffects,
            Method::PUT | Method::DELETE => Self::Idempotent,
            _ => Self::Unknown,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Idempotent => "idempotent",
            Self::NoSideEffects => "no_side_effects",
        }
    }
}

// === impl Kind ===

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ClientStreaming => "client_streaming",
            Self::ServerStreaming => "server_streaming",
            Self::Bidirectional => "bidirectional",
            Self::Unknown => "unknown",
        }
    }
}

// === impl Contract ===

impl Contract {
    /// Reads a `FileDescriptorSet`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let pool = DescriptorPool::decode(bytes)?;
        let methods = pool.services().flat_map(|service| {
            service
                .methods()
                .map(|method| promise(&method))
                .collect::<Vec<_>>()
        });
        Ok(Self {
            methods: methods
                .map(|promise| (promise.method.clone(), Arc::new(promise)))
                .collect(),
        })
    }

    /// What the contract says of `pkg.Service/Method`.
    pub fn promise(&self, method: &str) -> Option<&Arc<Promise>> {
        self.methods.get(method)
    }

    pub fn len(&self) -> usize {
        self.methods.len()
    }

    pub fn is_empty(&self) -> bool {
        self.methods.is_empty()
    }
}

fn promise(method: &MethodDescriptor) -> Promise {
    let declared = method.method_descriptor_proto();
    let class = match declared
        .options
        .as_ref()
        .map(prost_types::MethodOptions::idempotency_level)
    {
        Some(IdempotencyLevel::NoSideEffects) => Class::NoSideEffects,
        Some(IdempotencyLevel::Idempotent) => Class::Idempotent,
        Some(IdempotencyLevel::IdempotencyUnknown) | None => Class::Unknown,
    };
    let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => Kind::Unary,
        (true, false) => Kind::ClientStreaming,
        (false, true) => Kind::ServerStreaming,
        (true, true) => Kind::Bidirectional,
    };
    Promise {
        method: format!("{}/{}", method.parent_service().full_name(), method.name()).into(),
        class,
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use prost_types::{
        DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
        MethodOptions, ServiceDescriptorProto,
    };

    fn method(
        name: &str,
        level: Option<IdempotencyLevel>,
        client: bool,
        server: bool,
    ) -> MethodDescriptorProto {
        MethodDescriptorProto {
            name: Some(name.to_owned()),
            input_type: Some(".t.M".to_owned()),
            output_type: Some(".t.M".to_owned()),
            options: level.map(|level| MethodOptions {
                idempotency_level: Some(level as i32),
                ..MethodOptions::default()
            }),
            client_streaming: Some(client),
            server_streaming: Some(server),
        }
    }

    fn set(methods: Vec<MethodDescriptorProto>) -> Vec<u8> {
        let file = FileDescriptorProto {
            name: Some("t.proto".to_owned()),
            package: Some("t".to_owned()),
            syntax: Some("proto3".to_owned()),
            message_type: vec![DescriptorProto {
                name: Some("M".to_owned()),
                ..DescriptorProto::default()
            }],
            service: vec![ServiceDescriptorProto {
                name: Some("S".to_owned()),
                method: methods,
                options: None,
            }],
            ..FileDescriptorProto::default()
        };
        FileDescriptorSet { file: vec![file] }.encode_to_vec()
    }

    #[test]
    fn class_and_kind_come_from_the_descriptors() {
        let contract = Contract::decode(&set(vec![
            method("Plain", None, false, false),
            method(
                "Stated",
                Some(IdempotencyLevel::IdempotencyUnknown),
                false,
                false,
            ),
            method("Read", Some(IdempotencyLevel::NoSideEffects), false, true),
            method("Put", Some(IdempotencyLevel::Idempotent), true, false),
            method("Talk", Some(IdempotencyLevel::NoSideEffects), true, true),
        ]))
        .unwrap();
        for (name, class, kind) in [
            ("Plain", Class::Unknown, Kind::Unary),
            ("Stated", Class::Unknown, Kind::Unary),
            ("Read", Class::NoSideEffects, Kind::ServerStreaming),
            ("Put", Class::Idempotent, Kind::ClientStreaming),
            ("Talk", Class::NoSideEffects, Kind::Bidirectional),
        ] {
            let promise = contract.promise(&format!("t.S/{name}")).unwrap();
            assert_eq!((promise.class, promise.kind), (class, kind), "{name}");
        }
        assert!(contract.promise("t.S/Missing").is_none());
    }

    #[test]
    fn garbage_is_refused() {
        assert!(Contract::decode(b"\xff\xff\xff").is_err());
    }

    #[test]
    fn classes_order_by_strength() {
        assert!(Class::Unknown < Class::Idempotent && Class::Idempotent < Class::NoSideEffects);
        for (method, class) in [
            (Method::GET, Class::NoSideEffects),
            (Method::PUT, Class::Idempotent),
            (Method::POST, Class::Unknown),
            (Method::PATCH, Class::Unknown),
        ] {
            assert_eq!(Class::of_http(&method), class);
        }
    }
}
