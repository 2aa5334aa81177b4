//! What the process was given: read once by `main`, handed on by value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub(crate) struct Environment {
    pub(crate) variables: Variables,
    /// This binary.
    pub(crate) own: PathBuf,
    /// Where it was started.
    pub(crate) folder: PathBuf,
    /// A short folder for what must have a short path.
    pub(crate) temporary: PathBuf,
}

/// Never printed whole: it may hold tokens.
#[derive(Clone, Default)]
pub(crate) struct Variables(pub(crate) BTreeMap<String, String>);

impl Environment {
    pub(crate) fn from_process() -> std::io::Result<Self> {
        // What is not UTF-8 is left out; a child would get it otherwise, but nothing of ours reads it.
        let variables = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Self {
            variables: Variables(variables),
            own: std::env::current_exe()?,
            folder: std::env::current_dir()?,
            temporary: PathBuf::from("/tmp"),
        })
    }

    /// An empty variable counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.variables
            .0
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn search_path(&self) -> OsString {
        self.get("PATH").unwrap_or_default().into()
    }
}

impl std::fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Variables({} of them)", self.0.len())
    }
}
