//! `outrigger up -f` with services that know nothing of the mesh: our own registry, which is an HTTP server like any other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const OWN: &str = env!("CARGO_BIN_EXE_outrigger");
/// A debug build on a busy machine is slow; what hangs is told anyway.
const LIMIT: Duration = Duration::from_secs(120);

/// Two instances of `back`, and `web`, which may call them.
const MESH: &str = r#"
version: 1
services:
  web:
    command: [sh, -c, "exec $SERVER --bind 127.0.0.1:$PORT"]
    protocol: http
    check: {http: /v1/status/leader}
    upstreams: [{name: back, bind: 15390}]
  back:
    command: [sh, -c, "echo I am $OUTRIGGER_INSTANCE; exec $SERVER --bind 127.0.0.1:$PORT"]
    protocol: http
    check: {http: /v1/status/leader}
    versions: {v1: {replicas: 2}}
"#;

/// What they say to each other is HTTP, but nobody between them is told.
const TCP: &str = r#"
version: 1
services:
  web:
    command: [sh, -c, "exec $SERVER --bind 127.0.0.1:$PORT"]
    protocol: tcp
    upstreams: [{name: back, bind: 15395}]
  back:
    command: [sh, -c, "exec $SERVER --bind 127.0.0.1:$PORT"]
    protocol: tcp
"#;

struct Up {
    folder: tempfile::TempDir,
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
}

fn outrigger(folder: &Path) -> Command {
    let mut command = Command::new(OWN);
    command
        .current_dir(folder)
        .env("SERVER", format!("{OWN} registry --dev"))
        .env_remove("CONSUL_HTTP_TOKEN")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn run(folder: &Path, args: &[&str]) -> Output {
    let output = outrigger(folder).args(args).output();
    tokio::time::timeout(LIMIT, output)
        .await
        .expect("it ends in time")
        .expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Up {
    fn start(mesh: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("mesh.yaml"), mesh).expect("the mesh file");
        let errors = std::fs::File::create(folder.path().join("errors")).expect("a file");
        let mut child = outrigger(folder.path())
            .args(["up", "-f", "mesh.yaml"])
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { folder, child, out }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.path().join("errors")).unwrap_or_default()
    }

    /// Until it says that it is ready.
    async fn ready(&mut self) {
        let wait = async {
            while let Some(line) = self.out.next_line().await.expect("readable") {
                if line.starts_with("Ready") {
                    return true;
                }
            }
            false
        };
        let is_ready = tokio::time::timeout(LIMIT, wait).await.unwrap_or(false);
        assert!(is_ready, "not ready; it said:\n{}", self.errors());
    }

    async fn status(&self) -> Value {
        let output = run(self.path(), &["status", "--json"]).await;
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|err| panic!("{err}: {}", text(&output.stderr)))
    }

    async fn end(&mut self) -> i32 {
        let status = tokio::time::timeout(LIMIT, self.child.wait())
            .await
            .expect("it ends in time")
            .expect("a status");
        status.code().unwrap_or(-1)
    }
}

/// Asks until the answer pleases.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let wait = async {
        loop {
            ticks.tick().await;
            if let Some(value) = ask().await {
                return value;
            }
        }
    };
    tokio::time::timeout(LIMIT, wait)
        .await
        .unwrap_or_else(|_| panic!("never happened: {what}"))
}

fn pids(status: &Value) -> BTreeSet<u64> {
    let mut pids = BTreeSet::from([status["pid"].as_u64().expect("a pid")]);
    for process in status["processes"].as_array().expect("processes") {
        pids.extend(process["pid"].as_u64());
    }
    pids
}

fn process<'a>(status: &'a Value, name: &str) -> &'a Value {
    let processes = status["processes"].as_array().expect("processes");
    processes
        .iter()
        .find(|process| process["name"] == name)
        .expect("the process")
}

