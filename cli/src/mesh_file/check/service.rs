//! The rules of one service.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_saphyr::Spanned;

use super::super::command::{Program, SearchPath};
use super::super::{Check, Contract, Listen, Protocol, Service, Upstream, Version, yaml};
use super::Problems;

/// Replicas of one version: more than a laptop runs, and it keeps a slip of the keyboard from forking without end.
const MAX_REPLICAS: u32 = 64;

/// Set by `outrigger` for every application; a mesh file that sets one would be ignored silently.
const RESERVED: [&str; 6] = [
    "PORT",
    "OUTRIGGER_LISTEN",
    "OUTRIGGER_OUTBOUND_ADDR",
    "OUTRIGGER_SERVICE",
    "OUTRIGGER_VERSION",
    "OUTRIGGER_INSTANCE",
];

/// Turns one service into its final form.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) folder: &'a Path,
    pub(super) search: &'a SearchPath,
    pub(super) names: &'a BTreeSet<String>,
    pub(super) problems: &'a mut Problems,
}

impl Reader<'_> {
    pub(super) fn service(
        &mut self,
        name: &Spanned<String>,
        read: yaml::Service,
    ) -> Option<Service> {
        if !is_name(&name.value) {
            self.problems
                .add(name, format!("service {:?}: {NAME_RULE}", name.value));
        }
        if name.value == "registry" {
            self.problems.add(
                name,
                "service \"registry\": the name is taken by the registry's own process".to_owned(),
            );
        }
        let dir = self.dir(read.dir.as_ref());
        let check = self.health(name, &read);
        let upstreams = self.upstreams(name, &read.upstreams);
        let versions = self.versions(name, &read);
        if let (Some(edge), Listen::None) = (&read.edge, read.listen) {
            self.problems.add(
                edge,
                format!(
                    "service {:?} listens to nobody: an edge needs an application to send calls to",
                    name.value
                ),
            );
        }
        if let (Some(edge), Protocol::Tcp) = (&read.edge, read.protocol) {
            self.problems.add(
                edge,
                "an edge carries HTTP: expected protocol grpc, http2 or http".to_owned(),
            );
        }
        let built_in = versions
            .iter()
            .find_map(|version| version.program.shop.clone());
        let contract = match &read.contract {
            Some(file) => self.contract(file),
            None => built_in
                .filter(|shop| outrigger_proto::contract(shop).is_some())
                .map(Contract::BuiltIn),
        };
        Some(Service {
            name: name.value.clone(),
            dir: dir?,
            listen: read.listen,
            protocol: read.protocol,
            check,
            upstreams,
            contract,
            versions,
            edge: read.edge.map(|edge| edge.value.plain.value),
        })
    }

    fn dir(&mut self, read: Option<&Spanned<String>>) -> Option<PathBuf> {
        let Some(read) = read else {
            return Some(self.folder.to_owned());
        };
        let dir = self.folder.join(&read.value);
        if dir.is_dir() {
            return Some(dir);
        }
        self.problems
            .add(read, format!("dir {} is not a folder", dir.display()));
        None
    }

    fn health(&mut self, name: &Spanned<String>, read: &yaml::Service) -> Check {
        let default = Check::default_for(read.protocol);
        let Some(check) = &read.check else {
            return default;
        };
        match (&check.value.grpc, &check.value.http, check.value.tcp) {
            (Some(service), None, None) => Check::Grpc(service.clone()),
            (None, Some(path), None) if path.starts_with('/') => Check::Http(path.clone()),
            (None, None, Some(true)) => Check::Tcp,
            _ => {
                let message = format!(
                    "check of {:?}: expected exactly one of {{grpc: <service>}}, {{http: /path}}, {{tcp: true}}",
                    name.value
                );
                self.problems.add(check, message);
                default
            }
        }
    }

    fn upstreams(
        &mut self,
        name: &Spanned<String>,
        read: &[Spanned<yaml::Upstream>],
    ) -> Vec<Upstream> {
        let mut seen = BTreeSet::new();
        let mut upstreams = Vec::new();
        for upstream in read {
            let wanted = &upstream.value.name;
            if !self.names.contains(wanted) {
                let message = format!(
                    "upstream of {:?}: {}",
                    name.value,
                    nobody(wanted, self.names)
                );
                self.problems.add(upstream, message);
            }
            if !seen.insert(wanted.clone()) {
                self.problems.add(
                    upstream,
                    format!("upstream {wanted:?} of {:?} is listed twice", name.value),
                );
            }
            let (bind, protocol) = (upstream.value.bind, upstream.value.protocol);
            if protocol == Some(Protocol::Tcp) && bind.is_none() {
                let message = format!(
                    "upstream {wanted:?} of {:?} is tcp: it needs a bind, a port of its own",
                    name.value
                );
                self.problems.add(upstream, message);
            }
            upstreams.push(Upstream {
                name: wanted.clone(),
                bind,
                protocol,
            });
        }
        upstreams
    }

    fn contract(&mut self, read: &Spanned<String>) -> Option<Contract> {
        let path = self.folder.join(&read.value);
        let problem = match std::fs::read(&path) {
            Err(err) => format!("contract {}: {err}", path.display()),
            Ok(bytes) => match prost_reflect::DescriptorPool::decode(bytes.as_slice()) {
                Err(err) => format!(
                    "contract {} is not a FileDescriptorSet: {err}",
                    path.display()
                ),
                Ok(_) => return Some(Contract::File(path)),
            },
        };
        self.problems.add(read, problem);
        None
    }

    fn versions(&mut self, name: &Spanned<String>, read: &yaml::Service) -> Vec<Version> {
        self.environment(&read.env);
        let Some(versions) = &read.versions else {
            let program = self.program(name, read.command.as_ref());
            let version = program.map(|program| Version {
                name: "v1".to_owned(),
                replicas: 1,
                program,
                env: read.env.to_map(),
            });
            return version.into_iter().collect();
        };
        if versions.value.0.is_empty() {
            self.problems.add(
                versions,
                format!("versions of {:?}: expected at least one", name.value),
            );
        }
        let default = yaml::Version::default();
        let mut out = Vec::new();
        for (key, version) in &versions.value.0 {
            let version = version.as_ref().unwrap_or(&default);
            if !is_name(&key.value) {
                self.problems
                    .add(key, format!("version {:?}: {NAME_RULE}", key.value));
            }
            self.environment(&version.env);
            let replicas = self.replicas(version);
            let command = version.command.as_ref().or(read.command.as_ref());
            let Some(program) = self.program(name, command) else {
                continue;
            };
            let mut env = read.env.to_map();
            env.extend(version.env.to_map());
            out.push(Version {
                name: key.value.clone(),
                replicas,
                program,
                env,
            });
        }
        out
    }

    fn replicas(&mut self, version: &yaml::Version) -> u32 {
        let Some(replicas) = &version.replicas else {
            return 1;
        };
        if replicas.value > MAX_REPLICAS {
            let message = format!(
                "replicas = {}: expected at most {MAX_REPLICAS}",
                replicas.value
            );
            self.problems.add(replicas, message);
        }
        replicas.value
    }

    fn program(
        &mut self,
        name: &Spanned<String>,
        command: Option<&Spanned<Vec<Spanned<String>>>>,
    ) -> Option<Program> {
        let Some(command) = command else {
            self.problems
                .add(name, format!("service {:?} has no command", name.value));
            return None;
        };
        let argv: Vec<String> = command
            .value
            .iter()
            .map(|word| word.value.clone())
            .collect();
        match Program::resolve(&argv, self.folder, self.search) {
            Ok(program) => Some(program),
            Err(err) => {
                match command.value.first() {
                    Some(first) => self.problems.add(first, err.to_string()),
                    None => self.problems.add(command, err.to_string()),
                }
                None
            }
        }
    }

    fn environment(&mut self, env: &yaml::Entries<yaml::Scalar>) {
        for (key, _) in &env.0 {
            let reserved = RESERVED.contains(&key.value.as_str())
                || (key.value.starts_with("OUTRIGGER_UPSTREAM_") && key.value.ends_with("_ADDR"));
            if reserved {
                self.problems.add(
                    key,
                    format!("{} is set by outrigger for every application", key.value),
                );
            } else if key.value.is_empty() || key.value.contains(['=', '\0']) {
                self.problems.add(
                    key,
                    format!("{:?} cannot name an environment variable", key.value),
                );
            }
        }
    }
}

const NAME_RULE: &str = "a name is a lower-case letter, then at most 62 of a-z, 0-9 and -";

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
        && text.len() <= 63
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn nobody(wanted: &str, names: &BTreeSet<String>) -> String {
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    format!(
        "nobody is named {wanted:?}, expected one of {}",
        known.join(", ")
    )
}
