//! What the house style says about files, where it can be read off them.

use std::path::{Path, PathBuf};

use outrigger_tests::settings::root;

/// Files that may hold `unsafe`, each with its reason beside the exception.
const UNSAFE: [&str; 2] = [
    "sidecar/src/memory/allocator.rs",
    "tests/harness/external.rs",
];

/// Rust sources of the workspace, relative to its root.
pub(crate) fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in [
        "proto", "registry", "sidecar", "services", "cli", "tests", "bench", "fuzz",
    ] {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 100, "{} sources", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
        }
    }
}

fn assert_none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

#[test]
fn files_are_named_for_what_they_hold() {
    let empty_words = [
        "mod", "utils", "util", "common", "helpers", "helper", "manager", "misc", "core",
    ];
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| {
            path.iter().any(|part| {
                let part = part.to_str().unwrap();
                empty_words.contains(&part.strip_suffix(".rs").unwrap_or(part))
            })
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert_none("names that say nothing", &wrong);
}

#[test]
fn every_file_opens_with_its_purpose() {
    let wrong: Vec<_> = sources()
        .into_iter()
        // Tests beside the code are introduced by the file they belong to.
        .filter(|(path, text)| !path.ends_with("tests.rs") && !text.starts_with("//!"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert_none("no //! on top", &wrong);
}

#[test]
fn nothing_outside_http2_names_an_h2_type() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("sidecar/src"))
        .filter(|(path, _)| {
            !path.starts_with("sidecar/src/http2") && !path.ends_with("src/http2.rs")
        })
        .flat_map(|(path, text)| {
            text.lines()
                .enumerate()
                .filter(|(_, line)| {
                    let code = line.trim_start();
                    !code.starts_with("//")
                        && (code.starts_with("use h2::")
                            || code.contains(" h2::")
                            || code.contains("(h2::")
                            || code.contains("<h2::"))
                })
                .map(|(number, line)| format!("{}:{}: {}", path.display(), number + 1, line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_none("h2 outside its module", &wrong);
}

#[test]
fn unsafe_code_is_where_the_list_says() {
    let attribute = ["unsafe", "_code"].concat();
    let exceptions = [format!("allow({attribute}"), format!("expect({attribute}")];
    let found: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| {
            let dense: String = text.split_whitespace().collect();
            exceptions.iter().any(|exception| dense.contains(exception))
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert_eq!(found, UNSAFE);
}

#[test]
fn unwrap_is_allowed_in_tests_only() {
    let lint = ["clippy::", "unwrap_used"].concat();
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|(path, text)| {
            !path.starts_with("tests")
                && !path.iter().any(|part| part == "tests")
                && text.contains(&lint)
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert_none("unwrap is allowed in", &wrong);
}

#[test]
fn the_chassis_knows_no_business() {
    let nouns = [
        "payment",
        "inventory",
        "product",
        "shipment",
        "basket",
        "checkout",
        "reservation",
    ];
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("services/chassis/src"))
        .flat_map(|(path, text)| {
            let code = text
                .split("#[cfg(test)]")
                .next()
                .unwrap_or_default()
                .to_owned();
            code.lines()
                .enumerate()
                .filter(|(_, line)| !line.trim_start().starts_with("//"))
                .filter(|(_, line)| nouns.iter().any(|noun| line.to_lowercase().contains(noun)))
                .map(|(number, line)| format!("{}:{}: {}", path.display(), number + 1, line.trim()))
                .collect::<Vec<_>>()
        })
        .filter(|line| !line.contains("/tests"))
        .collect();
    assert_none("business words in the chassis", &wrong);
}
