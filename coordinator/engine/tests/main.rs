//! The engine crate against real processes: deadmen with real engines under them, and real Redis servers.

mod deadman;
mod postgres;
mod redis;
mod support;
