//! The arbiter by hand, where a story would have to bring about what no healthy provider shows.

mod budget;
mod coming;
mod final_position;
mod forced;
mod forgotten;
mod hand_over;
mod insync;
mod listing;
mod overtaken;
mod pinned;
mod restored;
mod standing;
mod straggling;
mod vouched;
mod written;

use super::succession::next_term;
use super::{Action, Arbiter, Config, Forcing, Input, RelayId, SessionId, TaskId, WriteOutcome};
use crate::engine::DataState;
use crate::fixture::{self, coordinator, replicaset};
use crate::ids::{
    DataId, Endpoint, Epoch, Incarnation, InstanceName, OpId, ReplicaSetName, Stamp, Term, Version,
};
use crate::message::{
    Beat, EngineView, Greeting, Health, Hello, Honoured, Order, Relinquished, Severed, Stand, ToGuard,
};
use crate::position::Position;
use crate::record::{Pin, Record, Settings};
use crate::rules::Rules;
use crate::time::{Span, Time};
use std::collections::BTreeSet;

const SESSION: SessionId = SessionId(1);
const INCARNATION: Incarnation = Incarnation { home: 1, boot: 1, run: 1 };
const EPOCH: Epoch = Epoch { generation: 1, number: 2 };

const FOR_GOOD: Pin = Pin { span: Pin::FOR_GOOD, until_unix_millis: 0 };

fn instance() -> InstanceName {
    fixture::name("a1")
}

fn recorded_at(term: Term) -> Record {
    Record { incarnation: Some(INCARNATION), epoch: EPOCH, ..fixture::record("a1", term) }
}

fn hello() -> Hello {
    Hello {
        instance: instance(),
        replicaset: replicaset(),
        incarnation: INCARNATION,
        coordinator: coordinator(),
        endpoint: Endpoint("a1:1".into()),
        zone: None,
        priority: 100,
        electable: true,
        bootstrap_members: 1,
        supervised: true,
    }
}

/// An arbiter that has taken the lock, after which nobody has to be waited for, and has read nothing yet.
fn with_lock(valid_until: Time) -> Arbiter {
    let config = Config { coordinator: coordinator(), seed: 1, rules: Rules::default() };
    let mut arbiter = Arbiter::new(config, Settings::default()).expect("the defaults are safe");
    arbiter.step(Time(0), Input::LockAcquired { epoch: EPOCH, valid_until, predecessor_bound: Time(0) });
    arbiter
}

/// What the provider keeps is read: these records, and neither members nor tasks.
fn load(arbiter: &mut Arbiter, records: Vec<Record>, settings: Settings) {
    let (members, tasks, settings) = (Vec::new(), Vec::new(), Box::new(settings));
    arbiter.step(Time(1), Input::Loaded { records, members, settings, tasks, unix_millis: 0 });
}

/// The same, severed by the record that was read after a restore, with what its engine holds.
fn cut(beat: Beat) -> Beat {
    cut_by(recorded_at(Term(3)).version, beat)
}

fn cut_by(version: Version, beat: Beat) -> Beat {
    let stamp = Stamp { generation: 2, version };
    let severed = Some(Severed { stamp, position: beat.engine.position, run: None, whole: true });
    Beat { severed, ..beat }
}

/// A master that gave its term up and has seen `highest`.
fn beat(highest: Term) -> Beat {
    Beat {
        known_master: Some((highest, instance())),
        relinquished: Some(Relinquished { term: highest, position: Position::at(1, 9), ended: false }),
        greeted: Some(RESTORED),
        ..fixture::beat("a1", INCARNATION, highest)
    }
}

fn written_terms(arbiter: &mut Arbiter) -> Vec<Term> {
    std::iter::from_fn(|| arbiter.pop_action())
        .filter_map(|action| match action {
            Action::Write { record, .. } => Some(record.term),
            _ => None,
        })
        .collect()
}

#[test]
fn a_new_term_is_above_every_term_that_a_member_has_seen() {
    for (recorded, seen, next) in [(3, 3, 4), (3, 7, 8)] {
        let mut arbiter = with_lock(Time(3_000_000));
        load(&mut arbiter, vec![recorded_at(Term(recorded))], Settings::default());
        arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
        assert_eq!(written_terms(&mut arbiter), [], "nothing is known against the master yet");
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(beat(Term(seen))) });
        assert_eq!(written_terms(&mut arbiter), [Term(next)], "recorded {recorded}, seen {seen}");
    }
}

