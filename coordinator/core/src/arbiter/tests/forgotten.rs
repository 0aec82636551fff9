//! A life that the provider forgot: put back to a tombstone under which the set had begun anew, or to before its first record.

use super::restored::{
    BOUND, OTHER, attach_second, expel, hear, idle_by, with_two_listed, with_two_listed_in,
};
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

/// Of a life that nobody knows of nothing is asked of those who go.
#[test]
fn nobody_who_is_expelled_is_let_go_while_a_forgotten_life_is_to_be_decided() {
    let lived = two_that_lived(vec![tombstone()], 1);
    let not_lived = two_that_lived(vec![Record { term: Term(5), ..tombstone() }], 1);
    for (mut arbiter, kept) in [(lived, true), (not_lived, false)] {
        expel(&mut arbiter, Time(20), "a2");
        assert_eq!(arbiter.sets[&replicaset()].guards.contains_key(&name("a2")), kept);
    }
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
    for records in [vec![tombstone()], Vec::new()] {
        let version = records.first().map_or(Version(0), |record| record.version);
        let mut arbiter = two_that_lived(records, 1);
        arbiter.step(BOUND, Input::Tick);
        hear(&mut arbiter, BOUND.0 + 10, SESSION, cut_by(version, found_writable()));
        let mut unsure = idle_by(version, "a2");
        unsure.severed.iter_mut().for_each(|severed| severed.whole = false);
        hear(&mut arbiter, BOUND.0 + 20, OTHER, unsure);
        arbiter.step(Time(BOUND.0 + 3_000_000), Input::Tick);
        assert_eq!(written_terms(&mut arbiter), [], "it may have held more");
        let now = Time(BOUND.0 + 3_000_000);
        let forecast = arbiter.forecast_failover(now, &replicaset(), None, Forcing::default());
        assert_eq!(forecast.map(|forecast| forecast.master), Ok(Some(instance())), "whose life it was");
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
}

#[test]
fn a_first_appointment_needs_that_nothing_is_forgotten_or_nobody_has_data_of_it() {
    let own = || Record { epoch: Epoch { generation: 2, number: 1 }, ..tombstone() };
    let cases = [
        (2, vec![tombstone()], true, false),
        (2, vec![own()], true, true),
        (2, Vec::new(), false, true),
        (2, Vec::new(), true, false),
        (1, Vec::new(), true, false),
        (1, vec![Record { term: Term(5), ..tombstone() }], true, true),
    ];
    for (number, (generation, records, data, first)) in cases.into_iter().enumerate() {
        let mut arbiter = with_two_listed_in(generation, records);
        attach_second(&mut arbiter, 4);
        for (text, session) in [("a1", SESSION), ("a2", OTHER)] {
            let mut beat = Beat { severed: None, ..idle_by(Version(0), text) };
            if !data {
                beat.engine.data = DataState::Empty;
            }
            hear(&mut arbiter, 10, session, beat);
        }
        arbiter.step(BOUND, Input::Tick);
        let written = last_written(&mut arbiter).map(|(_, record)| record.reason);
        assert_eq!(written.as_deref() == Some("first-appointment"), first, "case {number}: {written:?}");
    }
}

/// `provider-wiped`: a first appointment at a term that was given again once the state had been put back.
#[test]
fn where_the_provider_has_lost_a_record_only_a_persons_word_appoints() {
    let mut arbiter = with_two_listed_in(1, Vec::new());
    attach_second(&mut arbiter, 4);
    for (text, session) in [("a1", SESSION), ("a2", OTHER)] {
        hear(&mut arbiter, 10, session, Beat { severed: None, ..idle_by(Version(0), text) });
    }
    arbiter.step(BOUND, Input::Tick);
    assert_eq!(
        (written_terms(&mut arbiter), severed(&mut arbiter)),
        (vec![], vec![]),
        "all are heard, and idle"
    );
    let view = arbiter.set_view(BOUND, &replicaset()).expect("it is known");
    let missing =
        view.last_decision.and_then(|decision| decision.missing).expect("it says what it waits for");
    assert!(missing.contains("has lost the set's record: members know of term 5"), "{missing}");

    let forcing = Forcing { fence: false, others_off: true };
    let (task, replicaset, target) = (TaskId(1), replicaset(), None);
    let timeout = Span::from_secs(10);
    let now = Time(BOUND.0 + 1);
    arbiter.step(now, Input::Failover { task, replicaset, target, timeout, forcing });
    assert_eq!(severed(&mut arbiter).len(), 2, "they may have followed somebody");
    for (at, session, text) in [(2, SESSION, "a1"), (3, OTHER, "a2")] {
        let mut beat = idle_by(Version(0), text);
        beat.severed.iter_mut().for_each(|severed| severed.stamp.generation = 1);
        hear(&mut arbiter, BOUND.0 + at, session, beat);
    }
    assert_eq!(written_terms(&mut arbiter), [Term(6)]);
}

#[test]
fn the_last_master_of_a_forgotten_life_is_known_as_such() {
    let mut arbiter = two_that_lived(vec![tombstone()], 1);
    arbiter.step(BOUND, Input::Tick);
    let phase = arbiter.set_view(BOUND, &replicaset()).map(|view| view.phase);
    assert!(phase.as_ref().is_some_and(|phase| !phase.contains("first")), "{phase:?}");
    let reported = |offset, whole, beat| {
        let mut beat = cut_by(tombstone().version, beat);
        beat.severed.iter_mut().for_each(|severed| {
            (severed.position, severed.whole) = (Position::at(5, offset), whole);
        });
        beat
    };
    // What it was told is confirmed others hold, whatever became of its own run.
    hear(&mut arbiter, BOUND.0 + 10, SESSION, reported(4, false, found_writable()));
    hear(&mut arbiter, BOUND.0 + 20, OTHER, reported(3, true, idle_by(Version(0), "a2")));
    let written = std::iter::from_fn(|| arbiter.pop_action()).find_map(|action| match action {
        Action::Write { record, decision, .. } => Some((record.master, decision)),
        _ => None,
    });
    let (master, decision) = written.expect("all have reported");
    let decision = decision.expect("the term rises");
    assert_eq!((master, decision.old_master), (Some(instance()), Some(instance())));
    assert_eq!(decision.term_before, Term(5));
}

#[test]
fn of_a_forgotten_life_the_latest_counts() {
    let mut arbiter = two_that_lived(vec![tombstone()], 1);
    let mut earlier = idle_by(Version(0), "a2");
    (earlier.sent_at, earlier.known_master) = (Time(12), Some((Term(4), name("a2"))));
    earlier.engine.data = DataState::Marked { id: DataId("z".into()), term: Term(0) };
    hear(&mut arbiter, 12, OTHER, earlier);
    let life = arbiter.forgotten(&arbiter.sets[&replicaset()]).expect("there is data of it");
    assert_eq!((life.master, life.data_id), (Some(instance()), Some(fixture::data())));
}

#[test]
fn reports_of_a_forgotten_life_are_waited_for_from_the_moment_on_at_which_all_are_heard() {
    let mut arbiter = with_two_listed(vec![tombstone()]);
    hear(&mut arbiter, 10, SESSION, found_writable());
    arbiter.step(BOUND, Input::Tick);
    let long_after = BOUND.0 + 5_000_000;
    attach_second(&mut arbiter, long_after);
    let waiting = Beat { severed: None, ..idle_by(Version(0), "a2") };
    hear(&mut arbiter, long_after + 1, OTHER, waiting);
    assert_eq!(severed(&mut arbiter).len(), 2, "all are heard");
    hear(&mut arbiter, long_after + 2, SESSION, cut_by(tombstone().version, found_writable()));
    assert_eq!(written_terms(&mut arbiter), [], "the other one has not reported yet");
    hear(&mut arbiter, long_after + 3, OTHER, idle_by(tombstone().version, "a2"));
    assert_eq!(written_terms(&mut arbiter), [Term(1_005)]);
}

#[test]
fn a_report_of_a_forgotten_life_that_does_not_come_is_waited_for_only_so_long() {
    let mut arbiter = two_that_lived(vec![tombstone()], 0);
    arbiter.step(BOUND, Input::Tick);
    let wait = arbiter.timing().sever_wait;
    let mut reported = cut_by(tombstone().version, found_writable());
    for (after, appointed) in [(wait.less(Span(1)), None), (wait, Some(Term(1_005)))] {
        reported.sent_at = BOUND + after;
        arbiter.step(BOUND + after, Input::Beat { session: SESSION, beat: Box::new(reported.clone()) });
        assert_eq!(written_terms(&mut arbiter), Vec::from_iter(appointed), "after {after:?}");
    }
}

/// The one that knew was lost with its machine, and a person took it out.
#[test]
fn where_nobody_is_left_who_knows_of_a_forgotten_life_there_is_a_first_appointment() {
    for records in [vec![tombstone()], Vec::new()] {
        let mut arbiter = with_two_listed(records);
        attach_second(&mut arbiter, 4);
        hear(&mut arbiter, 10, SESSION, found_writable());
        let mut newcomer = fixture::beat("a2", INCARNATION, Term(0));
        newcomer.engine.data = DataState::Empty;
        hear(&mut arbiter, 11, OTHER, newcomer.clone());
        arbiter.step(BOUND, Input::Tick);
        assert_eq!(severed(&mut arbiter).len(), 2);
        arbiter.step(Time(BOUND.0 + 1), Input::Detached { session: SESSION });
        arbiter
            .step(Time(BOUND.0 + 2), Input::MemberRemoved { replicaset: replicaset(), instance: instance() });
        for at in [5_000_000, 5_500_000] {
            newcomer.sent_at = Time(BOUND.0 + at);
            hear(&mut arbiter, BOUND.0 + at, OTHER, newcomer.clone());
        }
        let written = last_written(&mut arbiter).map(|(_, record)| record.reason);
        assert_eq!(written.as_deref(), Some("first-appointment"));
    }
}
