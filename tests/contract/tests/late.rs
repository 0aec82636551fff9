//! Two arbiters that write to etcd over slow roads while the lock goes from one to the other, at moments that a seed draws. What
//! is recorded is watched, and must be what the oracle allows. With the comparisons left out of each write it must not.

use baton_board::Item;
use baton_core::ids::{Epoch, Revision};
use baton_core::rules::{Rule, Rules};
use baton_oracle::{Event, Moment, Oracle, Property, Seen, Violation};
use baton_provider::{AppointOutcome, ProviderError, StateProvider, WatchEvent, WatchStream};
use contract::{Dice, Kind, LONG, World, candidate, change, record, within};
use std::time::Duration;
use tokio_stream::StreamExt as _;

/// How many hand-overs are tried before a breach must have been found; the median is below five.
const ROUNDS: u64 = 60;
/// The same where something is to be found, which ends it: the moments are those of a busy machine.
const ROUNDS_TO_FIND: u64 = 600;

/// Everything that was recorded and who held the lock then, as a watch tells it.
struct Watched {
    watch: WatchStream,
    current: Epoch,
    oracle: Oracle,
}

impl Watched {
    async fn until(&mut self, revision: Revision) -> Result<(), Violation> {
        loop {
            let event = within(self.watch.next()).await.expect("it goes on").expect("no error");
            let WatchEvent::Update(update) = event else { continue };
            for item in update.items {
                match item {
                    Item::Lock(view) => self.current = view.epoch,
                    Item::Record(record) => {
                        let record = Box::new((*record).clone());
                        let seen = Seen::Recorded { record, current: self.current };
                        self.oracle.observe(&Event { at: Moment(update.revision.0), seen })?;
                    }
                    _ => {}
                }
            }
            if update.revision >= revision {
                return Ok(());
            }
        }
    }
}

async fn appoints(
    client: &dyn StateProvider,
    session: &dyn baton_provider::LockSession,
    of: &str,
    master: &str,
) {
    let token = session.grant().token;
    let outcome = within(client.appoint(token, vec![change(record(of, 1, 1, master, token.epoch))])).await;
    // Without an answer in time it may have landed or not: the watch tells.
    let refused = matches!(
        outcome,
        Ok(AppointOutcome::StaleEpoch(_) | AppointOutcome::Conflict(_)) | Err(ProviderError::Unknown(_))
    );
    assert!(refused || matches!(outcome, Ok(AppointOutcome::Applied(_))), "{outcome:?}");
}

/// After how many hand-overs something is wrong.
async fn search(rules: Rules, mut dice: Dice, rounds: u64) -> Option<(u64, Violation)> {
    let world = World::alone(Kind::Etcd1, LONG).await;
    let (one, other) = (world.route_of_etcd(rules).await, world.route_of_etcd(rules).await);
    let start = within(world.client().read()).await.expect("a snapshot").revision;
    let watch = within(world.client().watch(Some(start))).await.expect("a watch");
    let mut watched = Watched { watch, current: Epoch::default(), oracle: Oracle::default() };
    for round in 0..rounds {
        let of = format!("orders-{round}");
        for road in [&one, &other] {
            road.delay(Duration::from_micros(dice.below(8_000)));
        }
        let first = within(one.client().campaign(&candidate("host-a"), None)).await.expect("the lock");
        let pause = Duration::from_micros(dice.below(25_000));
        let hand_over = async {
            // tidy: waits because the moment of the hand-over is what is searched.
            tokio::time::sleep(pause).await;
            within(world.client().campaign(&candidate("host-b"), None)).await.expect("the lock")
        };
        let released = async {
            // tidy: waits because the moment of the release is what is searched.
            tokio::time::sleep(pause).await;
            let lock = world.raw().await.get("lock").await;
            if let Some(lock) = lock {
                world.raw().await.delete_if("lock", lock.modified).await;
            }
        };
        let client = one.client();
        let (_, second, ()) =
            tokio::join!(appoints(client.as_ref(), first.as_ref(), &of, "a1"), hand_over, released);
        appoints(other.client().as_ref(), second.as_ref(), &of, "a2").await;
        within(second.resign(baton_core::time::Span::ZERO)).await.expect("resigned");
        let revision = within(world.client().read()).await.expect("a snapshot").revision;
        if let Err(violation) = watched.until(revision).await {
            return Some((round + 1, violation));
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_late_write_to_etcd_breaks_a_property() {
    let found = search(Rules::default(), Dice::new(), ROUNDS).await;
    assert!(found.is_none(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_to_etcd_that_compares_nothing_is_found() {
    let (rounds, violation) =
        search(Rules::without(Rule::CompareInWrite), Dice::new(), ROUNDS_TO_FIND).await.expect("a breach");
    eprintln!("{} is found after {rounds} hand-overs: {violation}", Rule::CompareInWrite.name());
    assert!(["I1", "I6"].contains(&violation.property), "{violation}");
}
