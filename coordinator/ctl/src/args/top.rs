//! The command line of `batonctl top`. Decides nothing.

use clap::{Args, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  batonctl top                                  until q or ctrl-c
  batonctl top --sort lag                       who is furthest behind, first
  batonctl top --once > cluster.txt             one frame as text: for a ticket
  watch -n 5 batonctl top --once                where the live view cannot run

Keys: up/down or j/k choose a set, enter shows all of it, / finds a set or an instance, s changes the order, i lists all
issues, esc goes back, q or ctrl-c leaves. Times of day are UTC.";

/// A live view of the cluster.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TopArgs {
    /// Show one frame as text and end; so it does by itself where the output is no terminal
    #[arg(long)]
    pub once: bool,
    /// In which order
    #[arg(long, value_enum, default_value_t = TopSort::Trouble)]
    pub sort: TopSort,
}

/// The order of the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TopSort {
    /// What needs somebody first: no master, critical, changing, warning, out of sync.
    Trouble,
    /// By name.
    Name,
    /// The furthest behind first.
    Lag,
    /// The latest change of master first.
    Change,
}

impl TopSort {
    /// What the key `s` changes to.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Trouble => Self::Name,
            Self::Name => Self::Lag,
            Self::Lag => Self::Change,
            Self::Change => Self::Trouble,
        }
    }

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trouble => "trouble",
            Self::Name => "name",
            Self::Lag => "lag",
            Self::Change => "change",
        }
    }
}
