//! A pair of sidecars of this workspace, with a registry of their own and everything at its default, but for the bounds that one peer who
//! makes handshakes and nothing else would meet.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;

use super::certificates;
use super::process::Process;
use super::report;
use super::topology::Topology;
use super::{METHOD, SERVICE};

/// What a sidecar reports once it has bound.
#[derive(Debug, Deserialize)]
struct Addresses {
    outbound: Option<String>,
    inbound: Option<SocketAddr>,
    health: SocketAddr,
}

pub(crate) async fn start(folder: &Path, application: SocketAddr) -> anyhow::Result<Topology> {
    let programs = Programs::find().await?;
    let registry = start_registry(&programs.outrigger, folder).await?;
    fetch_certificate(folder, &registry.address).await?;
    let contract = folder.join("contract.binpb");
    let set = outrigger_proto::contract(SERVICE).context("the catalogue's contract")?;
    std::fs::write(&contract, set)?;
    let contract = contract.display();

    let callee = format!(
        "service = \"{SERVICE}\"\ninstance = \"{SERVICE}-v1-0\"\n\
         [application]\naddress = \"{application}\"\nprotocol = \"grpc\"\ncontract = \"{contract}\"\n\
         [inbound]\nbind = \"127.0.0.1:0\"\n[outbound]\nbind = \"127.0.0.1:0\"\n\
         [limits.mesh]\nconnections_per_peer = 1024\ntls_handshakes_per_second = 10000\n"
    );
    let (callee, callee_addresses) = start_sidecar(
        &programs.sidecar,
        folder,
        &registry.address,
        "callee",
        &callee,
        "/ready",
    )
    .await?;
    let caller = format!(
        "service = \"web\"\ninstance = \"web-v1-0\"\n[outbound]\nbind = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"{SERVICE}\"\ncontract = \"{contract}\"\n"
    );
    let (caller, caller_addresses) = start_sidecar(
        &programs.sidecar,
        folder,
        &registry.address,
        "caller",
        &caller,
        "/ready/outbound",
    )
    .await?;
    let address = caller_addresses.outbound.context("no outbound address")?;
    Ok(Topology {
        name: "outrigger",
        address: address.parse().context("the outbound address")?,
        proxies: vec![caller, callee],
        inbound: callee_addresses.inbound,
        metrics: vec![caller_addresses.health, callee_addresses.health],
        files: vec![folder.join("caller.toml"), folder.join("callee.toml")],
        beside: vec![registry.process],
    })
}

/// A comparison with what others measure is fair only if ours measured too: both sides have counted every call and every message, the
/// unary ones in series of their method. Prints the limits in force.
pub(crate) async fn assert_observed(
    topologies: &[Topology],
    calls: u64,
    messages: u32,
) -> anyhow::Result<()> {
    let ours = topologies
        .iter()
        .find(|topology| topology.name == "outrigger")
        .context("no pair of ours")?;
    // A method that no contract knows gets no series of its own.
    let method = match messages {
        1 => METHOD.trim_start_matches('/'),
        _ => "other",
    };
    let families = [
        "grpc_client_attempt_started_total",
        "grpc_server_call_started_total",
    ];
    for (address, family) in ours.metrics.iter().zip(families) {
        let text = get(*address, "/metrics").await?;
        let sum = |of: &[&str]| -> f64 {
            let lines = text
                .lines()
                .filter(|line| of.iter().all(|part| line.contains(part)));
            lines
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum()
        };
        let expected = [
            (sum(&[family, method]), calls),
            (
                sum(&["outrigger_call_messages_total", "way=\"request\"", method]),
                calls,
            ),
            (
                sum(&["outrigger_call_messages_total", "way=\"response\"", method]),
                calls * u64::from(messages),
            ),
        ];
        for (counted, made) in expected {
            ensure!(
                counted >= made as f64,
                "{address} counted {counted} of {made} of {method}:\n{text}"
            );
        }
        let limits = text
            .lines()
            .filter(|line| line.starts_with("outrigger_limit{"));
        report::say(&format!("# limits of {address}"));
        limits.for_each(report::say);
    }
    Ok(())
}

/// A registry's and a sidecar's.
struct Programs {
    outrigger: PathBuf,
    sidecar: PathBuf,
}

