//! What a process that is a sidecar asks of the machine it runs on. Nothing here is needed to be correct; all of it was measured
//! (`bench/README.md`).

/// glibc's tunables, one `name=value` after the other between colons (glibc manual, 39).
const TUNABLES: &str = "GLIBC_TUNABLES";
/// From how many bytes on `memcpy` uses the processor's string instruction.
const THRESHOLD: &str = "glibc.cpu.x86_rep_movsb_threshold";
/// No copy of ours is so large.
const NEVER: u32 = 100_000_000;

/// The allocator asks for pages of 2 MiB, of which a sidecar would hold ten half empty: 20 MiB more for no call a second.
pub fn use_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
}

/// Begins this process anew with glibc's copies as AMD's processors do them fast; comes back where there is nothing to change. The
/// process keeps its id, arguments and descriptors. To be called before anything is opened: glibc reads its tunables only at the start.
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[expect(
    clippy::disallowed_methods,
    reason = "the program's edge to its environment"
)]
pub fn copy_plainly() {
    use std::os::unix::process::CommandExt as _;
    use std::{env, fs};

    let set = env::var(TUNABLES).ok();
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let Some(tunables) = tunables(set.as_deref(), &processors) else {
        return;
    };
    let mut arguments = env::args_os();
    // By its own path, so that it keeps its name too.
    let (Some(name), Ok(program)) = (arguments.next(), env::current_exe()) else {
        return;
    };
    let error = std::process::Command::new(program)
        .arg0(name)
        .args(arguments)
        .env(TUNABLES, tunables)
        .exec();
    tracing::debug!(%error, "copies stay as they are");
}

/// The same where there is no glibc, or no such instruction.
#[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")))]
pub fn copy_plainly() {}

/// What they are to be; `None` where they already say something about it, or the processor does not need it. AMD's copy slowly by
/// `rep movsb` where source and target are not aligned alike, which the payload behind a frame's head never is.
fn tunables(set: Option<&str>, processors: &str) -> Option<String> {
    let is_amd = processors.contains("AuthenticAMD");
    let is_set = set.is_some_and(|set| set.contains(THRESHOLD));
    if !is_amd || is_set {
        return None;
    }
    let before = set.filter(|set| !set.is_empty());
    let before = before.map_or_else(String::new, |set| format!("{set}:"));
    Some(format!("{before}{THRESHOLD}={NEVER}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_amd_copies_plainly_and_what_an_operator_says_stays() {
        let amd = "processor : 0\nvendor_id : AuthenticAMD\n";
        let ours = "glibc.cpu.x86_rep_movsb_threshold=100000000";
        let both = "glibc.malloc.check=1:glibc.cpu.x86_rep_movsb_threshold=100000000";
        for (set, processors, expected) in [
            (None, amd, Some(ours)),
            (Some(""), amd, Some(ours)),
            (Some("glibc.malloc.check=1"), amd, Some(both)),
            (Some("glibc.cpu.x86_rep_movsb_threshold=4096"), amd, None),
            (Some(both), amd, None),
            (None, "vendor_id : GenuineIntel\n", None),
            (None, "", None),
        ] {
            assert_eq!(
                tunables(set, processors).as_deref(),
                expected,
                "{set:?} on {processors:?}"
            );
        }
    }
}
