//! Why something was decided, as a value: what was seen, the rule that fired, the ranking with every reason, how long
//! each phase took. The same value feeds the log, the metric, `explain` and the history (design, *Operators*).
//!
//! It must not know how any of that is written down.

use crate::arbiter::select::Question;
use crate::ids::{Epoch, InstanceName, ReplicaSetName, Term};
use crate::message::{Health, Stand};
use crate::position::Position;
use crate::time::Span;
use std::fmt;

/// What began a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The set had no master yet.
    FirstAppointment,
    /// The master's engine ended.
    Crashed,
    /// The master was not heard until its outer bound.
    Silent,
    /// The master's engine did not finish a tiny write.
    Stalled,
    /// The master gave its right up although its engine runs (it heard no arbiter in time, or was restarted).
    Lapsed,
    /// A person asked for it.
    Switchover,
    /// A person asked for it, whatever may be lost.
    Forced,
    /// The preferred member is well again.
    Autoreturn,
    /// Its zone is drained, or it is in maintenance.
    Drain,
    /// A drill ended its engine.
    DrillCrashed,
    /// A drill moved it.
    DrillSwitchover,
    /// The provider went back to an older state, or moved.
    Restored,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::FirstAppointment,
        Self::Crashed,
        Self::Silent,
        Self::Stalled,
        Self::Lapsed,
        Self::Switchover,
        Self::Forced,
        Self::Autoreturn,
        Self::Drain,
        Self::DrillCrashed,
        Self::DrillSwitchover,
        Self::Restored,
    ];

    /// The word that people and programs see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstAppointment => "first-appointment",
            Self::Crashed => "crashed",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::Lapsed => "lapsed",
            Self::Switchover => "switchover",
            Self::Forced => "forced",
            Self::Autoreturn => "autoreturn",
            Self::Drain => "drain",
            Self::DrillCrashed => "drill-crashed",
            Self::DrillSwitchover => "drill-switchover",
            Self::Restored => "restored",
        }
    }
}

/// Why the old master may be replaced (design, *Dead evidence*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Evidence 1: it leads nothing at its term or below and never will.
    Relinquished {
        /// Whether its engine ended, rather than was fenced.
        ended: bool,
        /// What it finally held, if that is known.
        position: Position,
    },
    /// Evidence 2: every right that it could hold has run out.
    OuterBound {
        /// How long ago it was last heard; `None` if never in this epoch.
        silent_for: Option<Span>,
    },
    /// Evidence 3: the fence command confirmed that it is off.
    Fenced,
    /// After a restore of the provider: every member is heard, and none leads.
    AllHeard,
    /// After a restore of the provider: none that is heard leads, and a person vouches that the others are off.
    Vouched,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relinquished { ended: true, .. } => f.write_str("it relinquished: its engine ended"),
            Self::Relinquished { position, .. } => write!(f, "it relinquished: fenced at {position}"),
            Self::OuterBound { silent_for: Some(span) } => {
                write!(f, "its outer bound has passed, silent for {span}")
            }
            Self::OuterBound { silent_for: None } => {
                f.write_str("its outer bound has passed, never heard in this epoch")
            }
            Self::Fenced => f.write_str("the fence command confirmed that it is off"),
            Self::AllHeard => {
                f.write_str("the provider was restored, and every member is heard and leads nothing")
            }
            Self::Vouched => f.write_str(
                "the provider was restored, no member that is heard leads, and a person vouches that the others are off",
            ),
        }
    }
}

/// What a member was seen as when a decision was made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    /// Who.
    pub instance: InstanceName,
    /// How long ago; `None` if never.
    pub seen_ago: Option<Span>,
    /// Its engine.
    pub health: Option<Health>,
    /// What it holds, as the decision counted it.
    pub position: Position,
    /// Whether it was in the in-sync set.
    pub in_sync: bool,
    /// How its guard stood; `None` if it was never heard.
    pub stand: Option<Stand>,
}

/// What the ranking says of a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Appointed.
    Chosen,
    /// Might have been.
    Eligible,
    /// Not, and why.
    Refused(Refusal),
}

/// Why a member is not appointed. The text is what operators see.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Configured so.
    NotElectable,
    /// Not in the recorded in-sync set.
    NotInSync,
    /// No stream to its guard.
    NotAttached,
    /// Attached, but its guard has not read the provider yet.
    Starting,
    /// Has not reported its final position since replication was to stop.
    NotReported,
    /// Its engine does not answer.
    EngineDown,
    /// Its engine does not finish a write.
    EngineStalled,
    /// Nothing is in it.
    Empty,
    /// Its data has another identity.
    Foreign,
    /// Its data was never marked.
    Unmarked,
    /// It does not hold the position at which the term started.
    BehindStart {
        /// What it holds.
        own: Position,
        /// What it should.
        start: Position,
    },
    /// It lags more than `max_lag`.
    Lag {
        /// By how many bytes.
        bytes: u64,
        /// What is allowed.
        max: u64,
    },
    /// Promises of its earlier run are waited out.
    Holding(Span),
    /// It has not reached the final position of the old master (switchover).
    NotReached {
        /// That position.
        reach: Position,
    },
    /// It is the master that is to be replaced (switchover).
    OldMaster,
    /// Its engine was started anew: what it holds cannot be compared with the others.
    RestartedEngine,
    /// A person works on it.
    Maintenance(Span),
    /// Its zone is drained.
    Drained,
    /// Outside the old master's zone (`zone_policy = same`).
    OtherZone,
    /// The set decides nothing now, but may have its old master again: why.
    Held(Hold),
    /// Outside the in-sync set, and nobody keeps the old master from going on by promises.
    MayGoOn,
}

