//! A life that the provider forgot: put back to a tombstone under which the set had begun anew, or to before its first record.

use super::restored::{BOUND, OTHER, attach_second, hear, idle_by, with_two_listed};
use super::*;
use crate::fixture::name;

fn tombstone() -> Record {
    Record { master: None, incarnation: None, in_sync: BTreeSet::new(), ..recorded_at(Term(3)) }
}

/// Two members that have said what they know, and have not severed yet: the first one's engine was found writable.
fn two_that_lived(records: Vec<Record>, ack_quorum: u32) -> Arbiter {
    let mut arbiter = with_two_listed(records);
    let settings = Box::new(Settings { ack_quorum, ..Settings::default() });
    arbiter.step(Time(3), Input::Settings { settings, unix_millis: 0 });
    attach_second(&mut arbiter, 4);
    hear(&mut arbiter, 10, SESSION, found_writable());
    hear(&mut arbiter, 11, OTHER, Beat { severed: None, ..idle_by(Version(0), "a2") });
    arbiter
}

fn found_writable() -> Beat {
    let mut beat = Beat { severed: None, ..idle_by(Version(0), "a1") };
    beat.engine.found_writable = true;
    beat
}

/// Whom an order of this kind was sent to.
fn severed(arbiter: &mut Arbiter) -> Vec<(InstanceName, Version, Term)> {
    let actions = std::iter::from_fn(|| arbiter.pop_action());
    let orders = actions.filter_map(|action| match action {
        Action::Send { instance, message: ToGuard::Directive(directive), .. } => Some((instance, directive)),
        _ => None,
    });
    let severs = orders.filter(|(_, directive)| matches!(directive.order, Order::Sever { .. }));
    severs.map(|(instance, directive)| (instance, directive.version, directive.term)).collect()
}

#[test]
fn whoever_knows_of_a_forgotten_life_is_severed_and_reports_before_anybody_is_appointed() {
    for records in [vec![tombstone()], Vec::new()] {
        let version = records.first().map_or(Version(0), |record| record.version);
        let mut arbiter = two_that_lived(records, 1);
        arbiter.step(BOUND, Input::Tick);
        let orders = severed(&mut arbiter);
        assert_eq!(orders, ["a1", "a2"].map(|text| (name(text), version, Term(5))), "{version}");
        let mut first = cut_by(version, found_writable());
        first.engine.position = Position::at(5, 3);
        first.severed.iter_mut().for_each(|severed| severed.position = Position::at(5, 3));
        hear(&mut arbiter, BOUND.0 + 10, SESSION, first);
        assert_eq!(written_terms(&mut arbiter), [], "the other one may hold more");
        let mut second = idle_by(version, "a2");
        second.severed.iter_mut().for_each(|severed| severed.position = Position::at(5, 4));
        hear(&mut arbiter, BOUND.0 + 20, OTHER, second);
        let (_, record) = last_written(&mut arbiter).expect("all have reported");
        assert_eq!((record.master, record.term), (Some(name("a2")), Term(1_005)), "it holds more");
        assert_eq!((record.version, record.ack_quorum), (version.next(), 1));
    }
}

#[test]
fn a_tombstone_that_nobody_knows_a_later_term_than_is_followed_by_a_first_appointment() {
    let mut arbiter = two_that_lived(vec![Record { term: Term(5), ..tombstone() }], 1);
    arbiter.step(BOUND, Input::Tick);
    let (_, record) = last_written(&mut arbiter).expect("nothing was forgotten");
    assert_eq!((record.master, record.reason.as_str()), (Some(name("a1")), "first-appointment"));
}

#[test]
fn a_set_whose_last_life_is_forgotten_is_not_removed() {
    let mut arbiter = two_that_lived(vec![tombstone()], 1);
    for session in [SESSION, OTHER] {
        arbiter.step(Time(20), Input::Detached { session });
    }
    arbiter.step(BOUND, Input::Tick);
    let against = arbiter.against_removal(BOUND, &replicaset());
    assert!(against.iter().any(|text| text.contains("restored")), "{against:?}");
}

#[test]
fn a_person_forces_a_member_where_a_report_of_a_forgotten_life_is_unsure() {
    let mut arbiter = two_that_lived(vec![tombstone()], 1);
    arbiter.step(BOUND, Input::Tick);
    let version = tombstone().version;
    hear(&mut arbiter, BOUND.0 + 10, SESSION, cut_by(version, found_writable()));
    let mut unsure = idle_by(version, "a2");
    unsure.severed.iter_mut().for_each(|severed| severed.whole = false);
    hear(&mut arbiter, BOUND.0 + 20, OTHER, unsure);
    arbiter.step(Time(BOUND.0 + 3_000_000), Input::Tick);
    assert_eq!(written_terms(&mut arbiter), [], "it may have held more");
    let (task, timeout) = (TaskId(1), Span::from_secs(5));
    let forced = Input::Failover {
        task,
        replicaset: replicaset(),
        target: Some(name("a1")),
        timeout,
        forcing: Forcing::default(),
    };
    arbiter.step(Time(BOUND.0 + 3_000_001), forced);
    let (_, record) = last_written(&mut arbiter).expect("a person accepts it");
    assert_eq!((record.master, record.forced), (Some(name("a1")), true));
}
