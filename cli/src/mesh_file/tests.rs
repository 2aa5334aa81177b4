//! What a mesh file may say, and where each mistake is told.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

fn search() -> SearchPath {
    SearchPath {
        own: "/opt/outrigger".into(),
        path: "/usr/bin:/bin".into(),
    }
}

fn read(text: &str) -> Result<MeshFile, Error> {
    parse(text, "mesh.yaml", Path::new("/"), &search())
}

fn one(service: &str) -> String {
    format!("version: 1\nservices:\n  web:\n    command: [sh]\n{service}")
}

#[test]
fn a_service_of_one_line_gets_the_defaults() {
    let file = read(&one("")).unwrap();
    assert_eq!(
        (file.intentions, &file.registry),
        (Policy::Deny, &RegistryChoice::Embedded)
    );
    let web = &file.services[0];
    assert_eq!(
        (web.listen, web.protocol, &web.check),
        (Listen::Tcp, Protocol::Grpc, &Check::Grpc(String::new()))
    );
    assert_eq!(
        (web.edge, &web.contract, web.upstreams.len()),
        (None, &None, 0)
    );
    assert_eq!(
        (web.versions[0].name.as_str(), web.versions[0].replicas),
        ("v1", 1)
    );
    assert!(web.versions[0].program.path.ends_with("bin/sh"));
}

#[test]
fn everything_that_can_be_said_is_understood() {
    let file = read(
        "version: 1\nintentions: allow\nregistry: http://127.0.0.1:8500/\nservices:\n  orders:\n    command: [outrigger, shop, orders]\n    \
         dir: usr\n    env: {A: 1.10, B: yes}\n    listen: unix\n    protocol: http2\n    check: {http: /up}\n    \
         upstreams: [stock, {name: pay, bind: 15201, protocol: grpc}]\n    versions:\n      v1: {replicas: 2}\n      v2: {env: {A: two}, command: [/bin/sh]}\n      v3:\n    \
         edge: {plain: 8080}\n  stock: {command: [sh], listen: none}\n  pay: {command: [sh], protocol: tcp}\n",
    )
    .unwrap();
    assert_eq!(
        file.registry,
        RegistryChoice::Consul("http://127.0.0.1:8500".into())
    );
    let orders = &file.services[0];
    assert_eq!(orders.dir, Path::new("/usr"));
    assert_eq!(
        (orders.listen, orders.protocol, &orders.check),
        (Listen::Unix, Protocol::Http2, &Check::Http("/up".into()))
    );
    assert_eq!(
        orders.upstreams[1],
        Upstream {
            name: "pay".into(),
            bind: Some(15201),
            protocol: Some(Protocol::Grpc),
        }
    );
    assert_eq!(orders.edge, Some(8080));
    assert_eq!(orders.contract, Some(Contract::BuiltIn("orders".into())));
    let versions: Vec<_> = orders
        .versions
        .iter()
        .map(|v| (v.name.as_str(), v.replicas, v.env["A"].as_str()))
        .collect();
    assert_eq!(
        versions,
        [("v1", 2, "1.10"), ("v2", 1, "two"), ("v3", 1, "1.10")]
    );
    assert_eq!(orders.versions[0].program.path, Path::new("/opt/outrigger"));
    assert_eq!(orders.versions[0].program.shop.as_deref(), Some("orders"));
    assert_eq!(file.services[2].check, Check::Tcp);
}

#[test]
fn mistakes_are_told_with_line_and_column() {
    let cases = [
        (
            "version: 2\nservices: {web: {command: [sh]}}",
            "mesh.yaml:1:10: version = 2: expected 1",
        ),
        (
            "version: 1\nservices: {}",
            "mesh.yaml:2:11: services: expected at least one",
        ),
        (
            "version: 1\nintentions: maybe\nservices: {}",
            "mesh.yaml:2:13: ",
        ),
        (
            "version: 1\nregistry: localhost\nservices: {web: {command: [sh]}}",
            "mesh.yaml:2:11: registry: \"localhost\": expected embedded",
        ),
        (
            "version: 1\nservices: {web: {}}",
            "mesh.yaml:2:12: service \"web\" has no command",
        ),
        (
            "version: 1\nservices:\n  Web: {command: [sh]}",
            "mesh.yaml:3:3: service \"Web\": a name is a lower-case letter",
        ),
        (
            "version: 1\nservices:\n  web: {command: [sh]}\n  web: {command: [sh]}",
            "mesh.yaml:4:3: ",
        ),
        (
            "version: 1\nservices:\n  web: {command: [no-such-program]}",
            "mesh.yaml:3:19: command \"no-such-program\" does not exist",
        ),
        (
            "version: 1\nservices:\n  web: {command: [./etc]}",
            "mesh.yaml:3:19: /./etc is not an executable file",
        ),
        (
            "version: 1\nservices:\n  web: {command: []}",
            "mesh.yaml:3:18: a command needs",
        ),
        (
            "version: 1\nservices:\n  web: {command: [outrigger, shop, shoes]}",
            "mesh.yaml:3:19: the shop has no service \"shoes\"",
        ),
    ];
    for (text, expected) in cases {
        let told = read(text).unwrap_err().to_string();
        assert!(
            told.starts_with(expected),
            "{text}\n  told:     {told}\n  expected: {expected}"
        );
    }
}

