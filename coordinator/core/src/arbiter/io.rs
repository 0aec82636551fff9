//! The arbiter's door: what can come in, what goes out.

use super::drill::Outage;
use super::rails::DrillAsked;
use crate::contender::Bid;
use crate::decision::Decision;
pub use crate::ids::TaskId;
use crate::ids::{CoordinatorName, Epoch, InstanceName, OpId, ReplicaSetName, Term, Version};
use crate::message::{Beat, Grant, Hello, ToGuard};
use crate::record::{Member, Pin, Record, Settings};
use crate::time::{Span, Time};

/// One stream of one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// One beat that came through another member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayId(pub u64);

/// How a conditional write ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WriteOutcome {
    /// Durable.
    Applied,
    /// Not applied: this is there instead.
    Conflict(Option<Box<Record>>),
    /// Not applied: somebody holds a later epoch.
    StaleEpoch,
    /// Surely not applied, and may be tried again.
    NotApplied,
    /// May have been applied, or may yet be.
    Unknown,
}

/// Everything that can happen to an arbiter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Nothing but time.
    Tick,
    /// The lock is ours.
    LockAcquired {
        /// Its epoch.
        epoch: Epoch,
        /// Until when, counted from before the successful renewal was sent, the margin taken off.
        valid_until: Time,
        /// Until when an earlier holder, or a grant of one, could be believed, counted from the receipt.
        predecessor_bound: Time,
    },
    /// The lock was renewed.
    LockRenewed {
        /// As above.
        valid_until: Time,
    },
    /// The lock is another's.
    LockLost,
    /// A linearizable read of everything, made after the lock was acquired.
    Loaded {
        /// All records.
        records: Vec<Record>,
        /// All members.
        members: Vec<Member>,
        /// The settings.
        settings: Box<Settings>,
        /// What an earlier arbiter had begun for operators, in this generation, and not ended.
        tasks: Vec<Resumed>,
        /// The wall clock, in milliseconds since 1970: by it people's appointments end (a pause, a maintenance), and nothing
        /// that keeps two masters apart.
        unix_millis: u64,
    },
    /// The settings changed in the provider.
    Settings {
        /// All of them.
        settings: Box<Settings>,
        /// As above.
        unix_millis: u64,
    },
    /// A person wants no automatic change of master in a set for a while.
    Pause {
        /// Which.
        replicaset: ReplicaSetName,
        /// For how long.
        pin: Pin,
    },
    /// A person ends a pause, and what holds a set, or all of them, after too many failovers.
    Resume {
        /// Which; `None`: all, and the cluster's budget.
        replicaset: Option<ReplicaSetName>,
    },
    /// A person wants another master now, whatever may be lost.
    Failover {
        /// Named by the caller.
        task: TaskId,
        /// The set.
        replicaset: ReplicaSetName,
        /// Who; `None`: the best that there is.
        target: Option<InstanceName>,
        /// How long evidence and candidate may take.
        timeout: Span,
        /// What the person allows and vouches for.
        forcing: Forcing,
    },
    /// The fence command has confirmed that the holder of this term is off, or has not.
    Fenced {
        /// Of which set.
        replicaset: ReplicaSetName,
        /// The recorded term when it was asked for.
        term: Term,
        /// Whether it is surely off.
        confirmed: bool,
    },
    /// A person wants a set to be no more; answered by [`Action::RemovalAnswered`].
    RemoveSet {
        /// Which.
        replicaset: ReplicaSetName,
    },
    /// A member was removed from the provider's list.
    MemberRemoved {
        /// Its set.
        replicaset: ReplicaSetName,
        /// Who.
        instance: InstanceName,
    },
    /// The provider has surely listed a member, as it was asked to.
    Listed(Box<Member>),
    /// A host opened its stream.
    Attached {
        /// The stream.
        session: SessionId,
        /// Its guards.
        guards: Vec<Hello>,
    },
    /// A stream closed. A reason to look, not evidence.
    Detached {
        /// The stream.
        session: SessionId,
    },
    /// A guard reports.
    Beat {
        /// The stream that it came over.
        session: SessionId,
        /// The report.
        beat: Box<Beat>,
    },
    /// A member passes on the beat of a master that does not reach us itself.
    Relayed {
        /// To be echoed.
        relay: RelayId,
        /// Who passes it on.
        by: InstanceName,
        /// The guard that beats.
        hello: Box<Hello>,
        /// Its report.
        beat: Box<Beat>,
    },
    /// A write ended.
    Written {
        /// Which.
        op: OpId,
        /// How.
        outcome: WriteOutcome,
    },
    /// A person asks for a planned change of master.
    Switchover {
        /// Named by the caller.
        task: TaskId,
        /// The set.
        replicaset: ReplicaSetName,
        /// To whom; `None`: to the best.
        target: Option<InstanceName>,
        /// How long the target may take to reach the old master's final position.
        timeout: Span,
    },
    /// A person wants a fault to be brought about, where every guard rail holds.
    Drill {
        /// Named by the caller.
        task: TaskId,
        /// The set.
        replicaset: ReplicaSetName,
        /// Which fault, and what must hold.
        asked: DrillAsked,
        /// How long the set may take to be whole again.
        timeout: Span,
    },
    /// The call or the bid beside our own lock has changed (design, *Operators*: the arbiter that hears too few).
    Bid(Option<Bid>),
    /// A person wants the old master back; answered by [`Action::AbortAnswered`].
    Abort {
        /// Which task.
        task: TaskId,
    },
}

