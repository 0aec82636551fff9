//! A stage for end-to-end tests: the real programs and real servers in one temporary folder, driven and looked at
//! only from outside (processes, files, ports, command lines). It knows nothing of what goes on inside them.

pub mod confirmed;
pub mod ctl;
pub mod files;
pub mod host;
pub mod http;
pub mod issues;
pub mod logs;
pub mod net;
pub mod poll;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod stage;
pub mod store;
pub mod writer;

pub use host::{HostPlan, InstancePlan};
pub use stage::{Stage, play, play_in_namespaces, play_slowly};
