//! What the shells publish for everything that only looks: the directory, the HTTP endpoints, the operators' status.
//! Plain values in `watch` channels. A reader sees the last value, never waits for a machine, and can change nothing.
//!
//! Architecture invariant: no machine of the core is reachable from here, so that no request, however slow or hostile,
//! can delay a step.

use baton_client::MasterState;
use baton_client::status::{ClusterStatus, IssueStatus};
use baton_core::ids::{Endpoint, Epoch, InstanceName, ReplicaSetName, Revision, Term, Version};
use baton_core::message::Health;
use baton_core::position::Position;
use baton_core::record::Settings;
use baton_core::time::{Span, Time};
use baton_proto::v1::OperatorTask;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// Who is master of what, as the active arbiter of `epoch` told it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MastersView {
    /// The teller's epoch; the default means that nothing was heard yet.
    pub epoch: Epoch,
    /// Counts the changes within the epoch.
    pub revision: Revision,
    /// Every replica set that has a record.
    pub masters: BTreeMap<ReplicaSetName, MasterView>,
}

/// The master of one replica set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterView {
    /// The recorded term.
    pub term: Term,
    /// The version of the record.
    pub version: Version,
    /// The appointed instance; `None` in a tombstone.
    pub master: Option<InstanceName>,
    /// Where clients reach it.
    pub endpoint: Option<Endpoint>,
    /// Whether it is known to accept writes.
    pub state: MasterState,
}

impl MastersView {
    /// Whether any arbiter has told anything yet.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.epoch > Epoch::default()
    }
}

/// What operators asked for, by number, as the active arbiter keeps it; empty on every other coordinator.
pub type TasksView = BTreeMap<u64, Arc<OperatorTask>>;

/// The state of the cluster, for people. Ages in it are as of `published`.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// Everything that is shown.
    pub status: ClusterStatus,
    /// What a person should look at, the most urgent first.
    pub issues: Vec<IssueStatus>,
    /// The settings that hold, for `timing`.
    pub settings: Settings,
    /// When it was published.
    pub published: Instant,
}

impl ClusterView {
    /// A view that was made just now.
    #[must_use]
    pub fn new(status: ClusterStatus, settings: Settings) -> Self {
        Self { status, issues: Vec::new(), settings, published: Instant::now() }
    }

    /// The same with what is to be looked at.
    #[must_use]
    pub fn with_issues(mut self, mut issues: Vec<IssueStatus>) -> Self {
        let rank = |issue: &IssueStatus| match issue.severity.as_str() {
            "critical" => 0,
            "warning" => 1,
            _ => 2,
        };
        issues.sort_by_key(rank);
        self.issues = issues;
        self
    }

    /// The status with its ages brought up to `now`: a view that nobody renewed shows its age instead of hiding it.
    #[must_use]
    pub fn status_at(&self, now: Instant) -> ClusterStatus {
        let passed = now.saturating_duration_since(self.published);
        let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let mut status = self.status.clone();
        if let Some(valid) = &mut status.arbiter.lock_valid_ms {
            *valid = valid.saturating_sub(passed);
        }
        for member in status.replicasets.iter_mut().flat_map(|set| &mut set.members) {
            if let Some(age) = &mut member.beat_age_ms {
                *age = age.saturating_add(passed);
            }
        }
        status
    }
}

/// How a local instance stands, in the word that the health endpoints show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalRole {
    /// The guard has not read the provider yet.
    #[default]
    Starting,
    /// It leads nothing and follows a master.
    Replica,
    /// It leads nothing and follows nobody.
    Fenced,
    /// Directed to lead, not yet writable.
    Candidate,
    /// It holds the right.
    Master,
}

impl LocalRole {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Starting, Self::Replica, Self::Fenced, Self::Candidate, Self::Master];

    /// The word in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Replica => "replica",
            Self::Fenced => "fenced",
            Self::Candidate => "candidate",
            Self::Master => "master",
        }
    }
}

/// One local instance, as its guard's shell publishes it after every step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalView {
    /// Its set.
    pub replicaset: ReplicaSetName,
    /// How it stands.
    pub role: LocalRole,
    /// The term at which it leads, or the highest that its guard has seen.
    pub term: Term,
    /// Whether the engine has confirmed that it accepts writes.
    pub writable: bool,
    /// No arbiter extends its right; the promises of the other members do.
    pub on_promises: bool,
    /// Until when on this node's clock it may let its engine accept writes; `None` without a right.
    pub right_until: Option<Time>,
    /// The engine as last probed.
    pub health: Health,
    /// How far its data reaches.
    pub position: Position,
    /// Bytes behind the master, where both positions are known.
    pub lag_bytes: Option<u64>,
}

