//! Pages of the program's own file. Starting up touches many that serving never does; they stay resident for as long as the process lives.

use std::fs;
use std::ops::Range;

use rustix::mm::{Advice, madvise};

const KIB: usize = 1024;

/// A mapping as proc_pid_smaps(5) describes it.
#[derive(Debug, PartialEq, Eq)]
struct Mapping<'a> {
    addresses: Range<usize>,
    permissions: &'a str,
    path: &'a str,
    resident: usize,
    /// Bytes that are no longer the file's, here or in swap; `None` if the kernel does not say.
    own: Option<usize>,
}

/// Lets go of what is mapped of the program's file; what is needed again is read from the page cache at the first touch. Returns the bytes
/// that were resident, 0 where `/proc` does not say what is ours.
pub(super) fn give_back() -> usize {
    let Ok(program) = fs::read_link("/proc/self/exe") else {
        return 0;
    };
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let clean = mappings(&smaps).into_iter().filter(Mapping::is_clean);
    let of_program = clean.filter(|mapping| program.as_os_str() == mapping.path);
    of_program.map(|mapping| mapping.give_back()).sum()
}

fn mappings(smaps: &str) -> Vec<Mapping<'_>> {
    let mut mappings: Vec<Mapping<'_>> = Vec::new();
    for line in smaps.lines() {
        if let Some(mapping) = Mapping::begun(line) {
            mappings.push(mapping);
        } else if let Some(mapping) = mappings.last_mut() {
            mapping.learn(line);
        }
    }
    mappings
}

// === impl Mapping ===

impl<'a> Mapping<'a> {
    /// `55d0c000-55d0d000 r-xp 00001000 fe:00 1234    /usr/bin/outrigger`
    fn begun(line: &'a str) -> Option<Self> {
        let (addresses, rest) = line.split_once(' ')?;
        let (start, end) = addresses.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let fields = rest.splitn(5, ' ').collect::<Vec<_>>();
        Some(Self {
            addresses: address(start)?..address(end)?,
            permissions: fields[0],
            path: fields.get(4).map_or("", |path| path.trim_start()),
            resident: 0,
            own: None,
        })
    }

    /// `Anonymous:          1068 kB`
    fn learn(&mut self, line: &str) {
        let Some((name, size)) = line.split_once(':') else {
            return;
        };
        let Some(Ok(size)) = size.trim().strip_suffix(" kB").map(str::parse::<usize>) else {
            return;
        };
        match name {
            "Rss" => self.resident = size * KIB,
            "Anonymous" | "Swap" => *self.own.get_or_insert(0) += size * KIB,
            _ => {}
        }
    }

    /// Nothing in it was ever written, so that the file holds all of it.
    fn is_clean(&self) -> bool {
        let is_readable = self.permissions == "r--p" || self.permissions == "r-xp";
        is_readable && self.own == Some(0)
    }

    #[expect(unsafe_code, reason = "no library wraps it")]
    fn give_back(&self) -> usize {
        let start = std::ptr::with_exposed_provenance_mut(self.addresses.start);
        // SAFETY: it is the program's own mapping, which stays where it is for as long as the process lives. It is private and was never
        // written (`is_clean`) nor can be, so that a page that is gone comes back from the file as it was (madvise(2), MADV_DONTNEED).
        let given = unsafe { madvise(start, self.addresses.len(), Advice::LinuxDontNeed) };
        given.map_or(0, |()| self.resident)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "/opt/a program";
    const SMAPS: &str = "\
1000-3000 r--p 00000000 fe:00 77                         /opt/a program
Size:                  8 kB
Rss:                   8 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd mr mw me sd
3000-8000 r-xp 00002000 fe:00 77                         /opt/a program
Rss:                  12 kB
Anonymous:             0 kB
Swap:                  0 kB
8000-9000 r--p 00007000 fe:00 77                         /opt/a program
Rss:                   4 kB
Anonymous:             4 kB
Swap:                  0 kB
9000-a000 r--p 00008000 fe:00 77                         /opt/a program
Rss:                   0 kB
Anonymous:             0 kB
Swap:                  4 kB
a000-b000 rw-p 00009000 fe:00 77                         /opt/a program
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
b000-c000 r--p 0000a000 fe:00 77                         /opt/a program
Rss:                   4 kB
c000-d000 rw-p 00000000 00:00 0
Rss:                   4 kB
Anonymous:             4 kB
Swap:                  0 kB
";

    #[test]
    fn only_what_was_never_written_is_clean() {
        let mappings = mappings(SMAPS);
        assert_eq!(mappings.len(), 7);
        let clean = mappings.into_iter().filter(Mapping::is_clean);
        let clean = clean.map(|mapping| (mapping.addresses, mapping.path, mapping.resident));
        let expected = [
            (0x1000..0x3000, PROGRAM, 8 * KIB),
            (0x3000..0x8000, PROGRAM, 12 * KIB),
        ];
        assert_eq!(clean.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_none_of_it_is_passed_over() {
        for text in ["", "Rss: 4 kB", "x-y r--p", "1000-2000", "::", "1-2 r--p 0"] {
            let clean = mappings(text).into_iter().filter(Mapping::is_clean);
            assert_eq!(clean.count(), 0, "{text:?}");
        }
    }

    #[test]
    fn the_program_goes_on_with_fewer_pages_resident() {
        let given = give_back();
        assert!(given > 0);
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let program = fs::read_link("/proc/self/exe").unwrap();
        let clean = mappings(&smaps).into_iter().filter(Mapping::is_clean);
        let of_program = clean.filter(|mapping| program.as_os_str() == mapping.path);
        let left: usize = of_program.map(|mapping| mapping.resident).sum();
        assert!(left < given, "{given} bytes were resident, {left} are");
        assert_eq!(mappings(SMAPS).len(), 7);
    }
}
