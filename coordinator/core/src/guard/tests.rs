//! The guard alone, by hand: the order of its actions and the answers that it must not take for others.

use super::*;
use crate::engine::{DataState, EngineCommand, EngineOutcome, Probe};
use crate::message::{Directive, Grant, Order};
use crate::record::Settings;

const EPOCH: Epoch = Epoch { generation: 1, number: 1 };

/// A guard and its actions since the last look.
struct Hand {
    guard: Guard,
    actions: Vec<Action>,
}

fn incarnation() -> Incarnation {
    Incarnation { home: 1, boot: 1, run: 1 }
}

fn timing() -> Timing {
    Timing::new(&Settings::default()).expect("the default is safe")
}

fn probe(writable: bool) -> Probe {
    Probe {
        run: EngineRun("a1.1".into()),
        writable,
        follows: None,
        link_up: false,
        position: Position::at(0, 5),
        data: DataState::Unmarked,
        replicas_caught_up: 0,
    }
}

impl Hand {
    fn step(&mut self, now: Time, input: Input) {
        self.guard.step(now, input);
        while let Some(action) = self.guard.pop_action() {
            self.actions.push(action);
        }
    }

    /// The operation of the last action that `pick` knows.
    fn last(&self, pick: impl Fn(&Action) -> Option<OpId>) -> OpId {
        self.actions.iter().rev().find_map(pick).expect("it was asked for")
    }

    fn asked(&self, wanted: fn(&EngineCommand) -> bool) -> Option<OpId> {
        self.actions.iter().rev().find_map(|action| match action {
            Action::Engine { op, command, .. } if wanted(command) => Some(*op),
            _ => None,
        })
    }

    fn promotion(&self) -> Option<OpId> {
        self.asked(|command| matches!(command, EngineCommand::Promote { .. }))
    }

    fn persisted(&mut self, now: Time) {
        let op = self.last(persist);
        self.step(now, Input::Persisted(op));
    }

    fn grant(&mut self, now: Time, beat: Time, ttl: Span) {
        let grant = Grant { beat, incarnation: incarnation(), epoch: EPOCH, term: Term(1), ttl };
        self.step(now, Input::FromArbiter(ToGuard::Grant(grant)));
    }
}

fn arm(action: &Action) -> Option<OpId> {
    match action {
        Action::Arm { op, .. } => Some(*op),
        _ => None,
    }
}

fn persist(action: &Action) -> Option<OpId> {
    match action {
        Action::Persist { op, .. } => Some(*op),
        _ => None,
    }
}

/// A guard that has read the provider (nothing is recorded), with a fenced engine, directed to lead at term 1.
fn candidate() -> Hand {
    directed(probe(false), Order::Lead { in_sync: BTreeSet::new(), data_id: DataId("d".into()) })
}

/// The same with another engine and another order.
fn directed(probe: Probe, order: Order) -> Hand {
    let config = Config {
        instance: InstanceName::parse("a1").expect("a good name"),
        replicaset: ReplicaSetName::parse("r").expect("a good name"),
        incarnation: incarnation(),
        supervised: true,
        failsafe: true,
        timing: timing(),
        rules: Rules::default(),
    };
    let mut hand = Hand { guard: Guard::new(Time(0), config, Saved::default(), true), actions: Vec::new() };
    hand.step(Time(0), Input::DeadmanUp);
    hand.step(Time(0), Input::EngineConnected(probe));
    hand.step(Time(0), Input::Attached);
    hand.step(Time(0), Input::ProviderRead { record: None, epoch: EPOCH });
    let (version, term) = (Version(1), Term(1));
    let directive = Directive { incarnation: incarnation(), epoch: EPOCH, version, term, order };
    hand.step(Time(0), Input::FromArbiter(ToGuard::Directive(directive)));
    hand
}

/// The same, and the state is on disk: the first write was of the epoch, the second of the term.
fn durable_candidate() -> Hand {
    let mut hand = candidate();
    hand.persisted(Time(0));
    hand.persisted(Time(0));
    hand
}

#[test]
fn the_deadman_is_armed_before_the_promotion_is_sent() {
    let mut hand = durable_candidate();
    let ttl = timing().lease_ttl;
    hand.grant(Time(1_000), Time(0), ttl);
    assert_eq!(hand.promotion(), None, "the deadman has not answered");
    let armed = hand.last(arm);
    hand.step(Time(2_000), Input::Armed(armed));
    assert!(hand.promotion().is_some(), "now it has");
}

#[test]
fn the_term_is_on_disk_before_the_promotion_is_sent() {
    let mut hand = candidate();
    hand.grant(Time(1_000), Time(0), timing().lease_ttl);
    let armed = hand.last(arm);
    hand.step(Time(2_000), Input::Armed(armed));
    assert_eq!(hand.promotion(), None, "only the epoch's write is under way");
    hand.persisted(Time(3_000));
    hand.persisted(Time(4_000));
    assert!(hand.promotion().is_some(), "the term's write has ended");
}

