//! Where sockets lie. A socket's path holds at most 107 bytes, and the kernel's answer to a longer one says nothing useful; a run in a deep
//! folder therefore keeps its sockets in a short private folder of its own, and says so.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use sha2::Digest as _;

use super::Error;

/// `sun_path` without its closing NUL.
const LONGEST: usize = 107;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SocketFolder {
    /// `<root>/run`.
    Inside(PathBuf),
    /// Short and outside the run's folder; removed when the run ends.
    Outside(PathBuf),
}

impl SocketFolder {
    /// Pure: where the sockets of these instances must lie. `temporary` is a folder that exists, such as `/tmp`.
    pub(crate) fn choose<'a>(
        root: &Path,
        temporary: &Path,
        instances: impl Iterator<Item = &'a str>,
    ) -> Self {
        let inside = root.join("run");
        let longest = instances
            .map(|name| inside.join(name).join("outbound.sock").as_os_str().len())
            .max()
            .unwrap_or(0);
        if longest <= LONGEST {
            return Self::Inside(inside);
        }
        // The same folder for the same run, so that a crash leaves at most one behind.
        let digest = sha2::Sha256::digest(root.as_os_str().as_encoded_bytes());
        let short = hex::encode(digest.get(..5).unwrap_or_default());
        Self::Outside(temporary.join(format!("outrigger-{short}")))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Inside(path) | Self::Outside(path) => path,
        }
    }

    /// Makes the folder outside. One that somebody else put there first is refused: its owner could replace our sockets.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        let Self::Outside(path) = self else {
            return Ok(());
        };
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => Ok(()),
            Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => {
                let meta = path.symlink_metadata().map_err(io)?;
                let ours = meta.is_dir()
                    && meta.uid() == rustix::process::geteuid().as_raw()
                    && meta.mode() & 0o077 == 0;
                if ours {
                    return Ok(());
                }
                Err(io(std::io::Error::other(
                    "it exists and is not a private folder of this user",
                )))
            }
            Err(err) => Err(io(err)),
        }
    }

    /// After the run; what is inside is left alone.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let Self::Outside(path) = self else {
            return Ok(());
        };
        std::fs::remove_dir_all(path).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })
    }
}
