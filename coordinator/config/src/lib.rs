//! Configuration in layers, for every daemon alike: a TOML file, overridden by the environment, overridden by flags, in
//! which each value knows its place. All problems are collected, so that a person repairs a file once. Knows no key of
//! any program, and reads neither files nor the environment by itself beyond [`environment`].

pub mod document;
mod problem;
pub mod value;

pub use document::{Document, Read, Section};
pub use problem::{Origin, Problem, Problems};

/// The prefix of the environment's overrides.
pub const ENVIRONMENT_PREFIX: &str = "BATON_";

/// This process's environment as far as it is configuration. (`std::env::vars` panics where anything of the environment,
/// however foreign, is not UTF-8.)
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    let ours = |(name, _): &(String, String)| name.starts_with(ENVIRONMENT_PREFIX);
    std::env::vars_os().map(move |(name, value)| (text(name), text(value))).filter(ours)
}
