//! The stream between a host and the active arbiter: its wire, its service, and the end that a host holds.
//!
//! It must not know what guards and arbiter make of the messages.

mod finding;
pub mod host;
pub mod peers;
pub mod service;
pub mod wire;
