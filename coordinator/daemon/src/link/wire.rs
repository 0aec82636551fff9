//! Guard's and arbiter's messages to protobuf and back: total on the way out, checked on the way in. What cannot be
//! understood is refused as a whole; nothing received panics.

pub mod aside;
pub mod peer;

use baton_core::engine::DataState;
use baton_core::ids::{
    BadName, CoordinatorName, DataId, Endpoint, EngineRun, Epoch, Incarnation, InstanceName, ReplicaSetName,
    Stamp, Term, Version, Zone,
};
use baton_core::message::{
    Beat, Directive, EngineView, Grant, Health, Hello, Honoured, Order, Relinquished, Severed, Stand, ToGuard,
};
use baton_core::position::Position;
use baton_core::record::Pin;
use baton_core::time::{Span, Time};
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

/// A heartbeat.
///
/// # Errors
/// [`Malformed`].
pub fn beat_from_wire(beat: v1::Beat) -> Result<Beat, Malformed> {
    let severed = beat.severed.map(|severed| {
        Ok::<_, Malformed>(Severed {
            stamp: Stamp { generation: severed.generation, version: Version(severed.version) },
            position: position(severed.position),
            run: optional(severed.run, |run| Ok(EngineRun(text(run, "an engine's run")?)))?,
            whole: severed.whole,
        })
    });
    let honoured = beat.honoured.map(|honoured| {
        Ok::<_, Malformed>(Honoured {
            stamp: Stamp { generation: honoured.generation, version: Version(honoured.version) },
            members: names(&honoured.members)?,
            dropped: optional(honoured.dropped, |name| Ok(InstanceName::parse(&name)?))?,
            ack_quorum: honoured.ack_quorum,
        })
    });
    Ok(Beat {
        instance: InstanceName::parse(&beat.instance)?,
        incarnation: incarnation(beat.incarnation)?,
        sent_at: Time(beat.sent_at),
        highest_term: term(beat.highest_term)?,
        needs: names(&beat.needs)?,
        known_master: beat
            .known_master
            .map(|known| Ok::<_, Malformed>((term(known.term)?, InstanceName::parse(&known.instance)?)))
            .transpose()?,
        stand: stand_from_wire(beat.stand.ok_or(Malformed::Missing("stand"))?)?,
        relinquished: beat.relinquished.map(|relinquished| Relinquished {
            term: Term(relinquished.term),
            position: position(relinquished.position),
            ended: relinquished.ended,
        }),
        severed: severed.transpose()?,
        honoured: honoured.transpose()?,
        unpinned: beat
            .unpinned
            .map(|it| (Epoch { generation: it.generation, number: it.number }, Version(it.version))),
        pinned: Span(beat.pinned_us.min(Pin::FOR_GOOD.0)),
        ack_quorum: beat.ack_quorum,
        hold: Span(beat.hold_us),
        engine: engine_from_wire(beat.engine.ok_or(Malformed::Missing("engine"))?)?,
    })
}

fn stand_from_wire(stand: v1::Stand) -> Result<Stand, Malformed> {
    use v1::stand::Kind;
    let kind =
        Kind::try_from(stand.kind).map_err(|_| Malformed::Unknown { what: "stand", found: stand.kind })?;
    Ok(match kind {
        Kind::Starting => Stand::Starting,
        Kind::Standby => Stand::Standby,
        Kind::Candidate => Stand::Candidate(Term(stand.term)),
        Kind::Leading => Stand::Leading { term: Term(stand.term), writable: stand.writable },
    })
}

fn stand_to_wire(stand: Stand) -> v1::Stand {
    use v1::stand::Kind;
    let (kind, term, writable) = match stand {
        Stand::Starting => (Kind::Starting, 0, false),
        Stand::Standby => (Kind::Standby, 0, false),
        Stand::Candidate(term) => (Kind::Candidate, term.0, false),
        Stand::Leading { term, writable } => (Kind::Leading, term.0, writable),
    };
    v1::Stand { kind: kind.into(), term, writable }
}