impl LocalView {
    /// A guard that has said nothing yet.
    #[must_use]
    pub fn starting(replicaset: ReplicaSetName) -> Self {
        Self {
            replicaset,
            role: LocalRole::Starting,
            term: Term(0),
            writable: false,
            on_promises: false,
            right_until: None,
            health: Health::Down,
            position: Position::Unknown,
            lag_bytes: None,
        }
    }

    /// What is left of the right at `now`.
    #[must_use]
    pub fn lease_remaining(&self, now: Time) -> Span {
        self.right_until.map_or(Span::ZERO, |until| until.since(now))
    }

    /// Whether writes may go there at `now`: the engine confirmed, and the right is alive. Looking at the role alone
    /// would send writes to a master whose guard is stopped and whose right has run out (I2).
    #[must_use]
    pub fn is_primary(&self, now: Time) -> bool {
        self.role == LocalRole::Master && self.writable && self.lease_remaining(now) > Span::ZERO
    }
}

/// This node's clock, the one that rights are counted on. Read at each query, never cached.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// The readers' ends.
#[derive(Clone)]
pub struct Views {
    /// Who is master of what.
    pub masters: watch::Receiver<Arc<MastersView>>,
    /// The whole cluster; complete only on the active arbiter.
    pub cluster: watch::Receiver<Arc<ClusterView>>,
    /// What operators asked for; only on the active arbiter.
    pub tasks: watch::Receiver<Arc<TasksView>>,
    /// The local instances.
    pub locals: BTreeMap<InstanceName, watch::Receiver<LocalView>>,
    /// The clock of [`LocalView::right_until`].
    pub clock: Clock,
}

/// The shells' ends.
pub struct ViewPublishers {
    /// Written by the arbiter's shell where it is active, by the link to the active arbiter otherwise.
    pub masters: watch::Sender<Arc<MastersView>>,
    /// Written by the arbiter's shell.
    pub cluster: watch::Sender<Arc<ClusterView>>,
    /// Written by the arbiter's shell.
    pub tasks: watch::Sender<Arc<TasksView>>,
    /// Each written by the shell of its guard.
    pub locals: BTreeMap<InstanceName, watch::Sender<LocalView>>,
}

/// Both ends, with nothing known yet.
#[must_use]
pub fn channels(
    cluster: ClusterView,
    instances: impl IntoIterator<Item = (InstanceName, ReplicaSetName)>,
    clock: Clock,
) -> (ViewPublishers, Views) {
    let (masters_in, masters) = watch::channel(Arc::new(MastersView::default()));
    let (cluster_in, cluster) = watch::channel(Arc::new(cluster));
    let (tasks_in, tasks) = watch::channel(Arc::default());
    let mut locals_in = BTreeMap::new();
    let mut locals = BTreeMap::new();
    for (instance, replicaset) in instances {
        let (sender, receiver) = watch::channel(LocalView::starting(replicaset));
        locals_in.insert(instance.clone(), sender);
        locals.insert(instance, receiver);
    }
    let publishers =
        ViewPublishers { masters: masters_in, cluster: cluster_in, tasks: tasks_in, locals: locals_in };
    (publishers, Views { masters, cluster, tasks, locals, clock })
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_client::status::{ArbiterStatus, MemberStatus, ReplicaSetStatus};
    use std::time::Duration;

    fn set(name: &str) -> ReplicaSetName {
        ReplicaSetName::parse(name).expect("a good name")
    }

    #[test]
    fn a_right_that_ran_out_is_no_primary_though_nobody_said_so() {
        let view = LocalView {
            role: LocalRole::Master,
            term: Term(7),
            writable: true,
            right_until: Some(Time(1_000)),
            health: Health::Up,
            ..LocalView::starting(set("orders-1"))
        };
        assert!(view.is_primary(Time(999)));
        assert!(!view.is_primary(Time(1_000)), "the deadline itself is outside the right");
        assert!(!LocalView { writable: false, ..view.clone() }.is_primary(Time(1)));
        assert!(!LocalView { right_until: None, ..view }.is_primary(Time(1)));
    }

    #[test]
    fn ages_grow_and_the_lock_shrinks_while_nobody_publishes() {
        let member = MemberStatus { beat_age_ms: Some(5), ..MemberStatus::default() };
        let never = MemberStatus::default();
        let status = ClusterStatus {
            arbiter: ArbiterStatus { lock_valid_ms: Some(100), ..ArbiterStatus::default() },
            replicasets: vec![ReplicaSetStatus {
                members: vec![member, never],
                ..ReplicaSetStatus::default()
            }],
            ..ClusterStatus::default()
        };
        let view = ClusterView::new(status, Settings::default());
        let later = view.status_at(view.published + Duration::from_millis(130));
        assert_eq!(later.arbiter.lock_valid_ms, Some(0));
        let ages: Vec<_> = later.replicasets[0].members.iter().map(|member| member.beat_age_ms).collect();
        assert_eq!(ages, [Some(135), None]);
    }
}
