//! `run.json`: what runs, and the lock that says that it runs. The lock belongs to the open file of `outrigger up`, so it is gone with the
//! process however that ends; the text alone proves nothing.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Held for as long as the run lasts.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{folder} is in use by `outrigger up` with pid {pid}: stop it with `outrigger down`, or name another --data-dir", folder = folder.display())]
    Held { folder: PathBuf, pid: String },
    #[error("cannot use {path}: {source}", path = path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write {path}: {source}", path = path.display())]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
}

impl Lock {
    /// Takes the folder, or says who has it.
    pub(crate) fn take(root: &Path) -> Result<Self, Error> {
        let path = root.join("run.json");
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path, file }),
            Err(Errno::WOULDBLOCK) => Err(Error::Held {
                folder: root.to_owned(),
                pid: pid(file),
            }),
            Err(err) => Err(io(err.into())),
        }
    }

    /// What the last holder wrote, if it can be read.
    pub(crate) fn previous<T: DeserializeOwned>(&mut self) -> Option<T> {
        let mut text = String::new();
        self.file
            .rewind()
            .and_then(|()| self.file.read_to_string(&mut text))
            .ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Replaces the content in place: a renamed file would leave the lock behind on the old one.
    pub(crate) fn write(&mut self, content: &impl Serialize) -> Result<(), Error> {
        let mut text = serde_json::to_vec_pretty(content).map_err(|source| Error::Json {
            path: self.path.clone(),
            source,
        })?;
        text.push(b'\n');
        let file = &mut self.file;
        file.rewind()
            .and_then(|()| file.write_all(&text))
            .and_then(|()| file.set_len(text.len() as u64))
            .map_err(|source| Error::Io {
                path: self.path.clone(),
                source,
            })
    }
}

/// The content of `run.json` if somebody holds it now; `None` if nothing runs in this folder.
pub(crate) fn holder<T: DeserializeOwned>(root: &Path) -> Result<Option<T>, Error> {
    let path = root.join("run.json");
    let io = |source| Error::Io {
        path: path.clone(),
        source,
    };
    let file = match File::open(&path) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io)?,
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        // Dropped with the file: we held it for the blink of an eye.
        Ok(()) => return Ok(None),
        Err(Errno::WOULDBLOCK) => {}
        Err(err) => return Err(io(err.into())),
    }
    // A write may be under way; it is short, and the second look finds it done.
    for _ in 0..50 {
        let text = std::fs::read(&path).map_err(io)?;
        if let Ok(content) = serde_json::from_slice(&text) {
            return Ok(Some(content));
        }
        std::thread::yield_now();
    }
    let text = std::fs::read(&path).map_err(io)?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| Error::Json { path, source })
}

fn pid(mut file: File) -> String {
    #[derive(serde::Deserialize)]
    struct Pid {
        pid: u32,
    }
    let mut text = String::new();
    match file
        .read_to_string(&mut text)
        .map(|_| serde_json::from_str::<Pid>(&text))
    {
        Ok(Ok(Pid { pid })) => pid.to_string(),
        _ => "unknown (it is just starting)".to_owned(),
    }
}
