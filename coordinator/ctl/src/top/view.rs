//! What the view knows and shows: the last answer, since when there is none, which set is chosen, what happened. Pure; the
//! time is given.

use crate::args::TopSort;
use baton_client::status::{ClusterStatus, IssueStatus, ReplicaSetStatus};
use baton_client::{Master, MasterState, OperatorError};
use std::collections::{BTreeMap, VecDeque};

/// How many changes are remembered.
const EVENTS_MAX: usize = 50;

/// After so long without an answer, where one comes each second, it is said.
const LATE_MILLIS: u64 = 2_500;

/// One answer of the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) status: ClusterStatus,
    pub(super) issues: Vec<IssueStatus>,
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Sets,
    Details,
    Issues,
}

/// How much a set needs somebody's eyes; the first is the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    NoMaster,
    Critical,
    Busy,
    Warning,
    OutOfSync,
    None,
}

/// A change of master that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) at_millis: u64,
    pub(super) text: String,
}

/// Everything that is drawn.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) color: bool,
    pub(super) now_millis: u64,
    pub(super) known: Option<Known>,
    /// When the last answer came, and why there is none now.
    pub(super) answered_millis: Option<u64>,
    pub(super) away: Option<String>,
    started_millis: u64,
    masters: BTreeMap<String, Master>,
    pub(super) events: VecDeque<Seen>,
    pub(super) page: Page,
    pub(super) sort: TopSort,
    pub(super) search: String,
    pub(super) is_searching: bool,
    /// The chosen set, by name: rows move.
    chosen: Option<String>,
    pub(super) scroll: usize,
}

impl Screen {
    pub(super) fn new(color: bool, now_millis: u64) -> Self {
        Self {
            color,
            now_millis,
            known: None,
            answered_millis: None,
            away: None,
            started_millis: now_millis,
            masters: BTreeMap::new(),
            events: VecDeque::new(),
            page: Page::Sets,
            sort: TopSort::Trouble,
            search: String::new(),
            is_searching: false,
            chosen: None,
            scroll: 0,
        }
    }

    pub(super) fn answered(&mut self, known: Known, now_millis: u64) {
        self.known = Some(known);
        (self.now_millis, self.answered_millis, self.away) = (now_millis, Some(now_millis), None);
    }

    pub(super) fn unanswered(&mut self, error: &OperatorError, now_millis: u64) {
        self.now_millis = now_millis;
        let cause = match error {
            OperatorError::Unreachable { tried } => {
                let tried = tried.iter().map(|(address, cause)| format!("{address}: {cause}"));
                tried.collect::<Vec<_>>().join("; ")
            }
            other => other.to_string(),
        };
        self.away = Some(cause);
    }

    /// Since when nobody answers.
    pub(super) fn away_since(&self) -> u64 {
        self.answered_millis.unwrap_or(self.started_millis)
    }

    /// For how long an answer has been awaited that should have come by now.
    pub(super) fn late_millis(&self) -> Option<u64> {
        let waited = self.now_millis.saturating_sub(self.answered_millis?);
        (waited >= LATE_MILLIS).then_some(waited)
    }

    /// What follows may be old: nobody answers, or not the arbiter.
    pub(super) fn is_old(&self) -> bool {
        let arbiter = self.known.as_ref().map(|known| &known.status.arbiter);
        self.away.is_some()
            || self.late_millis().is_some()
            || arbiter.is_some_and(|arbiter| !arbiter.active_here)
    }

    /// Notes what changed in the map that routers follow. The first map is no change.
    pub(super) fn masters_changed(&mut self, masters: &BTreeMap<String, Master>, now_millis: u64) {
        let is_first = self.masters.is_empty();
        for (name, master) in masters {
            if is_first || self.masters.get(name) == Some(master) {
                continue;
            }
            let what = match master.state {
                MasterState::Active => format!("{} is master", master.instance),
                MasterState::Appointed => format!("{} is appointed", master.instance),
                MasterState::None => "no master".to_owned(),
            };
            let text = format!("{name}: {what} (term {})", master.term);
            self.events.push_front(Seen { at_millis: now_millis, text });
        }
        self.events.truncate(EVENTS_MAX);
        self.masters.clone_from(masters);
    }

