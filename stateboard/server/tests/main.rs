//! The real `baton-stateboard`, as a process.
#![allow(missing_docs)]

mod backup;
mod board;
mod embedded;
mod process;
mod protected;
