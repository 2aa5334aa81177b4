//! A whole mesh in a test: a registry, services with a sidecar each, clients with one too, and the intentions between them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use crate::client::Client;
use crate::registry::{Backend, Registry};
use crate::sidecar::Sidecar;
use crate::tls::Files;
use crate::upstream::{Address, Upstream};

/// What the mesh is to hold.
#[derive(Debug)]
pub struct Builder {
    services: Vec<Service>,
    clients: Vec<String>,
    denied: Vec<(String, String)>,
    backend: Backend,
    leaf_ttl: Option<Duration>,
    settings: String,
}

/// A service of the mesh, before it runs.
#[derive(Debug, Clone)]
pub struct Service {
    pub name: String,
    pub version: String,
    pub instances: usize,
    pub contract: Option<String>,
    pub edge: bool,
    pub edge_tls: Option<Files>,
    pub protocol: &'static str,
    /// What its callers declare for it; `None`: nothing.
    pub declared: Option<&'static str>,
    /// Where an application that is the test's own listens.
    pub application: Option<String>,
    pub before: Option<String>,
}

impl Service {
    /// One instance of version `v1`, its methods unknown to the mesh.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: "v1".to_owned(),
            instances: 1,
            contract: None,
            edge: false,
            edge_tls: None,
            protocol: "grpc",
            declared: None,
            application: None,
            before: None,
        }
    }

    /// Its sidecars are started by a shell that has run this: `ulimit -n 80`.
    pub fn after(mut self, before: &str) -> Self {
        self.before = Some(before.to_owned());
        self
    }

    /// The version its instances register.
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// What its application speaks, if it is not gRPC alone.
    pub fn protocol(mut self, protocol: &'static str) -> Self {
        self.protocol = protocol;
        self
    }

    /// What its callers declare that it speaks.
    pub fn declared(mut self, protocol: &'static str) -> Self {
        self.declared = Some(protocol);
        self
    }

    /// Its application is a program the test runs itself, on this address; it need not answer probes of gRPC.
    pub fn application(mut self, address: &str) -> Self {
        self.application = Some(address.to_owned());
        self
    }

    /// Its sidecars face the public too.
    pub fn edge(mut self) -> Self {
        self.edge = true;
        self
    }

    /// They face the public over TLS, with this certificate, and in clear.
    pub fn edge_tls(mut self, files: &Files) -> Self {
        self.edge_tls = Some(files.clone());
        self.edge()
    }

    /// How many instances.
    pub fn instances(mut self, instances: usize) -> Self {
        self.instances = instances;
        self
    }

    /// The mesh knows the methods of this package of the shop: `catalog` is `shop.catalog.v1`.
    pub fn contract(mut self, package: &str) -> Self {
        self.contract = Some(package.to_owned());
        self
    }
}

impl From<&str> for Service {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// One instance: the application and the sidecar beside it.
#[derive(Debug)]
pub struct Instance {
    pub service: String,
    pub upstream: Option<Upstream>,
    pub sidecar: Option<Sidecar>,
}

/// The running mesh. Its verbs are the faults.
#[derive(Debug)]
pub struct Mesh {
    pub registry: Registry,
    pub instances: Vec<Instance>,
    pub clients: BTreeMap<String, (Sidecar, Client)>,
    contracts: BTreeMap<String, String>,
    settings: String,
    folder: tempfile::TempDir,
}

impl Mesh {
    /// An empty mesh on the embedded registry, with a process for each sidecar.
    pub fn builder() -> Builder {
        Builder {
            services: Vec::new(),
            clients: Vec::new(),
            denied: Vec::new(),
            backend: Backend::Embedded,
            leaf_ttl: None,
            settings: String::new(),
        }
    }

    /// The application of a service's first instance.
    #[track_caller]
    pub fn upstream(&self, service: &str) -> &Upstream {
        self.upstreams(service)[0]
    }

    /// The applications of a service, in the order they were started.
    pub fn upstreams(&self, service: &str) -> Vec<&Upstream> {
        self.instances
            .iter()
            .filter(|instance| instance.service == service)
            .filter_map(|instance| instance.upstream.as_ref())
            .collect()
    }

    /// A service's n-th instance.
    #[track_caller]
    pub fn instance(&mut self, service: &str, n: usize) -> &mut Instance {
        self.instances
            .iter_mut()
            .filter(|instance| instance.service == service)
            .nth(n)
            .unwrap_or_else(|| panic!("no instance {n} of {service}"))
    }

    /// A service's first sidecar.
    #[track_caller]
    pub fn sidecar(&self, service: &str) -> &Sidecar {
        self.instances
            .iter()
            .find(|instance| instance.service == service)
            .and_then(|instance| instance.sidecar.as_ref())
            .unwrap_or_else(|| panic!("no sidecar of {service}"))
    }

