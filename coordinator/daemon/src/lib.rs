//! Placeholder.
pub mod operator;
pub mod view;