/// After a restart that forgot its files, or as a newcomer, a member may have seen less than the record.
#[test]
fn a_new_term_is_above_the_recorded_one_though_nobody_who_is_heard_has_seen_that() {
    let mut arbiter = with_lock(Time(9_000_000));
    let a2 = InstanceName::parse("a2").expect("a good name");
    let record = recorded_at(Term(7));
    let records = vec![Record { in_sync: [instance(), a2.clone()].into(), ..record.clone() }];
    load(&mut arbiter, records, Settings::default());
    let guards = vec![Hello { instance: a2.clone(), ..hello() }];
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards });
    let (stamp, position) = (Stamp { generation: 1, version: record.version }, Position::at(1, 9));
    let severed = Some(Severed { stamp, position, run: None, whole: true });
    let said = Beat { instance: a2, severed, relinquished: None, ..beat(Term(3)) };
    arbiter.step(Time(2_000_000), Input::Beat { session: SESSION, beat: Box::new(said) });
    assert_eq!(written_terms(&mut arbiter), [Term(8)]);
}

#[test]
fn a_host_comes_back_under_its_name_after_a_reboot_and_a_stranger_does_not() {
    let rebooted = Incarnation { boot: 2, run: 2, ..INCARNATION };
    let stranger = Incarnation { home: 9, ..INCARNATION };
    for (incarnation, refused) in [(rebooted, false), (stranger, true)] {
        let mut arbiter = with_lock(Time(3_000_000));
        load(&mut arbiter, vec![recorded_at(Term(3))], Settings::default());
        arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
        arbiter.step(Time(3), Input::Beat { session: SESSION, beat: Box::new(beat(Term(2))) });
        arbiter.step(Time(4), Input::Detached { session: SESSION });
        let guards = vec![Hello { incarnation, ..hello() }];
        arbiter.step(Time(5), Input::Attached { session: SessionId(2), guards });
        let told = std::iter::from_fn(|| arbiter.pop_action())
            .any(|action| matches!(action, Action::NameUsedTwice { .. }));
        assert_eq!(told, refused, "{incarnation}");
    }
}

const SETS: usize = 1_000;

/// The members of the `number`th set: its master first. Each is on a host of its own.
fn members_of(number: usize) -> [InstanceName; 3] {
    ["a", "b", "c"].map(|host| InstanceName::parse(&format!("{host}{number}")).expect("a good name"))
}

fn quiet_record(number: usize) -> Record {
    let [master, ..] = members_of(number);
    Record {
        replicaset: ReplicaSetName::parse(&format!("r{number}")).expect("a good name"),
        endpoint: Some(Endpoint(format!("{master}:1").into())),
        master: Some(master),
        in_sync: members_of(number).into(),
        start: Position::at(3, 0),
        ..recorded_at(Term(3))
    }
}

/// What a member says when nothing happens: the master leads, the others follow it.
fn quiet_beat(number: usize, host: usize, now: Time) -> Beat {
    let record = quiet_record(number);
    let leads = host == 0;
    let honoured = Honoured {
        stamp: Stamp { generation: 1, version: record.version },
        epoch: Some(EPOCH),
        members: record.in_sync.clone(),
        dropped: None,
        ack_quorum: None,
    };
    let stand = if leads { Stand::Leading { term: record.term, writable: true } } else { Stand::Standby };
    let known = beat(record.term);
    Beat {
        instance: members_of(number)[host].clone(),
        sent_at: now,
        stand,
        relinquished: None,
        honoured: leads.then_some(honoured),
        engine: EngineView {
            position: Position::at(3, now.0),
            data: DataState::Marked { id: DataId("d".into()), term: record.term },
            follows: record.endpoint.filter(|_| !leads),
            replicas_caught_up: if leads { 2 } else { 0 },
            ..known.engine
        },
        ..known
    }
}

/// What is written, and how many grants are sent.
fn writes_and_grants(arbiter: &mut Arbiter) -> (Vec<Action>, usize) {
    let (mut writes, mut grants) = (Vec::new(), 0);
    while let Some(action) = arbiter.pop_action() {
        match action {
            Action::Send { message: ToGuard::Grant(_), .. } => grants += 1,
            Action::Write { .. } | Action::PutMember(_) => writes.push(action),
            _ => {}
        }
    }
    (writes, grants)
}

/// A provider must be able to carry a thousand sets: while nothing happens, nothing is written for them. What is left is
/// the renewal of the one lock, which is not the arbiter's to ask for.
#[test]
fn a_thousand_quiet_sets_write_nothing() {
    let mut arbiter = with_lock(Time(3_000_000));
    load(&mut arbiter, (0..SETS).map(quiet_record).collect(), Settings::default());
    for host in 0..3 {
        let guards = (0..SETS).map(|number| {
            let instance = members_of(number)[host].clone();
            let replicaset = quiet_record(number).replicaset;
            Hello { endpoint: Endpoint(format!("{instance}:1").into()), instance, replicaset, ..hello() }
        });
        let session = SessionId(u64::try_from(host).expect("small"));
        arbiter.step(Time(2), Input::Attached { session, guards: guards.collect() });
    }
    let (_listed, _) = writes_and_grants(&mut arbiter);
    let mut granted = 0;
    for round in 0..6 {
        let now = Time(1_000 + round * 500_000);
        arbiter.step(now, Input::LockRenewed { valid_until: Time(now.0 + 3_000_000) });
        for number in 0..SETS {
            for host in 0..3 {
                let session = SessionId(u64::try_from(host).expect("small"));
                let beat = Box::new(quiet_beat(number, host, now));
                arbiter.step(now, Input::Beat { session, beat });
            }
        }
        let (writes, grants) = writes_and_grants(&mut arbiter);
        assert_eq!(writes, [], "in round {round}");
        granted += grants;
    }
    assert_eq!(granted, 6 * SETS, "every beat of every master was granted");
}