    /// The program behind a client's sidecar.
    #[track_caller]
    pub fn client(&self, name: &str) -> Client {
        self.clients[name].1.clone()
    }

    /// A client's sidecar.
    #[track_caller]
    pub fn client_sidecar(&self, name: &str) -> &Sidecar {
        &self.clients[name].0
    }

    #[track_caller]
    pub fn client_sidecar_mut(&mut self, name: &str) -> &mut Sidecar {
        &mut self.clients.get_mut(name).unwrap().0
    }

    /// A sidecar's file for an application that the test runs itself, on `address`.
    pub fn sidecar_file(&self, service: &str, address: &str) -> std::path::PathBuf {
        let instance = format!("{service}-by-hand");
        let folder = self.folder.path().join(&instance);
        std::fs::create_dir(&folder).unwrap();
        let mut config = self.config(service, &instance, "v1", &folder);
        write!(
            config,
            "[application]\naddress = \"{address}\"\nprotocol = \"grpc\"\ncheck = {{ grpc = \"\" }}\n"
        )
        .unwrap();
        config.push_str("[inbound]\nbind = \"127.0.0.1:0\"\n");
        let file = folder.join("sidecar.toml");
        std::fs::write(&file, config).unwrap();
        file
    }

    /// A callee that the test runs itself, which the mesh believes to be a sidecar of that service.
    pub async fn register(&self, service: &str, address: &str) {
        let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
        let registration = json!({
            "Kind": "connect-proxy",
            "Name": format!("{service}-sidecar-proxy"),
            "ID": format!("{service}-by-hand"),
            "Address": "127.0.0.1",
            "Port": port,
            "Proxy": {"DestinationServiceName": service, "DestinationServiceID": service},
        });
        let path = "/v1/agent/service/register";
        self.registry.put(path, registration).await.unwrap();
    }

    /// Starts more instances of a service and waits until they are registered.
    pub async fn start(&mut self, service: &Service) {
        for _ in 0..service.instances {
            let number = self.instances.len();
            let instance = format!("{}-{}-{number}", service.name, service.version);
            let folder = self.folder.path().join(&instance);
            std::fs::create_dir(&folder).unwrap();
            let (upstream, address, check) = match &service.application {
                Some(address) => (None, address.clone(), "tcp = true"),
                None => {
                    let upstream = Upstream::tcp(&instance).await;
                    let address = upstream.address().to_string();
                    (Some(upstream), address, "grpc = \"\"")
                }
            };
            let mut config = self.config(&service.name, &instance, &service.version, &folder);
            write!(
                config,
                "[application]\naddress = \"{address}\"\nprotocol = \"{}\"\ncheck = {{ {check} }}\n",
                service.protocol
            )
            .unwrap();
            if let Some(path) = self.contracts.get(&service.name) {
                writeln!(config, "contract = {path:?}").unwrap();
            }
            config.push_str("[inbound]\nbind = \"127.0.0.1:0\"\n");
            if service.edge {
                config.push_str("[edge]\nplain = \"127.0.0.1:0\"\n");
            }
            if let Some(Files { certificate, key }) = &service.edge_tls {
                let files = format!("certificate = {certificate:?}\nkey = {key:?}\n");
                config.push_str("tls = \"127.0.0.1:0\"\n");
                config.push_str(&files);
            }
            let sidecar = match &service.before {
                Some(before) => Sidecar::start_after(before, &instance, &config, &folder).await,
                None => Sidecar::start(&instance, &config, &folder).await,
            };
            self.instances.push(Instance {
                service: service.name.clone(),
                upstream,
                sidecar: Some(sidecar),
            });
        }
        for instance in self.instances.iter().rev().take(service.instances) {
            instance.sidecar.as_ref().unwrap().becomes("/ready").await;
        }
    }

    async fn start_client(&mut self, name: &str, services: &[Service]) {
        let instance = format!("{name}-client");
        let folder = self.folder.path().join(&instance);
        std::fs::create_dir(&folder).unwrap();
        let mut config = self.config(name, &instance, "v1", &folder);
        for service in services {
            writeln!(config, "[[upstream]]\nname = \"{}\"", service.name).unwrap();
            config.push_str("bind = \"127.0.0.1:0\"\n");
            if let Some(protocol) = service.declared {
                writeln!(config, "protocol = \"{protocol}\"").unwrap();
            }
            if let Some(path) = self.contracts.get(&service.name) {
                writeln!(config, "contract = {path:?}").unwrap();
            }
        }
        let sidecar = Sidecar::start(&instance, &config, &folder).await;
        sidecar.becomes("/ready/outbound").await;
        let address = Address::parse(sidecar.addresses.outbound.as_ref().unwrap());
        self.clients
            .insert(name.to_owned(), (sidecar, Client::new(address)));
    }

