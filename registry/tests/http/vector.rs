//! Consul's own tables, over HTTP: chains, graph validation, and entries with their validation errors. The data is
//! read at `OUTRIGGER_VECTORS`; without it the test says so past libtest's capture.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use outrigger_registry::chain::{Entries, Request, compile};
use outrigger_registry::config_entry;
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::consul::variable;
use crate::embedded::Embedded;

fn vectors(test: &str, name: &str) -> Option<Value> {
    let folder = match variable("OUTRIGGER_VECTORS") {
        folder if folder.is_empty() => {
            PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors"))
        }
        folder => PathBuf::from(folder),
    };
    let path = folder.join("consul").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        let required = variable("OUTRIGGER_REQUIRE");
        let required = required.split(',').any(|name| name == "vectors");
        assert!(
            !required,
            "the vectors are required here, but {} is not there",
            path.display()
        );
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: no vectors at {}",
            path.display()
        );
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

async fn server() -> Embedded {
    Embedded::with(|config| config.trust_domain = Some("trustdomain.consul".to_owned())).await
}

fn tagged(case: &Value, tag: &str) -> bool {
    case["tags"]
        .as_array()
        .is_some_and(|tags| tags.iter().any(|found| found == tag))
}

/// Zero values dropped, recursively: documents are compared without them.
fn sparse(value: &Value) -> Option<Value> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) if text.is_empty() => None,
        Value::Number(number) if number.as_f64() == Some(0.0) => None,
        Value::Number(number) => Some(json!(number.as_f64())),
        Value::Array(items) => {
            let items = items.iter().map(|item| sparse(item).unwrap_or(Value::Null));
            let items = items.collect::<Vec<_>>();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        Value::Object(members) => {
            let members = members
                .iter()
                .filter_map(|(key, member)| Some((key.clone(), sparse(member)?)));
            let members = members.collect::<Map<_, _>>();
            (!members.is_empty()).then_some(Value::Object(members))
        }
        scalar => Some(scalar.clone()),
    }
}

/// Writes entries in the order their kinds build on each other, again and again while that helps; what was refused last.
async fn write_all(api: &Api, entries: &[Value]) -> Vec<String> {
    let rank = |entry: &Value| {
        let kinds = [
            "proxy-defaults",
            "service-defaults",
            "service-resolver",
            "service-splitter",
            "service-router",
        ];
        kinds.iter().position(|kind| entry["Kind"] == *kind)
    };
    let mut left = entries.to_vec();
    left.sort_by_key(rank);
    let mut refused = Vec::new();
    loop {
        let before = left.len();
        refused.clear();
        let mut rest = Vec::new();
        for entry in left {
            let answer = api.put("/v1/config", entry.clone()).await;
            if answer.status != 200 {
                refused.push(answer.body);
                rest.push(entry);
            }
        }
        left = rest;
        if left.is_empty() || left.len() == before {
            return refused;
        }
    }
}

/// Entries the tables put straight into the compiler; a write of them is refused, by Consul too.
const UNWRITABLE: [&str; 2] = ["route bypasses splitter", "extensions"];

/// Entries straight into the compiler.
fn compiled(case: &Value) -> Result<Value, String> {
    let mut entries = Entries::new();
    for body in case["entries"].as_array().into_iter().flatten() {
        let mut entry = config_entry::decode::config_entry(body)?;
        config_entry::normalize(&mut entry)?;
        entries.insert((entry.kind(), entry.name().to_owned()), Arc::new(entry));
    }
    let overrides = case.get("overrides").cloned().unwrap_or_else(|| json!({}));
    let overrides = config_entry::decode::lenient(&overrides)?;
    let request = Request {
        service: "main",
        datacenter: "dc1",
        trust_domain: "trustdomain.consul",
        overrides: &overrides,
    };
    let compiled = compile(&entries, request).map_err(|failed| failed.error.to_string())?;
    Ok(serde_json::to_value(compiled.chain).unwrap())
}

/// What is wrong with a chain, if anything.
fn differs(case: &Value, mut chain: Value) -> Option<String> {
    let hash = chain.as_object_mut().unwrap().remove("CustomizationHash");
    let customized = hash.is_some_and(|hash| hash != "");
    let same = sparse(&chain) == sparse(&case["expect"])
        && customized == case["expect_customized"].as_bool().unwrap_or(false);
    (!same).then(|| format!("{}: {chain:#}\nnot {:#}", case["name"], case["expect"]))
}

#[test]
fn the_compiler_does_as_consuls_tests_say() {
    let Some(file) = vectors(
        "the_compiler_does_as_consuls_tests_say",
        "discovery_chain.json",
    ) else {
        return;
    };
    let (mut done, mut wrong) = (0, Vec::new());
    for case in file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| !tagged(case, "peer"))
    {
        match (compiled(case), case["expect_error_contains"].as_str()) {
            (Err(message), Some(text)) if message.contains(text) => {}
            (Ok(chain), None) => wrong.extend(differs(case, chain)),
            (result, expected) => wrong.push(format!(
                "{}: {result:?}, expected {expected:?}",
                case["name"]
            )),
        }
        done += 1;
    }
    assert!(
        wrong.is_empty(),
        "{} of {done} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(done, 53);
}

