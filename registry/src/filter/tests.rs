use outrigger_consul::health::ServiceEntry;
use serde_json::json;

use super::*;

fn entry() -> Value {
    let entry = json!({
        "Node": {"Node": "n1", "Meta": {"zone": "a"}},
        "Service": {"ID": "web-1", "Service": "web", "Tags": ["v1", "blue"], "Meta": {"version": "v1", "empty": ""},
                    "Port": 8080, "Weights": {"Passing": 1, "Warning": 1}},
        "Checks": [{"CheckID": "a", "Status": "passing"}, {"CheckID": "b", "Status": "critical"}],
    });
    let entry: ServiceEntry = serde_json::from_value(entry).unwrap();
    serde_json::to_value(entry).unwrap()
}

#[test]
fn expressions_hold_as_consul_evaluates_them() {
    for (text, expected) in [
        ("Service.Meta.version == v1", true),
        ("Service.Meta.version == \"v2\"", false),
        ("Service.Meta[\"version\"] == `v1`", true),
        ("Service.Meta.gone == v1", false),
        ("Service.Meta.gone != v1", true),
        ("Service.Meta.gone is empty", true),
        ("Service.Meta.gone is not empty", false),
        ("Service.Meta.gone matches `x`", true),
        ("Service.Meta.gone not matches `x`", true),
        ("v1 in Service.Tags", true),
        ("Service.Tags contains green", false),
        ("green not in Service.Tags", true),
        ("version in Service.Meta", true),
        ("Service.ID contains eb", true),
        ("Service.Port == 8080", true),
        ("Service.EnableTagOverride == false", true),
        ("Service.Connect.Native != true", true),
        ("Checks.Status == critical", true),
        ("Checks.Status == warning", false),
        (
            "Service.Meta.version == v1 and Node.Meta.zone == b or Node.Node == n1",
            true,
        ),
        ("not (Service.Meta.version == v1 or Node.Node == n1)", false),
        ("not Service.Meta.version == v2 and Node.Node == n1", true),
        ("Service.Service matches `^w.b$`", true),
        ("Service.Meta.empty is empty", true),
    ] {
        let filter = Filter::over::<ServiceEntry>(text, &Limits::default())
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.matches(&entry()), expected, "{text}");
    }
}

#[test]
fn nonsense_is_refused() {
    for text in [
        "",
        "random string",
        "Service.Meta.version == v1-canary",
        "Service.Meta.version == 1.2.x",
        "Service.Gone == v1",
        "Service.Port == x",
        "Service == x",
        "(Service.ID == x",
        "Service.ID == x)",
        "Service.ID",
        "Service.ID = x",
        "Service.ID is empty",
        "Service.Tags == x",
        "Service.Port contains 1",
        "Service.ID matches `(`",
        "Service.ID == \"x",
    ] {
        assert!(
            Filter::over::<ServiceEntry>(text, &Limits::default()).is_err(),
            "{text}"
        );
    }
}

#[test]
fn length_depth_and_regex_are_bounded() {
    let limits = Limits::default();
    let long = format!("Service.ID == `{}`", "x".repeat(limits.filter_bytes));
    assert_eq!(
        Filter::parse(&long).err(),
        Some(Error::TooLong(limits.filter_bytes))
    );
    let deep = format!("{}Service.ID == x{}", "(".repeat(100), ")".repeat(100));
    assert_eq!(
        Filter::parse(&deep).err(),
        Some(Error::TooDeep(limits.filter_depth))
    );
    let nots = format!("{}Service.ID == x", "not ".repeat(100));
    assert_eq!(
        Filter::parse(&nots).err(),
        Some(Error::TooDeep(limits.filter_depth))
    );
    let regex = format!(
        "Service.ID matches `{}`",
        "x".repeat(limits.regex_bytes + 1)
    );
    assert!(matches!(Filter::parse(&regex), Err(Error::RegexTooLong(_))));
}