/// An arbiter of the next generation, whose provider knows term 3 of a set with one member, which has attached.
/// The epoch of an arbiter after a restore.
const RESTORED: Epoch = Epoch { generation: 2, number: 3 };

fn after_a_restore(predecessor_bound: Time) -> Arbiter {
    after_a_restore_of(vec![recorded_at(Term(3))], predecessor_bound)
}

fn after_a_restore_of(records: Vec<Record>, predecessor_bound: Time) -> Arbiter {
    let config = Config { coordinator: coordinator(), seed: 1, rules: Rules::default() };
    let mut arbiter = Arbiter::new(config, Settings::default()).expect("the defaults are safe");
    let (epoch, valid_until) = (RESTORED, Time(9_000_000));
    arbiter.step(Time(0), Input::LockAcquired { epoch, valid_until, predecessor_bound });
    load(&mut arbiter, records, Settings::default());
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
    arbiter
}

/// One that leads at this term, pinned for so long.
fn pinned_leader(term: Term, pinned: Span) -> Beat {
    let stand = Stand::Leading { term, writable: true };
    Beat { stand, relinquished: None, pinned, ..beat(term) }
}

#[test]
fn what_is_written_back_says_for_how_many_its_master_waits_in_truth() {
    for (waits, recorded) in [(None, 0), (Some(1), 1), (Some(0), 0)] {
        let mut arbiter = after_a_restore(Time(0));
        let beat = Box::new(Beat { ack_quorum: waits, ..pinned_leader(Term(5), Span::ZERO) });
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat });
        let written = std::iter::from_fn(|| arbiter.pop_action()).find_map(|action| match action {
            Action::Write { record, .. } => Some(record.ack_quorum),
            _ => None,
        });
        assert_eq!(written, Some(recorded), "{waits:?}");
    }
}

fn last_written(arbiter: &mut Arbiter) -> Option<(OpId, Record)> {
    let actions = std::iter::from_fn(|| arbiter.pop_action());
    let writes = actions.filter_map(|action| match action {
        Action::Write { op, record, .. } => Some((op, *record)),
        _ => None,
    });
    writes.last()
}

#[test]
fn a_held_set_is_decided_once_the_master_of_its_highest_term_is_heard() {
    let stranger = InstanceName::parse("a9").expect("a good name");
    let cases = [((4, instance()), None), ((5, stranger), None), ((5, instance()), Some(Term(1_005)))];
    for ((known, master), next) in cases {
        let mut arbiter = after_a_restore(Time(0));
        let known_master = Some((Term(known), master.clone()));
        let beat = cut(Beat { known_master, ..beat(Term(5)) });
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(beat) });
        assert_eq!(written_terms(&mut arbiter), Vec::from_iter(next), "knows {known} as {master}'s");
    }
}

/// Seed 40016336: that its master needs the newcomer's promise had been said before the restore, and was believed of the very next
/// set, since the beat was passed on by another member: the newcomer was recorded while the master went on by its own word alone.
#[test]
fn a_report_from_before_a_restore_is_none_of_a_record_that_has_its_version_by_chance() {
    for (generation, kept) in [(1, false), (2, true), (0, true)] {
        let stamp = Stamp { generation, version: recorded_at(Term(3)).version };
        let (position, members) = (Position::at(1, 9), BTreeSet::from([instance()]));
        let severed = Some(Severed { stamp, position, run: None, whole: true });
        let honoured = Some(Honoured { stamp, epoch: None, members, dropped: None, ack_quorum: None });
        let beat = Box::new(Beat { severed, honoured, ..beat(Term(3)) });
        let hello = Box::new(hello());
        let directly = Input::Beat { session: SESSION, beat: beat.clone() };
        let by_another = Input::Relayed { relay: RelayId(1), by: instance(), hello, beat };
        for way in [directly, by_another] {
            let mut arbiter = after_a_restore(Time(9_000_000));
            arbiter.step(Time(10), way.clone());
            let heard = arbiter.sets[&replicaset()].guards[&instance()].beat.as_ref().expect("it was heard");
            let found = (heard.severed.is_some(), heard.honoured.is_some());
            assert_eq!(found, (kept, kept), "of generation {generation}: {way:?}");
        }
    }
}

