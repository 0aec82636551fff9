//! The outside of the daemon over real sockets, with views filled by hand instead of machines.

mod directory;
mod http;
mod operator;
mod support;
