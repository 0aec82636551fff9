//! What a master was asked stands until a higher version, whatever comes between: were it asked something else at the same version and then
//! the first again, a late answer to the first would be taken for one to the last.

use super::insync::{asked_to_grow, caught_up, hears_of};
use super::pinned::with_pinned_master;
use super::*;
use crate::arbiter::set::Proposal;
use crate::arbiter::{Forcing, TaskId};
use crate::fixture::name;
use crate::message::Order;
use std::sync::Arc;

const TASK: TaskId = TaskId(1);

fn switchover(target: &str) -> Input {
    let (target, timeout) = (Some(name(target)), Span::from_secs(60));
    Input::Switchover { task: TASK, replicaset: replicaset(), target, timeout }
}

fn failover(target: &str) -> Input {
    let (target, timeout, forcing) = (Some(name(target)), Span::from_secs(60), Forcing::default());
    Input::Failover { task: TASK, replicaset: replicaset(), target, timeout, forcing }
}

/// A change is begun and called off; the master was not told, or did not hear it, and leads on. What is asked of it then.
fn asked_after(arbiter: &mut Arbiter, change: Input) -> Vec<Order> {
    arbiter.step(Time(20), change);
    assert!(arbiter.task_of(&replicaset()).is_some(), "it was begun");
    arbiter.step(Time(21), Input::Abort { task: TASK });
    let patience = arbiter.timing().beat_master * 2;
    let mut told = Vec::new();
    for at in [Time(22), Time(21) + patience] {
        let beat = Box::new(pinned_leader(Term(3), Span::ZERO));
        arbiter.step(at, Input::Beat { session: SESSION, beat });
        told.extend(std::iter::from_fn(|| arbiter.pop_action()).filter_map(|action| match action {
            Action::Send { message: ToGuard::Directive(directive), instance: to, .. } if to == instance() => {
                Some(directive.order)
            }
            _ => None,
        }));
    }
    assert!(arbiter.task_of(&replicaset()).is_none(), "it leads on");
    told
}

/// The master of two was asked to take the second in, which has caught up; the third could be its successor.
fn asked_to_take_in() -> Arbiter {
    let record = Record { in_sync: ["a1", "a3"].map(name).into(), ..recorded_at(Term(3)) };
    let down = EngineView { health: Health::Down, ..caught_up() };
    let mut arbiter = hears_of(record, 0, down, Rules::default());
    let third = Hello { instance: name("a3"), endpoint: Endpoint("a3:1".into()), ..hello() };
    arbiter.step(Time(12), Input::Attached { session: SessionId(3), guards: vec![third] });
    for (member, session) in [("a3", SessionId(3)), ("a2", SessionId(2))] {
        let said = Beat { instance: name(member), relinquished: None, engine: caught_up(), ..beat(Term(3)) };
        arbiter.step(Time(13), Input::Beat { session, beat: Box::new(said) });
    }
    assert!(asked_to_grow(&mut arbiter));
    arbiter
}

#[test]
fn a_change_that_was_called_off_takes_no_question_back() {
    for change in [switchover("a3"), failover("a3")] {
        let mut arbiter = asked_to_take_in();
        let told = asked_after(&mut arbiter, change);
        assert_eq!(arbiter.sets[&replicaset()].proposal, Some(Proposal::Grow(name("a2"))));
        let other = told.into_iter().find(|order| !matches!(order, Order::Grow { .. } | Order::Relinquish));
        assert_eq!(other, None, "it was asked nothing else");
    }
}

/// Whoever has the lock back begins anew; and a set that is removed is over.
#[test]
fn nothing_that_was_under_way_outlives_the_lock_or_the_set() {
    let fresh = || {
        let mut set = with_pinned_master(EPOCH, FOR_GOOD).sets.remove(&replicaset()).expect("known");
        set.cutting.insert(name("a2"));
        set.pin_end_written = Some(Time(5));
        set
    };
    let mut set = fresh();
    set.forget_decisions();
    assert!(set.cutting.is_empty() && set.pin_end_written.is_none());
    let mut set = fresh();
    set.bury();
    assert!(!set.cutting.is_empty(), "it has a master");
    set.record = Some(Arc::new(Record { master: None, ..recorded_at(Term(3)) }));
    set.bury();
    assert!(set.cutting.is_empty());
}
