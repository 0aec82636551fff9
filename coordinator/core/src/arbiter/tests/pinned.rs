//! Pins: who knows of them, until when, and when one is recorded as ended.

use super::*;

#[test]
fn whoever_resigns_tells_of_leases_and_not_of_pins_which_the_record_has() {
    let mut arbiter = with_lock(Time(9_000_000));
    let pin = Pin { span: Pin::FOR_GOOD, until_unix_millis: 0 };
    let records = vec![Record { pinned: Some(pin), ..recorded_at(Term(3)) }];
    load(&mut arbiter, records, Settings::default());
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
    let beat = Box::new(pinned_leader(Term(3), Pin::FOR_GOOD));
    arbiter.step(Time(10), Input::Beat { session: SESSION, beat });
    let granted = std::iter::from_fn(|| arbiter.pop_action()).find_map(|action| match action {
        Action::Send { message: ToGuard::Grant(grant), .. } => Some(grant),
        _ => None,
    });
    let granted = granted.expect("a pinned master is granted");
    assert!(granted.pinned.is_some() && granted.ttl > Pin::FOR_GOOD / 2, "{granted:?}");
    assert!(arbiter.sets[&replicaset()].outer_bound > Time(0) + Pin::FOR_GOOD / 2);
    assert_eq!(arbiter.last_grant_until(), Time(10) + arbiter.timing().lease_ttl);
}

#[test]
fn a_pin_that_only_the_master_knows_is_written_back_with_its_record() {
    let hour = Span::from_secs(3_600);
    for (pinned, recorded) in [(Span::ZERO, None), (hour, Some(hour))] {
        let mut arbiter = after_a_restore(Time(0));
        let beat = Box::new(pinned_leader(Term(5), pinned));
        arbiter.step(Time(10), Input::Beat { session: SESSION, beat });
        let written = std::iter::from_fn(|| arbiter.pop_action()).find_map(|action| match action {
            Action::Write { record, .. } => Some(record),
            _ => None,
        });
        let written = written.expect("it leads at the highest term");
        assert_eq!(written.pinned.map(|pin| pin.span), recorded);
    }
}

#[test]
fn a_pin_that_was_written_back_is_recorded_as_ended_only_by_its_masters_word() {
    // The record that came back is another master's, or its own from before the pause.
    let earlier = Record { master: InstanceName::parse("b1").ok(), ..recorded_at(Term(3)) };
    for read in [earlier, recorded_at(Term(5))] {
        written_back_and_ended_only_by_word(read);
    }
}

fn written_back_and_ended_only_by_word(read: Record) {
    let mut arbiter = after_a_restore_of(vec![read], Time(0));
    let beat = Box::new(pinned_leader(Term(5), Span::from_secs(3_600)));
    arbiter.step(Time(10), Input::Beat { session: SESSION, beat });
    let (op, written) = last_written(&mut arbiter).expect("it leads at the highest term");
    assert!(written.pinned.is_some());
    // A person has ended the pause, or its time is over; the master was not heard again.
    arbiter.step(Time(20), Input::Resume { replicaset: None });
    arbiter.step(Time(30), Input::Written { op, outcome: WriteOutcome::Applied });
    arbiter.step(Time(40), Input::Resume { replicaset: None });
    assert!(arbiter.sets[&replicaset()].outer_bound >= Time(10) + Span::from_secs(3_600), "nor is it silent");
    let ended = last_written(&mut arbiter).filter(|(_, record)| record.pinned.is_none());
    assert_eq!(ended, None, "whoever takes the lock over would count a lease");
}

/// An arbiter of this epoch with a set whose master is pinned by its record, heard and granted a pin.
pub(super) fn with_pinned_master(epoch: Epoch, pin: Pin) -> Arbiter {
    let config = Config { coordinator: coordinator(), seed: 1, rules: Rules::default() };
    let mut arbiter = Arbiter::new(config, Settings::default()).expect("the defaults are safe");
    let valid_until = Time(9_000_000);
    arbiter.step(Time(0), Input::LockAcquired { epoch, valid_until, predecessor_bound: Time(0) });
    let records = vec![Record { pinned: Some(pin), ..recorded_at(Term(3)) }];
    load(&mut arbiter, records, Settings::default());
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
    arbiter
        .step(Time(10), Input::Beat { session: SESSION, beat: Box::new(pinned_leader(Term(3), pin.span)) });
    arbiter
}

#[test]
fn a_pin_that_was_given_up_to_an_earlier_arbiter_is_not_given_up_to_this_one() {
    let epoch = Epoch { generation: 1, number: 7 };
    let version = recorded_at(Term(3)).version;
    for (said_to, recorded) in [(EPOCH, false), (epoch, true)] {
        let mut arbiter = with_pinned_master(epoch, FOR_GOOD);
        arbiter.step(Time(11), Input::Resume { replicaset: Some(replicaset()) });
        let unpinned = Some((said_to, version));
        let beat = Box::new(Beat { unpinned, ..pinned_leader(Term(3), Span::ZERO) });
        arbiter.step(Time(12), Input::Beat { session: SESSION, beat });
        assert_eq!(last_written(&mut arbiter).is_some(), recorded, "said to {said_to}");
    }
}