/// Loopback and other TCP ports that these processes listen on, from the kernel's own books.
fn listening(pids: &BTreeSet<u64>) -> BTreeSet<String> {
    let mut inodes = BTreeSet::new();
    for pid in pids {
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            if let Some(inode) = target.to_string_lossy().strip_prefix("socket:[") {
                inodes.insert(inode.trim_end_matches(']').to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table)
            .unwrap_or_default()
            .lines()
            .skip(1)
        {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.len() > 9 && fields[3] == "0A" && inodes.contains(fields[9]) {
                let (address, port) = fields[1].split_once(':').expect("address:port");
                let port = u16::from_str_radix(port, 16).expect("a port");
                let address = if address == "0100007F" {
                    "127.0.0.1"
                } else {
                    address
                };
                found.insert(format!("{address}:{port}"));
            }
        }
    }
    found
}

fn address(status: &Value, instance: &str, which: &[&str]) -> String {
    let instances = status["instances"].as_array().expect("instances");
    let found = instances
        .iter()
        .find(|i| i["name"] == instance)
        .expect("the instance");
    let value = which
        .iter()
        .fold(&found["addresses"], |value, key| &value[*key]);
    value.as_str().expect("an address").to_owned()
}

async fn get(address: &str, host: &str) -> Option<(u16, String)> {
    let http = reqwest::Client::builder().no_proxy().build().ok()?;
    let answer = http
        .get(format!("http://{address}/v1/status/leader"))
        .header("host", host)
        .send()
        .await
        .ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

#[tokio::test]
async fn foreign_services_call_each_other_through_the_mesh_and_end_with_it() {
    let mut up = Up::start(MESH);
    up.ready().await;
    let status = up.status().await;
    assert_eq!(status["phase"], "ready");
    assert_eq!(status["ready"], true, "{status}");

    // By authority, and by the port of its own.
    let outbound = address(&status, "web-v1-0", &["outbound"]);
    let bind = address(&status, "web-v1-0", &["upstreams", "back"]);
    for (address, host) in [(outbound.as_str(), "back"), (bind.as_str(), "anything")] {
        let answer = eventually("a call through the mesh", async || {
            get(address, host).await.filter(|(code, _)| *code == 200)
        })
        .await;
        assert!(answer.1.starts_with('"'), "{answer:?}");
    }
    // Whom it did not declare, it cannot reach.
    assert_eq!(get(&outbound, "web").await.map(|(code, _)| code), Some(404));

    let table: BTreeSet<String> = status["sockets"]
        .as_array()
        .expect("sockets")
        .iter()
        .filter_map(|row| row["address"].as_str())
        .map(str::to_owned)
        .collect();
    assert_eq!(
        listening(&pids(&status)),
        table,
        "what listens is what the table says"
    );

    let second = run(up.path(), &["up", "-f", "mesh.yaml"]).await;
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text(&second.stderr).contains(&format!("with pid {}", status["pid"])),
        "{}",
        text(&second.stderr)
    );

    let fresh = run(up.path(), &["up", "--fresh", "-f", "mesh.yaml"]).await;
    assert_eq!(
        fresh.status.code(),
        Some(1),
        "a folder in use is not emptied"
    );
    assert!(up.path().join(".outrigger/tokens/management").exists());

    logs_hold_no_token(up.path());

    let begin = tokio::time::Instant::now();
    let down = run(up.path(), &["down"]).await;
    assert_eq!(down.status.code(), Some(0), "{}", text(&down.stderr));
    assert!(
        begin.elapsed() < Duration::from_secs(6),
        "stopped after {:?}",
        begin.elapsed()
    );
    assert_eq!(up.end().await, 0, "{}", up.errors());
    assert!(!up.errors().contains("was killed"), "{}", up.errors());
    assert_eq!(run(up.path(), &["status"]).await.status.code(), Some(1));
    assert_eq!(run(up.path(), &["down"]).await.status.code(), Some(0));
}

#[tokio::test]
async fn services_that_speak_tcp_reach_each_other_by_the_port_of_their_own_alone() {
    let mut up = Up::start(TCP);
    up.ready().await;
    let status = up.status().await;
    let bind = address(&status, "web-v1-0", &["upstreams", "back"]);
    // HTTP that is found to be HTTP would be refused as below: it passes because the caller's file says tcp.
    let answer = eventually("an answer through the mesh", async || {
        get(&bind, "anything")
            .await
            .filter(|(code, _)| *code == 200)
    })
    .await;
    assert!(answer.1.starts_with('"'), "{answer:?}");
    let outbound = address(&status, "web-v1-0", &["outbound"]);
    let refused = get(&outbound, "back").await.map(|(code, _)| code);
    assert_eq!(refused, Some(404));
    assert_eq!(run(up.path(), &["down"]).await.status.code(), Some(0));
    assert_eq!(up.end().await, 0, "{}", up.errors());
}

fn logs_hold_no_token(folder: &Path) {
    let log = std::fs::read_to_string(folder.join(".outrigger/logs/back-v1-1.log")).expect("a log");
    assert!(log.starts_with("I am back-v1-1\n"), "{log}");
    let tokens: Vec<PathBuf> = std::fs::read_dir(folder.join(".outrigger/tokens"))
        .expect("tokens")
        .flatten()
        .map(|e| e.path())
        .collect();
    assert_eq!(tokens.len(), 4);
    for token in tokens
        .iter()
        .map(|path| std::fs::read_to_string(path).expect("a token"))
    {
        for entry in std::fs::read_dir(folder.join(".outrigger/logs"))
            .expect("logs")
            .flatten()
        {
            let log = std::fs::read_to_string(entry.path()).expect("a log");
            assert!(
                !log.contains(&token),
                "a token in {}",
                entry.path().display()
            );
        }
    }
}

#[tokio::test]
async fn a_crashed_application_comes_back_and_nothing_survives_a_killed_run() {
    let mut up = Up::start(MESH);
    up.ready().await;
    let status = up.status().await;
    let victim = process(&status, "web-v1-0")["pid"].as_i64().expect("a pid");
    kill(victim);
    eventually("a new process, ready", async || {
        let now = up.status().await;
        (process(&now, "web-v1-0")["restarts"] == 1 && now["ready"] == true).then_some(())
    })
    .await;

    let all = pids(&up.status().await);
    kill(status["pid"].as_i64().expect("a pid"));
    up.end().await;
    eventually("every process of the run is gone", async || {
        let is_there = |pid: &u64| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        (!all.iter().any(is_there)).then_some(())
    })
    .await;
}

fn kill(pid: i64) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it was there");
}

