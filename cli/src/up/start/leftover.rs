//! What the last run in this folder left in the registry because it was killed: instances that this run does not have would be offered
//! to callers until their checks expire. What others registered is never touched.

use std::collections::BTreeSet;

use outrigger_consul::{Client, Error};

use crate::output::Output;
use crate::plan::Plan;

/// Removes those of `earlier` that are not in the plan, each sidecar before its application.
pub(super) async fn remove(client: &Client, plan: &Plan, earlier: &[String], output: &Output) {
    for id in leftovers(plan, earlier) {
        match client.deregister_service(&id).await {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(err) => output.warn(&format!("{id} of an earlier run stays registered: {err}")),
        }
    }
}

fn leftovers(plan: &Plan, earlier: &[String]) -> Vec<String> {
    let current: BTreeSet<&str> = plan
        .instances
        .iter()
        .map(|instance| instance.name.as_str())
        .collect();
    earlier
        .iter()
        .filter(|name| !current.contains(name.as_str()))
        .flat_map(|name| [format!("{name}-sidecar-proxy"), name.clone()])
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::mesh_file::{SearchPath, parse};
    use crate::run_folder::Paths;

    #[test]
    fn only_what_an_earlier_run_had_and_this_one_has_not_is_removed() {
        let search = SearchPath {
            own: "/opt/outrigger".into(),
            path: "/usr/bin:/bin".into(),
        };
        let text = "version: 1\nservices: {web: {command: [sh]}}";
        let file = parse(text, "mesh.yaml", Path::new("/"), &search).unwrap();
        let plan = Plan::new(&file, &Paths::new("/d".into(), "/d/run".into()), &|_| true);
        let earlier = ["web-v1-0".to_owned(), "web-v1-1".to_owned()];
        assert_eq!(
            leftovers(&plan, &earlier),
            ["web-v1-1-sidecar-proxy", "web-v1-1"]
        );
    }
}
