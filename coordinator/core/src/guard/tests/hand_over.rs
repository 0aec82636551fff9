//! What a guard hands over, when it does, and the guard that goes on from it.

use super::*;

const RESUMED: Time = Time(700_000);

fn config() -> Config {
    Config {
        instance: InstanceName::parse("a1").expect("a good name"),
        replicaset: ReplicaSetName::parse("r").expect("a good name"),
        incarnation: incarnation(),
        supervised: true,
        failsafe: true,
        timing: timing(),
        rules: Rules::default(),
    }
}

/// A master at term 1 whose set has `a2` in sync, with everything settled.
fn master() -> Hand {
    let in_sync = [member("a1"), member("a2")].into();
    let mut hand =
        directed(probe(false), Order::Lead { in_sync, data_id: DataId("d".into()), ack_quorum: 0 });
    hand.persisted(Time(0));
    hand.persisted(Time(0));
    hand.grant(Time(1_000), Time(0), timing().lease_ttl);
    let op = hand.last(arm);
    hand.step(Time(1_000), Input::Armed(op));
    let op = hand.promotion().expect("everything is there");
    hand.step(Time(2_000), Input::EngineDone { op, outcome: EngineOutcome::Done(probe(true)) });
    hand.persisted(Time(2_000));
    hand
}

fn home(handed: &HandOver) -> Home {
    Home {
        instance: handed.instance.clone(),
        replicaset: handed.replicaset.clone(),
        supervised: handed.supervised,
        incarnation: handed.incarnation,
        taken: handed.taken,
        saved: handed.saved.clone(),
    }
}

fn resumed(handed: HandOver) -> Hand {
    Hand { guard: Guard::resume(RESUMED, config(), handed), actions: Vec::new() }
}

#[test]
fn a_master_hands_over_once_and_takes_no_step_afterwards() {
    let mut hand = master();
    let right = hand.guard.right_until();
    let handed = hand.guard.hand_over(0).expect("everything is settled");
    assert_eq!(handed.lead.as_ref().map(|lead| (lead.term, lead.right)), right.map(|(t, at)| (t, Some(at))));
    assert_eq!(hand.guard.next_deadline(), None);
    hand.actions.clear();
    hand.step(Time(3_000_000), Input::Tick);
    assert_eq!(hand.actions, [], "it is over, also when its right ends");
    assert_eq!(hand.guard.hand_over(0), Err(Unsettled::Ended));
}

#[test]
fn the_next_process_goes_on_at_the_same_term_and_promotes_nothing() {
    let mut hand = master();
    let right = hand.guard.right_until();
    let handed = hand.guard.hand_over(0).expect("everything is settled");
    let mut next = resumed(handed);
    for input in [Input::DeadmanUp, Input::EngineConnected(probe(true)), Input::Attached] {
        next.step(RESUMED, input);
    }
    assert_eq!(next.guard.right_until(), right);
    assert_eq!(next.guard.writable_at(), Some(Term(1)));
    assert_eq!(next.promotion(), None);
    assert!(!next.actions.iter().any(|action| matches!(action, Action::ReadProvider)));
    next.grant(RESUMED + Span(1), RESUMED, timing().lease_ttl);
    assert!(next.guard.right_until() > right, "a grant for a beat of its own extends it");
}

/// Whatever is forgotten on either way shows as a difference.
#[test]
fn what_was_handed_over_is_handed_over_again_unchanged() {
    let mut hand = master();
    let grow = Order::Grow { member: member("a3"), in_sync: [member("a1"), member("a2")].into() };
    hand.direct(EPOCH, Version(2), grow);
    hand.grant(Time(3_000), Time(2_500), timing().lease_ttl);
    let op = hand.last(arm);
    hand.step(Time(3_000), Input::Armed(op));
    let promise =
        Promise { incarnation: incarnation(), asked_at: Time(2_500), term: Term(1), ttl: Span(500_000) };
    let answer = Box::new(PeerAnswer::Promise(promise));
    hand.step(Time(3_500), Input::Answered { from: member("a2"), answer });
    let first = hand.guard.hand_over(3).expect("everything is settled");
    assert!(first.proposal.is_some() && first.honoured.is_some(), "{first:?}");
    assert_eq!(first.lead.as_ref().map(|lead| lead.promises.len()), Some(1));
    let mut next = resumed(first.clone());
    next.step(RESUMED, Input::DeadmanUp);
    next.step(RESUMED, Input::EngineConnected(probe(true)));
    assert_eq!(next.guard.hand_over(3), Ok(first));
}

/// What is on its way to the disk arrives.
fn settle(hand: &mut Hand, now: Time) {
    while hand.guard.settled() == Err(Unsettled::Disk) {
        hand.persisted(now);
    }
}

