//! Many hosts in few processes: real guards, each with an engine that is only acted, attached by the daemon's own link to a
//! real arbiter. What a cluster of a thousand replica sets costs can be measured on one machine with it.
//!
//! It knows neither how an arbiter decides nor what a guard means by its orders; it carries them out.

mod engine;
mod fleet;
mod host;
mod instance;
mod plan;
mod reads;
mod router;

pub use fleet::{Fleet, FleetConfig, Seen, Sets};
pub use instance::Pace;
pub use plan::{Plan, Seat};
pub use router::{Changed, Router};
