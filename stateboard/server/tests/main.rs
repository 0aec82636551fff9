//! The real `baton-stateboard`, as a process.
#![allow(missing_docs)]

mod backup;
mod board;
mod embedded;
mod full_disk;
mod kill;
mod limits;
mod process;
mod protected;
mod reads;
mod robust;
mod stop;
mod watchers;
mod wire;
