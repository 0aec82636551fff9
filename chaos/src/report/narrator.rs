//! Speaks to the person at the terminal: finished paragraphs, and below them one line that says what is going on now. The
//! line appears only where standard error is a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Writes to standard error.
#[derive(Debug)]
pub struct Narrator {
    line: ProgressBar,
    colours: bool,
}

impl Default for Narrator {
    fn default() -> Self {
        Self::new()
    }
}

impl Narrator {
    /// For this process's standard error.
    #[must_use]
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let line = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        line.set_style(ProgressStyle::default_spinner());
        line.enable_steady_tick(Duration::from_millis(100));
        Self { line, colours: terminal && std::env::var_os("NO_COLOR").is_none() }
    }

    /// Whether colours are wanted.
    #[must_use]
    pub fn colours(&self) -> bool {
        self.colours
    }

    /// A finished paragraph.
    pub fn say(&self, text: &str) {
        self.line.suspend(|| eprintln!("{text}"));
    }

    /// What is going on now.
    pub fn doing(&self, text: &str) {
        self.line.set_message(text.to_owned());
    }

    /// Removes the line.
    pub fn finish(&self) {
        self.line.finish_and_clear();
    }
}
