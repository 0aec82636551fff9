//! One switch for every safety rule, whichever machine keeps it. A build without the feature `break` has no switch at all; a
//! test build can break one rule, to see that a checker catches it (a check that cannot fail is a defect).

use crate::time::Span;
use crate::timing::Timing;

/// Who keeps a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Keeper {
    /// The guard of an instance.
    Guard,
    /// The arbiter.
    Arbiter,
    /// All who count time.
    Timing,
    /// The stateboard's state machine.
    Board,
    /// The provider that keeps the state in etcd.
    Etcd,
}

/// Declares the rules: what each demands, the name of its breach on a command line, and who keeps it.
macro_rules! rules {
    ($($(#[$demand:meta])* $rule:ident = $breach:literal of $keeper:ident,)*) => {
        /// A safety rule that a test can break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[$demand])* $rule,)*
        }

        impl Rule {
            /// All rules, for tests that break each in turn.
            pub const ALL: [Self; [$($breach),*].len()] = [$(Self::$rule),*];

            /// The name of its breach, under which it is broken on a command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $breach,)*
                }
            }

            /// Who keeps it.
            #[must_use]
            pub const fn keeper(self) -> Keeper {
                match self {
                    $(Self::$rule => Keeper::$keeper,)*
                }
            }
        }
    };
}

