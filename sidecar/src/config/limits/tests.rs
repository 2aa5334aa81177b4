use super::*;

const BEGIN: &str = "limits` writes it -->\n";
const END: &str = "<!-- end -->";

fn limits(toml: &str) -> Result<Limits, String> {
    let limits: Limits = toml::from_str(toml).map_err(|err| err.to_string())?;
    limits.check().map_err(|err| err.to_string())?;
    Ok(limits)
}

#[test]
fn what_is_set_is_set_for_its_scope_only() {
    let limits = limits("[mesh]\nping_frames = 3\nheader_count = \"unlimited\"\n").unwrap();
    assert_eq!(limits.mesh().ping_frames, 3);
    assert_eq!(limits.mesh().header_count, (1 << 31) - 1);
    assert_eq!(limits.edge().ping_frames, 1);
}

#[test]
fn what_cannot_be_a_bound_is_refused_by_its_key() {
    for (text, key) in [
        ("[edge]\nping_frames = 0", "sidecar.limits.edge.ping_frames"),
        (
            "[mesh]\nping_frames = -1",
            "sidecar.limits.mesh.ping_frames",
        ),
        (
            "[mesh]\nping_frames = 4294967296",
            "sidecar.limits.mesh.ping_frames",
        ),
        (
            "[local]\nping_frames = \"many\"",
            "sidecar.limits.local.ping_frames",
        ),
        (
            "[edge]\nping_frames = \"unlimited\"",
            "nothing is unlimited towards the internet",
        ),
        (
            "[edge]\npings = 1",
            "sidecar.limits.edge.pings = 1: one of the bounds",
        ),
        (
            "[mesh]\nmax_concurrent_streams = 500",
            "sidecar.limits.mesh.connection_window",
        ),
    ] {
        let refused = limits(text).unwrap_err();
        assert!(refused.contains(key), "{text}: {refused}");
    }
}

/// What one bound says about another, for the defaults.
#[test]
fn bounds_fit_each_other() {
    for scope in Scope::ALL {
        let limits = Connection::new(scope);
        let streams = limits.max_concurrent_streams;
        assert!(limits.connection_window >= streams * limits.known_stream_window);
        assert!(limits.pending_accept_resets >= streams);
        assert!(limits.reset_memory >= 2 * streams);
        assert!(
            limits
                .drains_at()
                .is_none_or(|drain| drain < limits.library_resets / 2)
        );
    }
    let sizes = |limits: Connection| [limits.header_list, limits.header_count];
    let [edge, mesh, local] = Scope::ALL.map(|scope| sizes(Connection::new(scope)));
    assert!(
        edge.iter().zip(mesh).all(|(outer, inner)| *outer <= inner),
        "inner hops take what outer ones let in"
    );
    assert!(mesh.iter().zip(local).all(|(outer, inner)| *outer <= inner));
}

fn sized(row: &Row, scope: Scope) -> String {
    match (row.unit, row.default_of(scope)) {
        ("bytes", size) if size.is_multiple_of(1 << 20) => format!("{} MiB", size >> 20),
        ("bytes", size) => format!("{} KiB", size >> 10),
        (_, count) => count.to_string(),
    }
}

fn table() -> String {
    let mut table = "| name | edge | mesh | local | unit | what it bounds | past it |\n|---|---|---|---|---|---|---|\n".to_owned();
    for row in &ROWS {
        let [edge, mesh, local] = Scope::ALL.map(|scope| sized(row, scope));
        let line = format!(
            "| `{}` | {edge} | {mesh} | {local} | {} | {} | {} |\n",
            row.name, row.unit, row.about, row.effect
        );
        table.push_str(&line);
    }
    table
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a variable says whether the document is to be written"
)]
fn the_document_has_every_limit_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/limits.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (front, rest) = document.split_once(BEGIN).unwrap();
    let (found, behind) = rest.split_once(END).unwrap();
    let table = table();
    if std::env::var_os("OUTRIGGER_BLESS").is_some() {
        std::fs::write(path, format!("{front}{BEGIN}{table}{END}{behind}")).unwrap();
        return;
    }
    assert_eq!(found, table, "docs/limits.md is stale");
}
