//! The protocol of Baton without any IO: vocabulary, timing, and the two machines that use them.
pub mod engine;
pub mod guard;
pub mod ids;
pub mod message;
pub mod position;
pub mod record;
pub mod rules;
pub mod time;
pub mod timing;
