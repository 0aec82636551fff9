//! A guard's beat: its whole state, to protobuf and back.

use super::{
    Malformed, endpoint, incarnation, incarnation_out, names, optional, position, position_out, term, text,
};
use baton_core::engine::DataState;
use baton_core::ids::{DataId, EngineRun, Epoch, InstanceName, Stamp, Term, Version};
use baton_core::message::{Beat, EngineView, Health, Honoured, Relinquished, Severed, Stand};
use baton_core::record::Pin;
use baton_core::time::{Span, Time};
use baton_proto::v1;

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
            // No arbiter's lock has the number 0: an older build did not say whom it answers.
            epoch: (honoured.number > 0)
                .then_some(Epoch { generation: honoured.generation, number: honoured.number }),
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
        greeted: beat.greeted.map(|epoch| Epoch { generation: epoch.generation, number: epoch.number }),
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
        may_write: engine.may_write,
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
        may_write: engine.may_write,
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
            number: honoured.epoch.map_or(0, |epoch| epoch.number),
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
        greeted: beat.greeted.map(|epoch| v1::Epoch { generation: epoch.generation, number: epoch.number }),
        hold_us: beat.hold.0,
        engine: Some(engine_to_wire(&beat.engine)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::ids::{Endpoint, Incarnation};
    use baton_core::position::Position;
    use std::collections::BTreeSet;

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
                epoch: Some(Epoch { generation: 2, number: 3 }),
                members: BTreeSet::from([name("a1"), name("a2")]),
                dropped: Some(name("a3")),
                ack_quorum: Some(2),
            }),
            unpinned: Some((Epoch { generation: 2, number: 3 }, Version(8))),
            pinned: Span(11),
            ack_quorum: Some(0),
            greeted: Some(Epoch { generation: 2, number: 9 }),
            hold: Span(5),
            engine: EngineView {
                health: Health::Up,
                run: Some(EngineRun("r".into())),
                position: Position::at(4, 12),
                data: DataState::Marked { id: DataId("d".into()), term: Term(4) },
                follows: Some(Endpoint("127.0.0.1:1".into())),
                found_writable: true,
                may_write: true,
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

    /// The number is not there, or 0.
    #[test]
    fn a_guard_of_an_older_build_does_not_say_whom_it_answers() {
        let mut older = beat_to_wire(&beat());
        older.honoured.iter_mut().for_each(|honoured| honoured.number = 0);
        let honoured = beat_from_wire(older).expect("it is a beat").honoured;
        assert_eq!(honoured.map(|honoured| honoured.epoch), Some(None));
    }

    #[test]
    fn a_beat_that_is_none_of_ours_is_refused() {
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
    }
}