fn engine_from_wire(engine: v1::EngineView) -> Result<EngineView, Malformed> {
    use v1::engine_view::Health as Wire;
    let health = Wire::try_from(engine.health)
        .map_err(|_| Malformed::Unknown { what: "health", found: engine.health })?;
    let data = engine.data.ok_or(Malformed::Missing("data"))?;
    Ok(EngineView {
        health: match health {
            Wire::Down => Health::Down,
            Wire::Up => Health::Up,
            Wire::Stalled => Health::Stalled,
        },
        run: optional(engine.run, |run| Ok(EngineRun(text(run, "an engine's run")?)))?,
        position: position(engine.position),
        data: match (data.empty, data.id.is_empty()) {
            (true, _) => DataState::Empty,
            (false, true) => DataState::Unmarked,
            (false, false) => {
                DataState::Marked { id: DataId(text(data.id, "a data identity")?), term: Term(data.term) }
            }
        },
        follows: optional(engine.follows, endpoint)?,
        found_writable: engine.found_writable,
        replicas_caught_up: engine.replicas_caught_up,
        whole: engine.whole,
    })
}

fn engine_to_wire(engine: &EngineView) -> v1::EngineView {
    use v1::engine_view::Health as Wire;
    let health = match engine.health {
        Health::Down => Wire::Down,
        Health::Up => Wire::Up,
        Health::Stalled => Wire::Stalled,
    };
    let data = match &engine.data {
        DataState::Empty => v1::Data { empty: true, ..v1::Data::default() },
        DataState::Unmarked => v1::Data::default(),
        DataState::Marked { id, term } => v1::Data { empty: false, id: id.to_string(), term: term.0 },
    };
    v1::EngineView {
        health: health.into(),
        run: engine.run.as_ref().map(ToString::to_string).unwrap_or_default(),
        position: position_out(engine.position),
        data: Some(data),
        follows: engine.follows.as_ref().map(ToString::to_string).unwrap_or_default(),
        found_writable: engine.found_writable,
        replicas_caught_up: engine.replicas_caught_up,
        whole: engine.whole,
    }
}

/// See [`beat_from_wire`].
#[must_use]
pub fn beat_to_wire(beat: &Beat) -> v1::Beat {
    v1::Beat {
        instance: beat.instance.to_string(),
        incarnation: incarnation_out(beat.incarnation),
        sent_at: beat.sent_at.0,
        highest_term: beat.highest_term.0,
        needs: beat.needs.iter().map(ToString::to_string).collect(),
        known_master: beat
            .known_master
            .as_ref()
            .map(|(term, master)| v1::KnownMaster { term: term.0, instance: master.to_string() }),
        stand: Some(stand_to_wire(beat.stand)),
        relinquished: beat.relinquished.as_ref().map(|relinquished| v1::Relinquished {
            term: relinquished.term.0,
            position: position_out(relinquished.position),
            ended: relinquished.ended,
        }),
        severed: beat.severed.as_ref().map(|severed| v1::Severed {
            version: severed.stamp.version.0,
            generation: severed.stamp.generation,
            position: position_out(severed.position),
            run: severed.run.as_ref().map(ToString::to_string).unwrap_or_default(),
            whole: severed.whole,
        }),
        honoured: beat.honoured.as_ref().map(|honoured| v1::Honoured {
            version: honoured.stamp.version.0,
            generation: honoured.stamp.generation,
            members: honoured.members.iter().map(ToString::to_string).collect(),
            dropped: honoured.dropped.as_ref().map(ToString::to_string).unwrap_or_default(),
            ack_quorum: honoured.ack_quorum,
        }),
        unpinned: beat.unpinned.map(|(epoch, version)| v1::Unpinned {
            version: version.0,
            generation: epoch.generation,
            number: epoch.number,
        }),
        pinned_us: beat.pinned.0,
        ack_quorum: beat.ack_quorum,
        hold_us: beat.hold.0,
        engine: Some(engine_to_wire(&beat.engine)),
    }
}

