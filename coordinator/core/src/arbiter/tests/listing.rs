//! A member is asked to be listed until it surely is.

use super::*;
use crate::record::Member;

const LEASE: Span = Span::from_secs(3);

fn after(leases: u64) -> Time {
    Time(2) + LEASE * leases
}

/// Everything was read, and this guard has attached.
fn attached(hello: Hello) -> Arbiter {
    let mut arbiter = with_lock(Time(90_000_000));
    load(&mut arbiter, vec![recorded_at(Term(3))], Settings::default());
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello] });
    assert_eq!(arbiter.timing().lease_ttl, LEASE);
    arbiter
}

/// Who is to be listed, and where it can be reached.
fn asked(arbiter: &mut Arbiter) -> Vec<Member> {
    let found = std::iter::from_fn(|| arbiter.pop_action()).filter_map(|action| match action {
        Action::PutMember(member) => Some(member),
        _ => None,
    });
    found.collect()
}

#[test]
fn a_member_is_asked_to_be_listed_until_it_surely_is() {
    let mut arbiter = attached(hello());
    let first = asked(&mut arbiter);
    assert_eq!(first.len(), 1);
    arbiter.step(Time(3), Input::Attached { session: SESSION, guards: vec![hello()] });
    assert_eq!(asked(&mut arbiter), [], "it comes again before there can be an answer");
    assert!(arbiter.next_deadline() <= Some(after(1)));
    for turn in 1..3 {
        arbiter.step(after(turn), Input::Tick);
        assert_eq!(asked(&mut arbiter), first, "not answered, for the time {turn}");
    }
    arbiter.step(after(2), Input::Listed(Box::new(first[0].clone())));
    arbiter.step(after(3), Input::Tick);
    assert_eq!(asked(&mut arbiter), []);
}

#[test]
fn an_answer_to_what_a_member_was_lists_nothing_that_it_is_now() {
    let mut arbiter = attached(hello());
    let before = asked(&mut arbiter).remove(0);
    let hello = Hello { endpoint: Endpoint("elsewhere:1".into()), ..hello() };
    arbiter.step(Time(3), Input::Attached { session: SESSION, guards: vec![hello] });
    let now = asked(&mut arbiter);
    assert_eq!(now.len(), 1);
    arbiter.step(Time(4), Input::Listed(Box::new(before)));
    arbiter.step(Time(3) + LEASE, Input::Tick);
    assert_eq!(asked(&mut arbiter), now);
}

#[test]
fn who_was_removed_or_expelled_and_what_an_earlier_lock_asked_for_is_not_asked_for_again() {
    let removed = Input::MemberRemoved { replicaset: replicaset(), instance: instance() };
    let mut said = Settings::default();
    said.members.entry(instance()).or_default().expelled = true;
    let expelled = Input::Settings { settings: Box::new(said), unix_millis: 0 };
    for input in [removed, expelled, Input::LockLost] {
        let mut arbiter = attached(hello());
        assert_eq!(asked(&mut arbiter).len(), 1);
        arbiter.step(Time(3), input.clone());
        arbiter.step(after(1), Input::Tick);
        assert_eq!(asked(&mut arbiter), [], "{input:?}");
    }
}

#[test]
fn while_its_lock_is_not_valid_an_arbiter_lists_nobody_and_does_so_later() {
    let mut arbiter = with_lock(after(1));
    load(&mut arbiter, vec![recorded_at(Term(3))], Settings::default());
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
    let first = asked(&mut arbiter);
    arbiter.step(after(1), Input::Tick);
    assert_eq!(asked(&mut arbiter), []);
    assert!(arbiter.next_deadline() > Some(after(1)), "it is not woken again and again");
    arbiter.step(after(1), Input::LockRenewed { valid_until: after(9) });
    arbiter.step(after(2), Input::Tick);
    assert_eq!(asked(&mut arbiter), first);
}

#[test]
fn nobody_is_listed_before_it_is_known_who_is_and_then_whoever_is_there_and_not_expelled() {
    let mut arbiter = with_lock(Time(90_000_000));
    let second = Hello { instance: fixture::name("a2"), ..hello() };
    arbiter.step(Time(1), Input::Attached { session: SESSION, guards: vec![hello(), second] });
    assert_eq!(asked(&mut arbiter), []);
    let mut said = Settings::default();
    said.members.entry(fixture::name("a2")).or_default().expelled = true;
    load(&mut arbiter, vec![recorded_at(Term(3))], said);
    let names: Vec<_> = asked(&mut arbiter).into_iter().map(|member| member.instance).collect();
    assert_eq!(names, [instance()]);
}

#[test]
fn what_an_arbiter_asked_for_under_an_earlier_epoch_is_not_asked_for_under_the_next() {
    for lost in [false, true] {
        let mut arbiter = attached(hello());
        let listed = asked(&mut arbiter).remove(0);
        if lost {
            arbiter.step(Time(3), Input::LockLost);
        }
        let (epoch, valid_until) = (Epoch { number: EPOCH.number + 1, ..EPOCH }, Time(90_000_000));
        arbiter.step(Time(4), Input::LockAcquired { epoch, valid_until, predecessor_bound: Time(4) });
        let (members, tasks, settings) = (vec![listed.clone()], Vec::new(), Box::default());
        let records = vec![recorded_at(Term(3))];
        arbiter.step(Time(5), Input::Loaded { records, members, settings, tasks, unix_millis: 0 });
        arbiter.step(after(1), Input::Tick);
        assert_eq!(asked(&mut arbiter), [], "it is listed by then; lost: {lost}");
    }
}
