//! Beats that come in another order than they were sent in.

use super::pinned::with_pinned_master;
use super::*;

/// Seed 20050893: a beat from before the end of a pause came after the one that told of the end. The master was taken for pinned for
/// good, and when its host was lost nobody was appointed.
#[test]
fn a_beat_that_was_overtaken_by_a_later_one_changes_nothing() {
    let version = recorded_at(Term(3)).version;
    for (sent_at, counts) in [(Time(6), false), (Time(7), true)] {
        let mut arbiter = with_pinned_master(EPOCH, FOR_GOOD);
        arbiter.step(Time(11), Input::Resume { replicaset: Some(replicaset()) });
        let unpinned = Some((EPOCH, version));
        let said = Beat { unpinned, sent_at: Time(7), ..pinned_leader(Term(3), Span::ZERO) };
        arbiter.step(Time(12), Input::Beat { session: SESSION, beat: Box::new(said) });
        let (op, _) = last_written(&mut arbiter).expect("the end is written");
        let late = Beat { sent_at, ..pinned_leader(Term(3), Pin::FOR_GOOD) };
        arbiter.step(Time(13), Input::Beat { session: SESSION, beat: Box::new(late) });
        arbiter.step(Time(14), Input::Written { op, outcome: WriteOutcome::Applied });
        let far = arbiter.sets[&replicaset()].outer_bound > Time(14) + arbiter.timing().hold;
        assert_eq!(far, counts, "sent at {sent_at:?}");
    }
}
