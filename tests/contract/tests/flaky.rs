//! Hundreds of appointments over roads that break at random, while the provider is killed at random: at the end the history has
//! every answered one once, each unknown one once or not at all, and nothing else. The seed is printed (`CONTRACT_SEED`).

use crate::watch::Known;
use baton_core::record::{Change, Record};
use baton_provider::{AppointOutcome, LockToken, ProviderError, StateProvider};
use contract::{Arbiter, Dice, Direction, HISTORY, Kind, Route, Trap, World, change, record, set, within};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_stream::StreamExt as _;

const WRITERS: usize = 3;
const APPOINTS: usize = 110;
/// So many that no set's history drops a line.
const SETS: usize = 64;

/// What became of the appointments that one writer asked for, by the reason in their records.
#[derive(Debug, Default)]
struct Ledger {
    applied: BTreeSet<String>,
    unknown: BTreeSet<String>,
    not_applied: BTreeSet<String>,
}

pub async fn what_is_answered_over_flaky_roads_is_there_once(kind: Kind) {
    let Arbiter { mut world, client, token, mut session } = Arbiter::alone(kind).await;
    let mut dice = Dice::new();
    let mut roads = Vec::new();
    let mut writers = Vec::new();
    let done = Arc::new(AtomicUsize::new(0));
    for index in 0..WRITERS {
        let road = Arc::new(world.route().await);
        roads.push(Arc::clone(&road));
        let dice = Dice::of(dice.below(u64::MAX));
        writers.push(tokio::spawn(write(index, road.client(), token, dice, Arc::clone(&done))));
    }
    let road = Arc::new(world.route().await);
    let watcher = tokio::spawn(watch(road.client(), Arc::clone(&client), Arc::clone(&done)));
    roads.push(road);
    let mut kills = 0;
    while done.load(Ordering::SeqCst) < WRITERS {
        if dice.below(6) == 0 && kills < 6 {
            kills += 1;
            kill_one(&mut world, &mut dice).await;
            let renewal = within(session.renew()).await;
            assert!(!matches!(renewal, Err(ProviderError::Fatal(_))), "{renewal:?}");
        } else if let Some(road) = roads.get(index_below(&mut dice, WRITERS + 1)) {
            strike(road, &mut dice).await;
        }
    }
    for road in &roads {
        road.unset();
        road.cut();
        road.open();
    }
    let mut ledger = Ledger::default();
    for writer in writers {
        let mut one = within(writer).await.expect("no panic");
        ledger.applied.append(&mut one.applied);
        ledger.unknown.append(&mut one.unknown);
        ledger.not_applied.append(&mut one.not_applied);
    }
    world.well().await;
    settle(&client).await;
    eprintln!(
        "{kind:?}: {} applied, {} unknown, {} not, {kills} kills",
        ledger.applied.len(),
        ledger.unknown.len(),
        ledger.not_applied.len()
    );
    check(client.as_ref(), &ledger).await;
    done.fetch_add(1, Ordering::SeqCst);
    within(watcher).await.expect("it saw all of it");
}

/// Follows all of it over a flaky road of its own; ends when it has seen what is there at the end.
async fn watch(road: Arc<dyn StateProvider>, client: Arc<dyn StateProvider>, done: Arc<AtomicUsize>) {
    let mut known = Known::default();
    let mut events = within(road.watch(None)).await.expect("a watch");
    while done.load(Ordering::SeqCst) <= WRITERS {
        let next = tokio::time::timeout(Duration::from_millis(100), events.next()).await;
        if let Ok(event) = next {
            known.learn(event.expect("a watch does not end").expect("no error"));
        }
    }
    known.follow(&mut events, client.as_ref()).await;
}

fn index_below(dice: &mut Dice, limit: usize) -> usize {
    usize::try_from(dice.below(limit as u64)).expect("it is below a number of this type")
}

/// Until the first call succeeds again.
async fn settle(client: &Arc<dyn StateProvider>) {
    within(async { while client.status().await.is_err() {} }).await;
}

async fn kill_one(world: &mut World, dice: &mut Dice) {
    let node = index_below(dice, world.nodes());
    world.kill(node);
    world.start(node).await;
    // Another one at once would leave three members without a majority; that is another case's business.
    world.well().await;
}

