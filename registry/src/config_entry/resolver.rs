//! `service-resolver`.

use outrigger_consul::config::ServiceResolver;
use outrigger_consul::config::resolver::{
    Failover, FailoverTarget, HashPolicy, LoadBalancer, Redirect,
};

use crate::filter::Filter;

pub(super) fn validate(entry: &ServiceResolver) -> Result<(), String> {
    subsets(entry)?;
    if entry.prioritize_by_locality.is_some() {
        return Err("Prioritize-by-locality requires Consul Enterprise".to_owned());
    }
    let known = |subset: &str| entry.subsets.contains_key(subset);
    if !entry.default_subset.is_empty() && !known(&entry.default_subset) {
        return Err(format!(
            "DefaultSubset {:?} is not a valid subset",
            entry.default_subset
        ));
    }
    if let Some(redirect) = &entry.redirect {
        self::redirect(entry, redirect)?;
    }
    for (subset, section) in &entry.failover {
        if subset != "*" && !known(subset) {
            return Err(format!("Bad Failover[{subset:?}]: not a valid subset"));
        }
        failover(entry, section).map_err(|message| format!("Bad Failover[{subset:?}]{message}"))?;
    }
    if entry.connect_timeout.0 < 0 {
        return Err(format!(
            "Bad ConnectTimeout '{}', must be >= 0",
            entry.connect_timeout
        ));
    }
    if entry.request_timeout.0 < 0 {
        return Err(format!(
            "Bad RequestTimeout '{}', must be >= 0",
            entry.request_timeout
        ));
    }
    match &entry.load_balancer {
        Some(balancer) => load_balancer(balancer),
        None => Ok(()),
    }
}

fn subsets(entry: &ServiceResolver) -> Result<(), String> {
    for (name, subset) in &entry.subsets {
        if name.is_empty() {
            return Err("Subset defined with empty name".to_owned());
        }
        let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.len() > 63
            || !name.bytes().all(label)
            || name.starts_with('-')
            || name.ends_with('-')
        {
            return Err(format!(
                "Subset {name:?} is invalid: must be 63 characters or fewer, begin or end with lower case alphanumeric \
                 characters, and contain lower case alphanumeric characters or '-' in between"
            ));
        }
        if !subset.filter.is_empty() {
            Filter::parse(&subset.filter).map_err(|error| {
                format!("Filter for subset {name:?} is not a valid expression: {error}")
            })?;
        }
    }
    Ok(())
}

fn redirect(entry: &ServiceResolver, redirect: &Redirect) -> Result<(), String> {
    for (field, value) in [
        ("Namespace", &redirect.namespace),
        ("Partition", &redirect.partition),
        ("SamenessGroup", &redirect.sameness_group),
    ] {
        if !value.is_empty() {
            return Err(format!(
                "Redirect: Setting {field} requires Consul Enterprise"
            ));
        }
    }
    if *redirect == Redirect::default() {
        return Err("Redirect is empty".to_owned());
    }
    if !redirect.peer.is_empty() {
        if !redirect.service_subset.is_empty() {
            return Err("Redirect.Peer cannot be set with Redirect.ServiceSubset".to_owned());
        }
        if !redirect.datacenter.is_empty() {
            return Err("Redirect.Peer cannot be set with Redirect.Datacenter".to_owned());
        }
        if redirect.service.is_empty() {
            return Err("Redirect.Peer defined without Redirect.Service".to_owned());
        }
    }
    let subset = &redirect.service_subset;
    if subset.is_empty() {
        return Ok(());
    }
    if redirect.service.is_empty() {
        return Err("Redirect.ServiceSubset defined without Redirect.Service".to_owned());
    }
    if redirect.service == entry.name && !entry.subsets.contains_key(subset) {
        return Err(format!(
            "Redirect.ServiceSubset {subset:?} is not a valid subset of {:?}",
            redirect.service
        ));
    }
    Ok(())
}

