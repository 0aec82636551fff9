//! The engine crate against real processes: deadmen with real engines under them, and real servers.

mod contract;
mod deadman;
mod postgres;
mod redis;
mod support;
