//! The folder of a run: `./.outrigger` or `--data-dir`. What lies where, who may read it, and who holds it.

use std::path::{Path, PathBuf};

mod lock;

mod secret;

mod socket_folder;

pub(crate) use lock::{Error as LockError, Lock, holder};
pub(crate) use secret::{Demo, DemoUser, Tokens, write_private};
pub(crate) use socket_folder::SocketFolder;

/// Where the files of a run lie. Pure; `prepare` makes the folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    root: PathBuf,
    /// `<root>/run`, or a short folder of its own where that is too long for a socket's path.
    sockets: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{folder} holds files but no run.json, so it is not a folder of outrigger's: name an empty or a new one", folder = .0.display())]
    Foreign(PathBuf),
    #[error("cannot use {path}: {source}", path = path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Paths {
    pub(crate) fn new(root: PathBuf, sockets: PathBuf) -> Self {
        Self { root, sockets }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn instance(&self, name: &str) -> PathBuf {
        self.root.join("run").join(name)
    }

    /// Mode 0700, short enough for the paths of sockets.
    pub(crate) fn sockets(&self, name: &str) -> PathBuf {
        self.sockets.join(name)
    }

    pub(crate) fn token(&self, name: &str) -> PathBuf {
        self.root.join("tokens").join(name)
    }

    pub(crate) fn management_token(&self) -> PathBuf {
        self.token("management")
    }

    /// The token of a Consul that somebody else runs; beside ours, never among them.
    pub(crate) fn consul_token(&self) -> PathBuf {
        self.token("consul")
    }

    pub(crate) fn registry(&self) -> PathBuf {
        self.root.join("registry")
    }

    pub(crate) fn registry_tokens(&self) -> PathBuf {
        self.registry().join("tokens.json")
    }

    pub(crate) fn database(&self, service: &str) -> PathBuf {
        self.root.join("db").join(format!("{service}.sqlite"))
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.root.join("keys").join(name)
    }

    pub(crate) fn demo(&self) -> PathBuf {
        self.root.join("demo.json")
    }

    pub(crate) fn contract(&self, service: &str) -> PathBuf {
        self.root.join("contracts").join(format!("{service}.binpb"))
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }
}

/// The folder of `--data-dir`, absolute; `./.outrigger` by default.
pub(crate) fn root(data_dir: Option<&Path>) -> Result<PathBuf, Error> {
    let path = data_dir.unwrap_or(Path::new(".outrigger"));
    std::path::absolute(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

/// Makes the folder itself, mode 0700, and refuses one that holds something else's files.
pub(crate) fn open(root: &Path) -> Result<(), Error> {
    let io = |source| Error::Io {
        path: root.to_owned(),
        source,
    };
    create_private(root)?;
    let mut entries = std::fs::read_dir(root).map_err(io)?;
    let is_ours = root.join("run.json").exists() || entries.next().is_none();
    if !is_ours {
        return Err(Error::Foreign(root.to_owned()));
    }
    make_private(root)
}

/// Everything but `run.json`, which is locked; only after `open` has said that the folder is ours.
pub(crate) fn empty(root: &Path) -> Result<(), Error> {
    let entries = std::fs::read_dir(root).map_err(|source| Error::Io {
        path: root.to_owned(),
        source,
    })?;
    for entry in entries {
        let path = entry
            .map_err(|source| Error::Io {
                path: root.to_owned(),
                source,
            })?
            .path();
        if path.file_name().is_some_and(|name| name == "run.json") {
            continue;
        }
        let is_folder = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        let removed = if is_folder {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.map_err(|source| Error::Io { path, source })?;
    }
    Ok(())
}

/// All folders of a run, and the `.gitignore` that keeps them out of a repository.
pub(crate) fn prepare<'a>(
    paths: &Paths,
    instances: impl Iterator<Item = &'a str>,
) -> Result<(), Error> {
    for name in [
        "registry",
        "tokens",
        "db",
        "keys",
        "contracts",
        "run",
        "logs",
    ] {
        create_private(&paths.root.join(name))?;
    }
    for name in instances {
        create_private(&paths.instance(name))?;
        create_private(&paths.sockets(name))?;
        make_private(&paths.sockets(name))?;
        // A report of an earlier run would be taken for this one's.
        let stale = paths.instance(name).join("addresses.json");
        match std::fs::remove_file(&stale) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Io {
                    path: stale,
                    source,
                });
            }
            _ => {}
        }
    }
    let ignore = paths.root.join(".gitignore");
    std::fs::write(&ignore, "*\n").map_err(|source| Error::Io {
        path: ignore,
        source,
    })
}

fn create_private(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })
}

fn make_private(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(|source| {
        Error::Io {
            path: path.to_owned(),
            source,
        }
    })
}

#[cfg(test)]
mod tests;
