//! Whole moves between two boards in memory, cut off after each of their requests.

use super::*;
use crate::memory::{MemoryBoard, MemoryProvider};
use crate::{Identity, LockToken, WatchStream, identity_of};
use baton_board::{AppointOutcome, Candidate, Snapshot, Status, TaskOutcome, WriteOutcome};
use baton_core::contender::Bid;
use baton_core::ids::{
    ClusterName, CoordinatorName, Endpoint, Epoch, InstanceName, ReplicaSetName, Revision, TaskId, Term,
};
use baton_core::position::Position;
use baton_core::record::{Change, HistoryEntry, Member, Record};
use baton_core::task::StoredTask;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn identity() -> Identity {
    identity_of(ClusterName::parse("orders").expect("a name"), "secret")
}

/// A board in memory as an end, for a run that ends after so many requests.
pub(crate) struct Ending {
    board: MemoryBoard,
    client: MemoryProvider,
    left: Arc<AtomicUsize>,
}

impl Ending {
    pub(crate) fn new(board: &MemoryBoard, left: &Arc<AtomicUsize>) -> Self {
        Self { board: board.clone(), client: board.client(identity()), left: Arc::clone(left) }
    }

    /// Never comes back where the run is over.
    async fn ask(&self) {
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if taken.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl MoveEnd for Ending {
    async fn look(&self) -> Result<Option<(Settings, Epoch)>, ProviderError> {
        self.ask().await;
        let snapshot = self.client.read().await?;
        Ok((snapshot.revision.0 > 0).then_some((snapshot.settings, snapshot.lock.epoch)))
    }

    async fn export(&self) -> Result<Durable, ProviderError> {
        self.ask().await;
        Ok(self.board.durable())
    }

    async fn fill(&self, durable: Durable, arriving: Move) -> Result<(), ProviderError> {
        self.ask().await;
        let over = self.board.durable();
        assert!(over.may_be_filled(durable.lock.epoch), "a state is never replaced");
        self.board.replace(durable.arriving_over(Some(&over), arriving));
        Ok(())
    }
}

#[async_trait]
impl StateProvider for Ending {
    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn join(&self) -> Result<(), ProviderError> {
        self.client.join().await
    }

    async fn campaign(
        &self,
        candidate: &Candidate,
        resume: Option<LockToken>,
    ) -> Result<Box<dyn crate::LockSession>, ProviderError> {
        self.client.campaign(candidate, resume).await
    }

    async fn appoint(&self, token: LockToken, changes: Vec<Change>) -> Result<AppointOutcome, ProviderError> {
        self.client.appoint(token, changes).await
    }

    async fn read(&self) -> Result<Snapshot, ProviderError> {
        self.client.read().await
    }

    async fn watch(&self, after: Option<Revision>) -> Result<WatchStream, ProviderError> {
        self.client.watch(after).await
    }

    async fn put_member(&self, token: LockToken, member: Member) -> Result<WriteOutcome, ProviderError> {
        self.client.put_member(token, member).await
    }

    async fn remove_member(
        &self,
        token: LockToken,
        set: &ReplicaSetName,
        instance: &InstanceName,
    ) -> Result<WriteOutcome, ProviderError> {
        self.client.remove_member(token, set, instance).await
    }

    async fn put_settings(
        &self,
        expected: Version,
        settings: Settings,
    ) -> Result<SettingsOutcome, ProviderError> {
        self.client.put_settings(expected, settings).await
    }

    async fn put_move(
        &self,
        expected: Version,
        moving: Option<Move>,
    ) -> Result<SettingsOutcome, ProviderError> {
        self.ask().await;
        self.client.put_move(expected, moving).await
    }

    async fn put_task(
        &self,
        token: LockToken,
        expected: Option<Version>,
        task: StoredTask,
    ) -> Result<TaskOutcome, ProviderError> {
        self.client.put_task(token, expected, task).await
    }

    async fn remove_task(&self, token: LockToken, id: TaskId) -> Result<WriteOutcome, ProviderError> {
        self.client.remove_task(token, id).await
    }

    async fn put_bid(
        &self,
        epoch: Epoch,
        expected: u64,
        bid: Option<Bid>,
    ) -> Result<WriteOutcome, ProviderError> {
        self.client.put_bid(epoch, expected, bid).await
    }

    async fn history(&self, set: &ReplicaSetName, limit: usize) -> Result<Vec<HistoryEntry>, ProviderError> {
        self.client.history(set, limit).await
    }

    async fn status(&self) -> Result<Status, ProviderError> {
        self.client.status().await
    }
}

/// Hosts that all reach everything.
struct Ready;

#[async_trait(?Send)]
impl Company for Ready {
    async fn not_ready(&mut self, _: u64) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn done(&mut self, _: Step, _: Duration) {}
}

fn plan() -> Plan {
    Plan {
        from: "memory one".into(),
        to: "memory two".into(),
        ready_within: Duration::from_secs(5),
        frozen_at_most: Duration::from_secs(5),
        dry_run: false,
    }
}

pub(crate) fn candidate() -> Candidate {
    Candidate {
        coordinator: CoordinatorName::parse("host-a").expect("a name"),
        address: Endpoint(Arc::from("host-a:4402")),
    }
}

pub(crate) fn record(term: u64, version: u64, epoch: Epoch) -> Record {
    let a1 = InstanceName::parse("a1").expect("a name");
    Record {
        replicaset: ReplicaSetName::parse("orders-1").expect("a name"),
        term: Term(term),
        term_generation: epoch.generation,
        stragglers: Default::default(),
        failovers: Vec::new(),
        over_budget: false,
        version: Version(version),
        master: Some(a1.clone()),
        endpoint: None,
        incarnation: None,
        start: Position::Unknown,
        in_sync: [a1].into(),
        ack_quorum: 0,
        data_id: None,
        pinned: None,
        forced: false,
        reason: String::new(),
        decided_by: CoordinatorName::parse("host-a").expect("a name"),
        epoch,
        at_unix_millis: 0,
    }
}

/// A board with one record and one task, whose lock was held.
pub(crate) async fn used() -> (MemoryBoard, LockToken) {
    let board = MemoryBoard::new(identity(), Settings::default());
    let client = board.client(identity());
    let session = client.campaign(&candidate(), None).await.expect("free");
    let token = session.grant().token;
    let change = Change { expected: None, record: record(1, 1, token.epoch), decision: "{}".into() };
    let outcome = client.appoint(token, vec![change]).await.expect("answered");
    assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
    let task = StoredTask { id: TaskId(7), body: "{}".into(), version: Version(0) };
    let outcome = client.put_task(token, None, task).await.expect("answered");
    assert!(matches!(outcome, TaskOutcome::Applied(_)), "{outcome:?}");
    (board, token)
}

async fn run(from: &Ending, to: &Ending) -> Result<Done, MoveError> {
    Mover::new(from, to, plan(), &mut Ready).run().await
}

/// Whether appointments can be made at an end, now or by who takes its lock.
fn serves(board: &MemoryBoard) -> bool {
    board.durable().settings.standstill().is_none() && board.durable().revision.0 > 0
}

#[tokio::test(start_paused = true)]
async fn a_move_that_is_cut_off_after_any_request_is_completed_or_taken_back_by_the_next() {
    let mut committed = 0;
    for requests in 0.. {
        let (one, token) = used().await;
        let two = MemoryBoard::new(identity(), Settings::default());
        let left = Arc::new(AtomicUsize::new(requests));
        let (from, to) = (Ending::new(&one, &left), Ending::new(&two, &left));
        let first = tokio::time::timeout(Duration::from_millis(1), run(&from, &to)).await;
        assert!(!(serves(&one) && serves(&two)), "never two states, after {requests} requests");
        committed += usize::from(one.durable().settings.phase() == Some(MovePhase::Moved));
        left.store(usize::MAX, Ordering::SeqCst);
        let again = run(&from, &to).await.expect("nothing is in the way");
        assert!(serves(&two) && !serves(&one), "after {requests} requests");
        assert_eq!(two.durable().records, one.durable().records);
        assert_eq!(two.durable().history, one.durable().history);
        assert_eq!(two.durable().tasks, one.durable().tasks);
        assert_eq!(two.durable().tasks.len(), 1);
        assert_eq!(two.durable().lock.epoch, token.epoch, "epochs go on in their generation");
        if first.is_ok() {
            assert!(again.nothing_to_do, "{again:?}");
            assert!(committed > 1, "some were cut off between the commit and the end");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_way_back_is_the_same_and_a_state_is_never_replaced() {
    let (one, token) = used().await;
    let two = MemoryBoard::new(identity(), Settings::default());
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let (here, there) = (Ending::new(&one, &left), Ending::new(&two, &left));
    run(&here, &there).await.expect("moved");
    let late =
        Change { expected: Some(Version(1)), record: record(2, 2, token.epoch), decision: "{}".into() };
    let late = one.client(identity()).appoint(token, vec![late]).await;
    assert!(matches!(&late, Err(ProviderError::NotApplied(why)) if why.contains("memory two")), "{late:?}");
    let session = two.client(identity()).campaign(&candidate(), None).await.expect("open");
    let next = session.grant();
    assert!(next.token.epoch > token.epoch && next.predecessor_bound > Span::ZERO, "{next:?}");
    let change =
        Change { expected: Some(Version(1)), record: record(2, 2, next.token.epoch), decision: "{}".into() };
    let outcome = two.client(identity()).appoint(next.token, vec![change]).await.expect("answered");
    assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
    // The end that was left is behind, and must not come over the one that went on.
    assert!(matches!(run(&here, &there).await, Ok(Done { nothing_to_do: true, .. })));
    run(&there, &here).await.expect("moved back");
    assert_eq!(one.durable().records, two.durable().records);
    let (three, _) = used().await;
    let third = Ending::new(&three, &left);
    let refused = run(&here, &third).await;
    assert!(matches!(&refused, Err(MoveError::Refused(why)) if why.contains("was not moved away from")));
    assert!(serves(&one) && one.durable().settings.moving.is_none(), "and nothing is left of the try");
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_answer_was_lost_is_known_by_its_version() {
    let (one, _) = used().await;
    let two = MemoryBoard::new(identity(), Settings::default());
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let (from, to) = (Ending::new(&one, &left), Ending::new(&two, &left));
    let mut company = Ready;
    let mover = Mover::new(&from, &to, plan(), &mut company);
    let announced = mover.mark(MovePhase::Announced, Span::from_secs(1));
    one.set_faults(crate::memory::Faults { drop_answers: true, ..Default::default() });
    let heal = async {
        let pause = Duration::from_millis(200);
        tokio::time::sleep(pause).await; // tidy: waits because answers are lost for so long, on a clock that is stepped
        one.set_faults(crate::memory::Faults::default());
    };
    let (version, ()) = tokio::join!(mover.put(Version(0), Some(announced.clone())), heal);
    assert_eq!(version.expect("settled"), Version(1));
    assert_eq!(one.durable().settings.moving, Some(announced));
}
