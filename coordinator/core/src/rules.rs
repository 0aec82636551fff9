//! One switch for every safety rule of guard and arbiter. A build without the feature `break` has no switch at all; a
//! test build can break one rule, to see that a checker catches it (a check that cannot fail is a defect).

/// A safety rule that a test can break. Each names the sentence of `docs/protocol.md` that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// A guard leads only at a term above the one that it read when it started.
    LeadAboveReadTerm,
    /// A lease counts from the send of the beat, not from the receipt of the grant.
    LeaseFromSend,
    /// A right that has lapsed is never revived.
    NoRevival,
    /// The guard fences before its right ends.
    FenceBeforeDeadline,
    /// The deadman is armed before the engine is made writable.
    ArmBeforePromote,
    /// After a promotion without an answer only the engine's end counts as fenced.
    SettlePromotion,
    /// The term is on disk before the engine is made writable.
    PersistTermBeforePromote,
    /// A severed member stays severed until a higher version.
    SeverBinds,
    /// Messages of an epoch below the highest seen are ignored.
    IgnoreLowerEpoch,
    /// A master that has not lapsed is replaced only after its outer bound.
    WaitForOuterBound,
    /// No grant outlives the granter's lock.
    GrantWithinLock,
    /// No grant at a term after evidence against its master was accepted.
    NoGrantAfterEvidence,
    /// Before the predecessor bound a new arbiter appoints nothing.
    WaitForPredecessor,
    /// Nobody is directed to lead at a term whose record is not durable.
    RecordBeforeDirect,
    /// Evidence 1 counts only from the incarnation that held the term, or its successor.
    EvidenceFromHolder,
    /// Only members of the in-sync set are appointed.
    ChooseInSync,
    /// Where commits wait for replicas, enough of them must have severed first.
    SeverQuorum,
    /// Whoever may still replicate from a master that is appointed anew counts among its replicas.
    CountStragglers,
    /// A write whose outcome is unknown is settled by a conditional write.
    SettleUnknown,
    /// An empty or foreign instance is never chosen.
    CheckIdentity,
    /// An engine found writable without the right is fenced.
    FenceIntruder,
    /// A set whose record is older than the epoch's generation is held.
    HoldRestored,
    /// A promise is on disk before it is answered.
    PersistPromise,
    /// Whoever has promised promotes nothing before that has lapsed.
    HoldPromise,
    /// A master without an arbiter needs the promise of every other member of its in-sync set.
    NeedEveryPromise,
    /// A newcomer that the master has acknowledged counts among them.
    HonourNewcomer,
    /// Whoever takes the lock over knows that a pinned master has no shorter bound than its pin.
    BoundPin,
    /// A pin is recorded as ended only after the master has given it up.
    AwaitUnpin,
    /// A higher `ack_quorum` is recorded only on the master's word that its commits wait for so many, and so many hold what was
    /// acknowledged before.
    QuorumMasterFirst,
    /// Where no commit waited for replicas yet, whoever may replicate is in the in-sync set or severed before one does.
    CutBeforeQuorum,
    /// Outside the in-sync set a person's word needs a member that keeps the old master from going on by promises.
    ForceNeedsRefusal,
    /// Under the name of a set that was removed nobody begins while its last master may go on unheard.
    AwaitRemovedMaster,
    /// A hand-over is taken once.
    TakeHandOverOnce,
    /// Whoever goes on from a hand-over is bound by the promises in it.
    HandPromiseOver,
}

impl Rule {
    /// All rules, for tests that break each in turn.
    pub const ALL: [Self; 34] = [
        Self::LeadAboveReadTerm,
        Self::LeaseFromSend,
        Self::NoRevival,
        Self::FenceBeforeDeadline,
        Self::ArmBeforePromote,
        Self::SettlePromotion,
        Self::PersistTermBeforePromote,
        Self::SeverBinds,
        Self::IgnoreLowerEpoch,
        Self::WaitForOuterBound,
        Self::GrantWithinLock,
        Self::NoGrantAfterEvidence,
        Self::WaitForPredecessor,
        Self::RecordBeforeDirect,
        Self::EvidenceFromHolder,
        Self::ChooseInSync,
        Self::SeverQuorum,
        Self::CountStragglers,
        Self::SettleUnknown,
        Self::CheckIdentity,
        Self::FenceIntruder,
        Self::HoldRestored,
        Self::PersistPromise,
        Self::HoldPromise,
        Self::NeedEveryPromise,
        Self::HonourNewcomer,
        Self::BoundPin,
        Self::AwaitUnpin,
        Self::QuorumMasterFirst,
        Self::CutBeforeQuorum,
        Self::ForceNeedsRefusal,
        Self::AwaitRemovedMaster,
        Self::TakeHandOverOnce,
        Self::HandPromiseOver,
    ];
}

/// Which rules a machine keeps: all, unless a test build broke one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules {
    #[cfg(feature = "break")]
    broken: Option<Rule>,
}

impl Rules {
    /// Keeps every rule but one. Test builds only.
    #[cfg(feature = "break")]
    #[must_use]
    pub fn without(rule: Rule) -> Self {
        Self { broken: Some(rule) }
    }

    /// Whether a rule is kept.
    #[must_use]
    #[cfg_attr(not(feature = "break"), allow(clippy::unused_self))]
    pub fn keep(self, rule: Rule) -> bool {
        #[cfg(feature = "break")]
        return self.broken != Some(rule);
        #[cfg(not(feature = "break"))]
        {
            let _ = rule;
            true
        }
    }
}