    /// The sets as they are listed.
    pub(super) fn rows(&self) -> Vec<&ReplicaSetStatus> {
        let Some(known) = &self.known else { return Vec::new() };
        let found = |set: &&ReplicaSetStatus| {
            self.search.is_empty()
                || set.replicaset.contains(&self.search)
                || set.members.iter().any(|member| member.instance.contains(&self.search))
        };
        let mut rows: Vec<(_, &ReplicaSetStatus)> =
            known.status.replicasets.iter().filter(found).map(|set| (known.trouble(set), set)).collect();
        rows.sort_by(|(a_trouble, a), (b_trouble, b)| {
            let order = match self.sort {
                TopSort::Trouble => a_trouble.cmp(b_trouble),
                TopSort::Name => std::cmp::Ordering::Equal,
                TopSort::Lag => worst_lag(b).cmp(&worst_lag(a)),
                TopSort::Change => changed_millis(b).cmp(&changed_millis(a)),
            };
            order.then_with(|| a.replicaset.cmp(&b.replicaset))
        });
        rows.into_iter().map(|(_, set)| set).collect()
    }

    /// Where the choice stands among `rows`: at the top until somebody chose, so that the worst is what is seen.
    pub(super) fn chosen_row(&self, rows: &[&ReplicaSetStatus]) -> usize {
        let at = self.chosen.as_ref().and_then(|name| rows.iter().position(|set| set.replicaset == *name));
        at.unwrap_or(0)
    }

    /// Moves the choice.
    pub(super) fn choose(&mut self, by: isize) {
        let rows = self.rows();
        let at = self.chosen_row(&rows).saturating_add_signed(by).min(rows.len().saturating_sub(1));
        self.chosen = rows.get(at).map(|set| set.replicaset.clone());
    }

    /// No text of this screen is longer, in lines.
    pub(super) fn longest(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.issues.len() * 4 + 60)
    }
}

impl Known {
    pub(super) fn trouble(&self, set: &ReplicaSetStatus) -> Trouble {
        let severity = self.issues_of(set).map(|issue| issue.severity.as_str()).collect::<Vec<_>>();
        if set.state == "none" || set.master.is_none() {
            Trouble::NoMaster
        } else if severity.contains(&"critical") {
            Trouble::Critical
        } else if set.state != "active" || !matches!(set.phase.as_str(), "" | "steady") {
            Trouble::Busy
        } else if severity.contains(&"warning") {
            Trouble::Warning
        } else if set.members.iter().any(|member| !member.in_sync) {
            Trouble::OutOfSync
        } else {
            Trouble::None
        }
    }

    /// Of one set, the most urgent first, as they came.
    pub(super) fn issues_of<'a>(
        &'a self,
        set: &'a ReplicaSetStatus,
    ) -> impl Iterator<Item = &'a IssueStatus> + 'a {
        self.issues.iter().filter(|issue| issue.replicaset.as_deref() == Some(set.replicaset.as_str()))
    }

    pub(super) fn healthy(&self) -> usize {
        self.status.replicasets.iter().filter(|set| self.trouble(set) == Trouble::None).count()
    }
}

/// Of the members that follow; `None` where none is known.
pub(super) fn worst_lag(set: &ReplicaSetStatus) -> Option<u64> {
    let others = set.members.iter().filter(|member| Some(&member.instance) != set.master.as_ref());
    others.filter_map(|member| member.lag_bytes).max()
}

/// When the present master was appointed, and why, as far as the last decision or the record says.
pub(super) fn last_change(set: &ReplicaSetStatus) -> Option<(u64, &str)> {
    if let Some(decision) = set.last_decision.as_ref().filter(|it| it.term_after != it.term_before) {
        return Some((decision.at_unix_millis, &decision.class));
    }
    let record = set.record.as_ref()?;
    let at = humantime::parse_rfc3339(&record.at).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let at = u64::try_from(at.as_millis()).ok()?;
    // A change of the in-sync set has no time of its own.
    (at > 0).then_some((at, record.reason.as_str()))
}

fn changed_millis(set: &ReplicaSetStatus) -> u64 {
    last_change(set).map_or(0, |(at, _)| at)
}

/// A span for a table: `12s`, `5m`, `3h`, `2d`.
pub(super) fn age(millis: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let seconds = millis / 1_000;
    match UNITS.into_iter().find(|(unit, _)| seconds >= *unit) {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None => format!("{seconds}s"),
    }
}
