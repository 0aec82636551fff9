//! Each row of the table has a case that brings about its issue and no other, and a healthy set has none.

use super::*;
use crate::decision::{Class, Decision, Hold, Ranked, Refusal};
use crate::fixture::{self, coordinator, name};
use crate::ids::{DataId, Endpoint, Epoch, Incarnation, ReplicaSetName, Term, Version};
use crate::message::EngineView;
use crate::position::Position;
use crate::record::Member;
use std::collections::BTreeSet;

const NORMS: Norms = Norms { silence: Span::from_secs(3), max_lag_bytes: Some(100) };

fn endpoint(instance: &str) -> Endpoint {
    Endpoint(format!("{instance}:1").into())
}

fn beat(instance: &str) -> Beat {
    let leads = instance == "a1";
    let known = fixture::beat(instance, Incarnation::default(), Term(3));
    Beat {
        known_master: Some((Term(3), name("a1"))),
        stand: if leads { Stand::Leading { term: Term(3), writable: true } } else { Stand::Standby },
        engine: EngineView {
            position: Position::at(3, 1_000),
            data: DataState::Marked { id: fixture::data(), term: Term(3) },
            follows: (!leads).then(|| endpoint("a1")),
            replicas_caught_up: 2,
            ..known.engine
        },
        ..known
    }
}

fn member(instance: &str) -> MemberView {
    MemberView {
        listed: Member {
            instance: name(instance),
            replicaset: ReplicaSetName::parse("r").expect("a good name"),
            coordinator: coordinator(),
            endpoint: endpoint(instance),
            zone: None,
            priority: 100,
            electable: true,
            bootstrap_members: 1,
            version: Version(1),
        },
        electable: true,
        priority: 100,
        maintenance: None,
        hello: None,
        beat: Some(beat(instance)),
        beat_age: Some(Span::from_millis(100)),
        attached_by: Some(coordinator()),
        in_sync: true,
        relayed_by: None,
        behind: Some(0),
    }
}

/// `a1` leads, `a2` and `a3` follow, commits wait for one.
pub(in crate::arbiter) fn healthy() -> SetView {
    let replicaset = fixture::replicaset();
    let record = Record {
        start: Position::at(2, 9),
        in_sync: ["a1", "a2", "a3"].map(name).into(),
        ack_quorum: 1,
        ..fixture::record("a1", Term(3))
    };
    SetView {
        name: replicaset,
        record: Some(record),
        state: MasterState::Active,
        held: false,
        hold: None,
        paused_for: Span::ZERO,
        phase: "steady".to_owned(),
        quorum_waits: None,
        members: ["a1", "a2", "a3"].map(member).into(),
        last_decision: None,
    }
}

fn refusal() -> Decision {
    let refused = |instance, why| Ranked { instance: name(instance), verdict: Verdict::Refused(why) };
    Decision {
        replicaset: ReplicaSetName::parse("r").expect("a good name"),
        epoch: Epoch { generation: 1, number: 1 },
        class: Class::Silent,
        evidence: None,
        old_master: Some(name("a1")),
        term_before: Term(3),
        appointed: None,
        observed: Vec::new(),
        ranking: vec![refused("a2", Refusal::EngineDown), refused("a3", Refusal::NotAttached)],
        question: None,
        missing: None,
        accepted: None,
        phases: Vec::new(),
    }
}

type Change = fn(&mut SetView);

fn engine(view: &mut SetView) -> &mut EngineView {
    &mut view.members[2].beat.as_mut().expect("it has one").engine
}

fn record(view: &mut SetView) -> &mut Record {
    view.record.as_mut().expect("it has one")
}

