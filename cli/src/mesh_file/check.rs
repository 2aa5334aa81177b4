//! The rules of a mesh file that its grammar cannot say. All mistakes are collected, so that one run of the loader tells them all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_saphyr::Spanned;

use super::command::SearchPath;
use super::{MeshFile, Place, Problem, RegistryChoice, Service, yaml};

mod service;

use service::Reader;

/// The registry's ids hold 128 bytes, of which a number and `-sidecar-proxy` take some.
const LONGEST_PREFIX: usize = 100;

/// Collects mistakes with their places.
#[derive(Debug, Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add<T>(&mut self, at: &Spanned<T>, message: String) {
        self.0.push(Problem {
            place: Some(Place::from(at.referenced)),
            message,
        });
    }
}

pub(super) fn check(
    file: yaml::File,
    folder: &Path,
    search: &SearchPath,
) -> Result<MeshFile, Vec<Problem>> {
    let mut problems = Problems::default();
    if file.version.value != 1 {
        problems.add(
            &file.version,
            format!("version = {}: expected 1", file.version.value),
        );
    }
    let registry = registry(file.registry.as_ref(), &mut problems);
    let names: BTreeSet<String> = file
        .services
        .value
        .0
        .iter()
        .map(|(name, _)| name.value.clone())
        .collect();
    if names.is_empty() {
        problems.add(&file.services, "services: expected at least one".to_owned());
    }
    ports(&file.services.value.0, &mut problems);
    let services: Vec<Service> = file
        .services
        .value
        .0
        .into_iter()
        .filter_map(|(name, read)| {
            Reader {
                folder,
                search,
                names: &names,
                problems: &mut problems,
            }
            .service(&name, read)
        })
        .collect();
    instance_names(&services, &mut problems);
    if problems.0.is_empty() {
        return Ok(MeshFile {
            intentions: file.intentions,
            registry,
            services,
        });
    }
    problems.0.sort();
    Err(problems.0)
}

fn registry(read: Option<&Spanned<String>>, problems: &mut Problems) -> RegistryChoice {
    let Some(read) = read else {
        return RegistryChoice::Embedded;
    };
    if read.value == "embedded" {
        return RegistryChoice::Embedded;
    }
    match consul_address(&read.value) {
        Ok(address) => RegistryChoice::Consul(address),
        Err(message) => {
            problems.add(read, format!("registry: {message}"));
            RegistryChoice::Embedded
        }
    }
}

/// Checks the address of a Consul and cuts a closing slash.
pub(crate) fn consul_address(text: &str) -> Result<String, String> {
    let expected =
        || format!("{text:?}: expected embedded or an address such as http://127.0.0.1:8500");
    let uri: http::Uri = text.parse().map_err(|_| expected())?;
    if uri.scheme_str() == Some("https") {
        return Err(format!(
            "{text:?}: https is not supported yet, use the local agent's http address"
        ));
    }
    let bare = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) || !bare {
        return Err(expected());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Two services cannot own one port: which of them got it would depend on who started first.
fn ports(services: &[(Spanned<String>, yaml::Service)], problems: &mut Problems) {
    let mut owners: BTreeMap<u16, String> = BTreeMap::new();
    let mut claim = |port: u16, owner: String, place: Place| match owners.get(&port) {
        Some(first) => problems.0.push(Problem {
            place: Some(place),
            message: format!("port {port} of {owner} is already taken by {first}"),
        }),
        None => {
            owners.insert(port, owner);
        }
    };
    for (name, service) in services {
        if let Some(edge) = &service.edge {
            let place = Place::from(edge.value.plain.referenced);
            claim(
                edge.value.plain.value,
                format!("the edge of {:?}", name.value),
                place,
            );
        }
        for upstream in &service.upstreams {
            let owner = format!("upstream {:?} of {:?}", upstream.value.name, name.value);
            if let Some(port) = upstream.value.bind {
                claim(port, owner, Place::from(upstream.referenced));
            }
        }
    }
}

/// `a` in version `b-c` and `a-b` in version `c` would both register as `a-b-c-0`.
fn instance_names(services: &[Service], problems: &mut Problems) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for service in services {
        for version in &service.versions {
            let prefix = format!("{}-{}", service.name, version.name);
            if prefix.len() > LONGEST_PREFIX {
                let message = format!(
                    "instances named {prefix}-0 and so on: expected service and version of at most {LONGEST_PREFIX} letters together"
                );
                problems.0.push(Problem {
                    place: None,
                    message,
                });
            }
            if let Some(other) = seen.insert(prefix.clone(), &service.name) {
                let message = format!(
                    "services {other:?} and {:?} both have instances named {prefix}-0",
                    service.name
                );
                problems.0.push(Problem {
                    place: None,
                    message,
                });
            }
        }
    }
}