#[test]
fn a_term_that_was_relinquished_is_led_by_no_later_process_either() {
    let mut hand = directed(probe(false), Order::Relinquish);
    let follow = Order::Follow {
        master: member("a2"),
        endpoint: Endpoint("a2:1".into()),
        data_id: DataId("d".into()),
        start: Position::at(0, 0),
        reach: None,
    };
    hand.direct(EPOCH, Version(2), follow);
    if let Some(op) = hand.asked(|command| matches!(command, EngineCommand::Follow { .. })) {
        hand.step(Time(1), Input::EngineDone { op, outcome: EngineOutcome::Done(probe(false)) });
    }
    settle(&mut hand, Time(2));
    let first = hand.guard.hand_over(0).expect("everything is settled");
    assert!(first.relinquished.is_some() && first.follow.is_some(), "{first:?}");
    let mut next = resumed(first.clone());
    next.step(RESUMED, Input::DeadmanUp);
    next.step(RESUMED, Input::EngineConnected(probe(false)));
    let (in_sync, data_id, ack_quorum) = ([member("a1")].into(), DataId("d".into()), 0);
    next.direct(EPOCH, Version(3), Order::Lead { in_sync, data_id, ack_quorum });
    assert!(!next.actions.iter().any(|action| matches!(action, Action::Note(Note::Candidate(_)))));
    let mut next = resumed(first.clone());
    next.step(RESUMED, Input::DeadmanUp);
    next.step(RESUMED, Input::EngineConnected(probe(false)));
    assert_eq!(next.guard.hand_over(0), Ok(first), "nothing was forgotten on the way");
}

#[test]
fn an_order_to_give_a_pin_up_is_handed_over_with_what_was_answered_to_it() {
    let mut hand = master();
    let grant = Grant {
        beat: Time(2_000),
        incarnation: incarnation(),
        epoch: EPOCH,
        term: Term(1),
        ttl: Span::from_secs(3_600),
        lease: timing().lease_ttl,
        pinned: Some(Version(1)),
    };
    hand.step(Time(3_000), Input::FromArbiter(ToGuard::Grant(grant)));
    hand.direct(EPOCH, Version(2), Order::Unpin);
    let op = hand.last(arm);
    hand.step(Time(4_000), Input::Armed(op));
    let first = hand.guard.hand_over(0).expect("everything is settled");
    assert!(first.unpin.is_some_and(|unpin| unpin.done), "{first:?}");
    let mut next = resumed(first);
    next.step(RESUMED, Input::DeadmanUp);
    next.step(RESUMED, Input::EngineConnected(probe(true)));
    let before = next.guard.right_until();
    next.step(RESUMED + Span(1), Input::FromArbiter(ToGuard::Grant(Grant { beat: RESUMED, ..grant })));
    let lease = RESUMED + timing().lease_ttl;
    assert!(next.guard.right_until() > before, "a beat of its own is answered");
    assert!(
        next.guard.right_until().is_some_and(|(_, until)| until <= lease),
        "what is late pins nobody again"
    );
}

#[test]
fn a_severance_that_was_reported_is_handed_over_with_its_report() {
    let mut hand = severed();
    let first = hand.guard.hand_over(0).expect("everything is settled");
    assert!(first.severance.as_ref().is_some_and(|severance| severance.report.is_some()), "{first:?}");
    let mut next = resumed(first.clone());
    next.step(RESUMED, Input::DeadmanUp);
    next.step(RESUMED, Input::EngineConnected(probe(false)));
    assert_eq!(next.guard.hand_over(0), Ok(first));
    let mut other_run = resumed(severed().guard.hand_over(0).expect("everything is settled"));
    other_run.step(RESUMED, Input::DeadmanUp);
    other_run.step(RESUMED, Input::EngineConnected(Probe { run: EngineRun("a1.2".into()), ..probe(false) }));
    assert!(
        other_run.guard.hand_over(0).is_err(),
        "another run is severed anew before anything is said of it"
    );
}

fn severed() -> Hand {
    let order = Order::Sever { master: Some(member("a2")), reach: None, relinquished: false };
    let mut hand = directed(probe(false), order);
    hand.persisted(Time(0));
    hand.persisted(Time(0));
    let op = hand.asked(|command| matches!(command, EngineCommand::Fence)).expect("it is severed");
    hand.step(Time(1_000), Input::EngineDone { op, outcome: EngineOutcome::Done(probe(false)) });
    hand
}

