//! From mesh files to processes, files, ports and environments.

use std::path::Path;

use super::*;
use crate::environment::Variables;
use crate::mesh_file::{SearchPath, builtin, parse};

fn paths() -> Paths {
    Paths::new("/data".into(), "/data/run".into())
}

fn plan(text: &str) -> Plan {
    let search = SearchPath {
        own: "/opt/outrigger".into(),
        path: "/usr/bin:/bin".into(),
    };
    let file = parse(text, "mesh.yaml", Path::new("/"), &search).unwrap();
    // 22001 belongs to somebody else.
    Plan::new(&file, &paths(), &|port| port != 22001)
}

const FOREIGN: &str = "version: 1\nservices:\n  web:\n    command: [sh, -c, serve]\n    protocol: http\n    env: {COLOUR: red}\n    \
    upstreams: [{name: pay-pal, bind: 15201}, store]\n    edge: {plain: 8080}\n    versions: {v1: {replicas: 2}}\n  \
    pay-pal: {command: [sh], listen: unix}\n  store: {command: [sh], protocol: tcp, upstreams: [pay-pal]}\n  job: {command: [sh], listen: none}\n";

fn bound(instance: &Instance) -> Addresses {
    Addresses {
        pid: 7,
        outbound: instance.outbound.to_string(),
        inbound: Some("127.0.0.1:21063".parse().unwrap()),
        health: "127.0.0.1:15083".parse().unwrap(),
        edge: instance.edge.map(|_| "127.0.0.1:8081".parse().unwrap()),
        upstreams: instance
            .upstreams
            .iter()
            .filter(|upstream| upstream.bind.is_some())
            .map(|upstream| (upstream.name.clone(), "127.0.0.1:15299".parse().unwrap()))
            .collect(),
    }
}

