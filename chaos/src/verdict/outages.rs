//! Outages: for each fault the longest time in which a client that follows the directory was not served, against what the cluster's own
//! `timing` promised for that class of failure. Where faults overlap, what each allows adds up.
//!
//! Served is, in synchronous mode, whom the engine told that a replica has its appends: a master alone that acknowledges what
//! nobody else has serves nobody. In asynchronous mode it is whose append was acknowledged.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Finding, Findings, at, end_of};
use crate::evidence::{Allowed, Asked, Evidence, Fault, Micros, Mode, Operation};

/// What a write may be delayed where nothing is to be interrupted: a busy machine's scheduling and one segment sent again.
const UNINTERRUPTED_US: Micros = 250_000;
/// How long before a fault an acknowledgement must have come: otherwise there was nothing to interrupt.
const ALIVE_US: Micros = 5_000_000;

/// Each provider's machines by name, and how many of them must be struck for it to be away.
const PROVIDERS: [(&str, &[&str], usize); 2] =
    [("stateboard", &["board"], 1), ("etcd", &["etcd-1", "etcd-2", "etcd-3"], 2)];
/// What parts a coordinator from the provider and from nobody else.
const PARTS_FROM_PROVIDER: &str = "cut-from-provider";

/// What takes a member away as long as it lasts; a part follows the name where it strikes one only.
const TAKES_AWAY: [&str; 14] = [
    "kill",
    "stop",
    "freeze",
    "power-off",
    "link-down",
    "isolate",
    "isolate-but-clients",
    "lose-outgoing",
    "lose-incoming",
    "cut-from-hosts",
    "cut-from-arbiter",
    "disk-full",
    "disk-hung",
    "disk-failing",
];

/// The longest silence for one fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// The fault's number.
    pub fault: u64,
    /// Its name.
    pub name: String,
    /// Which client waited longest; empty where nothing was acknowledged before it struck.
    pub client: String,
    /// The last acknowledgement before the silence.
    pub from_us: Micros,
    /// How long it was; absent where nothing was acknowledged before it struck.
    pub took_us: Option<Micros>,
    /// How long it may be; absent where no bound is promised.
    pub allowed_us: Option<Micros>,
    /// Where the bound comes from.
    pub bound: String,
}

impl Outage {
    /// Whether it was longer than promised.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!((self.took_us, self.allowed_us), (Some(took), Some(allowed)) if took > allowed)
    }
}

/// A stretch without an acknowledgement.
#[derive(Clone, Copy, Debug)]
struct Silence {
    from: Micros,
    to: Micros,
}

/// What one fault allows, and when it can be felt.
struct Reach {
    allowed: Result<Option<Micros>, String>,
    from: Micros,
    to: Micros,
    /// From when until it is healed.
    lasts: Silence,
    /// It struck so many machines of the provider that none of it is left.
    provider: bool,
    /// A host was out of the provider's reach meanwhile, and went on.
    parted: bool,
    /// The member that serves nobody and tells nobody anything meanwhile, or not surely.
    member: Option<String>,
    bound: String,
}

pub(super) fn check(evidence: &Evidence) -> (Vec<Outage>, Finding) {
    let mut findings = Findings::new(
        "outages",
        "clients wait no longer for a fault than the cluster's timing promised for its class",
    );
    let end = evidence.ending.as_ref().map_or_else(|| end_of(evidence), |ending| ending.ended_us);
    let (_, word) = service(evidence.run.mode);
    let reaches: Vec<Reach> = evidence.faults.iter().map(|fault| reach(evidence, fault, end)).collect();
    let clients: BTreeSet<&str> =
        evidence.history.iter().filter(is_append).map(|append| append.client.as_str()).collect();
    let silences: Vec<(&str, Vec<Silence>)> =
        clients.into_iter().map(|client| (client, silences(evidence, client, end))).collect();
    let mut outages = Vec::new();
    for (fault, reach) in evidence.faults.iter().zip(&reaches) {
        if let Err(why) = &reach.allowed {
            findings.open(format!("{} at {}: {why}", fault.name, at(fault.injected_us)));
        }
        let outage = longest(fault, reach, &reaches, &silences);
        match (outage.took_us, outage.allowed_us) {
            (Some(took), Some(allowed)) if took > allowed => findings.broken(format!(
                "{} at {}: {} waited {} from {} on, and {} are allowed ({})",
                fault.name,
                at(fault.injected_us),
                outage.client,
                at(took),
                at(outage.from_us),
                at(allowed),
                outage.bound
            )),
            // Who helps a set that serves nobody finds nothing to interrupt.
            (None, _) if fault.may_lose => {}
            (None, _) => findings.open(format!(
                "{} at {}: nothing was {word} in the {} before it, so there was nothing to interrupt",
                fault.name,
                at(fault.injected_us),
                at(ALIVE_US)
            )),
            (Some(_), _) => {}
        }
        outages.push(outage);
    }
    let bounded = outages.iter().filter(|outage| outage.allowed_us.is_some()).count();
    let longest = outages.iter().filter_map(|outage| outage.took_us).max().unwrap_or(0);
    let finding = findings.end(format!(
        "{} faults, {bounded} of them with a bound; the longest time in which nothing was {word} was {}",
        outages.len(),
        at(longest)
    ));
    (outages, finding)
}

