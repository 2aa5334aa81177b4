use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::*;

fn compile(chain: Value) -> Result<Chain, Error> {
    let chain: CompiledChain = serde_json::from_value(chain).unwrap();
    let targets = chain
        .targets
        .iter()
        .map(|(id, target)| (id.clone(), Target::new(id, &target.service)))
        .collect();
    Chain::new(&chain, &targets)
}

fn resolver(target: &str) -> Value {
    json!({"Type": "resolver", "Name": target, "Resolver": {"ConnectTimeout": "5s", "Target": target}})
}

fn targets(ids: &[&str]) -> Value {
    ids.iter()
        .map(|id| ((*id).to_owned(), json!({"ID": id, "Service": "web"})))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn walk(
    chain: &Chain,
    path: &str,
    u: f64,
    ready: &dyn Fn(&Leaf) -> bool,
) -> Option<(String, Option<How>)> {
    let request = Request {
        path,
        query: "",
        method: &Method::POST,
        headers: &HeaderMap::new(),
    };
    let walked = chain.walk(&request, &mut || u, ready)?;
    Some((
        chain.leaves[walked.leaf].targets[0].id.to_string(),
        walked.how,
    ))
}

fn split() -> Value {
    json!({
        "StartNode": "splitter:web",
        "Nodes": {
            "splitter:web": {"Type": "splitter", "Name": "web", "Splits": [
                {"Definition": {"Weight": 90, "ServiceSubset": "v1"}, "Weight": 90, "NextNode": "resolver:v1.web"},
                {"Definition": {"Weight": 10, "ServiceSubset": "v2", "RequestHeaders": {"Set": {"x-leg": "v2"}}}, "Weight": 10, "NextNode": "resolver:v2.web"}]},
            "resolver:v1.web": resolver("v1.web"),
            "resolver:v2.web": resolver("v2.web"),
        },
        "Targets": targets(&["v1.web", "v2.web"]),
    })
}

#[test]
fn a_default_chain_has_one_leaf() {
    let chain = compile(json!({"StartNode": "resolver:web", "Nodes": {"resolver:web": resolver("web")}, "Targets": targets(&["web"])})).unwrap();
    assert_eq!(
        walk(&chain, "/x", 0.5, &|_| true),
        Some(("web".to_owned(), None))
    );
    assert_eq!(
        (chain.leaves.len(), chain.leaves[0].limit),
        (1, Limit::Default)
    );
}

#[test]
fn a_chain_is_opaque_unless_somebody_says_what_is_spoken() {
    for (protocol, expected) in [("", true), ("tcp", true), ("http", false), ("grpc", false)] {
        let chain = compile(json!({"Protocol": protocol, "StartNode": "resolver:web", "Nodes": {"resolver:web": resolver("web")}, "Targets": targets(&["web"])})).unwrap();
        assert_eq!(chain.is_opaque(), expected, "{protocol}");
        assert_eq!(
            chain.walk_connection(&mut || 0.5, &|_| true).unwrap().leaf,
            0
        );
    }
}

#[test]
fn a_splitter_draws_and_gives_an_empty_legs_calls_away() {
    let chain = compile(split()).unwrap();
    assert_eq!(
        walk(&chain, "/x", 0.05, &|_| true),
        Some(("v2.web".to_owned(), Some(How::Random)))
    );
    assert_eq!(
        walk(&chain, "/x", 0.5, &|_| true),
        Some(("v1.web".to_owned(), Some(How::Random)))
    );
    assert_eq!(
        walk(&chain, "/x", 0.05, &|leaf| &*leaf.name == "v1"),
        Some(("v1.web".to_owned(), Some(How::EmptyLeg)))
    );
    assert_eq!(
        walk(&chain, "/x", 0.05, &|_| false),
        Some(("v2.web".to_owned(), Some(How::Random)))
    );
}

#[test]
fn the_largest_leg_is_everybody_elses_escape() {
    let chain = compile(split()).unwrap();
    assert!(chain.leaves[0].escape.is_empty());
    assert_eq!(&*chain.leaves[1].escape[0].id, "v1.web");
}

#[test]
fn a_router_takes_the_first_route_that_matches() {
    let chain = compile(json!({
        "StartNode": "router:web",
        "Nodes": {
            "router:web": {"Type": "router", "Name": "web", "Routes": [
                {"Definition": {"Match": {"HTTP": {"PathPrefix": "/admin."}}, "Destination": {"Service": "admin", "RequestTimeout": "3s", "NumRetries": 3, "RetryOn": ["unavailable"]}}, "NextNode": "resolver:admin"},
                {"Definition": {"Match": {"HTTP": {"PathExact": "/s.S/Long"}}, "Destination": {"RequestTimeout": "-1s"}}, "NextNode": "resolver:web"},
                {"Definition": {"Match": {"HTTP": {"PathPrefix": "/"}}}, "NextNode": "resolver:web"}]},
            "resolver:admin": resolver("admin"),
            "resolver:web": resolver("web"),
        },
        "Targets": targets(&["admin", "web"]),
    }))
    .unwrap();
    assert_eq!(
        walk(&chain, "/admin.S/M", 0.0, &|_| true).unwrap().0,
        "admin"
    );
    assert_eq!(walk(&chain, "/s.S/M", 0.0, &|_| true).unwrap().0, "web");
    let bytes = chain.walk_connection(&mut || 0.0, &|_| true).unwrap();
    assert_eq!(
        &*chain.leaves[bytes.leaf].targets[0].id, "web",
        "the last route"
    );
    let limits: Vec<_> = chain.leaves.iter().map(|leaf| leaf.limit).collect();
    assert_eq!(
        limits,
        [
            Limit::At(Duration::from_secs(3)),
            Limit::Off,
            Limit::Default
        ]
    );
    let policies: Vec<_> = chain
        .leaves
        .iter()
        .map(|leaf| (leaf.policy.max, leaf.policy.on.len()))
        .collect();
    assert_eq!(policies, [(3, 1), (1, 4), (1, 4)]);
}

#[test]
fn failover_targets_follow_in_order() {
    let chain = compile(json!({
        "StartNode": "resolver:web",
        "Nodes": {"resolver:web": {"Type": "resolver", "Name": "web", "Resolver": {"RequestTimeout": 5_000_000_000_i64, "Target": "web", "Failover": {"Targets": ["b", "a"]}}}},
        "Targets": targets(&["web", "a", "b"]),
    }))
    .unwrap();
    let ids: Vec<_> = chain.leaves[0]
        .targets
        .iter()
        .map(|target| &*target.id)
        .collect();
    assert_eq!(ids, ["web", "b", "a"]);
    assert_eq!(chain.leaves[0].limit, Limit::At(Duration::from_secs(5)));
    assert_eq!(chain.targets.len(), 3);
}

#[test]
fn what_cannot_be_walked_is_an_error() {
    let circle = json!({"Type": "splitter", "Name": "web", "Splits": [{"Weight": 100, "NextNode": "splitter:web"}]});
    for (chain, expected) in [
        (
            json!({"StartNode": "resolver:web", "Nodes": {}}),
            "does not have",
        ),
        (
            json!({"StartNode": "resolver:web", "Nodes": {"resolver:web": resolver("web")}}),
            "does not have",
        ),
        (
            json!({"StartNode": "gateway:web", "Nodes": {"gateway:web": {"Type": "gateway", "Name": "web"}}}),
            "not known",
        ),
        (
            json!({"StartNode": "splitter:web", "Nodes": {"splitter:web": circle}}),
            "deeper",
        ),
        (
            json!({"StartNode": "router:web", "Nodes": {"router:web": {"Type": "router", "Routes": [{"Definition": {"Match": {"HTTP": {"PathRegex": "("}}}, "NextNode": "resolver:web"}]}, "resolver:web": resolver("web")}, "Targets": targets(&["web"])}),
            "invalid pattern",
        ),
    ] {
        let error = compile(chain).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Every chain Consul compiles can be walked from its start to a target.
#[test]
fn consuls_chains_can_be_walked() {
    let workspace = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    #[expect(
        clippy::disallowed_methods,
        reason = "where the vectors are is the test run's setting"
    )]
    let folder = std::env::var_os("OUTRIGGER_VECTORS").map_or_else(
        || workspace.join("../shared/vectors"),
        std::path::PathBuf::from,
    );
    let path = folder.join("consul/discovery_chain.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        use std::io::Write;
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED walks of Consul's chains: {} not found",
            path.display()
        );
        return;
    };
    let vectors: Value = serde_json::from_str(&text).unwrap();
    let mut walked = 0;
    for case in vectors["cases"].as_array().unwrap() {
        let Some(expect) = case.get("expect") else {
            continue;
        };
        let chain =
            compile(expect.clone()).unwrap_or_else(|error| panic!("{}: {error}", case["name"]));
        for step in 0..20 {
            assert!(
                walk(&chain, "/a", f64::from(step) / 20.0, &|_| true).is_some(),
                "{}",
                case["name"]
            );
        }
        walked += 1;
    }
    assert!(walked >= 30, "{walked} chains");
}