#[test]
fn every_instance_gets_ports_of_its_own() {
    let plan = plan(FOREIGN);
    let rows: Vec<String> = plan
        .instances
        .iter()
        .map(|i| {
            let application = i
                .application
                .as_ref()
                .map_or("-".to_owned(), ToString::to_string);
            format!(
                "{} {application} {} {:?} {} {:?}",
                i.name, i.outbound, i.inbound, i.health, i.edge
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            "web-v1-0 127.0.0.1:22000 127.0.0.1:15001 Some(21000) 15020 Some(8080)",
            "web-v1-1 127.0.0.1:22002 127.0.0.1:15002 Some(21001) 15021 Some(8080)",
            "pay-pal-v1-0 unix:/data/run/pay-pal-v1-0/app.sock unix:/data/run/pay-pal-v1-0/outbound.sock Some(21002) 15022 None",
            "store-v1-0 127.0.0.1:22003 127.0.0.1:15003 Some(21003) 15023 None",
            "job-v1-0 - 127.0.0.1:15004 None 15024 None",
        ]
    );
}

#[test]
fn those_who_are_called_start_before_those_who_call_and_the_gateway_last() {
    let cases: [(&str, &[&[&str]]); 4] = [
        (FOREIGN, &[&["pay-pal", "job"], &["store"], &["web"]]),
        (
            "version: 1\nservices: {a: {command: [sh], upstreams: [b]}, b: {command: [sh], upstreams: [a, c]}, c: {command: [sh]}}",
            &[&["c"], &["a", "b"]],
        ),
        (
            "version: 1\nservices: {edge: {command: [sh], protocol: http, edge: {plain: 80}}, x: {command: [sh], upstreams: [edge]}}",
            &[&["x"], &["edge"]],
        ),
        (
            "version: 1\nservices: {a: {command: [sh], upstreams: [a]}}",
            &[&["a"]],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(plan(text).waves, expected, "{text}");
    }
}

#[test]
fn a_foreign_application_gets_what_the_document_says() {
    let plan = plan(FOREIGN);
    let inherited = Variables(
        [
            ("PATH", "/bin"),
            ("COLOUR", "blue"),
            ("CONSUL_HTTP_TOKEN", "secret"),
            ("PORT", "1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
    );
    let env = |number: usize| {
        let instance = &plan.instances[number];
        instance.environment(&inherited, &paths(), &bound(instance))
    };
    let expected = [
        ("COLOUR", "red"),
        ("OUTRIGGER_INSTANCE", "web-v1-1"),
        ("OUTRIGGER_LISTEN", "127.0.0.1:22002"),
        ("OUTRIGGER_OUTBOUND_ADDR", "127.0.0.1:15002"),
        ("OUTRIGGER_SERVICE", "web"),
        ("OUTRIGGER_UPSTREAM_PAY_PAL_ADDR", "127.0.0.1:15299"),
        ("OUTRIGGER_VERSION", "v1"),
        ("PATH", "/bin"),
        ("PORT", "22002"),
    ];
    assert_eq!(
        env(1),
        expected
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    );
    let unix = env(2);
    assert_eq!(
        unix["OUTRIGGER_LISTEN"],
        "unix:/data/run/pay-pal-v1-0/app.sock"
    );
    assert!(!unix.contains_key("PORT"));
    let job = env(4);
    assert!(!job.contains_key("OUTRIGGER_LISTEN") && !job.contains_key("PORT"));
    assert_eq!(job["OUTRIGGER_OUTBOUND_ADDR"], "127.0.0.1:15004");
}

#[test]
fn the_shop_gets_its_own_variables_and_a_database_from_outside_wins() {
    let plan = plan(&builtin::text());
    let postgres = "postgres://shop@127.0.0.1/orders";
    let inherited =
        Variables([("SHOP_ORDERS_DATABASE_URL".to_owned(), postgres.to_owned())].into());
    let env = |service: &str| {
        let instance = plan
            .instances
            .iter()
            .find(|instance| instance.service == service)
            .unwrap();
        instance.environment(&inherited, &paths(), &bound(instance))
    };
    let identity = env("identity");
    for (key, value) in [
        (
            "SHOP_IDENTITY_LISTEN",
            "unix:/data/run/identity-v1-0/app.sock",
        ),
        (
            "SHOP_IDENTITY_DATABASE_URL",
            "sqlite:///data/db/identity.sqlite?mode=rwc",
        ),
        ("SHOP_IDENTITY_KEY_FILE", "/data/keys/identity"),
        ("SHOP_PAGE_TOKEN_KEY_FILE", "/data/keys/page-token"),
        ("SHOP_DEMO_FILE", "/data/demo.json"),
    ] {
        assert_eq!(identity.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(env("orders")["SHOP_ORDERS_DATABASE_URL"], postgres);
    assert!(!env("catalog").contains_key("SHOP_DEMO_FILE"));
    assert!(!env("gateway").contains_key("SHOP_GATEWAY_DATABASE_URL"));
    assert!(plan.runs_shop());
    assert_eq!(plan.waves.last().unwrap(), &["gateway"]);
    assert_eq!(
        plan.instances[0].contract, None,
        "the gateway has no contract of its own"
    );
    assert_eq!(
        plan.instances[3].contract.as_deref(),
        Some(Path::new("/data/contracts/orders.binpb"))
    );
}

#[test]
fn a_sidecars_file_says_all_it_needs_and_later_what_was_bound() {
    let plan = plan(FOREIGN);
    let web = &plan.instances[0];
    let token = Path::new("/data/tokens/web-v1-0");
    let first: toml::Table = web
        .sidecar_file("http://127.0.0.1:8500", Some(token), None)
        .unwrap()
        .parse()
        .unwrap();
    let expected: toml::Table = r#"
        service = "web"
        instance = "web-v1-0"
        version = "v1"
        port_search = 64
        report = "/data/run/web-v1-0/addresses.json"
        [registry]
        address = "http://127.0.0.1:8500"
        token_file = "/data/tokens/web-v1-0"
        [application]
        address = "127.0.0.1:22000"
        protocol = "http"
        check = { http = "/health" }
        [inbound]
        bind = "127.0.0.1:21000"
        [outbound]
        bind = "127.0.0.1:15001"
        [health]
        bind = "127.0.0.1:15020"
        [edge]
        plain = "127.0.0.1:8080"
        [intentions]
        default = "deny"
        [drain]
        propagation = "0s"
        grace = "3s"
        [[upstream]]
        name = "pay-pal"
        bind = "127.0.0.1:15201"
        [[upstream]]
        name = "store"
    "#
    .parse()
    .unwrap();
    assert_eq!(first, expected);
    let second = web
        .sidecar_file("http://127.0.0.1:8500", None, Some(&bound(web)))
        .unwrap();
    let second: toml::Table = second.parse().unwrap();
    assert_eq!(second["port_search"].as_integer(), Some(0));
    assert_eq!(second["inbound"]["bind"].as_str(), Some("127.0.0.1:21063"));
    assert_eq!(second["edge"]["plain"].as_str(), Some("127.0.0.1:8081"));
    assert_eq!(
        second["upstream"][0]["bind"].as_str(),
        Some("127.0.0.1:15299")
    );
    let job: toml::Table = plan.instances[4]
        .sidecar_file("http://127.0.0.1:8500", None, None)
        .unwrap()
        .parse()
        .unwrap();
    assert!(!job.contains_key("application") && !job.contains_key("inbound"));
}

#[test]
fn the_caller_of_a_tcp_service_is_told_so_unless_it_says_otherwise() {
    let plan = plan(
        "version: 1\nservices:\n  web:\n    command: [sh]\n    upstreams: [{name: nats, bind: 15201}, \
         {name: mixed, bind: 15202, protocol: http}, {name: calls, bind: 15203}, portless]\n  \
         nats: {command: [sh], protocol: tcp}\n  mixed: {command: [sh], protocol: tcp}\n  \
         calls: {command: [sh]}\n  portless: {command: [sh], protocol: tcp}\n",
    );
    let file = plan.instances[0].sidecar_file("http://127.0.0.1:8500", None, None);
    let file: toml::Table = file.unwrap().parse().unwrap();
    let told: Vec<_> = file["upstream"]
        .as_array()
        .unwrap()
        .iter()
        .map(|upstream| upstream.get("protocol").and_then(toml::Value::as_str))
        .collect();
    assert_eq!(told, [Some("tcp"), Some("http"), None, None]);
}

#[test]
fn ports_that_moved_are_known() {
    let plan = plan(FOREIGN);
    let moved = plan.instances[0].moved(&bound(&plan.instances[0]));
    let told: Vec<String> = moved
        .iter()
        .map(|(what, port, bound)| format!("{what} {port} {bound}"))
        .collect();
    assert_eq!(
        told,
        [
            "edge 8080 127.0.0.1:8081",
            "inbound 21000 127.0.0.1:21063",
            "health 15020 127.0.0.1:15083",
            "upstream pay-pal 15201 127.0.0.1:15299",
        ]
    );
}

#[test]
fn callers_are_the_reverse_of_upstreams() {
    let callers = plan(FOREIGN).callers;
    let of = |name: &str| callers[name].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(
        (of("pay-pal"), of("store"), of("web")),
        (vec!["store", "web"], vec!["web"], vec![])
    );
}