fn is_append(operation: &&Operation) -> bool {
    operation.op == Asked::Append
}

/// What serves a client, and the word for it.
fn service(mode: Mode) -> (Asked, &'static str) {
    match mode {
        Mode::Sync => (Asked::Confirm, "confirmed by a replica"),
        Mode::Async => (Asked::Append, "acknowledged"),
    }
}

/// The stretches between the moments at which one client was served; the last one ends with the run.
fn silences(evidence: &Evidence, client: &str, end: Micros) -> Vec<Silence> {
    let (served, _) = service(evidence.run.mode);
    let of_client =
        evidence.history.iter().filter(|operation| operation.op == served && operation.client == client);
    let mut moments: Vec<Micros> =
        of_client.filter_map(Operation::acknowledged).filter(|at| *at <= end).collect();
    moments.sort_unstable();
    if moments.is_empty() {
        return Vec::new();
    }
    moments.push(end);
    moments.windows(2).map(|pair| Silence { from: pair[0], to: pair[1] }).collect()
}

fn reach(evidence: &Evidence, fault: &Fault, end: Micros) -> Reach {
    let budget = |class: &str| {
        let found = evidence.run.budgets_us.get(class).copied();
        found.ok_or_else(|| format!("the cluster's timing names no class {class}"))
    };
    let healed = fault.healed_us.unwrap_or(end).max(fault.injected_us);
    let (allowed, settle, bound) = match &fault.allowed {
        Allowed::Nothing => (Ok(Some(UNINTERRUPTED_US)), 0, "nothing may be interrupted".to_owned()),
        Allowed::Late { by_us } => (
            Ok(Some(UNINTERRUPTED_US + by_us)),
            0,
            "nothing may be interrupted, on a line that is late".to_owned(),
        ),
        Allowed::Class { class } => {
            let budget = budget(class);
            let settle = budget.as_ref().copied().unwrap_or(0);
            (budget.map(Some), settle, format!("timing, class {class}"))
        }
        Allowed::UntilHealed { class } => {
            let budget = budget(class);
            let settle = budget.as_ref().copied().unwrap_or(0);
            let allowed = budget.map(|budget| Some(healed - fault.injected_us + budget));
            (
                allowed,
                healed - fault.injected_us + settle,
                format!("until it is healed, then timing, class {class}"),
            )
        }
        Allowed::Unbounded { why } => (Ok(None), 0, format!("no bound: {why}")),
    };
    let to = healed.max(fault.injected_us + settle);
    let struck =
        |machines: &[&str]| machines.iter().filter(|it| fault.targets.iter().any(|at| at == *it)).count();
    let provider = PROVIDERS
        .iter()
        .any(|(name, machines, most)| evidence.run.provider == *name && struck(machines) >= *most);
    let parted = fault.name.starts_with(PARTS_FROM_PROVIDER);
    let lasts = Silence { from: fault.injected_us, to: healed };
    let member =
        evidence.run.instances.iter().find(|it| takes_away(fault) && fault.targets.contains(it)).cloned();
    let member = member.filter(|_| evidence.run.mode == Mode::Sync);
    Reach { allowed, from: fault.injected_us, to, lasts, provider, parted, member, bound }
}

