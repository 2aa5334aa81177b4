//! Every listening socket of a run in one table: whose it is, where, what it speaks, who may call. What is not in it does not listen.

use serde::{Deserialize, Serialize};

use crate::mesh_file::{Policy, Protocol};
use crate::plan::{Addresses, Instance, Plan};

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) owner: String,
    pub(crate) address: String,
    pub(crate) protocol: String,
    pub(crate) who_may_call: String,
}

/// `registry` is the embedded one's address, if there is one; `bound` what each sidecar reported, in the plan's order.
pub(crate) fn rows(plan: &Plan, registry: Option<&str>, bound: &[Option<Addresses>]) -> Vec<Row> {
    let mut rows: Vec<Row> = registry
        .map(|address| {
            row(
                "registry",
                address,
                "http (Consul's API)",
                "local processes with a token of this run".to_owned(),
            )
        })
        .into_iter()
        .collect();
    for (instance, addresses) in plan.instances.iter().zip(bound) {
        if let Some(addresses) = addresses {
            add_sidecar(plan, instance, addresses, &mut rows);
        }
        add_application(instance, &mut rows);
    }
    rows
}

fn add_sidecar(plan: &Plan, instance: &Instance, addresses: &Addresses, rows: &mut Vec<Row>) {
    let owner = format!("{}-sidecar", instance.name);
    let application = instance.name.as_str();
    if let Some(edge) = addresses.edge {
        let protocol = "http/1.1, h2c (in clear)";
        rows.push(row(
            &owner,
            &edge.to_string(),
            protocol,
            "any local process; users prove themselves by token".to_owned(),
        ));
    }
    if let Some(inbound) = addresses.inbound {
        let protocol = format!("mTLS 1.3, {}", instance.protocol.as_str());
        rows.push(row(
            &owner,
            &inbound.to_string(),
            &protocol,
            callers(plan, &instance.service),
        ));
    }
    rows.push(row(
        &owner,
        &addresses.outbound,
        "http/1.1, h2c",
        local(&addresses.outbound, application),
    ));
    for (upstream, address) in &addresses.upstreams {
        let protocol = plan
            .protocols
            .get(upstream)
            .copied()
            .map_or("tcp", Protocol::as_str);
        let address = address.to_string();
        rows.push(row(
            &owner,
            &address,
            &format!("{protocol} to {upstream}"),
            local(&address, application),
        ));
    }
    rows.push(row(
        &owner,
        &addresses.health.to_string(),
        "http (health, metrics)",
        "any local process".to_owned(),
    ));
}

fn add_application(instance: &Instance, rows: &mut Vec<Row>) {
    let Some(address) = &instance.application else {
        return;
    };
    let address = address.to_string();
    let who = match address.starts_with("unix:") {
        true => "its sidecar (folder of mode 0700)".to_owned(),
        false => "its sidecar; any local process can, past the mesh".to_owned(),
    };
    rows.push(row(
        &instance.name,
        &address,
        instance.protocol.as_str(),
        who,
    ));
    if let Some(admin) = instance.admin() {
        let who = "its own user (folder of mode 0700)".to_owned();
        rows.push(row(
            &instance.name,
            &admin.to_string(),
            "http (metrics)",
            who,
        ));
    }
}

fn callers(plan: &Plan, service: &str) -> String {
    let named = plan
        .callers
        .get(service)
        .filter(|callers| !callers.is_empty());
    match (plan.intentions, named) {
        (Policy::Allow, _) => "any service of the mesh".to_owned(),
        (Policy::Deny, None) => "nobody".to_owned(),
        (Policy::Deny, Some(callers)) => callers
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn local(address: &str, application: &str) -> String {
    match address.starts_with("unix:") {
        true => format!("{application} (folder of mode 0700)"),
        false => format!("{application}; any local process can"),
    }
}

fn row(owner: &str, address: &str, protocol: &str, who_may_call: String) -> Row {
    Row {
        owner: owner.to_owned(),
        address: address.to_owned(),
        protocol: protocol.to_owned(),
        who_may_call,
    }
}

/// The rows as text, in columns.
pub(crate) fn render(rows: &[Row]) -> String {
    let head = row("OWNER", "ADDRESS", "PROTOCOL", "WHO MAY CALL".to_owned());
    let width = |column: fn(&Row) -> &str| {
        rows.iter()
            .chain([&head])
            .map(|row| column(row).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (owner, address, protocol) = (
        width(|row| &row.owner),
        width(|row| &row.address),
        width(|row| &row.protocol),
    );
    let lines: Vec<String> = [&head]
        .into_iter()
        .chain(rows)
        .map(|row| {
            format!(
                "{:owner$}  {:address$}  {:protocol$}  {}",
                row.owner, row.address, row.protocol, row.who_may_call
            )
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::mesh_file::{SearchPath, parse};
    use crate::run_folder::Paths;

    #[test]
    fn every_listener_of_the_run_has_its_row() {
        let search = SearchPath {
            own: "/opt/outrigger".into(),
            path: "/usr/bin:/bin".into(),
        };
        let text = "version: 1\nservices:\n  web: {command: [sh], protocol: http, listen: unix, upstreams: [{name: db, bind: 15201}], edge: {plain: 8080}}\n  \
            db: {command: [sh], protocol: tcp}\n";
        let file = parse(text, "mesh.yaml", Path::new("/"), &search).unwrap();
        let paths = Paths::new("/d".into(), "/d/run".into());
        let plan = Plan::new(&file, &paths, &|_| true);
        let bound: Vec<Option<Addresses>> = [
            r#"{"pid":1,"outbound":"unix:/d/run/web-v1-0/outbound.sock","inbound":"127.0.0.1:21000","health":"127.0.0.1:15020","edge":"127.0.0.1:8081","upstreams":{"db":"127.0.0.1:15201"}}"#,
            r#"{"pid":2,"outbound":"127.0.0.1:15001","inbound":"127.0.0.1:21001","health":"127.0.0.1:15021","edge":null}"#,
        ]
        .map(|text| Some(serde_json::from_str(text).unwrap()))
        .into();
        let rows = rows(&plan, Some("127.0.0.1:8500"), &bound);
        let seen: Vec<String> = rows
            .iter()
            .map(|row| format!("{} {} {}", row.owner, row.address, row.who_may_call))
            .collect();
        assert_eq!(
            seen,
            [
                "registry 127.0.0.1:8500 local processes with a token of this run",
                "web-v1-0-sidecar 127.0.0.1:8081 any local process; users prove themselves by token",
                "web-v1-0-sidecar 127.0.0.1:21000 nobody",
                "web-v1-0-sidecar unix:/d/run/web-v1-0/outbound.sock web-v1-0 (folder of mode 0700)",
                "web-v1-0-sidecar 127.0.0.1:15201 web-v1-0; any local process can",
                "web-v1-0-sidecar 127.0.0.1:15020 any local process",
                "web-v1-0 unix:/d/run/web-v1-0/app.sock its sidecar (folder of mode 0700)",
                "db-v1-0-sidecar 127.0.0.1:21001 web",
                "db-v1-0-sidecar 127.0.0.1:15001 db-v1-0; any local process can",
                "db-v1-0-sidecar 127.0.0.1:15021 any local process",
                "db-v1-0 127.0.0.1:22000 its sidecar; any local process can, past the mesh",
            ]
        );
        let text = render(&rows);
        let columns: Vec<_> = text.lines().map(|line| line.find("  ")).collect();
        assert!(text.starts_with("OWNER ") && columns.iter().all(Option::is_some));
    }
}
