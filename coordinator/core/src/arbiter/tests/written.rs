//! What an answer to a write makes of a set: only its own change counts as done, and a lock that is another's ends everything.

use super::*;
use crate::decision::{Class, Evidence};

/// An arbiter whose write of the next term of a set with one member is under way.
fn appointing() -> (Arbiter, OpId, Record) {
    let mut arbiter = with_lock(Time(9_000_000));
    load(&mut arbiter, vec![recorded_at(Term(3))], Settings::default());
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
    arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(beat(Term(3))) });
    let (op, record) = last_written(&mut arbiter).expect("it has relinquished, and is chosen again");
    (arbiter, op, record)
}

/// The terms at which somebody is told or granted to lead.
fn led_at(arbiter: &mut Arbiter) -> Vec<Term> {
    let told = std::iter::from_fn(|| arbiter.pop_action()).filter_map(|action| match action {
        Action::Send { message: ToGuard::Directive(it), .. } => {
            matches!(it.order, Order::Lead { .. }).then_some(it.term)
        }
        Action::Send { message: ToGuard::Grant(it), .. } => Some(it.term),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_conflict_that_shows_another_change_than_our_own_is_taken_for_what_it_is() {
    let b1 = InstanceName::parse("b1").expect("a good name");
    type Change = fn(&mut Record);
    let changes: [(Change, bool); 4] = [
        (|_| {}, true),
        // Whoever keeps the record says when.
        (|record| record.at_unix_millis = 7, true),
        (|record| record.incarnation = None, false),
        (|record| record.in_sync.clear(), false),
    ];
    for (number, (change, ours)) in changes.into_iter().enumerate() {
        let (mut arbiter, op, mut current) = appointing();
        change(&mut current);
        let written = current.clone();
        let outcome = WriteOutcome::Conflict(Some(Box::new(current)));
        arbiter.step(Time(20), Input::Written { op, outcome });
        let bound = arbiter.sets[&replicaset()].outer_bound;
        // Of our own nothing was granted yet; the master of another's may hold any right.
        let expected = if ours { Time(20) } else { Time(20) + arbiter.timing().hold };
        assert_eq!(bound, expected, "case {number}");
        let held = arbiter.sets[&replicaset()].record.as_deref().cloned();
        let as_written = Record { at_unix_millis: 0, ..written };
        let held = held.map(|record| Record { at_unix_millis: 0, ..record });
        assert_eq!(held, Some(as_written), "case {number}: the next change starts from what is there");
    }
    let (mut arbiter, op, current) = appointing();
    let current = Record { master: Some(b1), ..current };
    arbiter.step(Time(20), Input::Written { op, outcome: WriteOutcome::Conflict(Some(Box::new(current))) });
    assert_eq!(led_at(&mut arbiter), [], "it is another's term");
}

#[test]
fn a_write_under_an_epoch_that_is_over_ends_all_granting() {
    for (outcome, active) in [(WriteOutcome::StaleEpoch, false), (WriteOutcome::Applied, true)] {
        let (mut arbiter, op, record) = appointing();
        arbiter.step(Time(20), Input::Written { op, outcome });
        let stand = Stand::Candidate(record.term);
        let beat = Beat { stand, relinquished: None, ..beat(record.term) };
        arbiter.step(Time(30), Input::Beat { session: SESSION, beat: Box::new(beat) });
        assert_eq!(led_at(&mut arbiter).contains(&record.term), active);
        assert_eq!(arbiter.is_active(Time(30)), active);
    }
}

#[test]
fn nothing_was_granted_at_a_term_before_it_is_recorded() {
    let (mut arbiter, op, _) = appointing();
    arbiter.step(Time(20), Input::Written { op, outcome: WriteOutcome::Applied });
    let set = &arbiter.sets[&replicaset()];
    assert_eq!((set.outer_bound, set.leased_until), (Time(20), Time(20)), "a next failover need not wait");
}

#[test]
fn an_alarm_wakes_no_arbiter_again_and_again_whose_lock_has_run_out() {
    let valid_until = Time(100_000);
    let mut arbiter = with_lock(valid_until);
    load(&mut arbiter, vec![recorded_at(Term(3))], Settings::default());
    let due = arbiter.next_deadline().expect("the silence of its master will mean something");
    assert!(due > valid_until, "{due:?}");
    arbiter.step(due, Input::Tick);
    assert!(arbiter.next_deadline().is_none_or(|next| next > due), "it would be woken at once again");
}

/// Whatever it knows of by then: evidence is accepted by several ways.
#[test]
fn before_the_predecessor_bound_nobody_is_appointed_though_there_is_evidence() {
    let bound = Time(2_000_000);
    for (now, appointed) in [(bound.back(Span(1)), None), (bound, Some(Term(4)))] {
        let config = Config { coordinator: coordinator(), seed: 1, rules: Rules::default() };
        let mut arbiter = Arbiter::new(config, Settings::default()).expect("the defaults are safe");
        let valid_until = Time(9_000_000);
        arbiter.step(Time(0), Input::LockAcquired { epoch: EPOCH, valid_until, predecessor_bound: bound });
        load(&mut arbiter, vec![recorded_at(Term(3))], Settings::default());
        assert_eq!(arbiter.sets[&replicaset()].outer_bound, bound, "until then its master may have a right");
        arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(beat(Term(3))) });
        let mut set = arbiter.sets.remove(&replicaset()).expect("it has a record");
        let position = Position::at(1, 9);
        set.evidence = Some((Evidence::Relinquished { ended: false, position }, Class::Lapsed));
        arbiter.succeed(now, &mut set);
        assert_eq!(written_terms(&mut arbiter), Vec::from_iter(appointed), "at {now:?}");
    }
}

/// Who asks it then is not to be told what it thought while the lock was its own.
#[test]
fn whose_lock_is_lost_knows_of_no_master_any_more() {
    let mut arbiter = with_lock(Time(9_000_000));
    load(&mut arbiter, vec![recorded_at(Term(3))], Settings::default());
    assert!(arbiter.master_of(&replicaset()).is_some());
    arbiter.step(Time(2), Input::LockLost);
    assert_eq!(arbiter.master_of(&replicaset()), None);
}