/// Why a set makes no other member master by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hold {
    /// A person paused it.
    Paused,
    /// It had too many automatic failovers.
    Suppressed,
    /// The cluster had too many within a minute.
    Budget,
}

impl Hold {
    /// For people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Paused => "the set is paused",
            Self::Suppressed => "the set had too many automatic failovers (suppress_threshold)",
            Self::Budget => "the cluster had too many failovers within a minute (max_failovers_per_minute)",
        }
    }

    /// The word for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Suppressed => "suppressed",
            Self::Budget => "budget",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElectable => f.write_str("not electable"),
            Self::NotInSync => f.write_str("not in the in-sync set"),
            Self::NotAttached => f.write_str("its coordinator is not attached"),
            Self::Starting => f.write_str("its guard is starting"),
            Self::NotReported => f.write_str("has not reported its final position"),
            Self::EngineDown => f.write_str("its engine is down"),
            Self::EngineStalled => f.write_str("its engine is stalled"),
            Self::Empty => f.write_str("it is empty"),
            Self::Foreign => f.write_str("its data has another identity"),
            Self::Unmarked => f.write_str("its data was never marked"),
            Self::BehindStart { own, start } => {
                write!(f, "at {own} it does not hold {start}, where the term started")
            }
            Self::Lag { bytes, max } => write!(f, "lags {bytes} bytes, more than max_lag {max}"),
            Self::Holding(span) => write!(f, "may lead nothing for {span}: a promise, or a promotion that failed, is waited out"),
            Self::NotReached { reach } => write!(f, "has not reached the master's final position {reach}"),
            Self::OldMaster => f.write_str("it is the master to be replaced"),
            Self::Maintenance(left) => write!(f, "in maintenance for {left} more"),
            Self::Drained => f.write_str("its zone is drained"),
            Self::OtherZone => f.write_str("outside the old master's zone (zone_policy = same)"),
            Self::Held(hold) => f.write_str(hold.text()),
            Self::MayGoOn => f.write_str(
                "outside the in-sync set, whose promises may keep the old master going; needs its word, a fence command, \
                 or an in-sync member that is severed",
            ),
            Self::RestartedEngine => {
                f.write_str("its engine was started anew, and members with an unbroken run are there")
            }
        }
    }
}

/// One line of the ranking, best first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ranked {
    /// Who.
    pub instance: InstanceName,
    /// What of it.
    pub verdict: Verdict,
}

/// How long one part of a decision took.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Phase {
    /// Which: `evidence`, `sever`, `record`, `promote`.
    pub name: &'static str,
    /// How long.
    pub took: Span,
    /// How long it may take.
    pub budget: Span,
}

/// A decision record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// For which set.
    pub replicaset: ReplicaSetName,
    /// In which epoch.
    pub epoch: Epoch,
    /// What began it.
    pub class: Class,
    /// Why the old master may be replaced; `None` for a first appointment.
    pub evidence: Option<Evidence>,
    /// The old master.
    pub old_master: Option<InstanceName>,
    /// The term before.
    pub term_before: Term,
    /// The appointment: who, at which term. `None`: nobody could be appointed.
    pub appointed: Option<(InstanceName, Term)>,
    /// What was seen.
    pub observed: Vec<Observed>,
    /// What the choice rested on: put to the pure function again, it gives the same ranking. Absent for a first appointment.
    pub question: Option<Box<Question>>,
    /// The ranking.
    pub ranking: Vec<Ranked>,
    /// What else holds the decision up, if nobody was appointed (a missing sever quorum).
    pub missing: Option<String>,
    /// What may be lost by it, where a person or the settings accepted that.
    pub accepted: Option<String>,
    /// How long it took; the last phases are known only after the master was confirmed.
    pub phases: Vec<Phase>,
}

impl Decision {
    /// One line for the log.
    #[must_use]
    pub fn sentence(&self) -> String {
        let set = &self.replicaset;
        let old = self.old_master.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
        let why = self.evidence.as_ref().map_or_else(|| self.class.name().to_owned(), ToString::to_string);
        let drill = matches!(self.class, Class::DrillCrashed | Class::DrillSwitchover);
        let why = if drill { format!("a drill: {why}") } else { why };
        match (&self.appointed, &self.missing) {
            (None, missing) if self.old_master.is_none() => {
                let missing = missing.as_deref().unwrap_or("no candidate");
                format!("{set}: waiting for the first appointment: {missing}")
            }
            (Some((master, term)), _) if self.old_master.is_none() => {
                format!("{set}: {master} is the first master, at term {term}")
            }
            (Some((master, term)), _) => {
                let accepted = self.accepted.as_ref().map(|what| format!("; accepted: {what}"));
                let accepted = accepted.unwrap_or_default();
                format!("{set}: {master} is appointed at term {term} in place of {old} ({why}){accepted}")
            }
            (None, Some(missing)) => format!("{set}: {old} has no successor ({why}): {missing}"),
            (None, None) => format!("{set}: {old} has no successor ({why}): no candidate"),
        }
    }
}