/// Puts one message to a guard beside the others of its host.
pub fn push_to_guard(messages: &mut v1::GuardMessages, instance: &InstanceName, message: &ToGuard) {
    match message {
        ToGuard::Grant(grant) => messages.grants.push(grant_to_wire(instance, grant)),
        ToGuard::Directive(directive) => messages.directives.push(v1::Directive {
            instance: instance.to_string(),
            incarnation: incarnation_out(directive.incarnation),
            epoch: epoch_out(directive.epoch),
            version: directive.version.0,
            term: directive.term.0,
            order: Some(order_to_wire(&directive.order)),
        }),
    }
}

/// The messages of one host, each with the instance that it is for, in the order in which they count: a directive may
/// come before the grant that it makes possible.
///
/// # Errors
/// [`Malformed`].
pub fn to_guards_from_wire(messages: v1::GuardMessages) -> Result<Vec<(InstanceName, ToGuard)>, Malformed> {
    if messages.grants.len() + messages.directives.len() > 4 * GUARDS_MAX {
        return Err(Malformed::TooLong("a message to a host"));
    }
    let directives = messages.directives.into_iter().map(|directive| {
        let instance = InstanceName::parse(&directive.instance)?;
        let directive = Directive {
            incarnation: incarnation(directive.incarnation)?,
            epoch: epoch(directive.epoch)?,
            version: Version(directive.version),
            term: Term(directive.term),
            order: order_from_wire(directive.order.ok_or(Malformed::Missing("order"))?)?,
        };
        Ok((instance, ToGuard::Directive(directive)))
    });
    let grants = messages.grants.into_iter().map(|grant| {
        let (instance, grant) = grant_from_wire(grant)?;
        Ok((instance, ToGuard::Grant(grant)))
    });
    directives.chain(grants).collect()
}

fn grant_to_wire(instance: &InstanceName, grant: &Grant) -> v1::Grant {
    v1::Grant {
        instance: instance.to_string(),
        incarnation: incarnation_out(grant.incarnation),
        beat: grant.beat.0,
        epoch: epoch_out(grant.epoch),
        term: grant.term.0,
        ttl_us: grant.ttl.0,
        pinned_version: grant.pinned.map_or(0, |version| version.0),
        lease_ttl_us: grant.lease.0,
    }
}

fn grant_from_wire(grant: v1::Grant) -> Result<(InstanceName, Grant), Malformed> {
    let instance = InstanceName::parse(&grant.instance)?;
    let grant = Grant {
        beat: Time(grant.beat),
        incarnation: incarnation(grant.incarnation)?,
        epoch: epoch(grant.epoch)?,
        term: Term(grant.term),
        ttl: Span(grant.ttl_us.min(Pin::FOR_GOOD.0)),
        pinned: Some(Version(grant.pinned_version)).filter(|version| version.0 > 0),
        lease: Span(grant.lease_ttl_us),
    };
    Ok((instance, grant))
}

fn order_to_wire(order: &Order) -> v1::directive::Order {
    use v1::directive::Order as Wire;
    match order {
        Order::Lead { in_sync, data_id, ack_quorum } => Wire::Lead(v1::Lead {
            in_sync: in_sync.iter().map(ToString::to_string).collect(),
            data_id: data_id.to_string(),
            ack_quorum: *ack_quorum,
        }),
        Order::Follow { master, endpoint, data_id, start, reach } => Wire::Follow(v1::Follow {
            master: master.to_string(),
            endpoint: endpoint.to_string(),
            data_id: data_id.to_string(),
            start: position_out(*start),
            reach: reach.and_then(position_out),
        }),
        Order::Sever { master, reach, relinquished } => Wire::Sever(v1::Sever {
            reach: reach.and_then(position_out),
            relinquished: *relinquished,
            master: master.as_ref().map(ToString::to_string).unwrap_or_default(),
        }),
        Order::Relinquish => Wire::Relinquish(v1::Empty {}),
        Order::Grow { member, in_sync } => Wire::Grow(v1::Grow {
            member: member.to_string(),
            in_sync: in_sync.iter().map(ToString::to_string).collect(),
        }),
        Order::Shrink { member, in_sync, ack_quorum } => Wire::Shrink(v1::Shrink {
            member: member.to_string(),
            ack_quorum: *ack_quorum,
            in_sync: in_sync.iter().map(ToString::to_string).collect(),
        }),
        Order::Quorum { in_sync, ack_quorum } => Wire::AckQuorum(v1::AckQuorum {
            ack_quorum: *ack_quorum,
            in_sync: in_sync.iter().map(ToString::to_string).collect(),
        }),
        Order::Unpin => Wire::Unpin(v1::Empty {}),
        Order::EndEngine { beat, within } => {
            Wire::EndEngine(v1::EndEngine { beat: beat.0, within_us: within.0 })
        }
        Order::StandDown => Wire::StandDown(v1::Empty {}),
    }
}

