//! A killed process: what was acknowledged is there when it comes back, whatever the crash left at the journal's end.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::api::{Api, eventually};

struct Process {
    child: Child,
    api: Api,
}

impl Process {
    async fn start(folder: &Path) -> Self {
        let report = folder.join("report.json");
        let _ = std::fs::remove_file(&report);
        let child = Command::new(env!("CARGO_BIN_EXE_registry"))
            .args(["--dev", "--bind=127.0.0.1:0", "--node-name=test"])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .arg("--report")
            .arg(&report)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = eventually("the registry is bound", || async {
            let text = std::fs::read_to_string(&report).ok()?;
            let report: Value = serde_json::from_str(&text).ok()?;
            Some(report["address"].as_str().unwrap().to_owned())
        })
        .await;
        Self {
            child,
            api: Api::new(&format!("http://{address}"), false),
        }
    }

    fn kill(self) {
        drop(self);
    }
}

/// SIGKILL: nothing gets a chance to be written.
impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn journal(folder: &Path) -> PathBuf {
    folder.join("data/journal.log")
}

/// Everything a client can read, with the indices.
async fn everything(api: &Api) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "/v1/catalog/services",
        "/v1/catalog/nodes",
        "/v1/health/service/web",
        "/v1/health/connect/web",
        "/v1/health/state/any",
        "/v1/config/service-defaults",
        "/v1/config/service-resolver",
        "/v1/config/service-intentions",
        "/v1/kv/?recurse",
        "/v1/connect/ca/roots",
    ] {
        let answer = api.get(path).await;
        all.push(json!([path, answer.index(), answer.json()]));
    }
    all
}

async fn fill(api: &Api) {
    for id in ["web-1", "web-2"] {
        let check = json!({"CheckID": format!("{id}-c"), "TTL": "300s"});
        api.register(
            json!({"ID": id, "Name": "web", "Port": 1, "Meta": {"version": "v1"}, "Check": check}),
        )
        .await;
    }
    api.register(json!({
        "ID": "web-1-sidecar-proxy", "Name": "web-sidecar-proxy", "Kind": "connect-proxy", "Port": 2,
        "Proxy": {"DestinationServiceName": "web"}, "Check": {"CheckID": "side", "AliasService": "web-1"},
    }))
    .await;
    api.put_text("/v1/agent/check/pass/web-1-c?note=good", "")
        .await
        .is(200, "");
    api.put_text("/v1/agent/check/warn/web-2-c?note=meh", "")
        .await
        .is(200, "");
    api.write(json!({"Kind": "service-defaults", "Name": "web", "Protocol": "http"}))
        .await;
    api.write(json!({"Kind": "service-resolver", "Name": "web", "Subsets": {"v1": {"Filter": "Service.Meta.version == v1"}}})).await;
    api.write(json!({"Kind": "service-intentions", "Name": "web", "Sources": [{"Name": "a", "Action": "allow"}]})).await;
    api.put_text("/v1/kv/a", "1").await.says(true);
    api.put_text("/v1/kv/gone", "1").await.says(true);
    api.delete("/v1/kv/gone").await.says(true);
}

#[tokio::test]
async fn acknowledged_writes_outlive_a_kill_and_a_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path()).await;
    fill(&process.api).await;
    let before = everything(&process.api).await;
    process.kill();

    let process = Process::start(folder.path()).await;
    assert_eq!(everything(&process.api).await, before);
    process.api.get("/v1/health/service/web").await.holds(json!([
        {"Checks": [{"CheckID": "serfHealth"}, {"CheckID": "web-1-c", "Status": "passing", "Output": "good"}]},
        {"Checks": [{"CheckID": "serfHealth"}, {"CheckID": "web-2-c", "Status": "warning", "Output": "meh"}]},
    ]));
    process.kill();

    // What a crash in the middle of a write can leave behind the last acknowledged record.
    let good = std::fs::read(journal(folder.path())).unwrap();
    let line = good
        .split_inclusive(|byte| *byte == b'\n')
        .next_back()
        .unwrap();
    let mut flipped = line.to_vec();
    flipped[30] ^= 0x20;
    let tails: [&[u8]; 6] = [
        &line[..line.len() / 2],
        &line[..line.len() - 1],
        &flipped,
        b"\0\0\0\0\0\0\0\0",
        b"garbage",
        &[0xff; 5000],
    ];
    for (position, tail) in tails.into_iter().enumerate() {
        OpenOptions::new()
            .append(true)
            .open(journal(folder.path()))
            .unwrap()
            .write_all(tail)
            .unwrap();
        let process = Process::start(folder.path()).await;
        assert_eq!(everything(&process.api).await, before, "tail {position}");
        process.kill();
        assert_eq!(
            std::fs::read(journal(folder.path())).unwrap(),
            good,
            "tail {position}"
        );
    }

    // The last record torn away takes that write only; the index goes on from there.
    let file = OpenOptions::new()
        .write(true)
        .open(journal(folder.path()))
        .unwrap();
    file.set_len(good.len() as u64 - 3).unwrap();
    let process = Process::start(folder.path()).await;
    process
        .api
        .get("/v1/kv/?keys")
        .await
        .says(json!(["a", "gone"]));
    process.api.put_text("/v1/kv/a", "2").await.says(true);
    process.kill();
    let process = Process::start(folder.path()).await;
    process.api.get("/v1/kv/a?raw").await.is(200, "2");
    process.kill();
}

#[tokio::test]
async fn writes_acknowledged_right_before_a_kill_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = 0;
    for round in 0..5 {
        let process = Process::start(folder.path()).await;
        // Several at once share a sync; each answer still means durable.
        let writes = (0..20).map(|key| {
            let api = process.api.clone();
            async move {
                api.put_text(&format!("/v1/kv/r{round}/{key}"), "x")
                    .await
                    .says(true)
                    .status
            }
        });
        futures::future::join_all(writes).await;
        process.kill();
        let process = Process::start(folder.path()).await;
        let keys = process.api.get("/v1/kv/?keys").await;
        assert_eq!(keys.json().as_array().unwrap().len(), 20 * (round + 1));
        assert!(keys.index() > index, "an index never comes back");
        index = keys.index();
        process.kill();
    }
}

#[tokio::test]
async fn a_folder_has_one_registry() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path()).await;
    let second = Command::new(env!("CARGO_BIN_EXE_registry"))
        .args(["--dev", "--bind=127.0.0.1:0", "--data-dir"])
        .arg(folder.path().join("data"))
        .output()
        .unwrap();
    assert!(!second.status.success());
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(told.contains("is in use by another registry"), "{told}");
    process.kill();
}
