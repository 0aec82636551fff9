//! Who is asked to be taken into the in-sync set, and which answer of its master counts.

use super::*;
use crate::message::Order;

const OTHER: SessionId = SessionId(2);

fn a2() -> InstanceName {
    InstanceName::parse("a2").expect("a good name")
}

fn endpoint(text: &str) -> Option<Endpoint> {
    Some(Endpoint(text.into()))
}

/// A master of term 3 alone in its set has confirmed, and another member says this of its engine.
fn hears(ack_quorum: u32, engine: EngineView) -> Arbiter {
    hears_of(Record { ack_quorum, ..recorded_at(Term(3)) }, ack_quorum, engine, Rules::default())
}

/// The same of any record, where so many are to hold each commit.
pub(super) fn hears_of(record: Record, ack_quorum: u32, engine: EngineView, rules: Rules) -> Arbiter {
    let config = Config { coordinator: coordinator(), seed: 1, rules };
    let settings = Settings { ack_quorum, ..Settings::default() };
    let mut arbiter = Arbiter::new(config, settings.clone()).expect("they are safe");
    let valid_until = Time(9_000_000);
    arbiter.step(Time(0), Input::LockAcquired { epoch: EPOCH, valid_until, predecessor_bound: Time(0) });
    let records = vec![record];
    let settings = Box::new(settings);
    let loaded = Input::Loaded { records, members: Vec::new(), settings, tasks: Vec::new(), unix_millis: 0 };
    arbiter.step(Time(1), loaded);
    arbiter.step(Time(2), Input::Attached { session: SESSION, guards: vec![hello()] });
    let second = Hello { instance: a2(), endpoint: Endpoint("a2:1".into()), ..hello() };
    arbiter.step(Time(2), Input::Attached { session: OTHER, guards: vec![second] });
    let beat = Beat { instance: a2(), relinquished: None, engine, ..beat(Term(3)) };
    arbiter.step(Time(10), Input::Beat { session: OTHER, beat: Box::new(beat) });
    arbiter
        .step(Time(11), Input::Beat { session: SESSION, beat: Box::new(pinned_leader(Term(3), Span::ZERO)) });
    arbiter
}

pub(super) fn asked_to_grow(arbiter: &mut Arbiter) -> bool {
    std::iter::from_fn(|| arbiter.pop_action()).any(|action| asks_to_grow(&action))
}

fn asks_to_grow(action: &Action) -> bool {
    match action {
        Action::Send { message: ToGuard::Directive(directive), .. } => {
            matches!(&directive.order, Order::Grow { member, .. } if *member == a2())
        }
        _ => false,
    }
}

/// One that has caught up with the master's term.
pub(super) fn caught_up() -> EngineView {
    let data = DataState::Marked { id: DataId("d".into()), term: Term(3) };
    EngineView { data, follows: endpoint("a1:1"), ..beat(Term(3)).engine }
}

#[test]
fn only_who_has_caught_up_with_this_very_master_is_taken_in() {
    let marked = |id: &str, term| DataState::Marked { id: DataId(id.into()), term: Term(term) };
    let cases = [
        (true, caught_up()),
        (false, EngineView { whole: false, ..caught_up() }),
        (false, EngineView { follows: None, ..caught_up() }),
        (false, EngineView { follows: endpoint("a9:1"), ..caught_up() }),
        (false, EngineView { data: marked("d", 2), ..caught_up() }),
        (false, EngineView { data: marked("other", 3), ..caught_up() }),
        (false, EngineView { data: DataState::Unmarked, ..caught_up() }),
        (false, EngineView { health: Health::Down, ..caught_up() }),
    ];
    for (number, (taken, engine)) in cases.into_iter().enumerate() {
        assert_eq!(asked_to_grow(&mut hears(0, engine)), taken, "case {number}");
    }
}

#[test]
fn where_every_connected_replica_counts_only_who_may_connect_is_taken_in() {
    let foreign = DataState::Marked { id: DataId("other".into()), term: Term(3) };
    let unmarked = |follows| EngineView { data: DataState::Unmarked, follows, ..caught_up() };
    let cases = [
        (true, EngineView { follows: None, ..caught_up() }),
        (true, EngineView { data: DataState::Empty, follows: None, ..caught_up() }),
        (true, unmarked(endpoint("a1:1"))),
        (false, unmarked(None)),
        (false, unmarked(endpoint("a9:1"))),
        (false, EngineView { data: foreign, ..caught_up() }),
    ];
    for (number, (taken, engine)) in cases.into_iter().enumerate() {
        assert_eq!(asked_to_grow(&mut hears(1, engine)), taken, "case {number}");
    }
}

#[test]
fn an_acknowledgement_counts_for_the_very_set_and_version_that_was_proposed() {
    let stamp = Stamp { generation: 1, version: recorded_at(Term(3)).version };
    let members: BTreeSet<_> = [instance(), a2()].into();
    let epoch = Some(EPOCH);
    let good = Honoured { stamp, epoch, members, dropped: None, ack_quorum: None };
    let earlier = Stamp { version: Version(stamp.version.0 - 1), ..stamp };
    let cases = [
        (true, good.clone()),
        (false, Honoured { stamp: earlier, ..good.clone() }),
        (false, Honoured { members: [instance()].into(), ..good.clone() }),
        (false, Honoured { dropped: Some(a2()), ..good.clone() }),
        (false, Honoured { ack_quorum: Some(1), ..good }),
    ];
    for (written, honoured) in cases {
        let mut arbiter = hears(0, caught_up());
        assert!(asked_to_grow(&mut arbiter));
        let said = Beat { honoured: Some(honoured.clone()), ..pinned_leader(Term(3), Span::ZERO) };
        arbiter.step(Time(12), Input::Beat { session: SESSION, beat: Box::new(said) });
        let record = last_written(&mut arbiter).map(|(_, record)| record.in_sync);
        assert_eq!(record.is_some_and(|members| members.contains(&a2())), written, "{honoured:?}");
    }
}