#[test]
fn nothing_is_handed_over_while_an_answer_is_missing() {
    let fresh = Guard::new(Time(0), config(), Saved::default(), true).settled();
    assert_eq!(fresh, Err(Unsettled::Starting));
    let mut hand = candidate();
    assert_eq!(hand.guard.settled(), Err(Unsettled::Disk));
    hand.persisted(Time(0));
    hand.persisted(Time(0));
    hand.grant(Time(1_000), Time(0), timing().lease_ttl);
    assert_eq!(hand.guard.settled(), Err(Unsettled::Deadman), "a deadline is to be confirmed");
    let op = hand.last(arm);
    hand.step(Time(1_000), Input::Armed(op));
    assert_eq!(hand.guard.settled(), Err(Unsettled::Engine), "a promotion is under way");
    let mut leaving = master();
    leaving.step(Time(3_000), Input::FromArbiter(ToGuard::Directive(relinquish())));
    assert_eq!(leaving.guard.settled(), Err(Unsettled::Leaving));
    let mut away = master();
    away.step(Time(3_000), Input::EngineDisconnected);
    assert_eq!(away.guard.settled(), Err(Unsettled::Engine), "it is out of reach");
    let mut unguarded = severed();
    unguarded.step(Time(3_000), Input::DeadmanLost);
    assert_eq!(unguarded.guard.settled(), Err(Unsettled::Deadman), "nobody would end the engine");
    let mut stood_down = severed();
    stood_down.direct(EPOCH, Version(2), Order::StandDown);
    assert_eq!(stood_down.guard.settled(), Err(Unsettled::Ended), "another has its name");
    let mut alone = master();
    alone.step(Time(3_000), Input::Stop);
    assert_eq!(alone.guard.settled(), Err(Unsettled::Ended));
    assert!(master().guard.settled().is_ok());
}

fn relinquish() -> Directive {
    Directive {
        incarnation: incarnation(),
        epoch: EPOCH,
        version: Version(2),
        term: Term(1),
        order: Order::Relinquish,
    }
}

#[test]
fn a_right_that_has_ended_meanwhile_is_given_up_and_its_engine_ended() {
    let handed = master().guard.hand_over(0).expect("everything is settled");
    let late = Time(0) + timing().lease_ttl;
    let mut next = Hand { guard: Guard::resume(late, config(), handed), actions: Vec::new() };
    next.step(late, Input::DeadmanUp);
    assert_eq!(next.guard.right_until(), None);
    assert!(next.actions.contains(&Action::KillEngine), "nothing else can fence it yet: {:?}", next.actions);
    next.grant(late + Span(1), late, timing().lease_ttl);
    assert_eq!(next.guard.right_until(), None, "it is not revived");
    next.step(late + Span(2), Input::EngineEnded);
    next.actions.clear();
    next.step(late + Span(3), Input::Attached);
    let relinquished = next.actions.iter().find_map(|action| match action {
        Action::Beat(beat) => beat.relinquished.clone(),
        _ => None,
    });
    let ended = Relinquished { term: Term(1), position: Position::Unknown, ended: true };
    assert_eq!(relinquished, Some(ended), "and says so as the run that led");
}

#[test]
fn an_engine_that_ended_meanwhile_or_a_deadman_that_died_costs_the_right() {
    let mut next = resumed(master().guard.hand_over(0).expect("everything is settled"));
    next.step(RESUMED, Input::DeadmanUp);
    next.step(RESUMED, Input::EngineEnded);
    assert_eq!(next.guard.right_until(), None);
    let mut next = resumed(master().guard.hand_over(0).expect("everything is settled"));
    next.step(RESUMED, Input::DeadmanLost);
    assert_eq!(next.guard.right_until(), None);
    let mut next = resumed(master().guard.hand_over(0).expect("everything is settled"));
    next.step(RESUMED, Input::DeadmanUp);
    next.step(RESUMED + timing().stall_timeout, Input::Tick);
    assert_eq!(next.guard.right_until(), None, "an engine that cannot be reached is none to lead with");
}

#[test]
fn a_hand_over_fits_its_own_home_and_run_only_and_once() {
    let handed = master().guard.hand_over(2).expect("everything is settled");
    let fits = |home: Home| handed.fits(&home, Rules::default());
    assert_eq!(fits(home(&handed)), Ok(()));
    for (home, why) in [
        (Home { instance: member("a2"), ..home(&handed) }, Unfit::Configuration),
        (Home { supervised: false, ..home(&handed) }, Unfit::Configuration),
        (Home { incarnation: Incarnation { boot: 2, ..incarnation() }, ..home(&handed) }, Unfit::Boot),
        (Home { incarnation: Incarnation { run: 2, ..incarnation() }, ..home(&handed) }, Unfit::Run),
        (Home { incarnation: Incarnation { home: 2, ..incarnation() }, ..home(&handed) }, Unfit::Run),
        (Home { taken: 3, ..home(&handed) }, Unfit::Taken),
        (
            Home { saved: Saved { highest_term: Term(2), ..handed.saved.clone() }, ..home(&handed) },
            Unfit::Saved,
        ),
    ] {
        assert_eq!(fits(home), Err(why));
    }
}

#[test]
fn a_master_hands_over_when_its_right_was_just_extended() {
    let mut hand = master();
    assert!(hand.guard.has_time_to_hand_over(Time(2_000)));
    hand.step(Time(0) + timing().lease_ttl / 2, Input::Tick);
    assert!(!hand.guard.has_time_to_hand_over(Time(0) + timing().lease_ttl / 2));
    assert!(!candidate().guard.has_time_to_hand_over(Time(0)), "a promotion is about to come");
    let replica = Order::Sever { master: None, reach: None, relinquished: false };
    assert!(directed(probe(false), replica).guard.has_time_to_hand_over(Time(0)));
}
