//! What a guard that starts may believe of its engine's run, and what it must have forgotten before.

use super::*;
use crate::ids::Endpoint;

const REACH: Position = Position::At { term: Term(1), offset: 7 };

fn run() -> EngineRun {
    EngineRun("a1.1".into())
}

/// A guard that starts with a state file that calls this very run whole.
fn restarted(same_boot: bool, engine: Probe) -> Hand {
    restarted_with(&run(), same_boot, engine)
}

fn restarted_with(whole: &EngineRun, same_boot: bool, engine: Probe) -> Hand {
    let saved = Saved { whole: Some(whole.lineage()), ..Saved::default() };
    let config = Config {
        instance: member("a1"),
        replicaset: ReplicaSetName::parse("r").expect("a good name"),
        incarnation: incarnation(),
        supervised: true,
        failsafe: true,
        timing: timing(),
        rules: Rules::default(),
    };
    let mut hand = Hand { guard: Guard::new(Time(0), config, saved, same_boot), actions: Vec::new() };
    hand.step(Time(0), Input::DeadmanUp);
    hand.step(Time(0), Input::EngineConnected(engine));
    hand.step(Time(0), Input::Attached);
    hand.step(Time(0), Input::ProviderRead { record: None, epoch: EPOCH });
    hand
}

fn following(master: &str) -> Probe {
    Probe {
        follows: Some(Endpoint(format!("{master}:1").into())),
        link_up: true,
        position: REACH,
        data: DataState::Marked { id: DataId("d".into()), term: Term(1) },
        ..probe(false)
    }
}

fn follow(master: &str) -> Order {
    let endpoint = Endpoint(format!("{master}:1").into());
    let (data_id, reach) = (DataId("d".into()), Some(REACH));
    Order::Follow { master: member(master), endpoint, data_id, start: Position::at(0, 0), reach }
}

fn says_whole(hand: &Hand) -> bool {
    let beats = hand.actions.iter().rev().find_map(|action| match action {
        Action::Beat(beat) => Some(beat.engine.whole),
        _ => None,
    });
    beats.expect("it beats")
}

/// The look that comes with a directive is answered.
fn looked(hand: &mut Hand) {
    let op = hand.asked(|command| *command == EngineCommand::Probe).expect("it looks");
    hand.step(Time(0), Input::EngineDone { op, outcome: EngineOutcome::Done(following("a2")) });
}

fn asked_to_follow(hand: &Hand) -> Option<OpId> {
    hand.asked(|command| matches!(command, EngineCommand::Follow { .. }))
}

fn last_saved(hand: &Hand) -> Option<EngineRun> {
    let saved = hand.actions.iter().rev().find_map(|action| match action {
        Action::Persist { saved, .. } => Some(saved.whole.clone()),
        _ => None,
    });
    saved.expect("something was written")
}

#[test]
fn a_guard_that_starts_knows_its_engines_run_again_and_no_other() {
    assert!(says_whole(&restarted(true, following("a2"))), "the very run that its state file names");
    let other = Probe { run: EngineRun("a1.2".into()), ..following("a2") };
    assert!(!says_whole(&restarted(true, other)), "another run");
    assert!(!says_whole(&restarted(false, following("a2"))), "no engine outlives its machine");
}

#[test]
fn a_run_that_has_ended_is_not_whole_whatever_comes_after_it() {
    let mut hand = restarted(true, following("a2"));
    hand.step(Time(1), Input::EngineEnded);
    hand.step(Time(2), Input::EngineConnected(Probe { run: EngineRun("a1.2".into()), ..following("a2") }));
    assert!(!says_whole(&hand));
    hand.persisted(Time(3));
    hand.persisted(Time(3));
    assert_eq!(last_saved(&hand), None);
}

/// P231.
#[test]
fn data_that_outlives_runs_is_whole_after_them_and_no_other_data_is() {
    let run = |life: &str, run: &str| EngineRun::of_durable(life, run);
    let on = |run: EngineRun| Probe { run, ..following("a2") };
    for same_boot in [true, false] {
        let hand = restarted_with(&run("d1", "1"), same_boot, on(run("d1", "2")));
        assert!(says_whole(&hand), "a later run, and its host may have been off");
        let hand = restarted_with(&run("d1", "1"), same_boot, on(run("d2", "2")));
        assert!(!says_whole(&hand), "the data was replaced");
    }
    let mut hand = restarted_with(&run("d1", "1"), true, on(run("d1", "1")));
    hand.step(Time(1), Input::EngineEnded);
    hand.step(Time(2), Input::EngineConnected(on(run("d1", "2"))));
    assert!(says_whole(&hand));
    hand.step(Time(3), Input::EngineEnded);
    hand.step(Time(4), Input::EngineConnected(on(run("d2", "3"))));
    assert!(!says_whole(&hand));
    hand.persisted(Time(5));
    hand.persisted(Time(5));
    assert_eq!(last_saved(&hand), None);
}

