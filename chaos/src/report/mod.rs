//! What people and programs read: the demo's timeline, summary and line of JSON, and the page of a chaos run. Prose goes to
//! standard error; nothing is judged here.

pub mod narrator;
pub mod page;
pub mod picture;
pub mod summary;
pub mod timeline;
