//! What clients do and see: a writer that follows the directory, a prober at every instance, and the history that both
//! write. All times are of one clock of this process, so that "sent after" and "received before" mean something.

pub mod appender;
pub mod client;
pub mod direct;
pub mod engine;
pub mod follow;
pub mod history;
pub mod link;
pub mod postgres;
pub mod prober;
pub mod redis;
pub mod registers;
pub mod resp;
pub mod router;
pub mod writer;
