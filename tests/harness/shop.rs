//! The whole shop of a run of `outrigger up`, in a folder of its own, as a person at the keyboard has it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::binary;
use crate::database::Database;
use crate::eventually::{holds, within};
use crate::process::{self, Process};

/// From `outrigger up` to everything ready, on a machine that does other things too.
const STARTING: Duration = Duration::from_secs(90);
/// Ctrl-C ends everything within this.
pub const ENDING: Duration = Duration::from_secs(5);

/// What a run is to be started with.
#[derive(Debug, Default)]
pub struct Builder {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    data: Option<PathBuf>,
}

/// A running shop.
#[derive(Debug)]
pub struct Shop {
    process: Process,
    /// `--data-dir`.
    pub data: PathBuf,
    /// What `outrigger status --json` said once everything was ready.
    pub status: Value,
    http: reqwest::Client,
    _folder: Option<tempfile::TempDir>,
}

/// An answer of the gateway.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Reply {
    /// The `reason` of the error's `ErrorInfo`, wherever the body has it.
    pub fn reason(&self) -> String {
        fn find(value: &Value) -> Option<&str> {
            match value {
                Value::Object(fields) => fields
                    .get("reason")
                    .and_then(Value::as_str)
                    .or_else(|| fields.values().find_map(find)),
                Value::Array(items) => items.iter().find_map(find),
                _ => None,
            }
        }
        find(&self.body).unwrap_or_default().to_owned()
    }

    /// Panics unless the status is the expected one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

impl Builder {
    /// One more argument of `outrigger up`.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// One more variable of its environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A folder that a run before this one has used.
    pub fn data(mut self, data: &Path) -> Self {
        self.data = Some(data.to_owned());
        self
    }

    /// Starts the run and waits until it says that everything is ready.
    pub async fn start(self) -> Shop {
        let (folder, data) = match self.data {
            Some(data) => (None, data),
            None => {
                let folder = tempfile::tempdir().unwrap();
                let data = folder.path().join("data");
                (Some(folder), data)
            }
        };
        let log = data.with_extension("log");
        let mut command = Command::new(binary::outrigger());
        command
            .arg("up")
            .arg("--data-dir")
            .arg(&data)
            .args(&self.arguments)
            .envs(self.environment)
            .env("NO_COLOR", "1");
        let mut process = Process::start("outrigger up", command, &log);
        let status = within(STARTING, "the shop is ready", async || {
            process.assert_running();
            let status = status(&data).await?;
            let ready = status["ready"].as_bool() == Some(true);
            holds(ready, format!("{status}\n{}", process.output()))?;
            Ok::<Value, String>(status)
        })
        .await;
        Shop {
            process,
            data,
            status,
            http: reqwest::Client::new(),
            _folder: folder,
        }
    }
}

async fn status(data: &Path) -> Result<Value, String> {
    let output = Command::new(binary::outrigger())
        .args(["status", "--json", "--data-dir"])
        .arg(data)
        .output()
        .await
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|error| {
        format!(
            "status --json: {error}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

impl Shop {
    /// A shop on the embedded registry, with nothing special.
    pub async fn start() -> Self {
        Builder::default().start().await
    }

    /// A run that differs.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What the run has written so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// What the sidecar of an instance has bound: `orders-v1-0`.
    pub fn sidecar(&self, instance: &str) -> Value {
        let path = self.data.join("run").join(instance).join("addresses.json");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap()
    }

    /// The public address, `127.0.0.1:8080` where that was free.
    pub fn edge(&self) -> String {
        self.sidecar("gateway-v1-0")["edge"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The registry's address, `http://127.0.0.1:8500` where that was free.
    pub fn registry(&self) -> &str {
        self.status["registry"]
            .as_str()
            .expect("the registry's address")
    }

    /// An access token of Alice or Bob.
    pub async fn token(&self, person: &str) -> String {
        let output = Command::new(binary::outrigger())
            .args(["token", person, "--data-dir"])
            .arg(&self.data)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "token {person}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text.trim().to_owned()
    }

    /// A request of the outside world.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<String>,
    ) -> Reply {
        let method = method.parse().unwrap();
        let mut request = self
            .http
            .request(method, format!("http://{}{path}", self.edge()))
            .timeout(Duration::from_secs(30));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        Reply::read(request).await
    }

    /// Reads a resource.
    pub async fn get(&self, path: &str, token: &str) -> Reply {
        self.request("GET", path, Some(token), None).await
    }

    /// Places an order with the brief's path.
    pub async fn order(&self, token: &str, body: &Value) -> Reply {
        self.request(
            "POST",
            "/api/v1/orders",
            Some(token),
            Some(body.to_string()),
        )
        .await
    }

    /// What is available of a product.
    pub async fn available(&self, sku: &str, token: &str) -> i64 {
        let reply = self
            .get(&format!("/v1/stock/{sku}"), token)
            .await
            .expect(200);
        let available = &reply.body["available"];
        available
            .as_i64()
            .or_else(|| available.as_str().and_then(|text| text.parse().ok()))
            .unwrap_or_else(|| panic!("{}", reply.text))
    }

    /// A service's database, read as it lies on the disk.
    pub async fn database(&self, service: &str) -> Database {
        Database::open(&self.data.join("db").join(format!("{service}.sqlite"))).await
    }

    /// The applications' and sidecars' process ids by their name in `status`, the registry's too.
    pub async fn processes(&self) -> std::collections::BTreeMap<String, u32> {
        let status = status(&self.data).await.unwrap();
        let mut processes = std::collections::BTreeMap::new();
        for process in status["processes"].as_array().expect("a list of processes") {
            let name = process["name"].as_str().unwrap().to_owned();
            if let Some(pid) = process["pid"].as_u64() {
                processes.insert(name, u32::try_from(pid).unwrap());
            }
        }
        processes
    }

    /// `outrigger up`'s own process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ctrl-C, and the wait for the end, which the run itself bounds; all its processes are gone then.
    pub async fn stop(&mut self) {
        let processes = self.processes().await;
        self.process.interrupt();
        let status = self.process.wait(ENDING).await;
        assert!(status.success(), "{status}:\n{}", self.process.output());
        for (name, pid) in processes {
            assert!(!process::exists(pid), "{name} ({pid}) has outlived the run");
        }
    }
}

impl Reply {
    async fn read(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.unwrap();
        Self {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap_or_default(),
            text,
        }
    }
}

/// The brief's order, with a key of its own.
pub fn order(key: &str) -> Value {
    json!({
        "items": [{"productId": "P-101", "quantity": 2, "price": 1200}],
        "shippingAddressId": "ADDR-55",
        "paymentMethod": "card",
        "idempotencyKey": key,
    })
}
