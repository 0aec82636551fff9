//! The guard alone, by hand: the order of its actions and the answers that it must not take for others.

mod drill;
mod endings;
mod hand_over;
mod orders;
mod pinned;
mod promising;
mod reading;
mod settings;
mod whole;

use super::*;
use crate::engine::{DataState, EngineCommand, EngineOutcome, Probe};
use crate::fixture;
use crate::fixture::name as member;
use crate::ids::{Epoch, Version};
use crate::message::{
    Ask, Beat, Directive, Grant, Greeting, Order, PeerAnswer, Promise, PromiseRefusal, Stand,
};
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

    /// Orders something at term 1.
    fn direct(&mut self, epoch: Epoch, version: Version, order: Order) {
        let directive = Directive { incarnation: incarnation(), epoch, version, term: Term(1), order };
        self.step(Time(0), Input::FromArbiter(ToGuard::Directive(directive)));
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
        let grant = Grant {
            beat,
            incarnation: incarnation(),
            epoch: EPOCH,
            term: Term(1),
            ttl,
            lease: Span::ZERO,
            pinned: None,
        };
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
    directed(
        probe(false),
        Order::Lead { in_sync: BTreeSet::new(), data_id: DataId("d".into()), ack_quorum: 0 },
    )
}

/// The same with another engine and another order.
fn directed(probe: Probe, order: Order) -> Hand {
    let mut hand = started(probe, Some(Saved::default()), EPOCH);
    hand.direct(EPOCH, Version(1), order);
    hand
}

/// A guard that has read the provider, after a run on this boot that left `saved` behind, if any did.
fn started(probe: Probe, saved: Option<Saved>, epoch: Epoch) -> Hand {
    let same_boot = saved.is_some();
    started_on(probe, saved.unwrap_or_default(), same_boot, epoch)
}

