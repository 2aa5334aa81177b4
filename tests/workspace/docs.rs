//! The documents name what the code has: every reason of an error, every setting of a service.

use std::collections::BTreeSet;

use crate::source::sources;
use outrigger_tests::settings::root;

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// What is written in code quotes.
fn quoted(document: &str) -> BTreeSet<String> {
    let words = document.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// Sources below a folder without their tests, blanks between tokens made one.
fn code(folder: &str) -> Vec<String> {
    let is_test = |path: &std::path::Path| {
        path.iter()
            .any(|part| part == "tests" || part == "tests.rs")
    };
    sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with(folder) && !is_test(path))
        .map(|(_, text)| {
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// Literals behind this text, with nothing but the rest of a name and a comma between.
fn literals(code: &str, behind: &str) -> BTreeSet<String> {
    let between = |letter: char| letter.is_alphabetic() || letter == ',' || letter == ' ';
    let pieces = code.split(behind).skip(1);
    let literal = |piece: &str| {
        let piece = piece.trim_start_matches(between);
        let (text, _) = piece.strip_prefix('"')?.split_once('"')?;
        Some(text.to_owned())
    };
    pieces.filter_map(literal).collect()
}

fn is_word(text: &str, letters: fn(&char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter == '_' || letters(&letter))
}

fn assert_named(what: &str, names: &BTreeSet<String>, document: &str) {
    assert!(names.len() > 10, "{what}: only {names:?}");
    let named = quoted(document);
    let missing: Vec<_> = names.difference(&named).collect();
    assert!(
        missing.is_empty(),
        "{what} that no document names: {missing:?}"
    );
}

#[test]
fn every_reason_of_a_service_is_documented() {
    let mut reasons = BTreeSet::new();
    for code in code("services") {
        reasons.extend(literals(&code, "Code::"));
        reasons.extend(literals(&code, "Refusal::new("));
    }
    reasons.retain(|reason| is_word(reason, char::is_ascii_uppercase));
    // Names of gRPC codes are no reasons.
    reasons.retain(|reason| reason.contains('_') || reason == "OVERLOADED");
    let codes = [
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
        "DATA_LOSS",
    ];
    reasons.retain(|reason| !codes.contains(&reason.as_str()));
    assert_named("reasons", &reasons, &document("errors.md"));
}

#[test]
fn every_reason_of_the_mesh_is_documented() {
    let mut reasons = BTreeSet::new();
    for code in code("sidecar/src/error.rs") {
        reasons.extend(literals(&code, "Kind::"));
    }
    reasons.retain(|reason| is_word(reason, char::is_ascii_lowercase));
    assert_named("reasons", &reasons, &document("errors.md"));
}

#[test]
fn every_setting_of_a_service_is_documented_and_no_other() {
    let document = document("configuration.md");
    let code = code("services");
    let mut settings = BTreeSet::new();
    for code in &code {
        for piece in code.split('"').filter(|piece| piece.starts_with("SHOP_")) {
            settings.insert(piece.to_owned());
        }
    }
    settings.retain(|setting| is_word(setting, char::is_ascii_uppercase));
    assert_named("settings", &settings, &document);

    let known = |word: &&String| settings.contains(*word) || word.contains('<');
    let words = quoted(&document);
    let unknown: Vec<_> = words
        .iter()
        .filter(|word| word.starts_with("SHOP_") && !word.ends_with('*'))
        .filter(|word| !known(word))
        .collect();
    assert!(
        unknown.is_empty(),
        "settings that nothing reads: {unknown:?}"
    );
}
