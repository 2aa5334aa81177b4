//! A gateway with its scripted mesh.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderMap;
use shop_chassis::Environment;
use shop_chassis::client::Peer;
use shop_chassis::scratch::Served;

use crate::client::{self, Reply};
use crate::mesh::Mesh;

const ADMIN: &str = "admin.sock";
const ORDERS: &str = "/api/v1/orders";

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) mesh: Mesh,
    served: Served,
    /// Holds the sockets of the mesh and of the gateway's metrics.
    folder: tempfile::TempDir,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::with([]).await
    }

    /// With settings besides; ready when it returns.
    pub(crate) async fn with<const N: usize>(settings: [(&str, &str); N]) -> Self {
        let gateway = Self::without_keys(settings, |_| {}).await;
        gateway.becomes_ready().await;
        gateway
    }

    /// Not ready yet; `prepare` scripts the mesh before the gateway starts.
    pub(crate) async fn without_keys<const N: usize>(
        settings: [(&str, &str); N],
        prepare: impl FnOnce(&Mesh),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("outbound.sock");
        let mesh = Mesh::start(&socket);
        prepare(&mesh);
        let outbound = format!("unix:{}", socket.display());
        let admin = format!("unix:{}", folder.path().join(ADMIN).display());
        let own = [
            ("OUTRIGGER_OUTBOUND_ADDR", outbound.as_str()),
            ("SHOP_GATEWAY_ADMIN_LISTEN", admin.as_str()),
            ("OUTRIGGER_INSTANCE", "gateway-v1-0"),
        ];
        let env = Environment::of(own.into_iter().chain(settings));
        let served = Served::start(shop_gateway::serve, |_| env).await;
        Self {
            mesh,
            served,
            folder,
        }
    }

    pub(crate) async fn becomes_ready(&self) {
        let ready = async {
            while self.served.get("/health").await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let limit = Duration::from_secs(10);
        tokio::time::timeout(limit, ready).await.expect("readiness");
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.served.folder().path().join("run/app.sock")
    }

    /// For generated clients.
    pub(crate) fn peer(&self) -> Peer {
        self.served.peer()
    }

    pub(crate) async fn health(&self) -> u16 {
        self.served.get("/health").await.0
    }

    /// How often a limit was met.
    pub(crate) async fn hits(&self, limit: &str) -> u64 {
        self.metric("outrigger_limit_hits_total", limit).await as u64
    }

    /// A sample of a limit's metrics.
    pub(crate) async fn metric(&self, name: &str, limit: &str) -> f64 {
        let socket = self.folder.path().join(ADMIN);
        let reply = client::http1(&socket, "GET", "/metrics", HeaderMap::new(), "").await;
        let sample = format!("{name}{{scope=\"edge\",limit=\"{limit}\"}} ");
        let value = reply
            .text
            .lines()
            .find_map(|line| line.strip_prefix(&sample));
        let value = value.unwrap_or_else(|| panic!("no {sample}in {}", reply.text));
        value.parse().unwrap()
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Reply {
        self.send("GET", path, token, "").await
    }

    /// Places an order.
    pub(crate) async fn order(&self, token: Option<&str>, body: &str) -> Reply {
        self.send("POST", ORDERS, token, body).await
    }

    /// As JSON, if there is a body.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> Reply {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            headers.insert("authorization", value);
        }
        if !body.is_empty() {
            let json = "application/json".parse().unwrap();
            headers.insert("content-type", json);
        }
        self.raw(method, path, headers, body).await
    }

    /// With exactly these headers.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: HeaderMap,
        body: &str,
    ) -> Reply {
        client::http1(&self.socket(), method, path, headers, body.to_owned()).await
    }

    pub(crate) async fn stop(self) {
        self.served.stop().await;
    }
}