async fn strike(road: &Route, dice: &mut Dice) {
    let traps = [Trap::RequestLost, Trap::RequestLeft, Trap::AnswerLost, Trap::AnswerHeld];
    match dice.below(8) {
        0 => road.cut(),
        1 => road.delay(Duration::from_millis(dice.below(8))),
        2 => road.hold(Direction::Requests),
        3 => road.hold(Direction::Answers),
        4 => road.close(),
        trap => drop(
            road.set(*traps.get(usize::try_from(trap - 4).unwrap_or(0) % 4).unwrap_or(&Trap::AnswerLost)),
        ),
    }
    let pause = Duration::from_millis(10 + dice.below(60));
    tokio::time::sleep(pause).await; // tidy: waits because a fault lasts for some time before it is mended
    // Sometimes what was held goes on, sometimes it is lost.
    if dice.below(2) == 0 {
        road.cut();
    }
    road.open();
}

async fn write(
    writer: usize,
    client: Arc<dyn StateProvider>,
    token: LockToken,
    mut dice: Dice,
    done: Arc<AtomicUsize>,
) -> Ledger {
    let mut ledger = Ledger::default();
    for index in 0..APPOINTS {
        // Writers come to the same sets at about the same time, and no set is asked for more often than its history is long.
        let of = format!("orders-{}", (index * 7 + index_below(&mut dice, 2)) % SETS);
        let reason = format!("writer {writer}, appointment {index}");
        let Some(request) = next(client.as_ref(), &of, &reason, token).await else { continue };
        match within(client.appoint(token, vec![request])).await {
            Ok(AppointOutcome::Applied(_)) => ledger.applied.insert(reason),
            Ok(AppointOutcome::Conflict(shown)) => {
                let ours = shown.values().flatten().any(|record| record.reason == reason);
                if ours { ledger.applied.insert(reason) } else { ledger.not_applied.insert(reason) }
            }
            Err(ProviderError::NotApplied(_)) => ledger.not_applied.insert(reason),
            Err(ProviderError::Unknown(_)) => ledger.unknown.insert(reason),
            other => panic!("{reason}: {other:?}"),
        };
    }
    done.fetch_add(1, Ordering::SeqCst);
    ledger
}

/// The next appointment of a set, as it is read; `None` where it cannot be read in some tries.
async fn next(client: &dyn StateProvider, of: &str, reason: &str, token: LockToken) -> Option<Change> {
    for _ in 0..3 {
        if let Ok(snapshot) = within(client.read()).await {
            let there = snapshot.records.get(&set(of)).map_or(0, |record| record.term.0);
            let wanted = record(of, there + 1, there + 1, "a1", token.epoch);
            return Some(change(Record { reason: reason.to_owned(), ..wanted }));
        }
    }
    None
}

async fn check(client: &dyn StateProvider, ledger: &Ledger) {
    assert!(ledger.applied.len() > APPOINTS / 2, "hardly anything was written: {ledger:?}");
    assert!(!ledger.unknown.is_empty(), "no outcome was unknown, so nothing was tested");
    let snapshot = within(client.read()).await.expect("a snapshot");
    let mut there: BTreeMap<String, u32> = BTreeMap::new();
    for (of, record) in &snapshot.records {
        let lines = within(client.history(of, HISTORY)).await.expect("an answer");
        assert_eq!(lines.first().map(|line| &line.record), Some(record), "{of}");
        let terms: Vec<u64> = lines.iter().rev().map(|line| line.record.term.0).collect();
        assert_eq!(terms, (1..=record.term.0).collect::<Vec<_>>(), "{of}: lost or doubled");
        for line in lines {
            *there.entry(line.record.reason).or_default() += 1;
        }
    }
    for (reason, count) in &there {
        assert_eq!(*count, 1, "{reason} is there {count} times");
        assert!(
            ledger.applied.contains(reason) || ledger.unknown.contains(reason),
            "{reason} was not to be there"
        );
    }
    let lost: Vec<_> = ledger.applied.iter().filter(|reason| !there.contains_key(*reason)).collect();
    assert!(lost.is_empty(), "answered, and not there: {lost:?}");
}
