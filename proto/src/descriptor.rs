//! The descriptor set of every contract, whole and service by service.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, ServiceDescriptor};

use crate::options;

/// The `FileDescriptorSet` of all contracts as the compiler wrote it: with options and, for ours, with
/// comments. Decode it with `prost_reflect`; `prost_types` would drop every option.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTOR_SET).expect("the build wrote a valid descriptor set")
});

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let set: RawSet = RawSet::decode(DESCRIPTOR_SET).expect("the build wrote a descriptor set");
    set.files
        .into_iter()
        .map(|bytes| {
            let head = FileHead::decode(bytes.as_slice()).expect("the build wrote valid files");
            File { head, bytes }
        })
        .collect()
});

/// All contracts, for dynamic messages.
#[must_use]
pub fn pool() -> &'static DescriptorPool {
    &POOL
}

/// The gRPC services of the package `shop.<service>.v1`; none if there is no such package.
pub fn services(service: &str) -> impl Iterator<Item = ServiceDescriptor> + use<> {
    let package = package(service);
    pool()
        .services()
        .filter(move |candidate| candidate.parent_file().package_name() == package)
}

/// The `FileDescriptorSet` of the package `shop.<service>.v1` with everything it imports, dependencies
/// first. This is what a sidecar reads as `contracts/<service>.binpb`.
#[must_use]
pub fn contract(service: &str) -> Option<Vec<u8>> {
    let package = package(service);
    let by_name: HashMap<&str, &File> = FILES
        .iter()
        .map(|file| (file.head.name.as_str(), file))
        .collect();
    let mut wanted: HashSet<&str> = HashSet::new();
    let mut open: Vec<&str> = FILES
        .iter()
        .filter(|file| file.head.package == package)
        .map(|file| file.head.name.as_str())
        .collect();
    if open.is_empty() {
        return None;
    }
    while let Some(name) = open.pop() {
        if wanted.insert(name) {
            let file = by_name.get(name)?;
            open.extend(file.head.dependencies.iter().map(String::as_str));
        }
    }
    // The compiler wrote dependencies first, and a part of its list keeps that order.
    let files = FILES
        .iter()
        .filter(|file| wanted.contains(file.head.name.as_str()))
        .map(|file| file.bytes.clone())
        .collect();
    Some(RawSet { files }.encode_to_vec())
}

/// The mesh identities that call the package `shop.<service>.v1`, from its methods' options.
#[must_use]
pub fn callers(service: &str) -> BTreeSet<String> {
    services(service)
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .flat_map(|method| options::Method::of(&method).callers)
        .collect()
}

fn package(service: &str) -> String {
    format!("shop.{service}.v1")
}

/// A file with its bytes untouched.
struct File {
    head: FileHead,
    bytes: Vec<u8>,
}

/// `FileDescriptorSet` with its files left as bytes.
#[derive(Clone, PartialEq, Message)]
struct RawSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

/// The first fields of a `FileDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
struct FileHead {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    package: String,
    #[prost(string, repeated, tag = "3")]
    dependencies: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contract_stands_alone_and_keeps_its_options() {
        for service in ["identity", "catalog", "inventory", "payments", "orders"] {
            let bytes = contract(service).unwrap();
            let pool = DescriptorPool::decode(bytes.as_slice()).unwrap();
            let with_rules = pool
                .services()
                .flat_map(|service| service.methods().collect::<Vec<_>>())
                .filter(|method| options::http(method).is_some())
                .count();
            assert!(with_rules > 0, "{service} has lost its HTTP rules");
        }
        assert!(contract("orders").unwrap().len() < DESCRIPTOR_SET.len());
        assert_eq!(contract("nobody"), None);
    }

    #[test]
    fn callers_follow_the_options() {
        let names = |service| callers(service).into_iter().collect::<Vec<_>>();
        assert_eq!(names("orders"), ["gateway"]);
        assert_eq!(names("payments"), ["gateway", "orders"]);
        assert_eq!(names("identity"), ["gateway", "orders"]);
        assert_eq!(names("inventory"), ["gateway", "orders"]);
        assert_eq!(names("catalog"), ["gateway", "orders"]);
        assert!(names("nobody").is_empty());
    }

    #[test]
    fn comments_of_ours_are_in_the_set() {
        let has_comments = |name| {
            let file = pool().get_file_by_name(name).unwrap();
            file.file_descriptor_proto().source_code_info.is_some()
        };
        assert!(has_comments("shop/orders/v1/order.proto"));
        assert!(!has_comments("buf/validate/validate.proto"));
    }
}
