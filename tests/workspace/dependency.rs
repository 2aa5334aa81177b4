//! Dependencies point one way.

use std::collections::BTreeSet;

use cargo_metadata::{Metadata, MetadataCommand, Package};

/// Business belongs above; how a call is secured, repeated or found belongs to the sidecar.
const NOT_IN_A_SERVICE: [&str; 9] = [
    "rustls",
    "tokio-rustls",
    "native-tls",
    "openssl",
    "rcgen",
    "x509-parser",
    "h2",
    "outrigger-consul",
    "outrigger-sidecar",
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(outrigger_tests::settings::root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap()
}

fn ours(metadata: &Metadata) -> Vec<&Package> {
    metadata.workspace_packages()
}

/// The workspace's own crates that a package depends on, for tests and building too.
fn internal(package: &Package, all: &BTreeSet<&str>) -> BTreeSet<String> {
    package
        .dependencies
        .iter()
        .map(|dependency| dependency.name.clone())
        .filter(|name| all.contains(name.as_str()))
        .collect()
}

/// What a crate may depend on; `None` is anything.
fn allowed(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "outrigger-proto" | "outrigger-consul" => Some(&[]),
        "shop-chassis" => Some(&["outrigger-proto"]),
        "outrigger-sidecar" | "outrigger-registry" | "outrigger-canary" | "outrigger-injector" => {
            Some(&["outrigger-proto", "outrigger-consul"])
        }
        "outrigger" | "outrigger-tests" | "outrigger-bench" | "outrigger-fuzz" => None,
        _ if name.starts_with("shop-") => Some(&["outrigger-proto", "shop-chassis"]),
        _ => panic!("{name} has no line in the table of dependencies"),
    }
}

#[test]
fn crates_depend_only_on_what_the_table_allows() {
    let metadata = metadata();
    let packages = ours(&metadata);
    let names: BTreeSet<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut wrong = Vec::new();
    for package in packages {
        let Some(allowed) = allowed(&package.name) else {
            continue;
        };
        for dependency in internal(package, &names) {
            if !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{} depends on {dependency}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nobody_depends_on_the_command_line_the_tests_or_the_bench() {
    let metadata = metadata();
    let ends = BTreeSet::from([
        "outrigger",
        "outrigger-tests",
        "outrigger-bench",
        "outrigger-fuzz",
    ]);
    for package in ours(&metadata) {
        let found = internal(package, &ends);
        assert!(found.is_empty(), "{} depends on {found:?}", package.name);
    }
}

#[test]
fn services_have_no_code_of_the_mesh_among_their_dependencies() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in ours(&metadata) {
        if !package.name.starts_with("shop-") {
            continue;
        }
        for dependency in &package.dependencies {
            if NOT_IN_A_SERVICE.contains(&dependency.name.as_str()) {
                wrong.push(format!("{} depends on {}", package.name, dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_crate_takes_its_lints_and_versions_from_the_workspace() {
    let mut wrong = Vec::new();
    for package in ours(&metadata()) {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let inherits = |value: Option<&toml::Value>| {
            value
                .and_then(|value| value.get("workspace"))
                .and_then(toml::Value::as_bool)
                == Some(true)
        };
        if !inherits(manifest.get("lints")) {
            wrong.push(format!("{}: lints", package.name));
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            for (name, value) in table {
                if !inherits(Some(value)) {
                    wrong.push(format!("{}: {name}", package.name));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "not from the workspace:\n{}",
        wrong.join("\n")
    );
}