#[test]
fn where_commits_wait_nobody_is_chosen_after_a_restore_who_lacks_what_another_holds() {
    for (offset, appointed) in [(9, None), (4, Some(Term(1_003)))] {
        let a2 = InstanceName::parse("a2").expect("a good name");
        let recorded = Record { ack_quorum: 1, ..recorded_at(Term(3)) };
        let stamp = Stamp { generation: 2, version: recorded.version };
        let mut arbiter = after_a_restore_of(vec![recorded], Time(0));
        // The recorded master may not be appointed, and holds more, or less, than the other one.
        let hellos = [(instance(), false), (a2.clone(), true)];
        let guards = hellos.map(|(instance, electable)| Hello { instance, electable, ..hello() });
        arbiter.step(Time(3), Input::Attached { session: SESSION, guards: guards.into() });
        let known = beat(Term(3));
        let old = cut(Beat {
            engine: EngineView { position: Position::at(1, offset), ..known.engine.clone() },
            relinquished: None,
            ..known.clone()
        });
        let position = Position::at(1, 5);
        let severed = Some(Severed { stamp, position, run: None, whole: true });
        let other = Beat {
            instance: a2,
            severed,
            relinquished: None,
            engine: EngineView { position, ..known.engine.clone() },
            ..known
        };
        for (at, beat) in [(10, old), (11, other)] {
            arbiter.step(Time(at), Input::Beat { session: SESSION, beat: Box::new(beat) });
        }
        arbiter.step(Time(2_000_000), Input::Tick);
        assert_eq!(written_terms(&mut arbiter), Vec::from_iter(appointed), "the old master is at {offset}");
    }
}

#[test]
fn terms_that_a_restore_forgot_are_not_used_again() {
    let cases = [(1, 1, 6), (1, 2, 1_005), (2, 2, 6), (1, 3, 2_005), (2, 3, 2_005), (1, 5, 8_005)];
    let last = next_term(Term(5), 1, Epoch { generation: 42, number: 1 });
    assert!(
        last < next_term(Term(5), 1, Epoch { generation: 43, number: 1 }),
        "two that go back to one backup"
    );
    for (appointed_in, generation, next) in cases {
        let epoch = Epoch { generation, number: 1 };
        assert_eq!(
            next_term(Term(5), appointed_in, epoch),
            Term(next),
            "5 of {appointed_in}, now {generation}"
        );
    }
}

#[test]
fn a_set_that_the_restored_state_does_not_know_waits_for_a_master_that_somebody_knows() {
    let stranger = InstanceName::parse("a9").expect("a good name");
    let known = |master: &InstanceName| (Term(5), Some((Term(5), master.clone())));
    let cases = [
        (known(&stranger), None),
        (known(&instance()), Some(Term(1_005))),
        ((Term(0), None), Some(Term(1_000))),
    ];
    for ((highest_term, known_master), appointed) in cases {
        let mut arbiter = after_a_restore_of(Vec::new(), Time(0));
        let beat = Beat { known_master: known_master.clone(), relinquished: None, ..beat(highest_term) };
        let beat = cut_by(Version(0), beat);
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(beat) });
        assert_eq!(written_terms(&mut arbiter), Vec::from_iter(appointed), "{known_master:?}");
    }
}

#[test]
fn in_a_held_set_only_a_master_that_leads_already_is_granted_anything() {
    // The predecessor bound keeps the set held.
    for (stand, grants) in
        [(Stand::Candidate(Term(3)), 0), (Stand::Leading { term: Term(3), writable: true }, 1)]
    {
        let mut arbiter = after_a_restore(Time(9_000_000));
        let beat = Beat { stand, relinquished: None, ..beat(Term(3)) };
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(beat) });
        assert_eq!(writes_and_grants(&mut arbiter).1, grants, "{stand:?}");
    }
}

#[test]
fn a_leader_that_was_heard_long_ago_is_not_written_back() {
    let bound = Time(2_000_000);
    for (heard, written) in [(Time(10), None), (Time(1_900_000), Some(Term(5)))] {
        let mut arbiter = after_a_restore(bound);
        let stand = Stand::Leading { term: Term(5), writable: true };
        let beat = Beat { stand, relinquished: None, ..beat(Term(5)) };
        arbiter.step(heard, Input::Beat { session: SESSION, beat: Box::new(beat) });
        assert_eq!(written_terms(&mut arbiter), [], "before the predecessor bound nothing is written");
        arbiter.step(bound, Input::Tick);
        assert_eq!(written_terms(&mut arbiter), Vec::from_iter(written), "heard at {heard:?}");
    }
}
