//! What a router links ([`Client`]: the masters, kept current by a watch), what an operator's tool links
//! ([`OperatorClient`]), and the shapes that both ends share: [`status`], [`decision`], [`task`], [`refusal`].
//!
//! Architecture invariant: it decides nothing about a replica set. It believes the highest term that it was told, and
//! never goes back to a lower one, whoever says so.

mod cache;
pub mod decision;
pub mod drill;
pub mod endpoint;
mod follow;
pub mod forecast;
pub mod operator;
pub mod refusal;
pub mod replay;
pub mod status;
pub mod task;
pub mod wire;

pub use cache::{Master, MasterState};
pub use follow::{Client, ClientOptions};
pub use operator::{OperatorClient, OperatorError, SwitchoverAsked};
