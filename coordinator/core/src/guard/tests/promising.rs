//! Who is asked for a promise and who gives one, which promise extends a right, and what it is to whoever gave it.

use super::*;

fn given(hand: &mut Hand, at: u64, from: &str, promise: Promise) {
    hand.step(
        Time(at),
        Input::Answered { from: member(from), answer: Box::new(PeerAnswer::Promise(promise)) },
    );
}

#[test]
fn a_promise_of_another_term_or_to_another_run_extends_nothing() {
    let ttl = timing().lease_ttl;
    let good = Promise { incarnation: incarnation(), asked_at: Time(1_500_000), term: Term(1), ttl };
    let cases = [
        (true, good),
        (false, Promise { incarnation: Incarnation { run: 2, ..incarnation() }, ..good }),
        (false, Promise { term: Term(2), ..good }),
        (false, Promise { term: Term(0), ..good }),
    ];
    for (extends, promise) in cases {
        let mut hand = master(Time(0));
        let before = hand.right();
        given(&mut hand, 1_900_000, "a2", good);
        given(&mut hand, 1_900_000, "a3", promise);
        assert_eq!(hand.right() > before, extends, "{promise:?}");
    }
}

#[test]
fn a_promise_that_comes_late_takes_nothing_of_a_later_one() {
    let ttl = timing().lease_ttl;
    let of = |asked_at| Promise { incarnation: incarnation(), asked_at: Time(asked_at), term: Term(1), ttl };
    let mut hand = master(Time(0));
    for (from, asked_at) in [("a2", 1_600_000), ("a2", 1_000_000), ("a3", 1_600_000)] {
        given(&mut hand, 1_900_000, from, of(asked_at));
    }
    assert_eq!(hand.right(), Some((Time(1_600_000) + ttl).back(timing().margin)));
}

/// A member that leads nothing, without an arbiter, which has promised a master of term 2.
fn promiser() -> Hand {
    let mut hand = directed(probe(false), Order::Relinquish);
    hand.persisted(Time(0));
    hand.persisted(Time(0));
    hand.step(Time(0), Input::Detached);
    hand.is_asked(Time(1_000), 2);
    hand.step(Time(0) + timing().beat_master, Input::Tick);
    hand.persisted(Time(0) + timing().beat_master);
    assert!(matches!(hand.answers()[..], [PeerAnswer::Promise(_)]), "{:?}", hand.answers());
    hand
}

#[test]
fn whoever_has_promised_has_seen_that_term() {
    let mut hand = promiser();
    let at = Time(0) + timing().beat_master + Span(1);
    hand.is_asked(at, 1);
    let last = hand.answers().last().map(|answer| PeerAnswer::clone(answer));
    assert_eq!(last, Some(PeerAnswer::Refused(PromiseRefusal::HigherTerm(Term(2)))));
}

#[test]
fn only_the_end_of_a_masters_own_term_or_a_later_one_releases_what_it_was_promised() {
    for (term, released) in [(1, false), (2, true), (3, true)] {
        let mut hand = promiser();
        let now = Time(0) + timing().beat_master + Span(1);
        assert!(hand.guard.held_until() > now);
        let order = Order::Sever { master: None, reach: None, relinquished: true };
        let (incarnation, epoch, version) = (incarnation(), EPOCH, Version(7));
        let directive = Directive { incarnation, epoch, version, term: Term(term), order };
        hand.step(now, Input::FromArbiter(ToGuard::Directive(directive)));
        assert_eq!(hand.guard.held_until() <= now, released, "term {term} is relinquished");
    }
}

#[test]
fn nobody_promotes_before_its_own_promise_has_lapsed_though_it_is_granted() {
    let until = Time(1_000_000);
    let saved = Saved { promised: Some(Promised { term: Term(0), until }), ..Saved::default() };
    let mut hand = started(probe(false), Some(saved), EPOCH);
    let (in_sync, data_id, ack_quorum) = (BTreeSet::new(), DataId("d".into()), 0);
    hand.direct(EPOCH, Version(1), Order::Lead { in_sync, data_id, ack_quorum });
    hand.persisted(Time(0));
    hand.persisted(Time(0));
    hand.grant(Time(1_000), Time(0), timing().lease_ttl);
    let armed = hand.last(arm);
    hand.step(Time(2_000), Input::Armed(armed));
    hand.step(until.back(Span(1)), Input::Tick);
    assert_eq!(hand.promotion(), None, "another may go on by that promise");
    hand.step(until, Input::Tick);
    assert!(hand.promotion().is_some(), "it has lapsed");
}

#[test]
fn an_arbiter_whose_epoch_is_over_does_not_keep_a_member_from_promising() {
    for (number, promises) in [(1, false), (0, true)] {
        let mut hand = directed(probe(false), Order::Relinquish);
        hand.persisted(Time(0));
        hand.persisted(Time(0));
        let asked = Time(1_000_000);
        hand.is_asked(asked, 2);
        let (of, epoch) = (member("a9"), Epoch { number, ..EPOCH });
        hand.step(asked + Span(1_000), Input::RelayAnswered { of, epoch, well: true, grant: None });
        hand.actions.clear();
        hand.step(asked + timing().beat_master, Input::Tick);
        let persists = hand.actions.iter().any(|action| persist(action).is_some());
        assert_eq!(persists, promises, "the answer is of epoch {epoch}, {EPOCH} is known");
    }
}

