//! The choice as a table: each refusal by its own case, and what decides between those that are not refused.

use super::*;
use crate::fixture::name;
use crate::ids::Term;

fn data(id: &str) -> DataState {
    DataState::Marked { id: DataId(id.into()), term: Term(3) }
}

/// A member that may be appointed.
fn fit(text: &str) -> Candidate {
    Candidate {
        instance: name(text),
        electable: true,
        in_sync: true,
        attached: true,
        ready: true,
        reported: Some(Position::at(3, 100)),
        restarted: false,
        old_master: false,
        health: Health::Up,
        data: data("ours"),
        hold: Span::ZERO,
        priority: 100,
        zone: None,
        drained: false,
        maintenance: None,
    }
}

/// What is asked of these members where nothing is out of the ordinary.
fn question(candidates: Vec<Candidate>) -> Question {
    Question {
        candidates,
        data_id: Some(DataId("ours".into())),
        start: Position::at(2, 50),
        sole: false,
        reach: None,
        target: None,
        preferred: None,
        spare_old_master: false,
        max_lag_bytes: None,
        zone: None,
        zone_policy: ZonePolicy::Prefer,
        by_itself: true,
        hold: None,
        avoid_drained: false,
        check_identity: true,
        forced: None,
        rules: Rules::default(),
    }
}

fn chosen(question: &Question) -> Option<String> {
    choose(question).chosen.map(|(instance, _)| instance.to_string())
}

fn verdict(question: &Question, instance: &str) -> Verdict {
    let ranking = choose(question).ranking;
    let ranked = ranking.into_iter().find(|ranked| ranked.instance == name(instance));
    ranked.expect("every member is ranked").verdict
}

#[test]
fn every_refusal_has_its_case() {
    let start = Position::at(2, 50);
    let behind = Position::at(2, 49);
    let held = Span::from_millis(7);
    let cases = [
        (Candidate { electable: false, ..fit("a1") }, Refusal::NotElectable),
        (Candidate { in_sync: false, ..fit("a1") }, Refusal::NotInSync),
        (Candidate { attached: false, ..fit("a1") }, Refusal::NotAttached),
        (Candidate { ready: false, ..fit("a1") }, Refusal::Starting),
        (Candidate { health: Health::Down, ..fit("a1") }, Refusal::EngineDown),
        (Candidate { health: Health::Stalled, ..fit("a1") }, Refusal::EngineStalled),
        (Candidate { hold: held, ..fit("a1") }, Refusal::Holding(held)),
        (Candidate { data: DataState::Empty, ..fit("a1") }, Refusal::Empty),
        (Candidate { data: DataState::Unmarked, ..fit("a1") }, Refusal::Unmarked),
        (Candidate { data: data("theirs"), ..fit("a1") }, Refusal::Foreign),
        (Candidate { reported: None, ..fit("a1") }, Refusal::NotReported),
        (Candidate { reported: Some(behind), ..fit("a1") }, Refusal::BehindStart { own: behind, start }),
        (Candidate { restarted: true, ..fit("a1") }, Refusal::RestartedEngine),
    ];
    for (candidate, refusal) in cases {
        let question = question(vec![candidate, fit("a2")]);
        assert_eq!(verdict(&question, "a1"), Verdict::Refused(refusal.clone()), "{refusal}");
        assert_eq!(chosen(&question).as_deref(), Some("a2"), "{refusal}");
    }
}

#[test]
fn a_switchover_refuses_the_old_master_and_whoever_has_not_reached_its_position() {
    let reach = Position::at(3, 101);
    let old = Candidate { old_master: true, reported: Some(reach), ..fit("a1") };
    let asked = Question {
        reach: Some(reach),
        spare_old_master: true,
        ..question(vec![old, fit("a2"), Candidate { reported: Some(reach), ..fit("a3") }])
    };
    assert_eq!(verdict(&asked, "a1"), Verdict::Refused(Refusal::OldMaster));
    assert_eq!(verdict(&asked, "a2"), Verdict::Refused(Refusal::NotReached { reach }));
    assert_eq!(chosen(&asked).as_deref(), Some("a3"));
}

#[test]
fn what_people_set_refuses_by_itself_and_never_the_old_master() {
    let east = Some(Zone::parse("east").expect("a good name"));
    let at = |zone: &Option<Zone>, text| Candidate { zone: zone.clone(), ..fit(text) };
    let asked = || Question { zone: east.clone(), ..question(vec![at(&None, "a1"), at(&east, "a2")]) };
    let held = Question { hold: Some(Hold::Suppressed), ..asked() };
    assert_eq!(verdict(&held, "a1"), Verdict::Refused(Refusal::Held(Hold::Suppressed)));
    assert_eq!(chosen(&held), None);
    let old = Candidate { old_master: true, ..fit("a3") };
    let held = Question { hold: Some(Hold::Paused), ..question(vec![fit("a1"), old]) };
    assert_eq!(chosen(&held).as_deref(), Some("a3"));
    let same = Question { zone_policy: ZonePolicy::Same, ..asked() };
    assert_eq!(verdict(&same, "a1"), Verdict::Refused(Refusal::OtherZone));
    assert_eq!(chosen(&Question { by_itself: false, ..same }).as_deref(), Some("a2"), "near is still better");
    let any = Question { zone_policy: ZonePolicy::Any, ..asked() };
    assert_eq!(chosen(&any).as_deref(), Some("a1"), "by its name");
    let left = Span::from_secs(9);
    let worked_on = question(vec![Candidate { maintenance: Some(left), ..fit("a1") }]);
    assert_eq!(verdict(&worked_on, "a1"), Verdict::Refused(Refusal::Maintenance(left)));
}

