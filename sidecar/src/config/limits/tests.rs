use super::*;

const BEGIN: &str = "limits` writes it -->\n";
const END: &str = "<!-- end -->";

fn limits(toml: &str) -> Result<Limits, String> {
    let limits: Limits = toml::from_str(toml).map_err(|err| err.to_string())?;
    limits.check(true).map_err(|err| err.to_string())?;
    Ok(limits)
}

#[test]
fn what_is_set_is_set_for_its_scope_only() {
    let limits = limits("[mesh]\nping_frames = 3\nunknown_frames = \"unlimited\"\n").unwrap();
    assert_eq!(limits.mesh().ping_frames, 3);
    assert_eq!(limits.mesh().unknown_frames, (1 << 31) - 1);
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
        (
            "[app_in]\nconnections = 5",
            "sidecar.limits.app_in.connections = 5: nothing",
        ),
        (
            "[app_out]\nstranger_calls = 5",
            "sidecar.limits.app_out.stranger_calls = 5: nothing",
        ),
        (
            "[local]\ndials_per_second = 5",
            "sidecar.limits.local.dials_per_second = 5: nothing",
        ),
        ("[process]\nmemory = 0", "sidecar.limits.process.memory = 0"),
        (
            "[process]\nmemory = -5",
            "sidecar.limits.process.memory = -5",
        ),
        (
            "[process]\nmemory = \"much\"",
            "sidecar.limits.process.memory = much",
        ),
        (
            "[process]\nheaders = 1",
            "sidecar.limits.process.headers = 1: one of the bounds memory,",
        ),
    ] {
        let refused = limits(text).unwrap_err();
        assert!(refused.contains(key), "{text}: {refused}");
    }
}

/// What one bound says about another, for the defaults too.
#[test]
fn bounds_fit_each_other() {
    for has_edge in [false, true] {
        Limits::default().check(has_edge).unwrap();
    }
    for (text, key) in [
        (
            "[mesh]\npending_accept_resets = 199",
            "sidecar.limits.mesh.pending_accept_resets = 199: at least 200",
        ),
        (
            "[edge]\nreset_memory = 199",
            "sidecar.limits.edge.reset_memory = 199: at least 200",
        ),
        (
            "[local]\nlibrary_resets = 2",
            "sidecar.limits.app_out.library_resets = 2: at least 3",
        ),
        (
            "[app_out]\nheader_list = 36864",
            "sidecar.limits.mesh.header_list = 36864: at least 40960: limits.app_out",
        ),
        (
            "[edge]\nheader_count = 129",
            "sidecar.limits.mesh.header_count = 136: at least 137: limits.edge",
        ),
        (
            "[app_in]\nheader_count = 143",
            "sidecar.limits.app_in.header_count = 143: at least 144: limits.mesh",
        ),
    ] {
        let refused = limits(text).unwrap_err();
        assert!(refused.contains(key), "{text}: {refused}");
    }
}

#[test]
fn local_is_both_directions_and_what_reaches_the_application_may_be_more() {
    let defaults = Limits::default();
    let heads = |limits: &Limits, scope| {
        let limits = limits.of(scope);
        (limits.header_list, limits.header_count)
    };
    assert_eq!(heads(&defaults, Scope::AppOut), (32 << 10, 128));
    assert_eq!(heads(&defaults, Scope::AppIn), (40 << 10, 144));
    let limits = limits(
        "[mesh]\nheader_list = 34816\n[local]\nheader_list = 30720\nheader_count = 120\nping_frames = 7\nconnections = 5\nstranger_calls = 9\n[app_in]\nheader_count = 150\nping_frames = 8\n",
    )
    .unwrap();
    assert_eq!(heads(&limits, Scope::AppOut), (30 << 10, 120));
    assert_eq!(heads(&limits, Scope::AppIn), (38 << 10, 150));
    let pings = [Scope::AppOut, Scope::AppIn].map(|scope| limits.of(scope).ping_frames);
    assert_eq!((pings, limits.app_out().connections), ([7, 8], 5));
    assert_eq!(limits.app_in().stranger_calls, 9);
}

#[test]
fn the_process_takes_its_memory_from_the_file_or_the_cgroup() {
    const MIB: u64 = 1 << 20;
    let bounds = |text: &str, has_edge, known| {
        let limits: Limits = toml::from_str(text).unwrap();
        let bounds = limits.process(has_edge, known);
        bounds.map(|bounds| (bounds.memory, bounds.header_memory, bounds.buffered_bytes))
    };
    let ok = |text, has_edge, known| bounds(text, has_edge, known).unwrap();
    assert_eq!(ok("", false, None), (0, 24 * MIB, 128 * MIB));
    assert_eq!(ok("", true, None), (0, 24 * MIB, 512 * MIB));
    // Where memory is little the others are less by default.
    let little = Some(128 * MIB);
    assert_eq!(ok("", true, little), (128 * MIB, 16 * MIB, 80 * MIB));
    let set = "[process]\nmemory = 268435456\nheader_memory = 1048576\n";
    assert_eq!(ok(set, false, little), (256 * MIB, MIB, 128 * MIB));
    for (text, key) in [
        (
            "[process]\nbuffered_bytes = 134217728",
            "sidecar.limits.process.buffered_bytes = 134217728: with header_memory (16777216) at most",
        ),
        (
            "[process]\nmemory_guard = 101",
            "sidecar.limits.process.memory_guard = 101",
        ),
        (
            "[process]\nmemory_guard_leave = 79",
            "sidecar.limits.process.memory_guard_leave = 79: a percentage from 80 to 100",
        ),
    ] {
        let refused = bounds(text, false, little).unwrap_err().to_string();
        assert!(refused.contains(key), "{text}: {refused}");
    }
}

fn bytes(size: u64) -> String {
    match size.is_multiple_of(1 << 20) {
        true => format!("{} MiB", size >> 20),
        false => format!("{} KiB", size >> 10),
    }
}

fn sized(row: &Row, scope: Scope) -> String {
    match (row.unit, row.default_of(scope)) {
        (_, 0) => "–".to_owned(),
        ("bytes", size) => bytes(u64::from(size)),
        (_, count) => count.to_string(),
    }
}

fn table() -> String {
    let mut table = "| name | edge | mesh | app_out | app_in | unit | what it bounds | past it |\n|---|---|---|---|---|---|---|---|\n".to_owned();
    for row in &ROWS {
        let [edge, mesh, app_out, app_in] = Scope::ALL.map(|scope| sized(row, scope));
        let line = format!(
            "| `{}` | {edge} | {mesh} | {app_out} | {app_in} | {} | {} | {} |\n",
            row.name, row.unit, row.about, row.effect
        );
        table.push_str(&line);
    }
    table.push_str("\n| of the process | with `edge` | without | unit | what it bounds | past it |\n|---|---|---|---|---|---|\n");
    for row in &PROCESS_ROWS {
        let [with_edge, without] = row.defaults.map(|default| match (row.unit, default) {
            (_, 0) => "the cgroup's".to_owned(),
            ("bytes", size) => bytes(size),
            (_, count) => count.to_string(),
        });
        let line = format!(
            "| `{}` | {with_edge} | {without} | {} | {} | {} |\n",
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
