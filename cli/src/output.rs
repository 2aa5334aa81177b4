//! The only place that prints. Results go to stdout; progress, logs and complaints to stderr, so that a result can be piped.
//!
//! On a terminal: a spinner that says what is waited for, and coloured prefixes. Elsewhere, and with `NO_COLOR`: plain lines.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Clones print to the same terminal, a line at a time.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    is_fancy: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spinner: Option<ProgressBar>,
}

/// Colours that read on light and dark ground.
const COLOURS: [u8; 6] = [36, 32, 33, 35, 34, 31];

impl Output {
    /// `no_colour`: the environment has a `NO_COLOR` that is not empty.
    pub(crate) fn new(no_colour: bool) -> Self {
        let is_fancy = !no_colour && std::io::stderr().is_terminal();
        Self {
            shared: Arc::new(Shared {
                is_fancy,
                state: Mutex::default(),
            }),
        }
    }

    /// A line of the result.
    pub(crate) fn result(&self, text: &str) {
        self.print(|| {
            // Whoever closed the pipe does not want the rest.
            let _closed = writeln!(std::io::stdout().lock(), "{text}");
        });
    }

    /// Something worth knowing that needs no action.
    pub(crate) fn note(&self, text: &str) {
        self.complain(text);
    }

    pub(crate) fn warn(&self, text: &str) {
        self.complain(&self.coloured(33, "warning: ", text));
    }

    pub(crate) fn error(&self, text: &str) {
        self.complain(&self.coloured(31, "error: ", text));
    }

    /// A line of a child's log.
    pub(crate) fn log(&self, process: &str, line: &str) {
        let prefix = format!("{process} | ");
        self.complain(&self.coloured(colour_of(process), &prefix, line));
    }

    /// What is waited for now. `is_new`: worth a line of its own where there is no spinner.
    pub(crate) fn waiting(&self, text: &str, is_new: bool) {
        if !self.shared.is_fancy {
            if is_new {
                self.complain(text);
            }
            return;
        }
        let mut state = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let spinner = state.spinner.get_or_insert_with(|| {
            let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        spinner.set_message(text.to_owned());
    }

    /// Nothing is waited for any longer.
    pub(crate) fn settled(&self) {
        let mut state = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(spinner) = state.spinner.take() {
            spinner.finish_and_clear();
        }
    }

    fn complain(&self, text: &str) {
        self.print(|| {
            let _closed = writeln!(std::io::stderr().lock(), "{text}");
        });
    }

    /// Keeps the spinner and the line out of each other's way.
    fn print(&self, write: impl FnOnce()) {
        let state = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &state.spinner {
            Some(spinner) => spinner.suspend(write),
            None => write(),
        }
    }

    fn coloured(&self, colour: u8, prefix: &str, text: &str) -> String {
        match self.shared.is_fancy {
            true => format!("\u{1b}[{colour}m{prefix}\u{1b}[0m{text}"),
            false => format!("{prefix}{text}"),
        }
    }
}

/// The same colour for a process in every run.
fn colour_of(process: &str) -> u8 {
    let sum: usize = process.bytes().map(usize::from).sum();
    COLOURS.get(sum % COLOURS.len()).copied().unwrap_or(36)
}