/// The message continues `Bad Failover["x"]`.
fn failover(entry: &ServiceResolver, section: &Failover) -> Result<(), String> {
    for (field, set) in [
        ("Namespace", &section.namespace),
        ("SamenessGroup", &section.sameness_group),
    ] {
        if !set.is_empty() {
            return Err(format!(": Setting {field} requires Consul Enterprise"));
        }
    }
    if section.policy.is_some() {
        return Err(": Setting failover policies requires Consul Enterprise".to_owned());
    }
    let named = [&section.service, &section.service_subset]
        .iter()
        .any(|name| !name.is_empty());
    if !named && section.datacenters.is_empty() && section.targets.is_empty() {
        return Err(
            ": one of Service, ServiceSubset, Namespace, Targets, SamenessGroup, or Datacenters is required".to_owned()
        );
    }
    let own = |service: &str| service.is_empty() || service == entry.name;
    let unknown = |service: &str, subset: &str| {
        !subset.is_empty() && own(service) && !entry.subsets.contains_key(subset)
    };
    if unknown(&section.service, &section.service_subset) {
        return Err(format!(
            ": ServiceSubset {:?} is not a valid subset of {:?}",
            section.service_subset, entry.name
        ));
    }
    if section.datacenters.iter().any(String::is_empty) {
        return Err(".Datacenters: found empty datacenter".to_owned());
    }
    if !section.targets.is_empty() {
        for (field, set) in [
            ("Datacenters", !section.datacenters.is_empty()),
            ("ServiceSubset", !section.service_subset.is_empty()),
            ("Service", !section.service.is_empty()),
        ] {
            if set {
                return Err(format!(": Targets cannot be set with {field}"));
            }
        }
    }
    for (position, target) in section.targets.iter().enumerate() {
        self::target(target).map_err(|message| format!(".Targets[{position}]: {message}"))?;
        if unknown(&target.service, &target.service_subset) {
            let (subset, name) = (&target.service_subset, &entry.name);
            return Err(format!(
                ".Targets[{position}]: ServiceSubset {subset:?} is not a valid subset of {name:?}"
            ));
        }
    }
    Ok(())
}

fn target(target: &FailoverTarget) -> Result<(), String> {
    for (field, set) in [
        ("Partition", &target.partition),
        ("Namespace", &target.namespace),
    ] {
        if !set.is_empty() {
            return Err(format!("Setting {field} requires Consul Enterprise"));
        }
    }
    if target.peer.is_empty() {
        return Ok(());
    }
    if !target.service_subset.is_empty() {
        return Err("Peer cannot be set with ServiceSubset".to_owned());
    }
    if !target.datacenter.is_empty() {
        return Err("Peer cannot be set with Datacenter".to_owned());
    }
    Ok(())
}

fn load_balancer(balancer: &LoadBalancer) -> Result<(), String> {
    let policy = balancer.policy.as_str();
    if ![
        "",
        "random",
        "round_robin",
        "least_request",
        "ring_hash",
        "maglev",
    ]
    .contains(&policy)
    {
        return Err(format!(
            "Bad LoadBalancer policy: {policy:?} is not supported"
        ));
    }
    if balancer.ring_hash_config.is_some() && policy != "ring_hash" {
        return Err(format!(
            "Bad LoadBalancer configuration. RingHashConfig specified for incompatible load balancing policy {policy:?}"
        ));
    }
    if balancer.least_request_config.is_some() && policy != "least_request" {
        return Err(format!(
            "Bad LoadBalancer configuration. LeastRequestConfig specified for incompatible load balancing policy {policy:?}"
        ));
    }
    let hash_based = ["ring_hash", "maglev"].contains(&policy);
    if !balancer.hash_policies.is_empty() && !hash_based {
        return Err(format!(
            "Bad LoadBalancer configuration: HashPolicies specified for non-hash-based Policy: {policy:?}"
        ));
    }
    for (position, policy) in balancer.hash_policies.iter().enumerate() {
        hash_policy(policy)
            .map_err(|message| format!("Bad LoadBalancer HashPolicy[{position}]: {message}"))?;
    }
    Ok(())
}

fn hash_policy(policy: &HashPolicy) -> Result<(), String> {
    let (field, value) = (policy.field.as_str(), policy.field_value.as_str());
    if !["", "header", "cookie", "query_parameter"].contains(&field) {
        return Err(format!("{field:?} is not a supported field"));
    }
    if policy.source_ip && !field.is_empty() {
        return Err(format!(
            "A single hash policy cannot hash both a source address and a {field:?}"
        ));
    }
    if policy.source_ip && !value.is_empty() {
        return Err("A FieldValue cannot be specified when hashing SourceIP".to_owned());
    }
    if !field.is_empty() && value.is_empty() {
        return Err(format!(
            "Field {field:?} was specified without a FieldValue"
        ));
    }
    if field.is_empty() && !value.is_empty() {
        return Err("FieldValue requires a Field to apply to".to_owned());
    }
    let Some(cookie) = &policy.cookie_config else {
        return Ok(());
    };
    if field != "cookie" {
        return Err(format!("cookie_config provided for {field:?}"));
    }
    if cookie.session && cookie.ttl.0 != 0 {
        return Err("a session cookie cannot have an associated TTL".to_owned());
    }
    Ok(())
}
