//! Where the programs of this workspace are. `OUTRIGGER_BIN` names a built `outrigger`; without it cargo builds the one that
//! belongs to the running tests, so that no test talks to the program of last week.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::settings;

/// The `outrigger` program.
pub fn outrigger() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match settings::variable("OUTRIGGER_BIN") {
        Some(path) => settings::root().join(path),
        None => build("outrigger"),
    })
    .clone()
}

/// The folder of the profile the tests themselves were built in: `target/debug`.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors()
        .nth(2)
        .expect("a test lies in <profile>/deps")
        .to_owned()
}

fn build(name: &str) -> PathBuf {
    let folder = profile_folder();
    let cargo = settings::variable("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let mut command = Command::new(cargo);
    // `--workspace` resolves features as `cargo test --workspace` did, so that nothing is compiled a second time.
    command
        .current_dir(settings::root())
        .args(["build", "--quiet", "--workspace", "--bin", name])
        .args([
            "--target-dir".as_ref(),
            folder.parent().unwrap().as_os_str(),
        ]);
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let output = command.output().expect("cargo starts");
    assert!(
        output.status.success(),
        "cargo build --bin {name} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    folder.join(name)
}
