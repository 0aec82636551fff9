//! The arbiter as people and routers see it: values for reading only, made on demand.

use super::Arbiter;
use super::set::{GuardState, Proposal, SetState, ago};
use super::task::TaskPhase;
use crate::decision::{Class, Decision, Hold};
use crate::ids::{CoordinatorName, InstanceName, ReplicaSetName};
use crate::message::{Beat, Hello};
use crate::record::{Member, Record};
use crate::time::{Span, Time};

/// What routers see of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MasterState {
    /// Recorded, not yet confirmed.
    Appointed,
    /// Confirmed to accept writes.
    Active,
    /// There is none that may.
    None,
}

impl MasterState {
    /// The word of the contracts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Appointed => "appointed",
            Self::Active => "active",
            Self::None => "none",
        }
    }
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// As it is listed in the provider.
    pub listed: Member,
    /// Whether it may be appointed, by its configuration and by what people said.
    pub electable: bool,
    /// Its priority, in the same way.
    pub priority: u32,
    /// For how much longer somebody works on it.
    pub maintenance: Option<Span>,
    /// What its guard said when it attached, while it is attached.
    pub hello: Option<Hello>,
    /// What it last said.
    pub beat: Option<Beat>,
    /// How long ago.
    pub beat_age: Option<Span>,
    /// The coordinator that brings its beats; `None` if it is not attached.
    pub attached_by: Option<CoordinatorName>,
    /// In the recorded in-sync set.
    pub in_sync: bool,
    /// Its own stream is broken, and its last beat came through this member.
    pub relayed_by: Option<InstanceName>,
    /// How many bytes it lacked, when it was last heard, of what the master had said by then; `None`: not known.
    pub behind: Option<u64>,
}

/// One set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetView {
    /// Its name.
    pub name: ReplicaSetName,
    /// The durable record.
    pub record: Option<Record>,
    /// What routers see.
    pub state: MasterState,
    /// The provider went back to an older state, and what was appointed since is not known.
    pub held: bool,
    /// Why nobody else is made master by itself.
    pub hold: Option<Hold>,
    /// What is left of a pause; nothing where there is none.
    pub paused_for: Span,
    /// What is being done, in a few words; `steady` if nothing.
    pub phase: String,
    /// Why the recorded `ack_quorum` is not yet what the settings say, where that is more.
    pub quorum_waits: Option<String>,
    /// Its members, listed ones and attached ones.
    pub members: Vec<MemberView>,
    /// The last decision, refusals too.
    pub last_decision: Option<Box<Decision>>,
}

impl Arbiter {
    /// All sets that are known.
    pub fn set_names(&self) -> impl Iterator<Item = &ReplicaSetName> {
        self.sets.iter().filter(|(_, set)| !set.is_gone()).map(|(name, _)| name)
    }

    /// One set.
    #[must_use]
    pub fn set_view(&self, now: Time, name: &ReplicaSetName) -> Option<SetView> {
        Some(self.view_of(now, self.sets.get(name)?))
    }

    pub(super) fn view_of(&self, now: Time, set: &SetState) -> SetView {
        let age = self.timing.beat_replica;
        let members = set.members.values().map(|listed| member_view(now, set, listed, age)).collect();
        SetView {
            name: set.name.clone(),
            record: set.record.as_deref().filter(|record| record.master.is_some()).cloned(),
            state: set.master_state(),
            held: set.held || set.unsettled,
            hold: self.hold_of(now, set),
            paused_for: if set.is_paused(now) { set.pin_end.since(now) } else { Span::ZERO },
            phase: phase(now, set),
            quorum_waits: set
                .record
                .as_ref()
                .filter(|_| set.has_master())
                .and_then(|record| self.waits_to_raise(now, set, record)),
            members,
            last_decision: set.last_decision.clone(),
        }
    }

    /// What routers see of one set: its record and state, without the cost of a whole view.
    #[must_use]
    pub fn master_of(&self, name: &ReplicaSetName) -> Option<(&Record, MasterState)> {
        let set = self.sets.get(name)?;
        Some((set.record.as_ref()?, set.master_state()))
    }
}

fn member_view(now: Time, set: &SetState, listed: &Member, age: Span) -> MemberView {
    let guard: Option<&GuardState> = set.guards.get(&listed.instance);
    let attached = guard.filter(|guard| guard.session.is_some());
    let said = set.said.get(&listed.instance);
    MemberView {
        listed: listed.clone(),
        electable: said.and_then(|said| said.electable).unwrap_or(listed.electable),
        priority: said.and_then(|said| said.priority).unwrap_or(listed.priority),
        maintenance: set.in_maintenance(now, &listed.instance),
        hello: attached.map(|guard| guard.hello.clone()),
        beat: guard.and_then(|guard| guard.beat.clone()),
        beat_age: guard.and_then(|guard| ago(now, guard.heard_at)),
        attached_by: attached.map(|guard| guard.hello.coordinator.clone()),
        in_sync: set.record.as_ref().is_some_and(|record| record.in_sync.contains(&listed.instance)),
        relayed_by: guard.and_then(|guard| guard.relayed_by.clone()),
        behind: guard.and_then(|guard| set.behind(guard, age)),
    }
}

fn drill_text(phase: TaskPhase) -> &'static str {
    match phase {
        TaskPhase::Check => "drill: looking at the guard rails",
        TaskPhase::Recover => "drill: waiting for the old master to be an in-sync replica again",
        TaskPhase::Return => "drill: moving the master back",
        TaskPhase::Strike
        | TaskPhase::Relinquish
        | TaskPhase::CatchUp
        | TaskPhase::Record
        | TaskPhase::Confirm => "drill: the fault is under way",
    }
}

const RELINQUISHING: &str = "switchover: waiting for the master to relinquish";

fn phase(now: Time, set: &SetState) -> String {
    if let Some(pending) = &set.pending {
        let again = if pending.retry_at.is_some() { "again " } else { "" };
        return format!("writing {again}term {} ({})", pending.record.term, pending.record.reason);
    }
    if !set.has_master() && set.evidence.is_none() {
        return "waiting for the first appointment".to_owned();
    }
    if set.held {
        let term = super::restored::highest_term(set);
        return format!(
            "held: the provider went back to an older state; waiting for the master of term {term}, or for every member"
        );
    }
    if let (Some((evidence, class)), Some(succession)) = (&set.evidence, &set.succession) {
        let since = now.since(succession.since);
        return format!("replacing the master ({}: {evidence}), for {since}", class.name());
    }
    if let Some(phase) = set.drill_phase() {
        return drill_text(phase).to_owned();
    }
    if let Some(task) = &set.task {
        let text = match (task.aborted, task.class) {
            (Some(_), _) => "switchover aborted: the master is to lead on".to_owned(),
            (None, Class::Switchover) => RELINQUISHING.to_owned(),
            (None, class) => format!("{}: waiting for the master to relinquish", class.name()),
        };
        return text;
    }
    match (set.confirmed, &set.proposal) {
        (false, _) => "waiting for the master's confirmation".to_owned(),
        (true, Some(Proposal::Unpin)) => "resuming: waiting for the master to give its pin up".to_owned(),
        (true, Some(Proposal::Quorum(raised))) => format!("raising ack_quorum to {raised}"),
        (true, Some(_)) => "changing the in-sync set".to_owned(),
        (true, None) if set.is_paused(now) => "paused".to_owned(),
        (true, None) => "steady".to_owned(),
    }
}
