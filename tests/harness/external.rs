//! Programs that others wrote: found, or the test says aloud that it did not run.
//!
//! libtest swallows what a passing test prints through `print!` and `eprintln!`, so a skip is written to the process's stderr
//! itself, and a closing line counts the skips of a suite. With `OUTRIGGER_REQUIRE=consul,…` (set in CI) a missing program fails.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::settings;

static SKIPPED: AtomicUsize = AtomicUsize::new(0);
static CLOSING: Once = Once::new();

/// The program of that name on PATH or among the tools of `tests/tools`; `None` means: return, it has been said.
pub fn external(name: &str) -> Option<PathBuf> {
    if let Some(path) = find(name) {
        return Some(path);
    }
    unavailable(
        name,
        &format!(
            "{name} was found neither on PATH nor in {} (tests/tools {name} installs it)",
            settings::tools().display()
        ),
    );
    None
}

/// Says that a test does not run here for want of `name`, and why; where it is required, fails.
pub fn unavailable(name: &str, why: &str) {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let required = settings::variable("OUTRIGGER_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|required| required == name),
        "{name} is required here: {why}"
    );
    CLOSING.call_once(count_at_exit);
    SKIPPED.fetch_add(1, Ordering::Relaxed);
    say(&format!("SKIPPED {test}: {why}"));
}

fn find(name: &str) -> Option<PathBuf> {
    // The two languages' programs need the packages beside them, so PATH's own are of no use.
    let (file, on_path) = match name {
        "python" | "node" => (format!("outrigger-{name}"), false),
        _ => (name.to_owned(), true),
    };
    let path = settings::variable("PATH")
        .filter(|_| on_path)
        .unwrap_or_default();
    std::iter::once(settings::tools().join("bin"))
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(&file))
        .find(|candidate| candidate.is_file())
}

fn say(line: &str) {
    // Past libtest's capture, which holds back the macros only. A closed stderr is nobody's failure.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// libtest has no hook after its last test; the C library has one.
#[expect(
    unsafe_code,
    reason = "atexit has no safe wrapper; the callback only writes"
)]
fn count_at_exit() {
    extern "C" fn close() {
        say(&format!(
            "SKIPPED in total: {}",
            SKIPPED.load(Ordering::Relaxed)
        ));
    }
    // SAFETY: `close` is a plain function without state that a later unload or thread end could invalidate.
    unsafe { libc::atexit(close) };
}
