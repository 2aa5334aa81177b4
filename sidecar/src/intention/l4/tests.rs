use std::path::PathBuf;

use serde_json::Value;

use super::*;

fn intention(source: &str, action: &str, precedence: i64) -> Intention {
    Intention {
        source_ns: "default".to_owned(),
        source_name: source.to_owned(),
        action: action.to_owned(),
        precedence,
        ..Intention::default()
    }
}

fn caller(service: &str) -> SpiffeId {
    SpiffeId::parse(&format!(
        "spiffe://test.consul/ns/default/dc/dc1/svc/{service}"
    ))
    .unwrap()
}

#[test]
fn the_strongest_intention_decides() {
    let intentions = [
        intention("*", "allow", 8),
        intention("web", "deny", 9),
        intention("web", "allow", 6),
    ];
    let intentions = Intentions::new(&intentions, false, "test.consul");
    assert_eq!(intentions.decide(&caller("web")), Decision::Deny);
    assert_eq!(intentions.decide(&caller("api")), Decision::Allow);
}

#[test]
fn without_a_match_the_default_decides() {
    for (allow, expected) in [(true, Decision::Allow), (false, Decision::Deny)] {
        let intentions = Intentions::new(&[intention("web", "deny", 9)], allow, "test.consul");
        assert_eq!(intentions.decide(&caller("api")), expected);
        assert_eq!(intentions.decide(&caller("web")), Decision::Deny);
    }
}

#[test]
fn what_needs_more_than_an_identity_is_denied() {
    let with_permissions = Intention {
        permissions: vec![outrigger_consul::config::intentions::Permission::default()],
        ..intention("web", "", 9)
    };
    let with_token = Intention {
        jwt: Some(outrigger_consul::config::intentions::IntentionJwt::default()),
        ..intention("api", "allow", 9)
    };
    let unknown_action = intention("odd", "perhaps", 9);
    let intentions = Intentions::new(
        &[with_permissions, with_token, unknown_action],
        true,
        "test.consul",
    );
    for service in ["web", "api", "odd"] {
        assert_eq!(
            intentions.decide(&caller(service)),
            Decision::Deny,
            "{service}"
        );
    }
}

#[test]
fn another_trust_domain_matches_no_source() {
    let intentions = Intentions::new(&[intention("*", "allow", 8)], false, "test.consul");
    let stranger = SpiffeId::parse("spiffe://evil.consul/ns/default/dc/dc1/svc/web").unwrap();
    assert_eq!(intentions.decide(&stranger), Decision::Deny);
}

fn vectors() -> Option<Value> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    #[expect(
        clippy::disallowed_methods,
        reason = "where the vectors are is the test run's setting"
    )]
    let folder = std::env::var_os("OUTRIGGER_VECTORS")
        .map_or_else(|| workspace.join("../shared/vectors"), PathBuf::from);
    let path = folder.join("consul/intentions_rbac.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        use std::io::Write;
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED verdicts of Consul's intentions: {} not found",
            path.display()
        );
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

/// Every tcp verdict must be ours; of the HTTP verdicts, which also look into requests, none that we allow may be a denial.
#[test]
fn consuls_verdicts_are_ours() {
    let Some(vectors) = vectors() else { return };
    let mut compared = 0;
    for scenario in vectors["cases"].as_array().unwrap() {
        let has_tag = |tag: &str| {
            scenario["tags"]
                .as_array()
                .is_some_and(|tags| tags.iter().any(|known| known == tag))
        };
        if has_tag("peer") {
            continue;
        }
        let name = scenario["name"].as_str().unwrap();
        let list: Vec<Intention> =
            serde_json::from_value(scenario["intentions"].clone()).unwrap_or_default();
        let intentions = Intentions::new(
            &list,
            scenario["default_allow"].as_bool().unwrap_or(false),
            scenario["trust_domain"].as_str().unwrap(),
        );
        let plain = list
            .iter()
            .all(|intention| intention.permissions.is_empty() && intention.jwt.is_none());
        for (kind, strict) in [("tcp", plain), ("http", plain)] {
            for verdict in scenario[kind].as_array().into_iter().flatten() {
                let text = verdict["spiffe"].as_str().unwrap();
                // An id of another shape never gets past the handshake.
                let Ok(id) = SpiffeId::parse(text) else {
                    continue;
                };
                let allow = verdict["allow"].as_bool().unwrap_or(false);
                let ours = intentions.decide(&id) == Decision::Allow;
                if strict {
                    assert_eq!(ours, allow, "{name} {kind} {text}");
                } else {
                    assert!(
                        !ours || allow || intentions.default_allow,
                        "{name} {kind} {text}: allowed against Consul"
                    );
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 500, "{compared} verdicts compared");
}
