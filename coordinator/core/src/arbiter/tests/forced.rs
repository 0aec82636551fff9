//! What is left of a forced failover that was called off.

use super::*;
use crate::arbiter::{Forcing, TaskId};
use crate::fixture::name;

/// Two members that hold the same are heard, and their master is not.
fn two_of_three() -> Arbiter {
    let mut arbiter = with_lock(Time(9_000_000));
    let records = vec![Record { in_sync: ["a1", "a2", "a3"].map(name).into(), ..recorded_at(Term(3)) }];
    load(&mut arbiter, records, Settings::default());
    let guards = ["a2", "a3"].map(|text| Hello { instance: name(text), ..hello() });
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards: guards.into() });
    arbiter
}

#[test]
fn whom_a_person_wanted_is_one_like_the_others_once_that_is_called_off() {
    for (aborted, chosen) in [(false, "a3"), (true, "a2")] {
        let mut arbiter = two_of_three();
        let (task, timeout) = (TaskId(1), Span::from_secs(60));
        let (target, forcing) = (Some(name("a3")), Forcing::default());
        let asked = Input::Failover { task, replicaset: replicaset(), target, timeout, forcing };
        arbiter.step(Time(3), asked);
        if aborted {
            arbiter.step(Time(4), Input::Abort { task });
        }
        let (stamp, position) = (Stamp { generation: 1, version: Version(4) }, Position::at(1, 9));
        let severed = Some(Severed { stamp, position, run: None, whole: true });
        for member in ["a2", "a3"] {
            let said = Beat {
                instance: name(member),
                severed: severed.clone(),
                relinquished: None,
                ..beat(Term(3))
            };
            arbiter.step(Time(10), Input::Beat { session: SESSION, beat: Box::new(said) });
        }
        arbiter.step(Time(2_000_000), Input::Tick);
        let written = last_written(&mut arbiter).expect("the master is silent").1;
        assert_eq!(written.master, Some(name(chosen)), "aborted: {aborted}");
    }
}