fn order_from_wire(order: v1::directive::Order) -> Result<Order, Malformed> {
    use v1::directive::Order as Wire;
    Ok(match order {
        Wire::Lead(lead) => Order::Lead {
            in_sync: names(&lead.in_sync)?,
            data_id: DataId(text(lead.data_id, "a data identity")?),
            ack_quorum: lead.ack_quorum,
        },
        Wire::Follow(follow) => Order::Follow {
            master: InstanceName::parse(&follow.master)?,
            endpoint: endpoint(follow.endpoint)?,
            data_id: DataId(text(follow.data_id, "a data identity")?),
            start: position(follow.start),
            reach: follow.reach.map(|reach| position(Some(reach))),
        },
        Wire::Sever(sever) => Order::Sever {
            reach: sever.reach.map(|reach| position(Some(reach))),
            relinquished: sever.relinquished,
            master: Some(sever.master)
                .filter(|name| !name.is_empty())
                .map(|name| InstanceName::parse(&name))
                .transpose()?,
        },
        Wire::Relinquish(_) => Order::Relinquish,
        Wire::Grow(grow) => {
            Order::Grow { member: InstanceName::parse(&grow.member)?, in_sync: names(&grow.in_sync)? }
        }
        Wire::Shrink(shrink) => Order::Shrink {
            member: InstanceName::parse(&shrink.member)?,
            in_sync: names(&shrink.in_sync)?,
            ack_quorum: shrink.ack_quorum,
        },
        Wire::AckQuorum(quorum) => {
            Order::Quorum { in_sync: names(&quorum.in_sync)?, ack_quorum: quorum.ack_quorum }
        }
        Wire::Unpin(_) => Order::Unpin,
        Wire::EndEngine(order) => Order::EndEngine { beat: Time(order.beat), within: Span(order.within_us) },
        Wire::StandDown(_) => Order::StandDown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> InstanceName {
        InstanceName::parse(text).expect("a good name")
    }

    fn beat() -> Beat {
        Beat {
            instance: name("a1"),
            incarnation: Incarnation { home: 1, boot: 2, run: 3 },
            sent_at: Time(77),
            highest_term: Term(4),
            known_master: Some((Term(3), InstanceName::parse("b1").expect("a name"))),
            needs: ["a2", "a3"].map(name).into(),
            stand: Stand::Leading { term: Term(4), writable: true },
            relinquished: Some(Relinquished { term: Term(3), position: Position::at(3, 9), ended: false }),
            severed: Some(Severed {
                stamp: Stamp { generation: 2, version: Version(6) },
                position: Position::Unknown,
                run: Some(EngineRun("r".into())),
                whole: true,
            }),
            honoured: Some(Honoured {
                stamp: Stamp { generation: 2, version: Version(6) },
                members: BTreeSet::from([name("a1"), name("a2")]),
                dropped: Some(name("a3")),
                ack_quorum: Some(2),
            }),
            unpinned: Some((Epoch { generation: 2, number: 3 }, Version(8))),
            pinned: Span(11),
            ack_quorum: Some(0),
            hold: Span(5),
            engine: EngineView {
                health: Health::Up,
                run: Some(EngineRun("r".into())),
                position: Position::at(4, 12),
                data: DataState::Marked { id: DataId("d".into()), term: Term(4) },
                follows: Some(Endpoint("127.0.0.1:1".into())),
                found_writable: true,
                replicas_caught_up: 2,
                whole: true,
            },
        }
    }

    #[test]
    fn a_beat_goes_both_ways() {
        assert_eq!(beat_from_wire(beat_to_wire(&beat())), Ok(beat()));
        for data in [DataState::Empty, DataState::Unmarked] {
            let mut other = beat();
            other.engine.data = data;
            other.stand = Stand::Candidate(Term(5));
            assert_eq!(beat_from_wire(beat_to_wire(&other)), Ok(other));
        }
    }

    #[test]
    fn every_order_goes_both_ways_and_directives_come_first() {
        let orders = [
            Order::Lead { in_sync: BTreeSet::from([name("a1")]), data_id: DataId("d".into()), ack_quorum: 1 },
            Order::Quorum { in_sync: BTreeSet::from([name("a1")]), ack_quorum: 2 },
            Order::Follow {
                master: name("a1"),
                endpoint: Endpoint("h:1".into()),
                data_id: DataId("d".into()),
                start: Position::at(1, 2),
                reach: Some(Position::at(1, 3)),
            },
            Order::Sever { master: None, reach: None, relinquished: true },
            Order::Sever { master: Some(name("a3")), reach: Some(Position::at(2, 2)), relinquished: false },
            Order::Relinquish,
            Order::Grow { member: name("a2"), in_sync: BTreeSet::from([name("a1")]) },
            Order::Shrink { member: name("a2"), in_sync: BTreeSet::from([name("a1")]), ack_quorum: 1 },
            Order::Unpin,
            Order::EndEngine { beat: Time(7), within: Span::from_millis(500) },
            Order::StandDown,
        ];
        for order in orders {
            let incarnation = Incarnation { home: 1, boot: 2, run: 3 };
            let epoch = Epoch { generation: 1, number: 2 };
            let grant = ToGuard::Grant(Grant {
                beat: Time(1),
                incarnation,
                epoch,
                term: Term(3),
                ttl: Span(4),
                pinned: Some(Version(5)),
                lease: Span(5),
            });
            let (version, term) = (Version(5), Term(3));
            let directive = ToGuard::Directive(Directive { incarnation, epoch, version, term, order });
            let mut messages = v1::GuardMessages::default();
            push_to_guard(&mut messages, &name("a1"), &grant);
            push_to_guard(&mut messages, &name("a1"), &directive);
            assert_eq!(to_guards_from_wire(messages), Ok(vec![(name("a1"), directive), (name("a1"), grant)]));
        }
    }

    #[test]
    fn what_is_none_of_ours_is_refused() {
        let no_engine = v1::Beat { engine: None, ..beat_to_wire(&beat()) };
        assert_eq!(beat_from_wire(no_engine), Err(Malformed::Missing("engine")));
        let absurd = v1::Beat { highest_term: u64::MAX, ..beat_to_wire(&beat()) };
        assert_eq!(beat_from_wire(absurd), Err(Malformed::TooLong("a term")));
        let odd = v1::Beat {
            stand: Some(v1::Stand { kind: 99, term: 0, writable: false }),
            ..beat_to_wire(&beat())
        };
        assert_eq!(beat_from_wire(odd), Err(Malformed::Unknown { what: "stand", found: 99 }));
        let bad_name = v1::Beat { instance: "a b".into(), ..beat_to_wire(&beat()) };
        assert!(matches!(beat_from_wire(bad_name), Err(Malformed::Name(_))));
        let long = v1::GuardMessages {
            directives: vec![v1::Directive {
                instance: "a1".into(),
                incarnation: Some(v1::Incarnation::default()),
                epoch: Some(v1::Epoch::default()),
                order: Some(v1::directive::Order::Lead(v1::Lead {
                    in_sync: vec![],
                    data_id: "x".repeat(TEXT_BYTES_MAX + 1),
                    ack_quorum: 0,
                })),
                ..v1::Directive::default()
            }],
            ..v1::GuardMessages::default()
        };
        assert_eq!(to_guards_from_wire(long), Err(Malformed::TooLong("a data identity")));
    }
}