#[test]
fn a_drained_zone_is_worse_among_equals_and_refused_where_it_is_to_be_left() {
    let drained = Candidate { drained: true, priority: 200, ..fit("a1") };
    let asked = question(vec![drained.clone(), fit("a2")]);
    assert_eq!(chosen(&asked).as_deref(), Some("a2"));
    let ahead = Candidate { reported: Some(Position::at(3, 101)), ..drained };
    let asked = question(vec![ahead, fit("a2")]);
    assert_eq!(chosen(&asked).as_deref(), Some("a1"), "no write is lost for it");
    let leaving = Question { avoid_drained: true, ..asked };
    assert_eq!(verdict(&leaving, "a1"), Verdict::Refused(Refusal::Drained));
}

#[test]
fn what_is_accepted_as_lost_is_no_refusal_but_a_master_that_may_go_on_is() {
    let outside = Candidate { in_sync: false, reported: Some(Position::at(2, 1)), ..fit("a1") };
    let asked = Question { max_lag_bytes: Some(0), ..question(vec![outside.clone()]) };
    assert_eq!(verdict(&asked, "a1"), Verdict::Refused(Refusal::NotInSync));
    let unsure = Question { forced: Some(false), ..asked.clone() };
    assert_eq!(verdict(&unsure, "a1"), Verdict::Refused(Refusal::MayGoOn));
    assert_eq!(chosen(&Question { forced: Some(true), ..asked }).as_deref(), Some("a1"));
    let foreign = Candidate { data: data("theirs"), ..outside };
    let forced = Question { forced: Some(true), ..question(vec![foreign]) };
    assert_eq!(verdict(&forced, "a1"), Verdict::Refused(Refusal::Foreign), "that needs a word of its own");
    let asked = Question { check_identity: false, by_itself: false, ..forced };
    assert_eq!(chosen(&asked).as_deref(), Some("a1"));
}

#[test]
fn position_then_priority_then_zone_then_name() {
    let east = Zone::parse("east").expect("a good name");
    let ahead = Candidate { reported: Some(Position::at(3, 101)), priority: 1, ..fit("a9") };
    let later_term = Candidate { reported: Some(Position::at(4, 1)), priority: 0, ..fit("b1") };
    let preferred = Candidate { priority: 200, ..fit("a8") };
    let near = Candidate { zone: Some(east.clone()), ..fit("a7") };
    let mut asked = Question {
        zone: Some(east),
        ..question(vec![fit("a2"), fit("a1"), near, preferred, ahead, later_term])
    };
    for expected in ["b1", "a9", "a8", "a7", "a1", "a2"] {
        assert_eq!(chosen(&asked).as_deref(), Some(expected));
        asked.candidates.retain(|candidate| candidate.instance != name(expected));
    }
    assert_eq!(chosen(&asked), None);
}

#[test]
fn lag_counts_from_the_best_report_even_of_one_that_is_refused() {
    let best = Candidate { electable: false, reported: Some(Position::at(3, 111)), ..fit("a1") };
    let asked = |max| Question { max_lag_bytes: Some(max), ..question(vec![best.clone(), fit("a2")]) };
    assert_eq!(verdict(&asked(10), "a2"), Verdict::Refused(Refusal::Lag { bytes: 11, max: 10 }));
    assert_eq!(chosen(&asked(11)).as_deref(), Some("a2"));
}

#[test]
fn a_target_comes_before_a_better_one_and_a_restarted_engine_is_better_than_none() {
    let better = Candidate { priority: 200, ..fit("a1") };
    let asked = Question { target: Some(name("a2")), ..question(vec![better, fit("a2")]) };
    assert_eq!(chosen(&asked).as_deref(), Some("a2"));
    let restarted = question(vec![Candidate { restarted: true, ..fit("a1") }]);
    assert_eq!(chosen(&restarted).as_deref(), Some("a1"));
}

#[test]
fn whom_a_person_asked_for_comes_before_its_equals_and_not_before_its_betters() {
    let equal = Candidate { priority: 200, ..fit("a1") };
    let asked = |other| Question { preferred: Some(name("a2")), ..question(vec![other, fit("a2")]) };
    assert_eq!(chosen(&asked(equal)).as_deref(), Some("a2"));
    let better = Candidate { reported: Some(Position::at(3, 111)), ..fit("a1") };
    assert_eq!(chosen(&asked(better)).as_deref(), Some("a1"));
}

#[test]
fn the_only_member_of_the_set_need_not_hold_the_start_of_its_own_term() {
    let alone = Candidate { reported: Some(Position::at(1, 0)), ..fit("a1") };
    let outside = Candidate { in_sync: false, ..fit("a2") };
    let heard = question(vec![alone, outside]);
    assert_eq!(chosen(&Question { sole: true, ..heard.clone() }).as_deref(), Some("a1"));
    // Another member of the set is away: that one may hold more.
    assert_eq!(chosen(&heard), None);
}

/// Seed 10038020: with `check_identity = false` the only member of its set was appointed by itself after its data was lost, and
/// nothing said that all of it was gone.
#[test]
fn where_identity_is_not_checked_it_is_a_person_who_appoints_an_empty_or_foreign_one() {
    let lost = |data| Candidate { data, reported: Some(Position::at(0, 0)), ..fit("a1") };
    let cases = [
        (DataState::Empty, Refusal::Empty),
        (DataState::Unmarked, Refusal::Unmarked),
        (data("theirs"), Refusal::Foreign),
    ];
    for (data, refusal) in cases {
        let asked = Question { sole: true, check_identity: false, ..question(vec![lost(data)]) };
        assert_eq!(verdict(&asked, "a1"), Verdict::Refused(refusal));
        assert_eq!(chosen(&Question { by_itself: false, ..asked }).as_deref(), Some("a1"));
    }
}