    fn config(
        &self,
        service: &str,
        instance: &str,
        version: &str,
        folder: &std::path::Path,
    ) -> String {
        let mut config = format!(
            "service = \"{service}\"\ninstance = \"{instance}\"\nversion = \"{version}\"\n"
        );
        writeln!(
            config,
            "[registry]\naddress = \"{}\"",
            self.registry.address()
        )
        .unwrap();
        if let Some(token) = self.registry.service_token(service) {
            let path = folder.join("token");
            std::fs::write(&path, token).unwrap();
            writeln!(config, "token_file = {:?}", path.display().to_string()).unwrap();
        }
        writeln!(
            config,
            "[outbound]\nbind = \"unix:{}\"",
            folder.join("outbound.sock").display()
        )
        .unwrap();
        config.push_str("[health]\nbind = \"127.0.0.1:0\"\n");
        config.push_str("[intentions]\ndefault = \"deny\"\n");
        if !self.settings.contains("[drain]") {
            config.push_str("[drain]\npropagation = \"0s\"\ngrace = \"3s\"\n");
        }
        config.push_str(&self.settings);
        config
    }

    async fn stop(mut self) {
        for (_, (sidecar, _)) in std::mem::take(&mut self.clients) {
            sidecar.stop().await;
        }
        for instance in std::mem::take(&mut self.instances) {
            if let Some(sidecar) = instance.sidecar {
                sidecar.stop().await;
            }
        }
        if self.registry.management_token().is_some() {
            self.registry.stop().await;
        }
    }
}

impl Builder {
    /// Adds a service; a name alone is one instance.
    pub fn service(mut self, service: impl Into<Service>) -> Self {
        self.services.push(service.into());
        self
    }

    /// Adds a client, allowed to call every service that is not denied to it.
    pub fn client(mut self, name: &str) -> Self {
        self.clients.push(name.to_owned());
        self
    }

    /// No intention lets `client` call `service`, though its sidecar would.
    pub fn deny(mut self, client: &str, service: &str) -> Self {
        self.denied.push((client.to_owned(), service.to_owned()));
        self
    }

    /// Which registry.
    pub fn registry(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// How long a leaf lives.
    pub fn leaf_ttl(mut self, ttl: Duration) -> Self {
        self.leaf_ttl = Some(ttl);
        self
    }

    /// More lines for every sidecar's file.
    pub fn settings(mut self, toml: &str) -> Self {
        self.settings.push_str(toml);
        self.settings.push('\n');
        self
    }

    /// Starts everything, runs the closure, stops in order and insists on a clean end. Does nothing if the registry is a program
    /// that is not there, which has then been said.
    pub async fn run(self, test: impl AsyncFnOnce(&mut Mesh)) {
        let Some(registry) = self.start_registry().await else {
            return;
        };
        let mut mesh = Mesh {
            registry,
            instances: Vec::new(),
            clients: BTreeMap::new(),
            contracts: BTreeMap::new(),
            settings: self.settings.clone(),
            folder: tempfile::tempdir().unwrap(),
        };
        self.write_entries(&mut mesh).await;
        for service in &self.services {
            mesh.start(service).await;
        }
        let mut upstreams = self.services.clone();
        upstreams.dedup_by(|one, other| one.name == other.name);
        for client in &self.clients {
            mesh.start_client(client, &upstreams).await;
        }
        test(&mut mesh).await;
        mesh.stop().await;
    }

    async fn start_registry(&self) -> Option<Registry> {
        let names: Vec<&str> = self
            .services
            .iter()
            .map(|service| service.name.as_str())
            .chain(self.clients.iter().map(String::as_str))
            .collect();
        match self.backend {
            Backend::Embedded => Some(Registry::embedded(&names, self.leaf_ttl).await),
            Backend::Consul => Registry::consul().await,
        }
    }

    async fn write_entries(&self, mesh: &mut Mesh) {
        for service in &self.services {
            let name = &service.name;
            mesh.registry.write_protocol(name, service.protocol).await;
            let callers: Vec<&str> = self
                .clients
                .iter()
                .filter(|client| !self.denied.contains(&((*client).clone(), name.clone())))
                .map(String::as_str)
                .collect();
            mesh.registry.write_callers(name, &callers).await;
            if let Some(package) = &service.contract {
                let set = outrigger_proto::contract(package)
                    .unwrap_or_else(|| panic!("no package shop.{package}.v1"));
                let path = mesh.folder.path().join(format!("{name}.binpb"));
                std::fs::write(&path, set).unwrap();
                mesh.contracts
                    .insert(name.clone(), path.display().to_string());
            }
        }
    }
}