#[test]
fn a_promise_counts_from_its_request() {
    let mut hand = master(Time(0));
    let before = hand.right();
    let (asked_at, now) = (Time(1_500_000), Time(1_900_000));
    hand.promise(now, "a2", asked_at);
    assert_eq!(hand.right(), before, "one of two has promised");
    hand.promise(now, "a3", Time(1_600_000));
    let end = (asked_at + timing().lease_ttl).back(timing().margin);
    assert_eq!(hand.right(), Some(end), "the earliest request counts");
    hand.promise(now, "a2", now + Span(1));
    assert_eq!(hand.right(), Some(end), "nobody was asked in the future");
}

#[test]
fn promises_begin_no_right() {
    let in_sync = ["a1", "a2"].map(member).into();
    let mut hand =
        directed(probe(false), Order::Lead { in_sync, data_id: DataId("d".into()), ack_quorum: 0 });
    hand.promise(Time(1_000), "a2", Time(500));
    assert_eq!(hand.right(), None, "never granted");
    let mut hand = master(Time(0));
    hand.step(Time(2_900_000), Input::Tick);
    assert_eq!(hand.right(), None, "lapsed");
    for other in ["a2", "a3"] {
        hand.promise(Time(2_900_000), other, Time(2_400_000));
    }
    assert_eq!(hand.right(), None, "and not revived");
}

#[test]
fn a_newcomer_is_asked_as_soon_as_it_is_proposed() {
    let mut hand = master(Time(0));
    let in_sync = ["a1", "a2", "a3"].map(member).into();
    let order = Order::Grow { member: member("a4"), in_sync };
    let (version, term) = (Version(1), Term(1));
    let directive = Directive { incarnation: incarnation(), epoch: EPOCH, version, term, order };
    hand.step(Time(1_400_000), Input::FromArbiter(ToGuard::Directive(directive)));
    hand.step(Time(1_500_000), Input::Tick);
    assert_eq!(hand.asked_whom(), ["a2", "a3", "a4"].map(member).into());
}

#[test]
fn a_promise_is_on_disk_before_it_is_answered() {
    let mut hand = directed(probe(false), Order::Relinquish);
    hand.persisted(Time(0));
    hand.persisted(Time(0));
    hand.step(Time(0), Input::Detached);
    let silence = timing().beat_master;
    hand.is_asked(Time(1_000), 2);
    hand.step(Time(0) + silence, Input::Tick);
    assert!(hand.answers().is_empty(), "the disk has not answered");
    hand.persisted(Time(0) + silence + Span(1));
    assert!(matches!(hand.answers()[..], [PeerAnswer::Promise(Promise { asked_at: Time(7), .. })]));
}

#[test]
fn a_slow_disk_delays_promises_and_keeps_none_back() {
    let mut hand = directed(probe(false), Order::Relinquish);
    hand.persisted(Time(0));
    hand.persisted(Time(0));
    hand.step(Time(0), Input::Detached);
    let beat = timing().beat_master;
    // Asked again before the disk has answered: what it writes is answered, and then the next is written.
    for asked in 1..4 {
        hand.is_asked(Time(0) + beat * asked, 2);
    }
    assert!(hand.answers().is_empty(), "the disk has not answered");
    for answered in 1..3 {
        hand.persisted(Time(0) + beat * (answered + 3));
        assert_eq!(hand.answers().len() as u64, answered);
    }
}

#[test]
fn an_arbiter_that_is_not_well_does_not_keep_a_member_from_promising() {
    let mut hand = directed(probe(false), Order::Relinquish);
    hand.persisted(Time(0));
    hand.persisted(Time(0));
    let silence = timing().beat_master;
    for (now, well, promises) in [(1_000_000, true, false), (3_000_000, false, true)] {
        hand.actions.clear();
        hand.is_asked(Time(now), 2);
        let relayed = hand.actions.iter().any(|action| matches!(action, Action::Relay { .. }));
        assert!(relayed, "it is attached");
        let of = member("a9");
        hand.step(Time(now + 1_000), Input::RelayAnswered { of, epoch: EPOCH, well, grant: None });
        hand.step(Time(now) + silence, Input::Tick);
        let persists = hand.actions.iter().any(|action| matches!(action, Action::Persist { .. }));
        assert_eq!(persists, promises, "well: {well}");
    }
}

#[test]
fn a_shorter_promise_does_not_shorten_an_earlier_one() {
    let mut hand = directed(probe(false), Order::Relinquish);
    hand.persisted(Time(0));
    hand.persisted(Time(0));
    hand.step(Time(0), Input::Detached);
    let beat = timing().beat_master;
    hand.is_asked(Time(0) + beat, 2);
    let long = hand.guard.held_until();
    hand.persisted(Time(0) + beat * 2);
    hand.is_asked_for(Time(0) + beat * 3, 2, Span::from_millis(1));
    assert_eq!(hand.guard.held_until(), long);
    assert_eq!(long, Time(0) + beat + timing().lease_ttl);
}

#[test]
fn who_does_not_promise() {
    let mut leads = master(Time(0));
    leads.is_asked(Time(4_000), 2);
    assert_eq!(leads.answers(), [&PeerAnswer::Refused(PromiseRefusal::Severed)]);

    let mut knows = directed(probe(false), Order::Relinquish);
    knows.is_asked(Time(1_000), 0);
    assert_eq!(knows.answers(), [&PeerAnswer::Refused(PromiseRefusal::HigherTerm(Term(1)))]);

    let mut severed = directed(probe(false), Order::Sever { master: None, reach: None, relinquished: false });
    severed.is_asked(Time(1_000), 1);
    assert_eq!(severed.answers(), [&PeerAnswer::Refused(PromiseRefusal::Severed)]);

    let mut stops = directed(probe(false), Order::Relinquish);
    stops.step(Time(500), Input::Stop);
    stops.is_asked(Time(1_000), 2);
    assert_eq!(stops.answers(), [&PeerAnswer::Refused(PromiseRefusal::Stopping)]);
}