impl Programs {
    /// What this workspace builds in the profile of this one, unless `OUTRIGGER_BIN` names an `outrigger` that a `sidecar` lies beside.
    #[expect(
        clippy::disallowed_methods,
        reason = "the program's edge to its environment"
    )]
    async fn find() -> anyhow::Result<Self> {
        if let Some(path) = std::env::var_os("OUTRIGGER_BIN") {
            return Self::beside(PathBuf::from(path));
        }
        let own = std::env::current_exe()?;
        let folder = own.parent().context("a folder")?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .args(["build", "--quiet", "-p", "outrigger", "-p"])
            .args(["outrigger-sidecar", "--bin", "outrigger", "--bin"])
            .args(["sidecar", "--target-dir"])
            .arg(folder.parent().context("a target folder")?);
        if folder.ends_with("release") {
            command.arg("--release");
        }
        ensure!(command.status().await?.success(), "cargo build failed");
        Self::beside(folder.join("outrigger"))
    }

    fn beside(outrigger: PathBuf) -> anyhow::Result<Self> {
        let sidecar = outrigger.with_file_name("sidecar");
        ensure!(
            sidecar.exists(),
            "{} is not there; build it: cargo build --release -p outrigger -p outrigger-sidecar --bin sidecar",
            sidecar.display()
        );
        Ok(Self { outrigger, sidecar })
    }
}

struct Registry {
    address: String,
    process: Process,
}

async fn start_registry(program: &Path, folder: &Path) -> anyhow::Result<Registry> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let address = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(program);
    command
        .args(["registry", "--dev", "--bind", &format!("127.0.0.1:{port}")])
        .arg("--data-dir")
        .arg(folder.join("registry"));
    let process = Process::start("registry", command, &folder.join("registry.log"))?;
    let http = reqwest::Client::new();
    process
        .wait_for("leader", async || {
            let url = format!("{address}/v1/status/leader");
            http.get(url).send().await?.error_for_status()?;
            Ok(())
        })
        .await?;
    for entry in [
        json!({"Kind": "service-defaults", "Name": SERVICE, "Protocol": "grpc"}),
        json!({"Kind": "service-intentions", "Name": SERVICE, "Sources": [{"Name": "web", "Action": "allow"}]}),
    ] {
        let url = format!("{address}/v1/config");
        http.put(url)
            .json(&entry)
            .send()
            .await?
            .error_for_status()?;
    }
    Ok(Registry { address, process })
}

/// The caller's certificate once more, for whoever dials in its place.
async fn fetch_certificate(folder: &Path, registry: &str) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Leaf {
        #[serde(rename = "CertPEM")]
        certificate: String,
        #[serde(rename = "PrivateKeyPEM")]
        key: String,
    }
    let url = format!("{registry}/v1/agent/connect/ca/leaf/web");
    let response = reqwest::get(url).await?.error_for_status()?;
    let leaf: Leaf = response.json().await?;
    let own = folder.join("outrigger");
    std::fs::create_dir(&own)?;
    let name = certificates::CALLER.0;
    std::fs::write(own.join(format!("{name}.pem")), leaf.certificate)?;
    std::fs::write(own.join(format!("{name}.key")), leaf.key)?;
    Ok(())
}

async fn start_sidecar(
    program: &Path,
    folder: &Path,
    registry: &str,
    name: &str,
    config: &str,
    ready: &str,
) -> anyhow::Result<(Process, Addresses)> {
    let (file, report) = (
        folder.join(format!("{name}.toml")),
        folder.join(format!("{name}.json")),
    );
    let text = format!(
        "report = \"{}\"\n{config}[registry]\naddress = \"{registry}\"\n[health]\nbind = \"127.0.0.1:0\"\n\
         [intentions]\ndefault = \"deny\"\n",
        report.display()
    );
    std::fs::write(&file, text)?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&file);
    let process = Process::start(
        &format!("sidecar {name}"),
        command,
        &folder.join(format!("{name}.log")),
    )?;
    let addresses: Addresses = process
        .wait_for("its addresses", async || {
            Ok(serde_json::from_str(&std::fs::read_to_string(&report)?)?)
        })
        .await?;
    process
        .wait_for(ready, async || get(addresses.health, ready).await.map(drop))
        .await?;
    Ok((process, addresses))
}

async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let response = reqwest::get(format!("http://{address}{path}")).await?;
    Ok(response.error_for_status()?.text().await?)
}