#[test]
fn mistakes_of_a_service_are_told_with_line_and_column() {
    let cases = [
        ("    colour: red\n", "mesh.yaml:5:5: unknown field `colour`"),
        (
            "    upstreams: [payment]\n",
            "mesh.yaml:5:17: upstream of \"web\": nobody is named \"payment\", expected one of web",
        ),
        (
            "    upstreams: [{nam: web}]\n",
            "mesh.yaml:5:18: unknown field `nam`",
        ),
        (
            "    upstreams: [web, web]\n",
            "mesh.yaml:5:22: upstream \"web\" of \"web\" is listed twice",
        ),
        (
            "    check: {grpc: a, tcp: true}\n",
            "mesh.yaml:5:12: check of \"web\": expected exactly one of",
        ),
        (
            "    check: {http: up}\n",
            "mesh.yaml:5:12: check of \"web\": expected exactly one of",
        ),
        (
            "    check: {tcp: false}\n",
            "mesh.yaml:5:12: check of \"web\": expected exactly one of",
        ),
        (
            "    env: {PORT: 9}\n",
            "mesh.yaml:5:11: PORT is set by outrigger",
        ),
        (
            "    env: {OUTRIGGER_UPSTREAM_PAY_ADDR: x}\n",
            "mesh.yaml:5:11: OUTRIGGER_UPSTREAM_PAY_ADDR is set by outrigger",
        ),
        (
            "    dir: nowhere/at/all\n",
            "mesh.yaml:5:10: dir /nowhere/at/all is not a folder",
        ),
        (
            "    contract: none.binpb\n",
            "mesh.yaml:5:15: contract /none.binpb: ",
        ),
        (
            "    versions: {}\n",
            "mesh.yaml:5:15: versions of \"web\": expected at least one",
        ),
        (
            "    versions: {1.0: }\n",
            "mesh.yaml:5:16: version \"1.0\": a name is",
        ),
        (
            "    versions: {v1: {replicas: 65}}\n",
            "mesh.yaml:5:31: replicas = 65: expected at most 64",
        ),
        (
            "    listen: none\n    edge: {plain: 80}\n",
            "mesh.yaml:6:11: service \"web\" listens to nobody",
        ),
        (
            "    edge: {plain: 8080}\n  b:\n    command: [sh]\n    edge: {plain: 8080}\n",
            "mesh.yaml:8:19: port 8080 of the edge of \"b\" is already taken by the edge of \"web\"",
        ),
        (
            "    edge: {plain: 81}\n    upstreams: [{name: web, bind: 81}]\n",
            "mesh.yaml:6:17: port 81 of upstream \"web\" of \"web\"",
        ),
        (
            "    upstreams: [{name: web, protocol: tcp}]\n",
            "mesh.yaml:5:17: upstream \"web\" of \"web\" is tcp: it needs a bind",
        ),
    ];
    for (service, expected) in cases {
        let told = read(&one(service)).unwrap_err().to_string();
        assert!(
            told.starts_with(expected),
            "{service}  told:     {told}\n  expected: {expected}"
        );
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let told = read(&one("    upstreams: [a, b]\n    dir: nowhere\n"))
        .unwrap_err()
        .to_string();
    let lines: Vec<_> = told
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(
        lines,
        ["mesh.yaml:5:17:", "mesh.yaml:5:20:", "mesh.yaml:6:10:"]
    );
}

#[test]
fn a_cycle_of_upstreams_is_legal() {
    assert!(
        read(&one(
            "    upstreams: [db]\n  db: {command: [sh], upstreams: [web]}\n"
        ))
        .is_ok()
    );
}

#[test]
fn instances_of_two_services_cannot_share_a_name() {
    let told = read(
        "version: 1\nservices:\n  a: {command: [sh], versions: {b-c: }}\n  a-b: {command: [sh], versions: {c: }}\n",
    );
    assert!(
        told.unwrap_err()
            .to_string()
            .contains("both have instances named a-b-c-0")
    );
}

#[test]
fn instances_have_names_that_fit_the_registrys_ids() {
    let long = format!(
        "version: 1\nservices:\n  {}: {{command: [sh], versions: {{{}: }}}}\n",
        "a".repeat(60),
        "b".repeat(60)
    );
    assert!(
        read(&long)
            .unwrap_err()
            .to_string()
            .contains("at most 100 letters together")
    );
}

#[test]
fn the_shop_is_a_mesh_file_whose_upstreams_are_its_contracts_callers() {
    let shop = parse(&builtin::text(), builtin::NAME, Path::new("/"), &search()).unwrap();
    assert_eq!(
        shop.services
            .iter()
            .map(|s| s.name.as_str())
            .collect::<Vec<_>>(),
        crate::shop::NAMES
    );
    for callee in crate::shop::NAMES {
        let declared: BTreeSet<&str> = shop
            .services
            .iter()
            .filter(|service| {
                service
                    .upstreams
                    .iter()
                    .any(|upstream| upstream.name == callee)
            })
            .map(|service| service.name.as_str())
            .collect();
        let contracts = outrigger_proto::callers(callee);
        let expected: BTreeSet<&str> = contracts
            .iter()
            .map(String::as_str)
            .filter(|caller| crate::shop::NAMES.contains(caller) && *caller != callee)
            .collect();
        assert_eq!(declared, expected, "callers of {callee}");
    }
    let gateway = &shop.services[0];
    assert_eq!(
        (gateway.edge, gateway.listen, gateway.protocol),
        (Some(8080), Listen::Unix, Protocol::Http)
    );
    assert!(
        shop.services
            .iter()
            .all(|service| service.listen == Listen::Unix)
    );
}
