//! What people and programs read: the timeline of each attempt, the summary, and the one line of JSON. Prose goes to
//! standard error; nothing is judged here.

pub mod narrator;
pub mod summary;
pub mod timeline;