/// What a person adds to a forced failover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Forcing {
    /// The fence command may be run against a master that is not heard.
    pub fence: bool,
    /// Their word that every instance of the set which is not attached is off, and stays off: it ends the hold after a
    /// restore of the provider.
    pub others_off: bool,
}

/// A planned change of master that an earlier arbiter had begun: what it was asked for, not how far it came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resumed {
    /// Its number.
    pub task: TaskId,
    /// The set.
    pub replicaset: ReplicaSetName,
    /// To whom; `None`: to the best.
    pub target: Option<InstanceName>,
    /// Who was master when it began.
    pub old_master: InstanceName,
    /// At which term.
    pub term_before: Term,
    /// How long the target may take; counted anew.
    pub timeout: Span,
    /// It was aborted.
    pub aborted: bool,
    /// It is a forced failover; inside, what the person allows and vouches for.
    pub forced: Option<Forcing>,
    /// It is a drill.
    pub drill: Option<DrillAsked>,
}

/// How a task stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Under way.
    Running,
    /// Done: who is master, at which term.
    Done {
        /// The new master.
        master: InstanceName,
        /// Its term.
        term: Term,
    },
    /// Aborted: the old master is master, at the old term or a later one.
    Aborted {
        /// The old master.
        master: InstanceName,
        /// The term now.
        term: Term,
    },
    /// Ended without what was asked for; the set has the master that it says.
    Failed {
        /// Why, for people.
        why: String,
        /// Who is master now, if anybody.
        master: Option<InstanceName>,
        /// The term now.
        term: Term,
    },
}

/// Everything that an arbiter can ask of its driver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read the provider, linearizably; answer with [`Input::Loaded`].
    Load,
    /// Write one record under the current epoch, if its version is `expected`; answer with [`Input::Written`].
    Write {
        /// To be echoed.
        op: OpId,
        /// What must be there now.
        expected: Option<Version>,
        /// What shall be there. Its wall-clock time is for the driver to fill in.
        record: Box<Record>,
        /// Why, where the term rises.
        decision: Option<Box<Decision>>,
    },
    /// List a member, under the current epoch; answer with [`Input::Listed`] once that is surely done, and with nothing else. It is
    /// asked for again until then.
    PutMember(Member),
    /// Send to a guard.
    Send {
        /// Over which stream.
        session: SessionId,
        /// To whom.
        instance: InstanceName,
        /// What.
        message: ToGuard,
    },
    /// Answer a relayed beat. Not asked for where the lock is not ours: whoever is not active answers nothing.
    AnswerRelay {
        /// Which.
        relay: RelayId,
        /// Our epoch.
        epoch: Epoch,
        /// Whether full leases can be given, so that our lock is being renewed.
        well: bool,
        /// The lease, where the recorded master beats.
        grant: Option<Grant>,
    },
    /// A decision was made, or could not be: for the log, the metrics, `explain`.
    Decided(Box<Decision>),
    /// What routers should see of this set changed.
    Publish(ReplicaSetName),
    /// A task moved.
    Task {
        /// Which.
        task: TaskId,
        /// Where to.
        state: TaskState,
    },
    /// The fault of a drill is over: another master accepts writes. What is left is to wait until the set is whole.
    Drilled {
        /// Which.
        task: TaskId,
        /// How long it took.
        outage: Outage,
    },
    /// What becomes of the wish to abort a task: it ends as aborted, or why that cannot be.
    AbortAnswered {
        /// Which.
        task: TaskId,
        /// `Err`: too late, or there is no such task; for people.
        answer: Result<(), String>,
    },
    /// Run the fence command against the holder of a term; answer with [`Input::Fenced`].
    Fence {
        /// Of which set.
        replicaset: ReplicaSetName,
        /// The recorded term.
        term: Term,
        /// The recorded master.
        instance: InstanceName,
    },
    /// Put a call beside our lock, in place of what has this number (0: nothing), or take away what stands there (`None`).
    /// It need not be answered: what stands is seen.
    Bid {
        /// What must stand there now.
        expected: u64,
        /// How many guards we hear.
        hears: Option<u32>,
    },
    /// Give the lock up in good order: somebody hears more guards.
    GiveUp {
        /// Who.
        to: CoordinatorName,
        /// How many it hears.
        hears: u32,
        /// How many we hear.
        heard: u32,
        /// Of how many that are listed.
        listed: u32,
    },
    /// What becomes of the wish to remove a set.
    RemovalAnswered {
        /// Which.
        replicaset: ReplicaSetName,
        /// The term of the tombstone, where one was needed; `Err`: what stands against it, a sentence each.
        answer: Result<Option<Term>, Vec<String>>,
    },
    /// A guard whose instance was expelled was told to stand down.
    TurnedAway {
        /// Whose.
        instance: InstanceName,
    },
    /// Two guards use one name; the newcomer was told to stand down.
    NameUsedTwice {
        /// The name.
        instance: InstanceName,
    },
}
