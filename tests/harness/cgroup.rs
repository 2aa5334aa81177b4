//! A memory cgroup of a test's own, of version 1 or 2, where the machine lets one be made.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::eventually::{eventually, holds};
use crate::external::unavailable;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The group; processes started by a shell that runs [`Self::joining`] first are in it.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// A group that may use so many bytes. `None` means: return, it has been said.
    pub fn memory(bytes: u64) -> Option<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("outrigger-test-{}-{number}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        let kinds = [
            (root.join("memory"), "memory.limit_in_bytes"),
            (root.to_owned(), "memory.max"),
        ];
        for (root, limit) in kinds {
            let group = Self {
                folder: root.join(&name),
            };
            let is_limited = root.join("cgroup.procs").exists()
                && std::fs::create_dir(&group.folder).is_ok()
                && group.folder.join(limit).exists()
                && std::fs::write(group.folder.join(limit), bytes.to_string()).is_ok();
            if is_limited {
                return Some(group);
            }
        }
        unavailable(
            "cgroup",
            "no memory cgroup can be made under /sys/fs/cgroup",
        );
        None
    }

    /// The shell command by which a shell, and what it becomes, joins the group.
    pub fn joining(&self) -> String {
        format!("echo $$ > {}/cgroup.procs", self.folder.display())
    }

    /// Processes of the group that the kernel ended because it used too much.
    pub fn killed(&self) -> u64 {
        let files = ["memory.oom_control", "memory.events"];
        let texts = files.map(|file| std::fs::read_to_string(self.folder.join(file)));
        let lines = texts.into_iter().flatten();
        let killed = lines.flat_map(|text| {
            let counts = text
                .lines()
                .filter_map(|line| line.strip_prefix("oom_kill "));
            counts
                .map(|count| count.trim().parse::<u64>().unwrap())
                .collect::<Vec<_>>()
        });
        killed.sum()
    }

    /// The most that was ever used, in bytes.
    pub fn peak(&self) -> u64 {
        let files = ["memory.max_usage_in_bytes", "memory.peak"];
        let mut texts = files
            .iter()
            .filter_map(|file| std::fs::read_to_string(self.folder.join(file)).ok());
        texts.next().map_or(0, |text| text.trim().parse().unwrap())
    }

    /// Takes the group away once its processes have ended.
    pub async fn remove(self) {
        eventually("the cgroup is empty", async || {
            let removed = std::fs::remove_dir(&self.folder);
            holds(removed.is_ok(), format!("{removed:?}"))
        })
        .await;
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Of a test that failed; what is left of it is empty and costs nothing.
        let _ = std::fs::remove_dir(&self.folder);
    }
}