/// What is changed, and the text that comes of it.
fn case(code: &str) -> (Change, &'static str) {
    match code {
        "no_master" => (
            |view| {
                view.state = MasterState::None;
                view.last_decision = Some(Box::new(refusal()));
            },
            "no active master: nobody can be appointed (a2: its engine is down; a3: its coordinator is not attached)",
        ),
        "provider_restored" => (
            |view| {
                view.held = true;
                view.phase = "held: the provider went back".to_owned();
            },
            "held: the provider went back",
        ),
        "quorum_short" => {
            (|view| record(view).ack_quorum = 3, "commits wait for 3 replicas, and 2 are in the in-sync set")
        }
        "engine_down" => (|view| engine(view).health = Health::Down, "a3: the engine is down"),
        "engine_stalled" => (|view| engine(view).health = Health::Stalled, "a3: the engine is stalled"),
        "not_attached" => {
            (|view| view.members[2].attached_by = None, "a3: no coordinator is attached (heard 100ms ago)")
        }
        "isolated" => (
            |view| view.members[2].relayed_by = Some(name("a2")),
            "a3: isolated: its link to the arbiter is broken, it is heard through a2",
        ),
        "silent" => (
            |view| view.members[2].beat_age = Some(Span::from_secs(5)),
            "a3: its coordinator is attached, and has said nothing for 5s",
        ),
        "foreign_data" => (
            |view| engine(view).data = DataState::Marked { id: DataId("x".into()), term: Term(9) },
            "a3: its data is not this set's; it does not follow",
        ),
        "empty_member" => (
            |view| (engine(view).data, engine(view).follows) = (DataState::Empty, None),
            "a3: its engine is empty, though it is in the in-sync set",
        ),
        "not_replicating" => {
            (|view| engine(view).follows = None, "a3: in the in-sync set, and not connected to the master")
        }
        "lagging" => (
            |view| engine(view).position = Position::at(3, 899),
            "a3: 101 bytes behind the master, more than max_lag 100",
        ),
        "not_in_sync" => (|view| view.members[2].in_sync = false, "a3: not in the in-sync set"),
        "no_successor" => (
            |view| view.members.iter_mut().for_each(|member| member.electable = false),
            "if the master failed now, nobody could be appointed in its place",
        ),
        "straggler" => (
            |view| {
                record(view).stragglers.add(name("a9"), name("a1"));
                record(view).stragglers.add(name("a8"), name("a2"));
            },
            "a9: not heard since it followed a1, and may replicate from it again",
        ),
        "first_appointment" => (
            |view| {
                view.record = None;
                view.state = MasterState::None;
                view.phase = "waiting for the first appointment".to_owned();
            },
            "no active master: waiting for the first appointment",
        ),
        other => held_case(other),
    }
}

fn pause(view: &mut SetView, paused_for: Span, until_unix_millis: u64) {
    view.hold = Some(Hold::Paused);
    view.paused_for = paused_for;
    record(view).pinned = Some(Pin { span: paused_for, until_unix_millis });
}

#[test]
fn a_pause_with_more_than_an_hour_to_go_is_a_warning() {
    for (paused_for, code) in [(LONG_PAUSE, "paused"), (LONG_PAUSE + Span(1_000_000), "paused_long")] {
        let mut view = healthy();
        pause(&mut view, paused_for, 9);
        let codes: Vec<_> = issues_of(&view, NORMS).iter().map(|issue| issue.code).collect();
        assert_eq!(codes, [code], "{paused_for} to go");
    }
}

/// What people, too many failovers or too few replicas hold.
fn held_case(code: &str) -> (Change, &'static str) {
    match code {
        "suppressed" => (
            |view| view.hold = Some(Hold::Suppressed),
            "held after too many automatic failovers: nobody else is made master by itself",
        ),
        "budget" => (
            |view| {
                view.hold = Some(Hold::Budget);
                view.state = MasterState::Appointed;
            },
            "held: the cluster had more failovers within a minute than max_failovers_per_minute",
        ),
        "paused" => (|view| pause(view, Span::from_secs(60), 9), "paused for 60s more"),
        "paused_long" => (|view| pause(view, Pin::FOR_GOOD, 0), "paused, until a person ends it"),
        "quorum_waits" => (
            |view| view.quorum_waits = Some("a3 is not heard".to_owned()),
            "ack_quorum stays 1: a3 is not heard",
        ),
        other => panic!("{other} has no case"),
    }
}

#[test]
fn a_healthy_set_has_no_issue() {
    assert_eq!(issues_of(&healthy(), NORMS), []);
}

#[test]
fn every_row_is_found_where_it_is_wrong_and_alone() {
    for row in &TABLE {
        let (change, text) = case(row.code);
        let mut view = healthy();
        change(&mut view);
        let found = issues_of(&view, NORMS);
        let told: Vec<_> = found.iter().map(|issue| (issue.code, issue.text.as_str())).collect();
        assert_eq!(told, [(row.code, text)]);
        assert!(!found[0].command.contains('{'), "the command can be typed: {}", found[0].command);
    }
}

#[test]
fn what_refuses_writes_comes_first() {
    let mut view = healthy();
    engine(&mut view).health = Health::Down;
    view.state = MasterState::None;
    let codes: Vec<_> = issues_of(&view, NORMS).iter().map(|issue| issue.code).collect();
    assert_eq!(codes, ["no_master", "engine_down"]);
}

#[test]
fn codes_are_unique_words() {
    let codes: BTreeSet<_> = TABLE.iter().map(|row| row.code).collect();
    assert_eq!(codes.len(), TABLE.len());
    assert!(codes.iter().all(|code| code.chars().all(|char| char.is_ascii_lowercase() || char == '_')));
}
