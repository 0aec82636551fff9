//! Losses that a decision reported: within what it said, beyond it, and where nobody can tell. In asynchronous mode any decision may,
//! in synchronous mode one that a person forced.

use super::*;
use crate::evidence::Decision;
use baton_client::decision::{CHOSEN, DecisionRecord, Observed, Ranked};

fn seen(instance: &str, position: &str, ago_ms: u64) -> Observed {
    Observed {
        instance: instance.into(),
        seen_ago_ms: Some(ago_ms),
        health: "unknown".into(),
        position: position.into(),
        in_sync: true,
        stand: String::new(),
    }
}

/// Asynchronous, and the last `lost` values of term 1 are gone; the old master's last beat came 100 ms before the fault.
fn evidence(lost: u64, old: &str, new: &str) -> Evidence {
    with(|evidence| {
        evidence.run.mode = Mode::Async;
        for value in 191 - lost..191 {
            forget(evidence, value);
        }
        let decision = DecisionRecord {
            replicaset: "orders".into(),
            term_before: 1,
            term_after: 2,
            class: "silent".into(),
            observed: vec![seen("a1", old, 3_100), seen("b1", new, 10)],
            ranking: vec![Ranked { instance: "b1".into(), verdict: CHOSEN.into() }],
            ..DecisionRecord::default()
        };
        evidence.decisions.push(Decision { at_us: STRUCK + 3_000_000, decision });
    })
}

#[test]
fn the_end_of_a_masters_writes_may_go_behind_its_last_beat() {
    let good = evidence(5, "1:9000", "1:9000");
    let found = finding(&good, "lost");
    assert_eq!(
        (found.verdict, judge(&good).counts.unconfirmed_lost_writes),
        (Verdict::Valid, 5),
        "{found:#?}"
    );
    assert_eq!(judge(&good).counts.lost_writes, 0);
}

/// No position says that anything may be gone.
fn assert_too_many(evidence: &Evidence) {
    assert_found(evidence, "lost", Verdict::Invalid, "reported room for 0");
    assert!(judge(evidence).counts.lost_writes > 0);
}

/// What came before something that is there cannot have been the end.
fn assert_no_hole_is_good(mut evidence: Evidence) {
    forget(&mut evidence, 50);
    assert_found(&evidence, "lost", Verdict::Invalid, "that came after it is there");
}

#[test]
fn more_than_the_decision_reported_is_invalid() {
    assert_too_many(&evidence(30, "1:9000", "1:9000"));
    let told = evidence(30, "1:9000", "1:8000");
    assert_eq!(finding(&told, "lost").verdict, Verdict::Valid);
}

#[test]
fn a_hole_is_invalid() {
    assert_no_hole_is_good(evidence(5, "1:9000", "1:9000"));
}

#[test]
fn a_loss_without_a_decision_or_its_positions_is_unknown() {
    let mut undecided = evidence(5, "1:9000", "1:9000");
    undecided.decisions.clear();
    assert_found(&undecided, "lost", Verdict::Unknown, "no decision ended that term");
    assert_found(&evidence(5, "unknown", "1:9000"), "lost", Verdict::Unknown, "knew no positions");
}

/// The same run in synchronous mode, where a person forced the failover.
fn accepted(lost: u64, old: &str, new: &str) -> Evidence {
    let mut evidence = evidence(lost, old, new);
    evidence.run.mode = Mode::Sync;
    evidence.faults.push(forced(STRUCK + 2_900_000));
    let decision = &mut evidence.decisions[0].decision;
    decision.class = "forced".into();
    decision.accepted = Some("only 1 of 2 members have severed".into());
    evidence
}

#[test]
fn what_a_person_accepted_is_counted_apart_and_no_breach() {
    let good = accepted(5, "1:9000", "1:9000");
    let counts = judge(&good).counts;
    assert_eq!(finding(&good, "lost").verdict, Verdict::Valid, "{:#?}", finding(&good, "lost"));
    assert_eq!((counts.lost_writes, counts.accepted_lost_writes), (0, 5));
    assert_eq!(finding(&good, "outages").verdict, Verdict::Valid, "{:#?}", finding(&good, "outages"));
}

#[test]
fn more_than_was_accepted_is_invalid() {
    assert_too_many(&accepted(30, "1:9000", "1:9000"));
    assert_no_hole_is_good(accepted(5, "1:9000", "1:9000"));
    let mut later = accepted(5, "1:9000", "1:9000");
    forget(&mut later, 900);
    assert_found(&later, "lost", Verdict::Invalid, "value 900,");
}

#[test]
fn a_loss_is_accepted_only_where_a_person_asked_and_the_record_says_so() {
    let mut nobody = accepted(5, "1:9000", "1:9000");
    nobody.faults.pop();
    assert_found(&nobody, "lost", Verdict::Invalid, "was confirmed by a replica");
    let mut afterwards = accepted(5, "1:9000", "1:9000");
    afterwards.faults[1].injected_us = STRUCK + 3_100_000;
    assert_found(&afterwards, "lost", Verdict::Invalid, "was confirmed by a replica");
    let mut unsaid = accepted(5, "1:9000", "1:9000");
    unsaid.decisions[0].decision.accepted = None;
    assert_found(&unsaid, "lost", Verdict::Invalid, "was confirmed by a replica");
}
