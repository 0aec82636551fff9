//! Two boards in memory and a provider over both, while the state moves between them.

use super::*;
use crate::memory::MemoryBoard;
use crate::moving::tests::{Ending, candidate, record, used};
use crate::moving::{Company, Done, Mover, Plan, Step};
use crate::{Item, Renewal, identity_of};
use baton_core::ids::ClusterName;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

fn identity() -> crate::Identity {
    identity_of(ClusterName::parse("orders").expect("a name"), "secret")
}

fn over(one: &MemoryBoard, two: Option<&MemoryBoard>) -> SwitchingProvider {
    let end = |board: &MemoryBoard| -> Arc<dyn StateProvider> { Arc::new(board.client(identity())) };
    SwitchingProvider::new(end(one), two.map(end))
}

/// The hosts are one provider, which says whether it reaches the target.
struct Host(SwitchingProvider);

#[async_trait(?Send)]
impl Company for Host {
    async fn not_ready(&mut self, id: u64) -> Result<Vec<String>, String> {
        match self.0.view().borrow().next.clone() {
            Some((of, Ok(()))) if of == id => Ok(Vec::new()),
            Some((_, Err(problem))) => Ok(vec![problem]),
            _ => Err("nothing was heard".into()),
        }
    }

    fn done(&mut self, _: Step, _: Duration) {}
}

async fn run(one: &MemoryBoard, two: &MemoryBoard, host: &SwitchingProvider) -> Result<Done, String> {
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let (from, to) = (Ending::new(one, &left), Ending::new(two, &left));
    let plan = Plan {
        from: "memory one".into(),
        to: "memory two".into(),
        ready_within: Duration::from_secs(5),
        frozen_at_most: Duration::from_secs(5),
        dry_run: false,
    };
    let mut company = Host(host.clone());
    Mover::new(&from, &to, plan, &mut company).run().await.map_err(|error| error.to_string())
}

async fn appoint(provider: &SwitchingProvider, token: LockToken, version: u64) -> AppointOutcome {
    let record = record(version, version, token.epoch);
    let expected = Some(Version(version - 1));
    let change = Change { expected, record, decision: "{}".into() };
    provider.appoint(token, vec![change]).await.expect("answered")
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_lost_by_the_move_and_taken_at_the_other_end_and_a_watch_misses_nothing() {
    let (one, _) = used().await;
    let two = MemoryBoard::new(identity(), Settings::default());
    let provider = over(&one, Some(&two));
    let mut watch = provider.watch(None).await.expect("watched");
    let mut session = provider.campaign(&candidate(), None).await.expect("free");
    let first = session.grant().token;
    assert!(matches!(appoint(&provider, first, 2).await, AppointOutcome::Applied(_)));
    run(&one, &two, &provider).await.expect("moved");
    let lost = session.renew().await.expect("answered");
    assert!(matches!(lost, Renewal::Lost { .. }), "{lost:?}");
    let session = provider.campaign(&candidate(), None).await.expect("open");
    let second = session.grant().token;
    assert!(second.epoch > first.epoch && second.epoch.generation == first.epoch.generation);
    assert!(matches!(appoint(&provider, first, 3).await, AppointOutcome::StaleEpoch(_)));
    assert!(matches!(appoint(&provider, second, 3).await, AppointOutcome::Applied(_)));
    // What a watcher that puts the events together knows in the end.
    let mut known = BTreeMap::new();
    while known.values().all(|version: &Version| *version < Version(3)) {
        match watch.next().await.expect("it goes on").expect("no error") {
            WatchEvent::Snapshot(snapshot) => {
                known = snapshot.records.into_iter().map(|(set, it)| (set, it.version)).collect();
            }
            WatchEvent::Update(update) => {
                for item in update.items {
                    if let Item::Record(record) = item {
                        let before = known.insert(record.replicaset.clone(), record.version);
                        assert!(before < Some(record.version), "nothing is told twice");
                    }
                }
            }
        }
    }
    // And back, by the same provider.
    run(&two, &one, &provider).await.expect("moved back");
    assert_eq!(provider.read().await.expect("answered").records.len(), 1);
    provider.view().wait_for(|view| !view.on_next && view.moving.is_none()).await.expect("it is told");
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_comes_late_goes_where_the_state_went_and_one_that_cannot_says_so() {
    let (one, _) = used().await;
    let two = MemoryBoard::new(identity(), Settings::default());
    run(&one, &two, &over(&one, Some(&two))).await.expect("moved");
    let late = over(&one, Some(&two));
    let session = late.campaign(&candidate(), None).await.expect("open");
    assert_eq!(two.durable().lock.epoch, session.grant().token.epoch);
    let error = over(&one, None).read().await.expect_err("nowhere to go").to_string();
    assert!(error.contains("memory two") && error.contains("[provider.next]"), "{error}");
    // One that names a cluster that was founded anew by mistake stays away from it.
    let wrong = MemoryBoard::new(identity(), Settings::default());
    let error = over(&one, Some(&wrong)).read().await.expect_err("not there").to_string();
    assert!(error.contains("is not where the state was moved to"), "{error}");
    // Nor does it open what another run began to fill, and gave up.
    let mark = Move { id: 8, phase: MovePhase::Arriving, other: "one".into(), lock: Span::from_secs(4) };
    let given_up = MemoryBoard::new(identity(), Settings::default());
    given_up.replace(one.durable().arriving_over(Some(&given_up.durable()), mark));
    let error = over(&one, Some(&given_up)).read().await.expect_err("not there").to_string();
    assert!(error.contains("is not where the state was moved to"), "{error}");
    assert_eq!(given_up.durable().settings.phase(), Some(MovePhase::Arriving), "it stays closed");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_stays_frozen_is_thawed_and_its_move_can_no_longer_be_committed() {
    let (one, _) = used().await;
    let client = one.client(identity());
    let provider = over(&one, None);
    let at = |phase| Some(Move { id: 7, phase, other: "etcd".into(), lock: Span::from_secs(4) });
    for (version, phase) in [(0, MovePhase::Announced), (1, MovePhase::Frozen)] {
        let step = client.put_move(Version(version), at(phase)).await.expect("answered");
        assert!(matches!(step, SettingsOutcome::Applied(_)), "{step:?}");
    }
    let frozen = tokio::time::Instant::now();
    let mut view = provider.view();
    view.wait_for(|view| view.moving.is_some()).await.expect("it is told");
    view.wait_for(|view| view.moving.is_none()).await.expect("it is thawed");
    assert!(frozen.elapsed() >= THAW_AFTER);
    let late = client.put_move(Version(2), at(MovePhase::Moved)).await.expect("answered");
    assert!(matches!(late, SettingsOutcome::Conflict(_)), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn what_has_not_arrived_is_nobodys_state() {
    let (one, token) = used().await;
    let mark = Move { id: 7, phase: MovePhase::Arriving, other: "one".into(), lock: Span::from_secs(4) };
    let two = MemoryBoard::new(identity(), Settings::default());
    two.replace(one.durable().arriving_over(Some(&two.durable()), mark));
    let provider = over(&two, None);
    let error = provider.read().await.expect_err("a floor that is read here may be too low").to_string();
    assert!(error.contains("has not arrived"), "{error}");
    assert_eq!(two.durable().lock.epoch, token.epoch);
}
