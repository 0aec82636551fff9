//! What operators may ask of the machine that decides, as values. The gRPC service makes them, the arbiter's shell
//! consumes them and answers each exactly once.

use baton_client::decision::DecisionRecord;
use baton_core::arbiter::{DrillAsked, Forcing, Forecast, Loss};
use baton_core::ids::{InstanceName, ReplicaSetName, TaskId};
use baton_core::record::{HistoryEntry, Pin};
use baton_core::time::Span;
use tokio::sync::{mpsc, oneshot};

/// How many commands may wait for the arbiter's shell; the next caller is told to come back.
pub const COMMANDS_MAX: usize = 64;

/// Where the shell answers. Dropped unanswered, the caller is told that the outcome is not known.
pub type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// One request to the active arbiter.
#[derive(Debug)]
pub enum OperatorCommand {
    /// Change the master by plan or as a drill, now or at a time, or by force. Answered when it is taken in: how it ends is seen in the tasks.
    Switchover {
        /// The set.
        replicaset: ReplicaSetName,
        /// To whom; `None`: the arbiter chooses.
        to: Option<InstanceName>,
        /// How long the fenced master waits for the target to hold its final position.
        timeout: Span,
        /// Who asks, as they say.
        asked_by: Option<String>,
        /// When to begin, in milliseconds since 1970; `None`: at once.
        start_at: Option<u64>,
        /// By plan, by force, or as a drill.
        how: How,
        /// Where to answer: with the number of the task.
        reply: Reply<TaskId>,
    },
    /// End a task that is planned, or want the old master back. Answered when that is accepted, and kept.
    AbortTask {
        /// Which.
        task: TaskId,
        /// Where to answer.
        reply: Reply<()>,
    },
    /// Pause sets. Answered when the machine has heard of it.
    Pause {
        /// Which.
        replicasets: Vec<ReplicaSetName>,
        /// For how long.
        pin: Pin,
        /// Where to answer.
        reply: Reply<()>,
    },
    /// End what holds sets.
    Resume {
        /// Which; `None`: all, and the cluster's budget.
        replicasets: Option<Vec<ReplicaSetName>>,
        /// Where to answer.
        reply: Reply<()>,
    },
    /// What would become of each set.
    WhatIf {
        /// If what.
        imagined: Imagined,
        /// Where to answer.
        reply: Reply<Vec<Forecast>>,
    },
    /// Take a member out of the list.
    RemoveMember {
        /// The set.
        replicaset: ReplicaSetName,
        /// Whom.
        instance: InstanceName,
        /// Where to answer.
        reply: Reply<()>,
    },
    /// Remove a set for good.
    RemoveSet {
        /// Which.
        replicaset: ReplicaSetName,
        /// Only say what stands against it.
        dry_run: bool,
        /// Where to answer.
        reply: Reply<()>,
    },
    /// Read the history of a set from the provider, newest first.
    History {
        /// The set.
        replicaset: ReplicaSetName,
        /// At most so many entries, 1 to [`HISTORY_MAX`].
        limit: u32,
        /// Where to answer.
        reply: Reply<Vec<HistoryEntry>>,
    },
}

/// How a master is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By plan: nothing may be lost.
    Planned,
    /// Whatever may be lost.
    Forced(Forcing),
    /// By a fault that is brought about on purpose.
    Drill(DrillAsked),
}

/// What a person imagines to happen now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imagined {
    /// Something is lost.
    Loss(Loss),
    /// A switchover is asked for.
    Switchover {
        /// Of this set.
        replicaset: ReplicaSetName,
        /// To whom; `None`: the arbiter chooses.
        to: Option<InstanceName>,
    },
    /// A drill is asked for.
    Drill {
        /// Of this set.
        replicaset: ReplicaSetName,
        /// What it is about.
        asked: DrillAsked,
    },
    /// A failover is forced.
    Failover {
        /// Of this set.
        replicaset: ReplicaSetName,
        /// To whom; `None`: the arbiter chooses.
        to: Option<InstanceName>,
    },
}

/// Most entries of one answer.
pub const HISTORY_MAX: u32 = 1_000;

/// Why the machine did not do it. Nothing was changed, unless `message` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// Which kind, for programs and for the gRPC code.
    pub kind: RefusedKind,
    /// What is refused and why, one sentence.
    pub message: String,
    /// What the person can do about it; may be empty.
    pub what_to_do: String,
    /// The facts that it rests on, by name.
    pub facts: Vec<(&'static str, String)>,
    /// The decision record of the refusal, where one was made.
    pub decision: Option<Box<DecisionRecord>>,
}

/// The kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedKind {
    /// This coordinator is not (or no longer) the active arbiter.
    NotActiveArbiter,
    /// There is no such replica set or instance.
    NotFound,
    /// Another decision about the set is under way.
    Busy,
    /// The state of the set does not allow it (no candidate, not electable, paused, …).
    NotPossible,
    /// A member that is the recorded master, or in the in-sync set, cannot be removed.
    StillCounts,
    /// Settings that are wrong, or not safe together.
    BadSettings,
    /// The settings are not those of the version that was named.
    Overtaken,
    /// A drill took longer than the worst case of the settings.
    OverBudget,
    /// The target did not reach the master's final position in time; the old master leads again.
    TimedOut,
    /// The provider did not answer; nothing is known to have been changed.
    ProviderUnavailable,
    /// The arbiter ended before it answered: the change may have happened.
    Unknown,
}

impl RefusedKind {
    /// The stable word for programs.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotActiveArbiter => baton_client::refusal::NOT_ACTIVE_ARBITER,
            Self::NotFound => "not_found",
            Self::Busy => "busy",
            Self::NotPossible => "not_possible",
            Self::StillCounts => "still_counts",
            Self::BadSettings => "bad_settings",
            Self::Overtaken => "settings_overtaken",
            Self::OverBudget => "over_budget",
            Self::TimedOut => "timed_out",
            Self::ProviderUnavailable => "provider_unavailable",
            Self::Unknown => "outcome_unknown",
        }
    }

    /// The gRPC code.
    #[must_use]
    pub fn code(self) -> tonic::Code {
        match self {
            Self::NotActiveArbiter | Self::NotPossible | Self::StillCounts => tonic::Code::FailedPrecondition,
            Self::BadSettings => tonic::Code::InvalidArgument,
            Self::NotFound => tonic::Code::NotFound,
            Self::Busy | Self::Overtaken => tonic::Code::Aborted,
            Self::TimedOut | Self::OverBudget => tonic::Code::DeadlineExceeded,
            Self::ProviderUnavailable => tonic::Code::Unavailable,
            Self::Unknown => tonic::Code::Unknown,
        }
    }
}

impl Refused {
    /// A refusal without facts.
    #[must_use]
    pub fn new(kind: RefusedKind, message: impl Into<String>, what_to_do: impl Into<String>) -> Self {
        let (message, what_to_do) = (message.into(), what_to_do.into());
        Self { kind, message, what_to_do, facts: Vec::new(), decision: None }
    }

    /// The same with the decision record that explains it.
    #[must_use]
    pub fn with_decision(self, decision: DecisionRecord) -> Self {
        Self { decision: Some(Box::new(decision)), ..self }
    }

    /// The same with one more fact.
    #[must_use]
    pub fn with_fact(mut self, name: &'static str, value: impl ToString) -> Self {
        self.facts.push((name, value.to_string()));
        self
    }
}

/// The service's end and the shell's end.
#[must_use]
pub fn channel() -> (mpsc::Sender<OperatorCommand>, mpsc::Receiver<OperatorCommand>) {
    mpsc::channel(COMMANDS_MAX)
}
