//! The real `baton-stateboard`, as a process.
#![allow(missing_docs)]

mod board;
mod embedded;
mod process;