/// Whether a member is out of service as long as it lasts. What is late, narrow or cut from the provider alone goes on.
fn takes_away(fault: &Fault) -> bool {
    let is = |kind: &str| {
        fault.name.strip_prefix(kind).is_some_and(|part| part.is_empty() || part.starts_with('-'))
    };
    TAKES_AWAY.into_iter().any(is)
}

/// The stretches of a silence in which nobody is promised a successor, whoever else is left: the provider was away while something else
/// struck, or two members were out where each commit waits for one replica. Neither is a master promised that it can go on, where the
/// arbiter's host is out of the provider's reach and a member that would have to promise is out as well.
fn promised_nothing(silence: &Silence, felt: &[&Reach]) -> Micros {
    let both =
        |one: Silence, other: Silence| Silence { from: one.from.max(other.from), to: one.to.min(other.to) };
    let mut stretches = Vec::new();
    for (at, one) in felt.iter().enumerate() {
        for other in &felt[at + 1..] {
            match (&one.member, &other.member) {
                _ if one.provider && !other.provider => stretches.push(one.lasts),
                _ if other.provider && !one.provider => stretches.push(other.lasts),
                (Some(member), Some(another)) if member != another => {
                    stretches.push(both(one.lasts, other.lasts));
                }
                (Some(_), None) if other.parted => stretches.push(both(one.lasts, other.lasts)),
                (None, Some(_)) if one.parted => stretches.push(both(one.lasts, other.lasts)),
                _ => {}
            }
        }
    }
    let mut within: Vec<_> = stretches.into_iter().map(|stretch| both(stretch, *silence)).collect();
    within.sort_unstable_by_key(|stretch| stretch.from);
    let (mut sum, mut until) = (0, silence.from);
    for stretch in within {
        sum += stretch.to.saturating_sub(stretch.from.max(until));
        until = until.max(stretch.to);
    }
    sum
}

fn overlaps(silence: &Silence, reach: &Reach) -> bool {
    silence.to > reach.from && silence.from < reach.to.max(reach.from + 1)
}

/// The silence of any client that exceeds what is allowed most; of several that do not, the longest.
fn longest(fault: &Fault, reach: &Reach, all: &[Reach], clients: &[(&str, Vec<Silence>)]) -> Outage {
    let mut worst: Option<(bool, Micros, Outage)> = None;
    for (client, silences) in clients {
        let alive = silences
            .iter()
            .any(|silence| silence.from <= reach.from && reach.from.saturating_sub(silence.from) <= ALIVE_US);
        for silence in silences.iter().filter(|silence| alive && overlaps(silence, reach)) {
            let (allowed_us, bound) = allowed(silence, reach, all);
            let took = silence.to - silence.from;
            let outage = Outage {
                fault: fault.id,
                name: fault.name.clone(),
                client: (*client).to_owned(),
                from_us: silence.from,
                took_us: Some(took),
                allowed_us,
                bound,
            };
            let rank = (outage.is_over(), took);
            if worst.as_ref().is_none_or(|(over, longest, _)| rank > (*over, *longest)) {
                worst = Some((rank.0, rank.1, outage));
            }
        }
    }
    worst.map_or_else(
        || Outage {
            fault: fault.id,
            name: fault.name.clone(),
            client: String::new(),
            from_us: fault.injected_us,
            took_us: None,
            allowed_us: reach.allowed.as_ref().ok().copied().flatten(),
            bound: reach.bound.clone(),
        },
        |(_, _, outage)| outage,
    )
}

/// What all faults that can be felt in a silence allow together; nothing where one of them has no bound.
fn allowed(silence: &Silence, own: &Reach, all: &[Reach]) -> (Option<Micros>, String) {
    let felt: Vec<&Reach> = all.iter().filter(|reach| overlaps(silence, reach)).collect();
    let mut sum: Option<Micros> = Some(0);
    for reach in &felt {
        let more = reach.allowed.as_ref().ok().copied().flatten();
        sum = sum.zip(more).map(|(sum, more)| sum + more);
    }
    let sum = sum.map(|sum| sum + promised_nothing(silence, &felt));
    let bound = if felt.len() > 1 {
        format!("{} faults at once: what each allows adds up", felt.len())
    } else {
        own.bound.clone()
    };
    (sum, bound)
}
