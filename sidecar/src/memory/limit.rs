//! What the kernel allows the process, and what it uses.

use std::path::{Path, PathBuf};

/// Where cgroups are mounted, in containers too.
const MOUNT: &str = "/sys/fs/cgroup";
/// A v1 file without a limit holds the largest number that is a whole page.
const NONE: u64 = 1 << 60;

/// What the process's cgroup allows, or the tightest of those around it. `None`: nobody bounds it.
pub(super) fn of_cgroup() -> Option<u64> {
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    places(Path::new(MOUNT), &cgroup)
        .into_iter()
        .filter_map(|place| parse(&std::fs::read_to_string(place).ok()?))
        .min()
}

/// Files that may hold a limit, by the text of `/proc/self/cgroup`: each group's own and those of the groups around it, because a
/// container sees either its own group as the root or the host's path.
fn places(mount: &Path, cgroup: &str) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let roots: &[(&str, &str)] = match controllers {
            "" => &[("", "memory.max"), ("unified", "memory.max")],
            _ if controllers.split(',').any(|one| one == "memory") => {
                &[("memory", "memory.limit_in_bytes")]
            }
            _ => &[],
        };
        let path = Path::new(path.trim_start_matches('/'));
        for (root, file) in roots {
            let groups = path.ancestors();
            places.extend(groups.map(|group| mount.join(root).join(group).join(file)));
        }
    }
    places
}

fn parse(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < NONE)
}

/// Bytes of the process that the kernel cannot take back: its resident memory without pages that are files' anyway.
pub(super) fn resident() -> Option<u64> {
    resident_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_in(status: &str) -> Option<u64> {
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some((kib("RssAnon:")? + kib("RssShmem:").unwrap_or(0)) << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(files: &[(&str, &str)], cgroup: &str) -> Option<u64> {
        let mount = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = mount.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let places = places(mount.path(), cgroup);
        let texts = places
            .iter()
            .filter_map(|place| std::fs::read_to_string(place).ok());
        texts.filter_map(|text| parse(&text)).min()
    }

    #[test]
    fn the_tightest_group_around_us_counts_in_both_versions() {
        let v1 = "9:name=systemd:/\n4:memory:/pod/a\n1:cpu,cpuacct:/pod/a\n";
        let v2 = "0::/pod/a\n";
        let none = "9223372036854771712\n";
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, Option<u64>);
        let cases: [Case<'_>; 8] = [
            (
                &[("memory/pod/a/memory.limit_in_bytes", "1000\n")],
                v1,
                Some(1000),
            ),
            (
                &[
                    ("memory/pod/a/memory.limit_in_bytes", none),
                    ("memory/pod/memory.limit_in_bytes", "2000\n"),
                ],
                v1,
                Some(2000),
            ),
            // A container: the group is the root of what it sees.
            (
                &[("memory/memory.limit_in_bytes", "3000\n")],
                v1,
                Some(3000),
            ),
            (&[("memory/memory.limit_in_bytes", none)], v1, None),
            (
                &[("pod/a/memory.max", "4000\n"), ("pod/memory.max", "3500\n")],
                v2,
                Some(3500),
            ),
            (&[("pod/a/memory.max", "max\n")], v2, None),
            (&[("memory.max", "5000\n")], v2, Some(5000)),
            (&[("memory.max", "6000\n")], "nothing of it", None),
        ];
        for (files, cgroup, expected) in cases {
            assert_eq!(limit(files, cgroup), expected, "{files:?}");
        }
    }

    #[test]
    fn pages_of_files_are_not_ours() {
        let status = "Name:\tx\nVmRSS:\t  900 kB\nRssAnon:\t  100 kB\nRssFile:\t  700 kB\nRssShmem:\t  20 kB\n";
        assert_eq!(resident_in(status), Some(120 << 10));
        assert_eq!(resident_in("Name:\tx\n"), None);
        assert!(resident().is_some_and(|bytes| bytes > 1 << 20));
    }
}
