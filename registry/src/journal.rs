//! Durability: a batch of writes is one line, on disk before anybody hears of it; a snapshot shortens the log.
//!
//! A line is `<hash> <json>`. The last line may be torn by a crash: nobody was told of it, so it is cut off. A bad
//! line with good ones behind it is damage, and the registry refuses to start on it.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::state::dump::Dump;
use crate::state::{Change, State};

const JOURNAL: &str = "journal.log";
const SNAPSHOT: &str = "snapshot.json";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {what} {path}: {source}")]
    Io {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{path} is damaged at byte {offset}, with good records behind it; restore it from a copy or remove it"
    )]
    Damaged { path: PathBuf, offset: usize },
    #[error("{path} cannot be read: {source}")]
    Snapshot {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("a record cannot be written as JSON: {0}")]
    Encode(serde_json::Error),
}

/// One committed write.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) index: u64,
    pub(crate) changes: Vec<Change>,
}

#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    folder: PathBuf,
    length: u64,
    compact_at: u64,
}

impl Journal {
    /// Opens the journal of a folder and replays it. `compact_at` is the size in bytes that calls for a snapshot.
    pub(crate) fn open(folder: &Path, compact_at: u64) -> Result<(Self, State), Error> {
        let mut state = read_snapshot(&folder.join(SNAPSHOT))?;
        let path = folder.join(JOURNAL);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(at("open", &path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(at("read", &path))?;
        let good = replay(&bytes, &mut state).map_err(|offset| Error::Damaged {
            path: path.clone(),
            offset,
        })?;
        if good < bytes.len() {
            tracing::warn!(
                cut = bytes.len() - good,
                "cut off a torn record at the end of the journal"
            );
            file.set_len(good as u64).map_err(at("truncate", &path))?;
            file.sync_all().map_err(at("sync", &path))?;
        }
        file.seek(SeekFrom::Start(good as u64))
            .map_err(at("seek in", &path))?;
        sync_folder(folder)?;
        Ok((
            Self {
                file,
                folder: folder.to_owned(),
                length: good as u64,
                compact_at,
            },
            state,
        ))
    }

    /// Writes a batch and waits until it is on disk.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<(), Error> {
        let line = encode(records)?;
        let path = self.folder.join(JOURNAL);
        self.file.write_all(&line).map_err(at("append to", &path))?;
        self.file.sync_data().map_err(at("sync", &path))?;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Writes a snapshot and empties the log if the log has grown large. A crash in between is harmless: records
    /// the snapshot already holds are skipped.
    pub(crate) fn compact_if_large(&mut self, state: &State) -> Result<(), Error> {
        if self.length < self.compact_at {
            return Ok(());
        }
        let path = self.folder.join(SNAPSHOT);
        let fresh = self.folder.join("snapshot.new");
        let json = serde_json::to_vec(&Dump::from(state)).map_err(Error::Encode)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(at("create", &fresh))?;
        file.write_all(&json).map_err(at("write", &fresh))?;
        file.sync_all().map_err(at("sync", &fresh))?;
        std::fs::rename(&fresh, &path).map_err(at("replace", &path))?;
        sync_folder(&self.folder)?;
        let journal = self.folder.join(JOURNAL);
        self.file.set_len(0).map_err(at("truncate", &journal))?;
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(at("seek in", &journal))?;
        self.file.sync_all().map_err(at("sync", &journal))?;
        self.length = 0;
        Ok(())
    }
}

fn at(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { what, path, source }
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    let file = File::open(folder).map_err(at("open", folder))?;
    file.sync_all().map_err(at("sync", folder))
}

fn read_snapshot(path: &Path) -> Result<State, Error> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
        Err(error) => Err(at("read", path)(error)),
        Ok(bytes) => {
            let dump: Dump = serde_json::from_slice(&bytes).map_err(|source| Error::Snapshot {
                path: path.to_owned(),
                source,
            })?;
            Ok(dump.into())
        }
    }
}

fn encode(records: &[Record]) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(records).map_err(Error::Encode)?;
    let mut line = hash(&json).into_bytes();
    line.push(b' ');
    line.extend_from_slice(&json);
    line.push(b'\n');
    Ok(line)
}

fn hash(json: &[u8]) -> String {
    hex::encode(&Sha256::digest(json)[..8])
}

/// Applies every good line; answers how many bytes are good, or where the damage is.
fn replay(bytes: &[u8], state: &mut State) -> Result<usize, usize> {
    let mut good = 0;
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let Some(records) = decode(&rest[..end]) else {
            let behind = rest[end + 1..].split(|byte| *byte == b'\n');
            return if behind.clone().any(|line| decode(line).is_some()) {
                Err(good)
            } else {
                Ok(good)
            };
        };
        for record in records {
            if record.index <= state.index {
                continue;
            }
            state.absorb(record.index, &record.changes, &mut BTreeSet::new());
        }
        good += end + 1;
        rest = &rest[end + 1..];
    }
    Ok(good)
}

fn decode(line: &[u8]) -> Option<Vec<Record>> {
    let (found, json) = line.split_at_checked(17)?;
    if found.get(..16)? != hash(json).as_bytes() || found[16] != b' ' {
        return None;
    }
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests;
