//! The engine crate against real processes: deadmen with real engines under them, and real Redis servers.

mod deadman;
mod redis;
mod support;