#[test]
fn while_the_end_of_a_pause_is_being_recorded_no_pin_is_told() {
    let version = recorded_at(Term(3)).version;
    let mut arbiter = with_pinned_master(EPOCH, FOR_GOOD);
    arbiter.step(Time(11), Input::Resume { replicaset: Some(replicaset()) });
    let said = Beat { unpinned: Some((EPOCH, version)), ..pinned_leader(Term(3), Span::ZERO) };
    arbiter.step(Time(12), Input::Beat { session: SESSION, beat: Box::new(said.clone()) });
    let (op, _) = last_written(&mut arbiter).expect("the end is written");
    arbiter.step(Time(13), Input::Beat { session: SESSION, beat: Box::new(said) });
    arbiter.step(Time(14), Input::Written { op, outcome: WriteOutcome::Applied });
    let bound = arbiter.sets[&replicaset()].outer_bound;
    let hold = arbiter.timing().hold;
    assert!(bound <= Time(14) + hold, "{bound:?}: silence would count for nothing");
    assert!(
        arbiter.last_grant_until() >= Time(12) + hold,
        "the master gave itself a lease of which nobody else knows"
    );
}

#[test]
fn whoever_resigns_tells_of_the_lease_that_a_master_gave_itself_with_its_pin() {
    let version = recorded_at(Term(3)).version;
    let mut arbiter = with_pinned_master(EPOCH, FOR_GOOD);
    let longest = arbiter.timing().lease_ttl * 4;
    let settings = Settings { longest_lease: longest, version: Version(9), ..Settings::default() };
    arbiter.step(Time(11), Input::Settings { settings: Box::new(settings), unix_millis: 0 });
    arbiter.step(Time(11), Input::Resume { replicaset: Some(replicaset()) });
    let said = Beat { unpinned: Some((EPOCH, version)), ..pinned_leader(Term(3), Span::ZERO) };
    arbiter.step(Time(12), Input::Beat { session: SESSION, beat: Box::new(said) });
    assert_eq!(arbiter.last_grant_until(), Time(12) + longest, "its own lease may be an earlier, longer one");
}

#[test]
fn a_shorter_pause_keeps_the_span_of_a_longer_one_that_may_have_been_told() {
    let mut arbiter = with_pinned_master(EPOCH, FOR_GOOD);
    let pin = Pin { span: Span::from_secs(60), until_unix_millis: 9 };
    arbiter.step(Time(11), Input::Pause { replicaset: replicaset(), pin });
    let (_, record) = last_written(&mut arbiter).expect("the new end is written");
    assert_eq!(record.pinned, Some(Pin { span: Pin::FOR_GOOD, until_unix_millis: 9 }));
}

/// The record says four seconds; that somebody has asked for more is told once it is recorded, and not while nobody knows whether it
/// is: whoever takes the lock over waits for what it reads.
#[test]
fn a_longer_pause_is_told_once_it_is_recorded() {
    let short = Pin { span: Span::from_secs(4), until_unix_millis: 4_000 };
    let mut arbiter = with_pinned_master(EPOCH, short);
    let told = |arbiter: &mut Arbiter, at: Time| {
        while arbiter.pop_action().is_some() {}
        let beat = Beat { sent_at: at, ..pinned_leader(Term(3), Span::ZERO) };
        arbiter.step(at, Input::Beat { session: SESSION, beat: Box::new(beat) });
        let granted = std::iter::from_fn(|| arbiter.pop_action()).find_map(|action| match action {
            Action::Send { message: ToGuard::Grant(grant), .. } => Some(grant.ttl),
            _ => None,
        });
        granted.unwrap_or_else(|| panic!("a pinned master is granted: {at:?}"))
    };
    let pin = Pin { span: Pin::FOR_GOOD, until_unix_millis: 0 };
    arbiter.step(Time(11), Input::Pause { replicaset: replicaset(), pin });
    let (op, _) = last_written(&mut arbiter).expect("it is written");
    assert!(told(&mut arbiter, Time(12)) <= short.span);
    arbiter.step(Time(13), Input::Written { op, outcome: WriteOutcome::Unknown });
    assert!(told(&mut arbiter, Time(14)) <= short.span);
    // Nor is the shorter one ended meanwhile.
    assert!(told(&mut arbiter, Time(2_000_000)) <= short.span);
    let after = Time(4_500_000);
    arbiter.step(after, Input::Tick);
    let (op, record) = last_written(&mut arbiter).expect("an unknown write is repeated");
    assert_eq!(record.pinned, Some(pin));
    arbiter.step(after, Input::Written { op, outcome: WriteOutcome::Applied });
    assert!(told(&mut arbiter, after + Span(1)) > Pin::FOR_GOOD / 2);
    assert!(arbiter.sets[&replicaset()].pin_wish.is_none(), "the end of the shorter one is no end of it");
}

/// A beat that waited in the network while another member passed a later one on arrives after the pause is over.
#[test]
fn a_beat_that_was_overtaken_pins_nobody() {
    let version = recorded_at(Term(3)).version;
    let said =
        Beat { sent_at: Time(8), unpinned: Some((EPOCH, version)), ..pinned_leader(Term(3), Span::ZERO) };
    for (sent_at, counts) in [(6, false), (9, true)] {
        let mut arbiter = with_pinned_master(EPOCH, FOR_GOOD);
        arbiter.step(Time(11), Input::Resume { replicaset: Some(replicaset()) });
        let (hello, beat) = (Box::new(hello()), Box::new(said.clone()));
        arbiter.step(Time(12), Input::Relayed { relay: RelayId(1), by: instance(), hello, beat });
        let (op, _) = last_written(&mut arbiter).expect("the end is written");
        arbiter.step(Time(14), Input::Written { op, outcome: WriteOutcome::Applied });
        let late = Beat { sent_at: Time(sent_at), ..pinned_leader(Term(3), Pin::FOR_GOOD) };
        arbiter.step(Time(20), Input::Beat { session: SESSION, beat: Box::new(late) });
        let bound = arbiter.sets[&replicaset()].outer_bound;
        let pinned = bound > Time(20) + arbiter.timing().hold;
        assert_eq!(pinned, counts, "sent at {sent_at}: {bound:?}");
    }
}