fn started_on(probe: Probe, saved: Saved, same_boot: bool, epoch: Epoch) -> Hand {
    let config = Config {
        instance: InstanceName::parse("a1").expect("a good name"),
        replicaset: ReplicaSetName::parse("r").expect("a good name"),
        incarnation: incarnation(),
        supervised: true,
        failsafe: true,
        timing: timing(),
        rules: Rules::default(),
    };
    let mut hand = Hand { guard: Guard::new(Time(0), config, saved, same_boot), actions: Vec::new() };
    hand.step(Time(0), Input::DeadmanUp);
    hand.step(Time(0), Input::EngineConnected(probe));
    hand.step(Time(0), Input::Attached);
    hand.step(Time(0), Input::ProviderRead { record: None, epoch });
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
    let (ttl, now) = (timing().lease_ttl, Time(1_000));
    let good = Grant {
        beat: Time(500),
        incarnation: incarnation(),
        epoch: EPOCH,
        term: Term(1),
        ttl,
        lease: Span::ZERO,
        pinned: None,
    };
    let given = |now: Time, grant: Grant| {
        let mut hand = durable_candidate();
        hand.step(now, Input::FromArbiter(ToGuard::Grant(grant)));
        // The deadman as well: a deadline that has passed would end the engine.
        (hand.guard.right_until().is_some(), hand.actions.iter().any(|action| arm(action).is_some()))
    };
    assert_eq!(given(now, good), (true, true), "each of the others differs from this one in one thing");
    let none = [
        (now, Grant { incarnation: Incarnation { run: 2, ..incarnation() }, ..good }),
        (now, Grant { beat: Time(2_000), ..good }),
        (now + ttl, good),
        (now, Grant { epoch: Epoch::default(), ..good }),
        (now, Grant { term: Term(2), ..good }),
        (now, Grant { term: Term(0), ..good }),
    ];
    for (now, grant) in none {
        assert_eq!(given(now, grant), (false, false), "{grant:?}");
    }
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

/// A master at term 1 of a set of three, writable, its last grant answered the beat of this moment.
fn master(beat: Time) -> Hand {
    let in_sync = ["a1", "a2", "a3"].map(member).into();
    let mut hand =
        directed(probe(false), Order::Lead { in_sync, data_id: DataId("d".into()), ack_quorum: 0 });
    hand.persisted(Time(0));
    hand.persisted(Time(0));
    hand.grant(Time(1_000), beat, timing().lease_ttl);
    let armed = hand.last(arm);
    hand.step(Time(2_000), Input::Armed(armed));
    let op = hand.promotion().expect("it was sent");
    hand.step(Time(3_000), Input::EngineDone { op, outcome: EngineOutcome::Done(probe(true)) });
    hand
}

impl Hand {
    fn promise(&mut self, now: Time, from: &str, asked_at: Time) {
        let promise =
            Promise { incarnation: incarnation(), asked_at, term: Term(1), ttl: timing().lease_ttl };
        let answer = Box::new(PeerAnswer::Promise(promise));
        self.step(now, Input::Answered { from: member(from), answer });
    }

    fn right(&self) -> Option<Time> {
        self.guard.right_until().map(|(_, until)| until)
    }

    /// Whom it asked, in all.
    fn asked_whom(&self) -> BTreeSet<InstanceName> {
        let asks = self.actions.iter().filter_map(|action| match action {
            Action::Ask { to, .. } => Some(to.clone()),
            _ => None,
        });
        asks.collect()
    }

    /// A master of this term asks it, at its own time 7.
    fn is_asked(&mut self, now: Time, term: u64) {
        self.is_asked_for(now, term, timing().lease_ttl);
    }

    fn is_asked_for(&mut self, now: Time, term: u64, ttl: Span) {
        let incarnation = Incarnation { home: 9, boot: 1, run: 1 };
        let stand = Stand::Leading { term: Term(term), writable: true };
        let beat = Beat { sent_at: Time(7), stand, ..fixture::beat("a9", incarnation, Term(term)) };
        let ask = Ask { beat: Box::new(beat), term: Term(term), ttl };
        self.step(now, Input::Asked { from: member("a9"), ask: Box::new(ask) });
    }

    fn answers(&self) -> Vec<&PeerAnswer> {
        let answers = self.actions.iter().filter_map(|action| match action {
            Action::Answer { answer, .. } => Some(&**answer),
            _ => None,
        });
        answers.collect()
    }
}

#[test]
fn a_severance_from_before_a_restore_of_the_provider_does_not_bind_after_it() {
    for (generation, follows) in [(1, false), (2, true)] {
        let severed = Some(Stamp { generation: 1, version: Version(7) });
        let epoch = Epoch { generation, number: 2 };
        let mut hand = started(probe(false), Some(Saved { severed, ..Saved::default() }), epoch);
        let lead = Order::Lead { in_sync: [member("a1")].into(), data_id: DataId("d".into()), ack_quorum: 0 };
        hand.direct(epoch, Version(6), lead);
        let leads = hand.actions.contains(&Action::Note(Note::Candidate(Term(1))));
        assert_eq!(leads, follows, "version 6 of generation {generation}, severed by 7 of 1");
    }
}

#[test]
fn a_candidate_that_the_restored_provider_knows_nothing_of_gives_way() {
    for (generation, gives_up) in [(1, false), (2, true)] {
        let mut hand = candidate();
        let epoch = Epoch { generation, number: 2 };
        hand.direct(epoch, Version(1), Order::Sever { master: None, reach: None, relinquished: false });
        let forgotten = Note::GivingUp { term: Term(1), why: GaveUp::Forgotten };
        assert_eq!(hand.actions.contains(&Action::Note(forgotten)), gives_up, "generation {generation}");
    }
}

#[test]
fn a_provider_read_that_comes_late_still_tells_of_an_epoch() {
    for (read, heeded) in [(EPOCH, true), (Epoch { generation: 2, number: 1 }, false)] {
        let mut hand = started(probe(false), Some(Saved::default()), EPOCH);
        hand.step(Time(0), Input::ProviderRead { record: None, epoch: read });
        let lead = Order::Lead { in_sync: [member("a1")].into(), data_id: DataId("d".into()), ack_quorum: 0 };
        hand.direct(EPOCH, Version(1), lead);
        assert_eq!(hand.actions.contains(&Action::Note(Note::Candidate(Term(1)))), heeded, "read {read}");
    }
}

#[test]
fn where_there_is_no_record_nothing_was_promised_unless_the_provider_went_back() {
    for (generation, holds) in [(1, false), (2, true)] {
        let hand = started(probe(false), None, Epoch { generation, number: 1 });
        assert_eq!(hand.guard.held_until() > Time(0), holds, "generation {generation}");
    }
}

/// A state that was lost says nothing of what was promised, nor at which terms somebody led.
#[test]
fn where_a_lost_record_is_remembered_nothing_is_led_at_its_term_and_promises_are_waited_out() {
    for (highest_term, holds) in [(Term(5), true), (Term(0), false)] {
        let saved = Saved { highest_term, ..Saved::default() };
        let hand = started_on(probe(false), saved, false, Epoch { generation: 1, number: 1 });
        assert_eq!(hand.guard.held_until() > Time(0), holds, "{highest_term}");
        assert_eq!(hand.guard.floor(), Some(highest_term));
    }
}

/// A guard of another boot waits a lease out; one that is started again within that lease waits too.
#[test]
fn what_is_waited_out_after_a_boot_is_on_disk_for_the_next_run() {
    let hand = started(probe(false), None, Epoch { generation: 2, number: 1 });
    let saved = hand.actions.iter().rev().find_map(|action| match action {
        Action::Persist { saved, .. } => Some(saved.clone()),
        _ => None,
    });
    let next = started(probe(false), saved, Epoch { generation: 2, number: 1 });
    assert_eq!(next.guard.held_until(), hand.guard.held_until());
    assert!(next.guard.held_until() > Time(0));
}

#[test]
fn beats_that_only_time_asks_for_fall_on_their_phase_and_never_come_later() {
    let mut hand = started(probe(false), None, EPOCH);
    let (period, phase) = (timing().beat_replica, Span(1_234_567));
    hand.guard.beat_at(phase);
    let asked_for = Time(10);
    hand.step(asked_for, Input::Attached);
    hand.actions.clear();
    for _ in 0..5 {
        let at = hand.guard.next_deadline().expect("a guard beats for ever");
        hand.step(at, Input::Tick);
    }
    let beat = |action: &Action| match action {
        Action::Beat(beat) => Some(beat.sent_at),
        _ => None,
    };
    let beats: Vec<_> = hand.actions.iter().filter_map(beat).collect();
    assert!(beats.len() > 3, "{beats:?}");
    for (before, at) in [asked_for].iter().chain(&beats).zip(&beats) {
        assert_eq!(at.0 % period.0, phase.0, "{beats:?}");
        assert!(at.since(*before) <= period, "{beats:?}");
    }
}