#[test]
fn an_answer_to_an_older_arming_is_nothing() {
    let mut hand = durable_candidate();
    let ttl = timing().lease_ttl;
    hand.grant(Time(1_000), Time(0), ttl);
    let first = hand.last(arm);
    hand.grant(Time(2_000), Time(500), ttl);
    assert_ne!(hand.last(arm), first, "a later deadline is armed anew");
    hand.step(Time(3_000), Input::Armed(first));
    assert_eq!(hand.promotion(), None);
}

#[test]
fn a_grant_of_another_run_of_the_future_or_of_the_past_is_nothing() {
    let ttl = timing().lease_ttl;
    let mut hand = durable_candidate();
    let foreign = Incarnation { run: 2, ..incarnation() };
    let grant = Grant { beat: Time(0), incarnation: foreign, epoch: EPOCH, term: Term(1), ttl };
    hand.step(Time(1_000), Input::FromArbiter(ToGuard::Grant(grant)));
    hand.grant(Time(1_000), Time(2_000), ttl);
    hand.grant(Time(1_000) + ttl, Time(0), ttl);
    let lower = Grant { epoch: Epoch::default(), incarnation: incarnation(), ..grant };
    hand.step(Time(1_000) + ttl, Input::FromArbiter(ToGuard::Grant(lower)));
    assert_eq!(hand.guard.right_until(), None);
}

#[test]
fn a_grant_is_cut_to_the_lease_and_counts_from_its_beat() {
    let mut hand = durable_candidate();
    let timing = timing();
    hand.grant(Time(700_000), Time(100_000), timing.lease_ttl * 9);
    let end = (Time(100_000) + timing.lease_ttl).back(timing.margin);
    assert_eq!(hand.guard.right_until(), Some((Term(1), end)));
}

#[test]
fn a_promotion_that_ends_after_the_right_was_given_up_is_fenced_before_it_is_relinquished() {
    let mut hand = durable_candidate();
    hand.grant(Time(1_000), Time(0), timing().lease_ttl);
    let armed = hand.last(arm);
    hand.step(Time(2_000), Input::Armed(armed));
    let promotion = hand.promotion().expect("it was sent");
    hand.step(Time(3_000), Input::DeadmanLost);
    let fence =
        hand.asked(|command| matches!(command, EngineCommand::Fence)).expect("it is behind the promotion");
    hand.step(Time(4_000), Input::EngineDone { op: promotion, outcome: EngineOutcome::Done(probe(true)) });
    assert!(hand.guard.may_write(), "the promotion happened");
    assert_eq!(hand.guard.writable_at(), None, "and gives no right");
    hand.step(Time(5_000), Input::EngineDone { op: fence, outcome: EngineOutcome::Done(probe(false)) });
    assert!(!hand.guard.may_write());
    let relinquished = Action::Note(Note::Relinquished { term: Term(1), position: Position::at(0, 5) });
    assert!(hand.actions.contains(&relinquished));
}

#[test]
fn only_empty_data_or_the_sets_own_is_given_up_to_follow() {
    let marked = |id: &str| DataState::Marked { id: DataId(id.into()), term: Term(1) };
    let cases =
        [(DataState::Empty, true), (marked("d"), true), (marked("e"), false), (DataState::Unmarked, false)];
    for (data, follows) in cases {
        let order = Order::Follow {
            master: InstanceName::parse("a2").expect("a good name"),
            endpoint: Endpoint("a2:1".into()),
            data_id: DataId("d".into()),
            start: Position::at(0, 5),
            reach: None,
        };
        let hand = directed(Probe { data: data.clone(), ..probe(false) }, order);
        let asked = hand.asked(|command| matches!(command, EngineCommand::Follow { .. }));
        assert_eq!(asked.is_some(), follows, "{data:?}");
    }
}

/// Found by a random-fault world: the promotion was asked between the last answer of a broken connection and the word
/// that it broke, and was then waited for without end.
#[test]
fn a_promotion_that_a_broken_connection_never_carried_is_taken_for_lost() {
    let mut hand = durable_candidate();
    hand.grant(Time(1_000), Time(0), timing().lease_ttl);
    let armed = hand.last(arm);
    hand.step(Time(2_000), Input::Armed(armed));
    let promotion = hand.promotion().expect("it was sent");
    hand.step(Time(3_000), Input::EngineDisconnected);
    let outcome = EngineOutcome::Unknown("the connection is gone".into());
    hand.step(Time(4_000), Input::EngineDone { op: promotion, outcome });
    assert!(hand.actions.contains(&Action::KillEngine), "only the engine's end settles it");
    hand.step(Time(5_000), Input::EngineEnded);
    let relinquished = Action::Note(Note::Relinquished { term: Term(1), position: Position::Unknown });
    assert!(hand.actions.contains(&relinquished));
}
