//! The fuzzer: libFuzzer around one target of the sidecar, which `OUTRIGGER_FUZZ_TARGET` names. `.ci/fuzz` builds and runs it.
#![no_main]

use std::sync::LazyLock;

use outrigger_sidecar::fuzz::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line belongs to libFuzzer"
    )]
    let name = std::env::var("OUTRIGGER_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.into_iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("OUTRIGGER_FUZZ_TARGET is {name:?}, which is no target"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