rules! {
    /// A guard leads only at a term above the one that it read when it started.
    LeadAboveReadTerm = "lead-at-old-term" of Guard,
    /// A lease counts from the send of the beat, not from the receipt of the grant.
    LeaseFromSend = "lease-from-receipt" of Guard,
    /// A right that has lapsed is never revived.
    NoRevival = "right-revived" of Guard,
    /// The guard fences before its right ends.
    FenceBeforeDeadline = "fence-after-deadline" of Guard,
    /// The deadman is armed before the engine is made writable.
    ArmBeforePromote = "deadman-armed-late" of Guard,
    /// After a promotion without an answer only the engine's end counts as fenced.
    SettlePromotion = "lost-promotion-forgotten" of Guard,
    /// The term is on disk before the engine is made writable.
    PersistTermBeforePromote = "promoted-before-saved" of Guard,
    /// A severed member stays severed until a higher version.
    SeverBinds = "severance-forgotten" of Guard,
    /// Messages of an epoch below the highest seen are ignored.
    IgnoreLowerEpoch = "stale-epoch-accepted" of Guard,
    /// Directives below the highest version seen are ignored.
    IgnoreLowerVersion = "unversioned-directive" of Guard,
    /// A master that has not lapsed is replaced only after its outer bound.
    WaitForOuterBound = "outer-bound-ignored" of Arbiter,
    /// No grant outlives the granter's lock.
    GrantWithinLock = "grant-outlives-lock" of Arbiter,
    /// No grant at a term after evidence against its master was accepted.
    NoGrantAfterEvidence = "grant-after-evidence" of Arbiter,
    /// Before the predecessor bound a new arbiter appoints nothing.
    WaitForPredecessor = "predecessor-bound-ignored" of Arbiter,
    /// Nobody is directed to lead at a term whose record is not durable.
    RecordBeforeDirect = "direct-before-record" of Arbiter,
    /// Evidence 1 counts only from the incarnation that held the term, or its successor.
    EvidenceFromHolder = "evidence-from-stranger" of Arbiter,
    /// Only members of the in-sync set are appointed.
    ChooseInSync = "chosen-outside-in-sync" of Arbiter,
    /// Whoever lacks the position at which the last term started is not appointed where the recorded set has another member.
    HoldTermStart = "short-of-start-chosen" of Arbiter,
    /// Where commits wait for replicas, enough of them must have severed first.
    SeverQuorum = "short-sever-quorum" of Arbiter,
    /// Whoever may still replicate from a master that is appointed anew counts among its replicas.
    CountStragglers = "straggler-forgotten" of Arbiter,
    /// A straggler that is taken into another master's set stays one until it is heard to follow that master.
    KeepStragglers = "straggler-found-unheard" of Arbiter,
    /// A write whose outcome is unknown is not taken for applied.
    SettleUnknown = "unknown-taken-for-applied" of Arbiter,
    /// A write whose outcome is unknown is not taken for failed: the same change is asked for again.
    RepeatUnknown = "unknown-taken-for-failed" of Arbiter,
    /// The old version, read again, proves nothing of a write that may be on its way: only a later version does.
    BurnVersion = "read-back-believed" of Arbiter,
    /// No sound member is severed before there is evidence against its master.
    EvidenceBeforeSever = "sever-before-evidence" of Arbiter,
    /// A new term takes nobody into the in-sync set.
    NarrowInSync = "set-widened-at-appointment" of Arbiter,
    /// Where commits wait for replicas, a newcomer is recorded before it may replicate.
    RecordBeforeCount = "counted-before-recorded" of Arbiter,
    /// An empty or foreign instance is never chosen.
    CheckIdentity = "foreign-data-taken" of Guard,
    /// An engine found writable without the right is fenced.
    FenceIntruder = "intruder-left" of Guard,
    /// A set whose record is older than the epoch's generation is held.
    HoldRestored = "restored-record-believed" of Arbiter,
    /// A promise is on disk before it is answered.
    PersistPromise = "forgotten-promise" of Guard,
    /// Whoever has promised promotes nothing before that has lapsed.
    HoldPromise = "promise-not-held" of Guard,
    /// A master without an arbiter needs the promise of every other member of its in-sync set.
    NeedEveryPromise = "one-promise-suffices" of Guard,
    /// A newcomer that the master has acknowledged counts among them.
    HonourNewcomer = "newcomer-not-asked" of Guard,
    /// A newcomer is acknowledged once the right was extended with it.
    RegrantBeforeGrow = "grow-on-old-right" of Guard,
    /// A leaver's promise is needed until its leaving is recorded.
    NeedLeaver = "promise-dropped-early" of Guard,
    /// Whoever hears an arbiter passes a master's beat on, and promises nothing.
    RelayInContact = "promise-in-contact" of Guard,
    /// A report of a run that may have lost something is no report.
    ReportWhole = "restarted-replica-counts" of Guard,
    /// That a run of an engine is whole says nothing of another run, nor of another boot's.
    ForgetEndedRun = "earlier-run-believed" of Guard,
    /// While an order to follow is open, a guard that starts finds no run of its engine called whole.
    ForgetBeforeFollow = "followed-before-forgotten" of Guard,
    /// Whoever takes the lock over knows that a pinned master has no shorter bound than its pin.
    BoundPin = "pin-forgotten" of Arbiter,
    /// A pin is recorded as ended only after the master has given it up.
    AwaitUnpin = "unpinned-unheard" of Arbiter,
    /// A pin is recorded as ended only while the lock outlasts the lease that its master gave itself.
    CoverUnpin = "unpinned-beyond-lock" of Arbiter,
    /// A higher `ack_quorum` is recorded only on the master's word that its commits wait for so many, and so many hold what was
    /// acknowledged before.
    QuorumMasterFirst = "quorum-recorded-first" of Arbiter,
    /// Where no commit waited for replicas yet, whoever may replicate is in the in-sync set or severed before one does.
    CutBeforeQuorum = "outsider-left-connected" of Arbiter,
    /// What the master answered to an arbiter before counts for no later one, at the same version of the record either.
    CountOwnAnswers = "answer-to-another-counts" of Arbiter,
    /// Outside the in-sync set a person's word needs a member that keeps the old master from going on by promises.
    ForceNeedsRefusal = "force-outside-in-sync" of Arbiter,
    /// Under the name of a set that was removed nobody begins while its last master may go on unheard.
    AwaitRemovedMaster = "removed-master-forgotten" of Arbiter,
    /// A hand-over is taken once.
    TakeHandOverOnce = "hand-over-taken-twice" of Guard,
    /// Whoever goes on from a hand-over is bound by the promises in it.
    HandPromiseOver = "promise-not-handed-over" of Guard,
    /// Whoever holds a right or a lock takes off what two clocks may differ by.
    KeepMargin = "no-margin" of Timing,
    /// Nothing changes but under the current epoch.
    WriteUnderEpoch = "old-epoch-writes" of Board,
    /// A record changes only from the version that was read.
    WriteFromVersion = "version-not-compared" of Board,
    /// A term never falls and never names another master.
    UseTermOnce = "term-used-again" of Board,
    /// Nothing is told before the change that it rests on is durable.
    SyncBeforeAnswer = "answer-before-sync" of Board,
    /// A new holder of the lock is told until when an earlier one could be believed.
    TellPredecessorBound = "predecessors-not-told" of Board,
    /// A release ends the releaser's own part, and no bound of an earlier holder.
    KeepEarlierBounds = "release-clears-all-bounds" of Board,
    /// A board whose state was moved away serves nobody.
    ServeUnmoved = "served-though-moved" of Board,
    /// A write compares, in its own transaction, what it rests on with what is there.
    CompareInWrite = "etcd-write-without-compare" of Etcd,
}

impl Rule {
    /// The rule whose breach has this name.
    #[must_use]
    pub fn named(breach: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == breach)
    }
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

    /// What is counted by: these times, without what is taken off where a test broke that.
    #[must_use]
    pub fn timed(self, timing: Timing) -> Timing {
        if self.keep(Rule::KeepMargin) {
            return timing;
        }
        Timing { margin: Span::ZERO, lock_margin: Span::ZERO, ..timing }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_breach_has_a_name_of_its_own_by_which_its_rule_is_found() {
        let names: BTreeSet<_> = Rule::ALL.map(Rule::name).into();
        assert_eq!(names.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            let name = rule.name();
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            assert_eq!(Rule::named(name), Some(rule));
        }
        assert_eq!(Rule::named("all-is-well"), None);
    }

    #[test]
    fn whoever_breaks_nothing_keeps_every_rule() {
        assert!(Rule::ALL.into_iter().all(|rule| Rules::default().keep(rule)));
    }
}
