//! The shop as a mesh file: what `outrigger up` runs without `-f`, and what `--print-mesh` prints.
//!
//! Who calls whom is not written here: a service's upstreams are those whose contracts name it as a caller, so that the file, the
//! intentions and the contracts cannot disagree.

use std::fmt::Write as _;

use crate::shop;

/// Name of the file in messages about it.
pub(crate) const NAME: &str = "the built-in mesh file";

/// The text of the mesh file.
pub(crate) fn text() -> String {
    let mut text = String::from(
        "# The shop. Upstreams follow from the contracts: each names the services that may call its methods.\n\
         version: 1\n\
         intentions: deny\n\
         registry: embedded\n\
         services:\n",
    );
    for name in shop::NAMES {
        // The gateway speaks HTTP/1.1 and HTTP/2 to whoever its sidecar's edge lets in; all others speak gRPC only.
        let (protocol, edge) = match name {
            "gateway" => ("http", "    edge: {plain: 8080}\n"),
            _ => ("grpc", ""),
        };
        let upstreams = upstreams(name).join(", ");
        write!(
            text,
            "  {name}:\n    command: [outrigger, shop, {name}]\n    listen: unix\n    protocol: {protocol}\n    \
             upstreams: [{upstreams}]\n{edge}"
        )
        .expect("writing to a string does not fail");
    }
    text
}

/// The services of the shop that `caller` may call at all.
fn upstreams(caller: &str) -> Vec<&'static str> {
    shop::NAMES
        .into_iter()
        .filter(|&callee| callee != caller && outrigger_proto::callers(callee).contains(caller))
        .collect()
}
