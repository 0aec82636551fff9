//! Placeholder.
pub mod config;
pub mod directory;
pub mod metrics;
pub mod operator;
pub mod view;