#[test]
fn what_shows_that_a_run_is_whole_is_written_down() {
    let mut hand = started(following("a2"), Some(Saved::default()), EPOCH);
    hand.persisted(Time(0));
    hand.direct(EPOCH, Version(1), follow("a2"));
    assert!(!says_whole(&hand), "it was not looked at since");
    hand.persisted(Time(0));
    hand.step(Time(timing().beat_replica.0), Input::Tick);
    let op = hand.asked(|command| *command == EngineCommand::Probe).expect("it looks");
    let outcome = EngineOutcome::Done(following("a2"));
    hand.step(Time(timing().beat_replica.0), Input::EngineDone { op, outcome });
    assert!(says_whole(&hand));
    assert_eq!(last_saved(&hand), Some(run()));
}

/// An order that a guard had asked for when it died may be carried out after the next one has vouched for a severance.
#[test]
fn the_state_file_calls_no_run_whole_while_an_order_to_follow_is_open() {
    let mut hand = restarted(true, following("a2"));
    hand.persisted(Time(0));
    hand.direct(EPOCH, Version(1), follow("a3"));
    looked(&mut hand);
    for _ in 0..3 {
        if last_saved(&hand).is_some() {
            assert_eq!(asked_to_follow(&hand), None, "the disk calls the run whole");
        }
        hand.persisted(Time(1));
    }
    assert_eq!(last_saved(&hand), None);
    let op = asked_to_follow(&hand).expect("nothing stands against it now");
    let outcome = EngineOutcome::Done(Probe { link_up: false, ..following("a3") });
    hand.step(Time(2), Input::EngineDone { op, outcome });
    assert_eq!(last_saved(&hand), Some(run()), "it was answered, in the same run");
}

#[test]
fn an_order_to_follow_that_was_lost_keeps_the_run_off_the_disk() {
    let mut hand = restarted(true, following("a2"));
    hand.persisted(Time(0));
    hand.direct(EPOCH, Version(1), follow("a3"));
    looked(&mut hand);
    for _ in 0..3 {
        hand.persisted(Time(1));
    }
    let op = asked_to_follow(&hand).expect("nothing stands against it");
    hand.step(Time(2), Input::EngineDone { op, outcome: EngineOutcome::Unknown("no answer".into()) });
    hand.step(Time(2), Input::EngineDisconnected);
    hand.step(Time(3), Input::EngineConnected(following("a3")));
    assert!(says_whole(&hand), "this guard knows what it asked for");
    assert_eq!(last_saved(&hand), None, "the next one would not");
}

#[test]
fn a_run_is_whole_once_it_holds_what_its_master_had_by_a_link_to_that_very_master() {
    let no_reach = match follow("a2") {
        Order::Follow { master, endpoint, data_id, start, .. } => {
            Order::Follow { master, endpoint, data_id, start, reach: None }
        }
        other => other,
    };
    let behind = Probe { position: Position::at(1, 6), ..following("a2") };
    let unlinked = Probe { link_up: false, ..following("a2") };
    for (what, order, seen, whole) in [
        ("all of it", follow("a2"), following("a2"), true),
        ("a little less", follow("a2"), behind, false),
        ("no link", follow("a2"), unlinked, false),
        ("another's replica", follow("a2"), following("a3"), false),
        ("nothing is said of what the master had", no_reach, following("a2"), false),
    ] {
        let mut hand = started(following("a2"), Some(Saved::default()), EPOCH);
        hand.direct(EPOCH, Version(1), order);
        hand.step(Time(timing().beat_replica.0), Input::Tick);
        let op = hand.asked(|command| *command == EngineCommand::Probe).expect("it looks");
        hand.step(
            Time(timing().beat_replica.0),
            Input::EngineDone { op, outcome: EngineOutcome::Done(seen) },
        );
        hand.step(Time(timing().beat_replica.0 * 2), Input::Tick);
        assert_eq!(says_whole(&hand), whole, "{what}");
    }
}