#[tokio::test]
async fn an_application_that_cannot_start_ends_the_run_with_its_code_and_last_words() {
    let mesh = "version: 1\nservices:\n  web: {command: [sh, -c, 'i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo $i; done; exit 7'], protocol: http}\n";
    let mut up = Up::start(mesh);
    assert_eq!(up.end().await, 1);
    let errors = up.errors();
    assert!(
        errors.contains(
            "error: web-v1-0 exited with code 7 before it was ready; its last lines:\n  21\n"
        ),
        "{errors}"
    );
    assert_eq!(errors.matches("\n  ").count(), 20, "{errors}");
}

#[tokio::test]
async fn wrong_usage_and_wrong_files_exit_with_1_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(
        folder.path().join("mesh.yaml"),
        "version: 1\nservices:\n  web:\n    comand: [sh]\n",
    )
    .expect("a file");
    let cases: [(&[&str], &str); 6] = [
        (
            &["up", "-f", "mesh.yaml"],
            "mesh.yaml:4:5: unknown field `comand`",
        ),
        (
            &["up", "-f", "nowhere.yaml"],
            "cannot read mesh file nowhere.yaml",
        ),
        (
            &["up", "--consul", "https://x"],
            "--consul \"https://x\": https is not supported yet",
        ),
        (&["up", "--no-such-flag"], "unexpected argument"),
        (&["status"], "nothing runs in"),
        (&["token", "alice"], "nothing runs in"),
    ];
    for (args, expected) in cases {
        let output = run(folder.path(), args).await;
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(
            text(&output.stderr).contains(expected),
            "{args:?}: {}",
            text(&output.stderr)
        );
    }
    assert!(!folder.path().join(".outrigger").exists());
}

#[tokio::test]
async fn version_help_and_the_shops_mesh_file_are_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    for (args, expected) in [
        (
            ["--version"].as_slice(),
            concat!("outrigger ", env!("CARGO_PKG_VERSION")),
        ),
        (["--help"].as_slice(), "outrigger up -f mesh.yaml"),
        (
            ["up", "--print-mesh"].as_slice(),
            "command: [outrigger, shop, orders]",
        ),
    ] {
        let output = run(folder.path(), args).await;
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(
            text(&output.stdout).contains(expected),
            "{args:?}: {}",
            text(&output.stdout)
        );
    }
}
