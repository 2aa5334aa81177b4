//! Which program a `command` names: our own binary, one on `PATH`, or one beside the mesh file.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A command, resolved before anything starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// Absolute.
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<String>,
    /// Set for `outrigger shop <name>`: it gets the shop's environment and has its contract compiled in.
    pub(crate) shop: Option<String>,
}

/// Where commands are looked for.
#[derive(Debug, Clone)]
pub(crate) struct SearchPath {
    /// This binary: what `outrigger` in a command stands for, whatever `PATH` says.
    pub(crate) own: PathBuf,
    /// The value of `PATH`.
    pub(crate) path: OsString,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("a command needs at least the name of a program")]
    Empty,
    #[error("command {0:?} does not exist: not on PATH and not beside the mesh file")]
    NotFound(String),
    #[error("{0} is not an executable file")]
    NotExecutable(PathBuf),
    #[error("the shop has no service {name:?}: expected one of {known}")]
    NotInShop { name: String, known: String },
}

impl Program {
    pub(super) fn resolve(
        argv: &[String],
        folder: &Path,
        search: &SearchPath,
    ) -> Result<Self, Error> {
        let (name, args) = argv.split_first().ok_or(Error::Empty)?;
        if name == "outrigger" {
            return Ok(Self {
                path: search.own.clone(),
                args: args.to_vec(),
                shop: shop_service(args)?,
            });
        }
        Ok(Self {
            path: find(name, folder, search)?,
            args: args.to_vec(),
            shop: None,
        })
    }
}

/// The service that `outrigger shop <name>` runs, if these are its arguments.
fn shop_service(args: &[String]) -> Result<Option<String>, Error> {
    let [verb, name, ..] = args else {
        return Ok(None);
    };
    if verb != "shop" {
        return Ok(None);
    }
    if crate::shop::NAMES.contains(&name.as_str()) {
        return Ok(Some(name.clone()));
    }
    Err(Error::NotInShop {
        name: name.clone(),
        known: crate::shop::NAMES.join(", "),
    })
}

fn find(name: &str, folder: &Path, search: &SearchPath) -> Result<PathBuf, Error> {
    if name.is_empty() {
        return Err(Error::Empty);
    }
    if name.contains('/') {
        let path = folder.join(name);
        return match (path.exists(), is_executable(&path)) {
            (_, true) => Ok(path),
            (true, false) => Err(Error::NotExecutable(path)),
            (false, false) => Err(Error::NotFound(name.to_owned())),
        };
    }
    std::env::split_paths(&search.path)
        .filter(|entry| entry.is_absolute())
        .chain(std::iter::once(folder.to_owned()))
        .map(|entry| entry.join(name))
        .find(|candidate| is_executable(candidate))
        .ok_or_else(|| Error::NotFound(name.to_owned()))
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
