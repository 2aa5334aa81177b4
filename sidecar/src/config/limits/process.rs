//! Bounds of the whole process, whoever is at the other end.

use super::{Setting, wrong};
use crate::config::Error;

/// One bound of the process.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    /// With an edge listener and without; 0: none of its own.
    pub defaults: [u64; 2],
    /// Where the memory is known, the default is no more than so many eighths of it; 0: whatever it is.
    pub eighths: u64,
    pub unit: &'static str,
    pub about: &'static str,
    /// What happens past it.
    pub effect: &'static str,
    place: fn(&mut Process) -> &mut u64,
}

/// The numbers of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Bytes we may use; 0: nobody said so.
    pub memory: u64,
    /// Percents of it.
    pub memory_guard: u64,
    pub memory_guard_leave: u64,
    pub memory_guard_reset: u64,
    pub header_memory: u64,
    pub buffered_bytes: u64,
    /// Lines in a second.
    pub access_log: u64,
}

/// In the order of the docs.
pub const ROWS: [Row; 7] = [
    Row {
        name: "memory",
        defaults: [0, 0],
        eighths: 0,
        unit: "bytes",
        about: "What the process may use. By default what its cgroup (v1 or v2) says.",
        effect: "the kernel would end it",
        place: |process| &mut process.memory,
    },
    Row {
        name: "memory_guard",
        defaults: [80, 80],
        eighths: 0,
        unit: "% of `memory`",
        about: "Used by the process, without what the kernel can take back.",
        effect: "new calls are refused: RESOURCE_EXHAUSTED `overloaded`, with a pushback",
        place: |process| &mut process.memory_guard,
    },
    Row {
        name: "memory_guard_leave",
        defaults: [90, 90],
        eighths: 0,
        unit: "% of `memory`",
        about: "The same.",
        effect: "each second the newest eighth of the accepted connections gets GOAWAY",
        place: |process| &mut process.memory_guard_leave,
    },
    Row {
        name: "memory_guard_reset",
        defaults: [95, 95],
        eighths: 0,
        unit: "% of `memory`",
        about: "The same.",
        effect: "the streams that hold most are reset, RESOURCE_EXHAUSTED; until then nothing is read",
        place: |process| &mut process.memory_guard_reset,
    },
    Row {
        name: "header_memory",
        defaults: [24 << 20, 24 << 20],
        eighths: 1,
        unit: "bytes",
        about: "Heads of calls that wait to be sent on, or might be sent again: what they take in memory, which is more than their list says. An eighth is kept for connections on which ten calls were answered.",
        effect: "the new call is refused: RESOURCE_EXHAUSTED `overloaded`, with a pushback",
        place: |process| &mut process.header_memory,
    },
    Row {
        name: "buffered_bytes",
        defaults: [512 << 20, 128 << 20],
        eighths: 5,
        unit: "bytes",
        about: "What came on all streams and waits for those it is sent to.",
        effect: "no credit is given back until it is less",
        place: |process| &mut process.buffered_bytes,
    },
    Row {
        name: "access_log",
        defaults: [500, 500],
        eighths: 0,
        unit: "lines",
        about: "Calls that failed, were repeated or refused, and are logged, in a second: a flood of them would fill a disk, and writing costs more than refusing.",
        effect: "the line is left out; metrics and traces have the call",
        place: |process| &mut process.access_log,
    },
];

// === impl Row ===

impl Row {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.name == name)
    }

    fn default_of(&self, has_edge: bool, memory: u64) -> u64 {
        let [with_edge, without] = self.defaults;
        let default = if has_edge { with_edge } else { without };
        match self.eighths {
            0 => default,
            _ if memory == 0 => default,
            eighths => default.min(memory / 8 * eighths).max(1),
        }
    }
}

// === impl Process ===

impl Process {
    /// `known`: what the cgroup allows.
    pub(super) fn new<'a>(
        set: impl Fn(&str) -> Option<&'a Setting>,
        has_edge: bool,
        known: Option<u64>,
    ) -> Self {
        let mut process = Self::default();
        for row in &ROWS {
            let memory = process.memory;
            let default = match row.name {
                "memory" => known.unwrap_or_default(),
                _ => row.default_of(has_edge, memory),
            };
            let value = set(row.name).and_then(|setting| setting.amount().ok());
            *(row.place)(&mut process) = value.unwrap_or(default);
        }
        process
    }

    /// A bound by its row.
    pub fn value(mut self, row: &Row) -> u64 {
        *(row.place)(&mut self)
    }

    /// What one says about another.
    pub(super) fn check(&self) -> Result<(), Error> {
        let marks = [
            ("memory_guard", self.memory_guard),
            ("memory_guard_leave", self.memory_guard_leave),
            ("memory_guard_reset", self.memory_guard_reset),
        ];
        let mut least = 1;
        for (name, mark) in marks {
            if !(least..=100).contains(&mark) {
                let expected = format!("a percentage from {least} to 100");
                return Err(wrong("process", name, mark.to_string(), expected));
            }
            least = mark;
        }
        let sum = self.buffered_bytes.saturating_add(self.header_memory);
        let most = self.memory / 100 * self.memory_guard;
        if self.memory > 0 && sum > most {
            let expected = format!(
                "with header_memory ({}) at most {most}, which is memory_guard ({} %) of memory ({})",
                self.header_memory, self.memory_guard, self.memory
            );
            let value = self.buffered_bytes.to_string();
            return Err(wrong("process", "buffered_bytes", value, expected));
        }
        Ok(())
    }
}
