//! A run that comes back over another stream, from another process: no evidence, no second guard of its name.

use super::*;
use crate::message::Order;

const NEXT: SessionId = SessionId(2);

fn leads(sent_at: Time) -> Box<Beat> {
    let stand = Stand::Leading { term: Term(3), writable: true };
    Box::new(Beat { sent_at, stand, relinquished: None, ..beat(Term(3)) })
}

/// The beats that were granted, in order; whatever else was done is no part of a quiet change of streams.
fn granted(arbiter: &mut Arbiter) -> Vec<Time> {
    let mut beats = Vec::new();
    while let Some(action) = arbiter.pop_action() {
        match action {
            Action::Send { message: ToGuard::Grant(grant), .. } => beats.push(grant.beat),
            Action::Send { message: ToGuard::Directive(directive), .. } => {
                assert_ne!(directive.order, Order::StandDown, "it is the same run");
            }
            Action::Write { .. } | Action::NameUsedTwice { .. } => panic!("nothing has happened: {action:?}"),
            _ => {}
        }
    }
    beats
}

#[test]
fn the_next_process_of_a_run_is_heard_as_that_run_however_the_streams_change() {
    for closes_first in [true, false] {
        let mut arbiter = with_lock(Time(30_000_000));
        load(&mut arbiter, vec![recorded_at(Term(3))], Settings::default());
        arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
        arbiter.step(Time(3), Input::Beat { session: SESSION, beat: leads(Time(3)) });
        assert_eq!(granted(&mut arbiter), [Time(3)]);
        let closed = Input::Detached { session: SESSION };
        let opened = Input::Attached { session: NEXT, guards: vec![hello()] };
        let [first, second] = if closes_first { [closed, opened] } else { [opened, closed] };
        arbiter.step(Time(4), first);
        arbiter.step(Time(500_000), second);
        assert_eq!(granted(&mut arbiter), []);
        arbiter.step(Time(500_001), Input::Beat { session: SESSION, beat: leads(Time(4)) });
        assert_eq!(granted(&mut arbiter), [], "what comes late over the old stream extends nothing");
        arbiter.step(Time(500_002), Input::Beat { session: NEXT, beat: leads(Time(500_000)) });
        assert_eq!(granted(&mut arbiter), [Time(500_000)]);
    }
}
