//! Names, records and members that the cases use, and an arbiter that holds the lock.

use crate::world::{Kind, LONG, World};
use baton_core::ids::{
    CoordinatorName, Endpoint, Epoch, InstanceName, ReplicaSetName, Revision, Term, Version,
};
use baton_core::position::Position;
use baton_core::record::{Change, Member, Record};
use baton_provider::{
    AppointOutcome, Candidate, Limits, LockSession, LockToken, ProviderError, RefusalReason, Renewal,
    Snapshot, StateProvider,
};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// History lines that every provider keeps for a set.
pub const HISTORY: usize = 16;

/// Waits for what must come; far longer than it can take on a busy machine.
///
/// # Panics
/// When it does not come.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    assert_eq!(HISTORY, Limits::default().history_per_set, "what the documentation says");
    tokio::time::timeout(Duration::from_secs(40), future).await.expect("it came in time")
}

/// A replica set.
///
/// # Panics
/// When it is no name.
pub fn set(text: &str) -> ReplicaSetName {
    ReplicaSetName::parse(text).expect("a name")
}

/// An instance.
///
/// # Panics
/// When it is no name.
pub fn name(text: &str) -> InstanceName {
    InstanceName::parse(text).expect("a name")
}

/// A candidate.
///
/// # Panics
/// When it is no name.
pub fn candidate(text: &str) -> Candidate {
    Candidate {
        coordinator: CoordinatorName::parse(text).expect("a name"),
        address: Endpoint(Arc::from(format!("{text}:4402"))),
    }
}

/// A record of `of` with `master` in sync with a1, a2 and a3.
///
/// # Panics
/// When a name is none.
pub fn record(of: &str, term: u64, version: u64, master: &str, epoch: Epoch) -> Record {
    Record {
        replicaset: set(of),
        term: Term(term),
        version: Version(version),
        master: Some(name(master)),
        endpoint: Some(Endpoint(Arc::from("10.0.0.1:6379"))),
        incarnation: None,
        start: Position::at(term, 0),
        in_sync: ["a1", "a2", "a3"].map(name).into(),
        stragglers: Default::default(),
        failovers: Vec::new(),
        over_budget: false,
        ack_quorum: 0,
        data_id: None,
        pinned: None,
        forced: false,
        reason: "a test".into(),
        decided_by: CoordinatorName::parse("host-a").expect("a name"),
        epoch,
        term_generation: 1,
        at_unix_millis: 1,
    }
}

/// The change that makes `record` from the version before it.
pub fn change(record: Record) -> Change {
    let expected = (record.version.0 > 1).then(|| Version(record.version.0 - 1));
    let decision = format!("{{\"term\":{}}}", record.term);
    Change { expected, record, decision }
}

/// A member of `of`.
///
/// # Panics
/// When a name is none.
pub fn member(of: &str, instance: &str) -> Member {
    Member {
        instance: name(instance),
        replicaset: set(of),
        coordinator: CoordinatorName::parse("host-a").expect("a name"),
        endpoint: Endpoint(Arc::from("10.0.0.1:6379")),
        zone: None,
        priority: 100,
        electable: true,
        bootstrap_members: 3,
        version: Version(0),
    }
}

/// A world with the holder of its lock.
pub struct Arbiter {
    /// The world.
    pub world: World,
    /// A client.
    pub client: Arc<dyn StateProvider>,
    /// The holder's token.
    pub token: LockToken,
    /// Keeps the lock.
    pub session: Box<dyn LockSession>,
}

impl Arbiter {
    /// In a world that others may use too.
    pub async fn new(kind: Kind) -> Self {
        Self::of(World::new(kind, LONG).await).await
    }

    /// In a world of its own, for faults.
    pub async fn alone(kind: Kind) -> Self {
        Self::of(World::alone(kind, LONG).await).await
    }

    /// Of this world.
    ///
    /// # Panics
    /// When the lock is not to be had.
    pub async fn of(world: World) -> Self {
        let client = world.client();
        let session = within(client.campaign(&candidate("host-a"), None)).await.expect("the lock");
        Self { world, client, token: session.grant().token, session }
    }

    /// The answer.
    ///
    /// # Panics
    /// Without one.
    pub async fn appoint(&self, records: Vec<Record>) -> AppointOutcome {
        let changes = records.into_iter().map(change).collect();
        within(self.client.appoint(self.token, changes)).await.expect("an answer")
    }

    /// A record in this epoch.
    pub fn record(&self, of: &str, term: u64, version: u64, master: &str) -> Record {
        record(of, term, version, master, self.token.epoch)
    }

    /// Appoints.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn applied(&self, records: Vec<Record>) {
        let outcome = self.appoint(records).await;
        assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
    }

    /// Appoints in vain.
    ///
    /// # Panics
    /// When it is not refused for `reason`.
    pub async fn refused(&self, records: Vec<Record>, reason: RefusalReason) {
        match self.appoint(records).await {
            AppointOutcome::Refused(refusal) => assert_eq!(refusal.reason, reason, "{refusal}"),
            other => panic!("{reason:?} expected, not {other:?}"),
        }
    }

    /// What is recorded.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn current(&self, of: &str) -> Option<Record> {
        let snapshot = within(self.client.read()).await.expect("a snapshot");
        snapshot.records.get(&set(of)).cloned()
    }
}

/// What is kept, without the revision: an etcd counts other people's changes too.
pub fn contents(snapshot: Snapshot) -> Snapshot {
    Snapshot { revision: Revision(0), ..snapshot }
}

/// Choices that a seed decides; the seed is printed where a test fails.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// By `CONTRACT_SEED`, or at random.
    pub fn new() -> Self {
        let seed = std::env::var("CONTRACT_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(rand::random::<u64>);
        eprintln!("CONTRACT_SEED={seed}");
        Self(seed)
    }

    /// By this seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64: small, and the same everywhere.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}

/// Renews until there is an answer; without one an arbiter counts a renewal as not granted, and asks again.
///
/// # Panics
/// When the provider is none of ours, or never answers.
pub async fn renewed(session: &mut dyn LockSession) -> Renewal {
    let asked = async {
        loop {
            match tokio::time::timeout(Duration::from_secs(5), session.renew()).await {
                Ok(Ok(renewal)) => return renewal,
                Ok(Err(ProviderError::Fatal(error))) => panic!("{error}"),
                Ok(Err(_)) | Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    within(asked).await
}
