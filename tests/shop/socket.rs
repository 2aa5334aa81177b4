//! What listens is in the table, and nothing else listens.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_tests::{Shop, tls};

/// Listening addresses by the process that holds them, of the given processes.
fn listening(pids: &BTreeMap<String, u32>) -> BTreeMap<String, BTreeSet<String>> {
    let by_inode = sockets();
    let mut found = BTreeMap::new();
    for (name, pid) in pids {
        let mut addresses = BTreeSet::new();
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let Ok(link) = std::fs::read_link(entry.unwrap().path()) else {
                continue;
            };
            let link = link.display().to_string();
            let inode = link
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'));
            if let Some(address) = inode.and_then(|inode| by_inode.get(inode)) {
                addresses.insert(address.clone());
            }
        }
        found.insert(name.clone(), addresses);
    }
    found
}

/// Inode to address of every listening Unix socket of the machine.
fn unix_sockets() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string("/proc/net/unix").unwrap();
    let lines = text
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    // The flag of a socket that accepts.
    lines
        .filter(|fields| fields[3] == "00010000" && fields.len() > 7)
        .map(|fields| (fields[6].to_owned(), format!("unix:{}", fields[7])))
        .collect()
}

/// Inode to address of every listening socket of the machine.
fn sockets() -> BTreeMap<String, String> {
    let mut sockets = unix_sockets();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = std::fs::read_to_string(file) else {
            continue;
        };
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // State 0A is LISTEN.
            if fields[3] != "0A" {
                continue;
            }
            let (host, port) = fields[1].split_once(':').unwrap();
            let port = u16::from_str_radix(port, 16).unwrap();
            let host = match host {
                "0100007F" => "127.0.0.1".to_owned(),
                other => format!("not loopback: {other}"),
            };
            sockets.insert(fields[9].to_owned(), format!("{host}:{port}"));
        }
    }
    sockets
}

#[tokio::test]
async fn every_listening_socket_is_in_the_table() {
    let mut shop = Shop::start().await;
    let processes = shop.processes().await;
    let table: BTreeSet<String> = shop.status["sockets"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["address"].as_str())
        .map(|address| address.trim_start_matches("http://").to_owned())
        .collect();
    let by_process = listening(&processes);
    let open: BTreeSet<String> = by_process.values().flatten().cloned().collect();
    assert_eq!(open, table, "{by_process:#?}");

    // The public port belongs to the gateway's sidecar, not to an application.
    let edge = shop.edge();
    let owner = by_process
        .iter()
        .find(|(_, addresses)| addresses.contains(&edge))
        .unwrap()
        .0;
    let sidecar = u32::try_from(shop.sidecar("gateway-v1-0")["pid"].as_u64().unwrap()).unwrap();
    assert_eq!(processes[owner], sidecar, "{owner}");

    for service in [
        "gateway",
        "identity",
        "catalog",
        "orders",
        "inventory",
        "payments",
    ] {
        let addresses = shop.sidecar(&format!("{service}-v1-0"));
        let Some(inbound) = addresses["inbound"].as_str() else {
            continue;
        };
        let answer = tls::plain_text(inbound, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(
            matches!(answer.first(), None | Some(0x15)),
            "{service}: {answer:?}"
        );
        let answer = tls::call(inbound, None).await;
        assert!(
            answer.is_err(),
            "{service} takes a caller without a certificate: {answer:?}"
        );
    }
    shop.stop().await;
}

#[tokio::test]
async fn forged_internal_headers_at_the_edge_change_nobody() {
    let mut shop = Shop::start().await;
    let alice = shop.token("alice").await;
    let placed = shop
        .order(&alice, &outrigger_tests::shop::order("hers"))
        .await
        .expect(201);
    let id = placed.body["orderId"].as_str().unwrap();
    let http = reqwest::Client::new();
    // A principal: user 1, as protobuf in base64url. With it believed, no token would be needed.
    for name in [
        "x-outrigger-principal",
        "X-Outrigger-Principal",
        "x_outrigger_principal",
    ] {
        let reply = http
            .get(format!("http://{}/v1/orders/{id}", shop.edge()))
            .header(name, "CAE")
            .header(
                "x-outrigger-peer",
                "spiffe://outrigger.local/ns/default/dc/dc1/svc/gateway",
            )
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status(), 401, "{name}");
    }
    shop.stop().await;
}
