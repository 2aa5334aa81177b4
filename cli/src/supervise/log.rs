//! A process's log file, bounded, and its last lines, for the message when it fails.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Lines kept for the message of a failed start.
const LAST_LINES: usize = 20;
/// A longer line is cut into several.
const LONGEST_LINE: usize = 64 << 10;
/// A log that reaches it is moved to `.log.1`, over the one before.
const LARGEST: u64 = 64 << 20;

#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    last: VecDeque<String>,
}

impl Log {
    /// Begins a new log; the one of the last run is kept as `.log.1`.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: begin(path)?,
            size: 0,
            last: VecDeque::new(),
        })
    }

    pub(super) fn write(&mut self, line: &str) {
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
        if self.size >= LARGEST
            && let Ok(file) = begin(&self.path)
        {
            (self.file, self.size) = (file, 0);
        }
        // A full disk must not end the run: the line was shown, and is kept in memory.
        let _full = writeln!(self.file, "{line}");
        self.size += line.len() as u64 + 1;
    }

    pub(super) fn last_lines(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

fn begin(path: &Path) -> std::io::Result<File> {
    if path.exists() {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// Hands on every line until the pipe ends, the last one also without a line feed.
pub(super) async fn read_lines(mut pipe: impl AsyncRead + Unpin, mut line: impl FnMut(&str)) {
    let mut held = Vec::new();
    let mut chunk = vec![0; 8 << 10];
    loop {
        let read = match pipe.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        held.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let mut begin = 0;
        while let Some(end) = held.iter().skip(begin).position(|&byte| byte == b'\n') {
            let text = held.get(begin..begin + end).unwrap_or_default();
            line(String::from_utf8_lossy(text).trim_end_matches('\r'));
            begin += end + 1;
        }
        held.drain(..begin);
        if held.len() >= LONGEST_LINE {
            line(&String::from_utf8_lossy(&held));
            held.clear();
        }
    }
    if !held.is_empty() {
        line(&String::from_utf8_lossy(&held));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_cut_where_the_pipe_cuts_them_and_where_they_grow_too_long() {
        let long = "x".repeat(LONGEST_LINE);
        let text = format!("one\r\ntwo\n\n{long}\nlast");
        let mut lines = Vec::new();
        read_lines(text.as_bytes(), |line| lines.push(line.to_owned())).await;
        assert_eq!(lines[..3], ["one", "two", ""]);
        assert_eq!(
            lines.iter().map(String::len).sum::<usize>(),
            "onetwolast".len() + long.len()
        );
        assert_eq!(lines.last().unwrap(), "last");
    }

    #[test]
    fn the_last_twenty_lines_and_the_last_run_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        let mut log = Log::open(&path).unwrap();
        for number in 0..30 {
            log.write(&number.to_string());
        }
        assert_eq!(log.last_lines().len(), LAST_LINES);
        assert_eq!(log.last_lines().first().unwrap(), "10");
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 30);
        Log::open(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        assert_eq!(
            std::fs::read_to_string(folder.path().join("web.log.1"))
                .unwrap()
                .lines()
                .count(),
            30
        );
    }
}
