//! The operators' gRPC service: calls become [`OperatorCommand`] values with an answer to wait for; what can be
//! answered from the published views is. It decides nothing and holds no state.

mod command;
mod holds;
mod service;
mod settings;
mod tasks;
mod what_if;

pub use command::{
    COMMANDS_MAX, HISTORY_MAX, How, Imagined, OperatorCommand, Refused, RefusedKind, Reply, channel,
};
pub use service::OperatorService;