#[tokio::test]
async fn chains_compile_as_consuls_tests_say() {
    let Some(file) = vectors(
        "chains_compile_as_consuls_tests_say",
        "discovery_chain.json",
    ) else {
        return;
    };
    let mut done = 0;
    let mut wrong = Vec::new();
    for case in file["cases"].as_array().unwrap() {
        if tagged(case, "peer") || UNWRITABLE.iter().any(|name| case["name"] == *name) {
            continue;
        }
        let server = server().await;
        let name = case["name"].as_str().unwrap();
        let refused = write_all(
            &server.api,
            case["entries"].as_array().map_or(&[], Vec::as_slice),
        )
        .await;
        let answer = match case.get("overrides") {
            Some(overrides) => {
                server
                    .api
                    .post("/v1/discovery-chain/main", overrides.clone())
                    .await
            }
            None => server.api.get("/v1/discovery-chain/main").await,
        };
        if let Some(text) = case["expect_error_contains"].as_str() {
            if !refused.iter().any(|message| message.contains(text)) && !answer.body.contains(text)
            {
                wrong.push(format!("{name}: {text:?} not in {refused:?}"));
            }
        } else if !refused.is_empty() {
            wrong.push(format!("{name}: refused {refused:?}"));
        } else {
            wrong.extend(differs(case, answer.json()["Chain"].clone()));
        }
        server.stop().await;
        done += 1;
    }
    assert!(
        wrong.is_empty(),
        "{} of {done} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(done, 51);
}

#[tokio::test]
async fn the_graph_is_validated_as_consuls_tests_say() {
    let Some(file) = vectors(
        "the_graph_is_validated_as_consuls_tests_say",
        "graph_validation.json",
    ) else {
        return;
    };
    let mut done = 0;
    let mut wrong = Vec::new();
    for case in file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| !tagged(case, "peer"))
    {
        let server = server().await;
        let name = case["name"].as_str().unwrap();
        for entry in case["setup"].as_array().into_iter().flatten() {
            server.api.write(entry.clone()).await;
        }
        let answer = match case.get("put") {
            Some(entry) => server.api.put("/v1/config", entry.clone()).await,
            None => {
                let (kind, name) = (
                    case["delete"]["Kind"].as_str().unwrap(),
                    case["delete"]["Name"].as_str().unwrap(),
                );
                server
                    .api
                    .delete(&format!("/v1/config/{kind}/{name}"))
                    .await
            }
        };
        let fits = match case["expect_error_contains"].as_str() {
            None => answer.status == 200,
            Some(text) => answer.status == 500 && answer.body.contains(text),
        };
        if !fits {
            wrong.push(format!(
                "{name}: {} {:?}, expected {}",
                answer.status, answer.body, case["expect_error_contains"]
            ));
        }
        server.stop().await;
        done += 1;
    }
    assert!(
        wrong.is_empty(),
        "{} of {done} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(done, 20);
}

/// The tables whose rows are whole entries with the error their write must give.
const ENTRIES: [&str; 8] = [
    "TestServiceConfigEntry",
    "TestProxyConfigEntry",
    "TestServiceResolverConfigEntry",
    "TestServiceResolverConfigEntry_LoadBalancer",
    "TestServiceRouterConfigEntry",
    "TestServiceSplitterConfigEntry",
    "TestServiceIntentionsConfigEntry",
    "TestJWTProviderConfigEntry_ValidateAndNormalize",
];

/// Rows whose point is a member that is there but empty, which the tables leave out. The first two are in
/// `config_entry` with that member.
const POINTLESS: [&str; 5] = [
    "empty redirect",
    "permission should not be empty (1)",
    "permission should not be empty (2)",
    "invalid jwt-provider - both jwks local and remote set",
    "invalid jwt-provider - Remote JWKS cluster with both trustedCa and provider instance",
];

#[tokio::test]
async fn entries_are_validated_as_consuls_tests_say() {
    let Some(file) = vectors(
        "entries_are_validated_as_consuls_tests_say",
        "config_entry_tables.json",
    ) else {
        return;
    };
    let (mut done, mut wrong) = (0, Vec::new());
    let server = server().await;
    for table in ENTRIES {
        for case in file[table]["cases"].as_array().unwrap() {
            let by_id = case["legacy"].as_bool().unwrap_or(false);
            let text = case["validateErr"]
                .as_str()
                .or(case["normalizeErr"].as_str());
            // Rows of other endpoints, and rows that only normalise, are none of a write's.
            let Some(text) = text.filter(|text| !text.is_empty() && !by_id) else {
                continue;
            };
            let name = case["name"].as_str().unwrap();
            if POINTLESS.contains(&name) {
                continue;
            }
            let text = if name.starts_with("permission header has too many parts") {
                text.replace("Suffix, or Regex", "Suffix, Contains, or Regex")
            } else {
                text.to_owned()
            };
            let answer = server.api.put("/v1/config", case["entry"].clone()).await;
            if answer.status == 200 || !answer.body.contains(&text) {
                wrong.push(format!(
                    "{table}/{name}: {} {:?}, expected {text:?}",
                    answer.status, answer.body
                ));
            }
            done += 1;
        }
    }
    server.stop().await;
    assert!(
        wrong.is_empty(),
        "{} of {done} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(done > 100, "{done}");
}
