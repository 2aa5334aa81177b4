//! Foreign programs that the comparison needs: where they are, and whether they have to be there.

use std::path::PathBuf;

use super::report::complain;

/// `None`, and a line that says so, without it.
#[expect(
    clippy::disallowed_methods,
    reason = "the program's edge to its environment"
)]
pub(crate) fn find(program: &str) -> anyhow::Result<Option<PathBuf>> {
    let tools = std::env::var_os("OUTRIGGER_TOOLS")
        .map(PathBuf::from)
        .or_else(|| {
            let home = std::env::var_os("HOME")?;
            Some(PathBuf::from(home).join(".cache/outrigger-tools"))
        });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = tools
        .map(|tools| tools.join("bin"))
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        let is_required = std::env::var("OUTRIGGER_REQUIRE")
            .is_ok_and(|names| names.split(',').any(|name| name == program));
        anyhow::ensure!(
            !is_required,
            "{program} is required here but not found: run `tests/tools {program}`"
        );
        complain(&format!(
            "SKIPPED what needs {program}: not found (`tests/tools {program}` installs it)"
        ));
    }
    Ok(found)
}
