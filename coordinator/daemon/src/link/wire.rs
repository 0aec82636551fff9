//! Guard's and arbiter's messages to protobuf and back: total on the way out, checked on the way in. What cannot be
//! understood is refused as a whole; nothing received panics. Here is what all of them are made of; a message is one file.

pub mod aside;
mod beat;
mod orders;
pub mod peer;

pub use beat::{beat_from_wire, beat_to_wire};
pub use orders::{push_to_guard, to_guards_from_wire};

use baton_core::ids::{
    BadName, CoordinatorName, Endpoint, Epoch, Incarnation, InstanceName, ReplicaSetName, Term, Zone,
};
use baton_core::message::Hello;
use baton_core::position::Position;
use baton_proto::v1;
use std::collections::BTreeSet;

/// Most guards of one host.
pub const GUARDS_MAX: usize = 10_000;
/// Most members that one message may name.
const MEMBERS_MAX: usize = 1_000;
/// Highest term that is believed: a failover a microsecond would need nine years to get there.
const TERM_MAX: u64 = 1 << 48;
/// Longest text that is no name (an engine's run, an endpoint, a data identity), in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// Why a message is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A part without which the rest means nothing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Too much of something.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// A word that is not known.
    #[error("{what} has the unknown value {found}")]
    Unknown {
        /// Of what.
        what: &'static str,
        /// What was found.
        found: i32,
    },
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] BadName),
}

fn text(text: String, what: &'static str) -> Result<std::sync::Arc<str>, Malformed> {
    if text.len() > TEXT_BYTES_MAX { Err(Malformed::TooLong(what)) } else { Ok(text.into()) }
}

fn optional<T>(
    text: String,
    parse: impl FnOnce(String) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

fn names(names: &[String]) -> Result<BTreeSet<InstanceName>, Malformed> {
    if names.len() > MEMBERS_MAX {
        return Err(Malformed::TooLong("a list of members"));
    }
    names.iter().map(|name| Ok(InstanceName::parse(name)?)).collect()
}

/// A term that others are counted up from.
fn term(term: u64) -> Result<Term, Malformed> {
    if term > TERM_MAX { Err(Malformed::TooLong("a term")) } else { Ok(Term(term)) }
}

fn endpoint(endpoint: String) -> Result<Endpoint, Malformed> {
    Ok(Endpoint(text(endpoint, "an endpoint")?))
}

fn epoch(epoch: Option<v1::Epoch>) -> Result<Epoch, Malformed> {
    let epoch = epoch.ok_or(Malformed::Missing("epoch"))?;
    Ok(Epoch { generation: epoch.generation, number: epoch.number })
}

fn epoch_out(epoch: Epoch) -> Option<v1::Epoch> {
    Some(v1::Epoch { generation: epoch.generation, number: epoch.number })
}

fn incarnation(incarnation: Option<v1::Incarnation>) -> Result<Incarnation, Malformed> {
    let incarnation = incarnation.ok_or(Malformed::Missing("incarnation"))?;
    Ok(Incarnation { home: incarnation.home, boot: incarnation.boot, run: incarnation.run })
}

fn incarnation_out(incarnation: Incarnation) -> Option<v1::Incarnation> {
    Some(v1::Incarnation { home: incarnation.home, boot: incarnation.boot, run: incarnation.run })
}

fn position(position: Option<v1::Position>) -> Position {
    position.map_or(Position::Unknown, |position| Position::at(position.term, position.offset))
}

fn position_out(position: Position) -> Option<v1::Position> {
    match position {
        Position::Unknown => None,
        Position::At { term, offset } => Some(v1::Position { term: term.0, offset }),
    }
}

/// One guard of a host's hello.
///
/// # Errors
/// [`Malformed`].
pub fn hello_from_wire(hello: v1::GuardHello, coordinator: &CoordinatorName) -> Result<Hello, Malformed> {
    Ok(Hello {
        instance: InstanceName::parse(&hello.instance)?,
        replicaset: ReplicaSetName::parse(&hello.replicaset)?,
        incarnation: incarnation(hello.incarnation)?,
        coordinator: coordinator.clone(),
        endpoint: endpoint(hello.endpoint)?,
        zone: optional(hello.zone, |zone| Ok(Zone::parse(&zone)?))?,
        priority: hello.priority,
        electable: hello.electable,
        bootstrap_members: hello.bootstrap_members,
        supervised: hello.supervised,
    })
}

/// See [`hello_from_wire`].
#[must_use]
pub fn hello_to_wire(hello: &Hello) -> v1::GuardHello {
    v1::GuardHello {
        instance: hello.instance.to_string(),
        replicaset: hello.replicaset.to_string(),
        incarnation: incarnation_out(hello.incarnation),
        endpoint: hello.endpoint.to_string(),
        zone: hello.zone.as_ref().map(ToString::to_string).unwrap_or_default(),
        priority: hello.priority,
        electable: hello.electable,
        bootstrap_members: hello.bootstrap_members,
        supervised: hello.supervised,
    }
}
