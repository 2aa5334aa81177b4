//! The stacks of the case list, each a program.

use std::path::PathBuf;

use outrigger_tests::{external, settings};
use tokio::process::Command;

/// An implementation of gRPC that nobody here wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stack {
    /// grpcio, with C-core below it.
    Python,
    /// grpc-js, as a client only.
    Node,
    Tonic,
}

impl Stack {
    pub(crate) const ALL: [Self; 3] = [Self::Python, Self::Node, Self::Tonic];

    /// Of its service.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Python => "python-client",
            Self::Node => "node-client",
            Self::Tonic => "tonic-client",
        }
    }
}

/// What runs them.
#[derive(Debug, Clone)]
pub(crate) struct Stacks {
    python: PathBuf,
    node: PathBuf,
}

impl Stacks {
    /// `None` if one is not there, which has then been said.
    pub(crate) fn find() -> Option<Self> {
        Some(Self {
            python: external("python")?,
            node: external("node")?,
        })
    }

    /// Wants an address and cases.
    pub(crate) fn client(&self, stack: Stack) -> Command {
        match stack {
            Stack::Python => script(&self.python, "client.py"),
            Stack::Node => script(&self.node, "client.js"),
            Stack::Tonic => Command::new(env!("CARGO_BIN_EXE_caselist")),
        }
    }

    /// Says in its first line where it listens.
    pub(crate) fn server(&self, stack: Stack) -> Command {
        match stack {
            Stack::Python => script(&self.python, "server.py"),
            Stack::Node => panic!("the list has no server of grpc-js"),
            Stack::Tonic => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_caselist"));
                command.arg("serve");
                command
            }
        }
    }
}

fn script(interpreter: &PathBuf, name: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(settings::root().join("tests/programs/caselist").join(name));
    // No compiled files beside the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