#[test]
fn where_the_record_names_no_endpoint_whoever_follows_nobody_does_not_follow_its_master() {
    for (ack_quorum, data) in [(0, caught_up().data), (1, DataState::Unmarked)] {
        let record = Record { endpoint: None, ack_quorum, ..recorded_at(Term(3)) };
        let engine = EngineView { data, follows: None, ..caught_up() };
        assert!(!asked_to_grow(&mut hears_of(record, ack_quorum, engine, Rules::default())), "{ack_quorum}");
    }
}

/// Two members are in the set, one of which is to hold each commit from now on. The master of this record version said this
/// before our first order reached it.
fn raises_on(said: Option<Epoch>, rules: Rules) -> Option<u32> {
    let members: BTreeSet<_> = [instance(), a2()].into();
    let record = Record { in_sync: members.clone(), ..recorded_at(Term(3)) };
    let mut arbiter = hears_of(record.clone(), 1, caught_up(), rules);
    let stamp = Stamp { generation: 1, version: record.version };
    let honoured = Some(Honoured { stamp, epoch: said, members, dropped: None, ack_quorum: Some(1) });
    for sent_at in [Time(12), Time(13)] {
        let beat = Beat { sent_at, honoured: honoured.clone(), ..pinned_leader(Term(3), Span::ZERO) };
        arbiter.step(sent_at, Input::Beat { session: SESSION, beat: Box::new(beat) });
    }
    last_written(&mut arbiter).map(|(_, record)| record.ack_quorum)
}

#[test]
fn what_was_answered_to_an_arbiter_before_raises_nothing_and_to_nobody_in_particular_neither() {
    let before = Epoch { number: EPOCH.number - 1, ..EPOCH };
    for (said, raised) in [(Some(EPOCH), Some(1)), (Some(before), None), (None, None)] {
        assert_eq!(raises_on(said, Rules::default()), raised, "answered to {said:?}");
    }
}

#[test]
fn a_guard_of_an_older_build_that_says_nobodys_epoch_still_takes_members_in() {
    let stamp = Stamp { generation: 1, version: recorded_at(Term(3)).version };
    let members: BTreeSet<_> = [instance(), a2()].into();
    let before = Epoch { number: EPOCH.number - 1, ..EPOCH };
    for (epoch, written) in [(None, true), (Some(before), false)] {
        let mut arbiter = hears(0, caught_up());
        assert!(asked_to_grow(&mut arbiter));
        let honoured = Honoured { stamp, epoch, members: members.clone(), dropped: None, ack_quorum: None };
        let said = Beat { honoured: Some(honoured), ..pinned_leader(Term(3), Span::ZERO) };
        arbiter.step(Time(12), Input::Beat { session: SESSION, beat: Box::new(said) });
        let mut found = (false, false);
        while let Some(action) = arbiter.pop_action() {
            found.0 |= matches!(action, Action::Write { .. });
            found.1 |= asks_to_grow(&action);
        }
        assert_eq!(found, (written, !written), "written, and asked again, of {epoch:?}");
    }
}

/// Seed 110019422: the record of an older build, or one that was written back, calls the master a straggler, and it is expelled. It was
/// asked to leave its own in-sync set, and the record of that would have named a master outside of it.
#[test]
fn a_master_that_is_expelled_is_not_asked_to_leave_its_own_set() {
    let stragglers =
        [("a1", "a2"), ("a2", "a1")].map(|(member, of)| (fixture::name(member), fixture::name(of)));
    let record = Record {
        stragglers: stragglers.into_iter().collect(),
        in_sync: [instance(), a2()].into(),
        ..recorded_at(Term(3))
    };
    let mut arbiter = hears_of(record, 0, caught_up(), Rules::default());
    restored::expel(&mut arbiter, Time(12), "a1");
    // Whoever is not attached cannot be cut off first.
    arbiter.step(Time(13), Input::Detached { session: SESSION });
    assert_eq!(arbiter.sets[&replicaset()].proposal, None);
}

/// Found by the simulation (seed 140169646): a member was being cut off, since commits wait, as the quorum was lowered to 0 and its
/// master was heard through others only. By the new record nothing waits, and what the master acknowledges must be with the member.
#[test]
fn nobody_is_cut_off_by_what_an_earlier_record_said_of_commits() {
    let mut set = crate::arbiter::set::SetState::new(replicaset());
    let record = Record { ack_quorum: 1, in_sync: [instance(), a2()].into(), ..recorded_at(Term(3)) };
    set.take_record(record.clone());
    set.cutting.insert(a2());
    set.take_record(Record { ack_quorum: 0, version: record.version.next(), ..record });
    assert!(set.cutting.is_empty(), "{:?}", set.cutting);
}
