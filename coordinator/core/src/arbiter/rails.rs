//! The guard rails of a drill: what must hold before a fault is brought about on purpose. A table, one row a rail; each
//! says what was seen, whether it holds or not. Pure: made from what is known at this moment, decides nothing.
//!
//! It must not know how a fault is brought about, or how a rail is shown.

use super::view::{MasterState, MemberView, SetView};
use crate::decision::Hold;
use crate::ids::{InstanceName, Zone};
use crate::message::{Health, Stand};
use crate::settings::{LossPolicy, SetPolicy, ZonePolicy};
use crate::time::Span;
use std::collections::BTreeSet;

/// What a drill brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The master's engine is killed.
    KillEngine,
    /// An ordinary switchover.
    Switchover,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::KillEngine, Self::Switchover];

    /// The word for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KillEngine => "kill_engine",
            Self::Switchover => "switchover",
        }
    }
}

/// A drill as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DrillAsked {
    /// What is brought about.
    pub fault: Fault,
    /// How many members besides the master must be fit to take over.
    pub spares: u32,
    /// What a crash may lose is accepted.
    pub accept_loss: bool,
    /// Whether the old master is to lead again at the end.
    pub back: bool,
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rail {
    /// A stable word for programs.
    pub name: &'static str,
    /// Whether it does.
    pub holds: bool,
    /// What was seen, for people.
    pub seen: String,
}

/// Everything that the rails are judged by.
#[derive(Clone, Debug)]
pub struct Ground<'a> {
    /// The set.
    pub view: &'a SetView,
    /// What is asked for.
    pub asked: DrillAsked,
    /// What the set is busy with; `None`: it has come to rest.
    pub unsettled: Option<&'static str>,
    /// Whether a change of master or another drill was asked for.
    pub task: bool,
    /// What is left of the arbiter's lock.
    pub lock_left: Span,
    /// What must be.
    pub lock_needed: Span,
    /// After so much silence a master does not count as heard.
    pub master_silence: Span,
    /// After so much silence a replica does not.
    pub replica_silence: Span,
    /// Whether the state moves to another provider.
    pub moving: bool,
    /// Zones in which there should be no master now.
    pub drained: &'a BTreeSet<Zone>,
    /// What holds for the set.
    pub policy: SetPolicy,
    /// Who would take over by the rules of the succession; `Err`: why nobody.
    pub successor: Result<InstanceName, String>,
}

/// One row: a name, and what is seen; `Err`: seen, and it does not hold.
struct Row {
    name: &'static str,
    judge: fn(&Ground<'_>) -> Result<String, String>,
}

const TABLE: [Row; 16] = [
    Row { name: "provider", judge: provider },
    Row { name: "moving", judge: moving },
    Row { name: "active", judge: active },
    Row { name: "settled", judge: settled },
    Row { name: "task", judge: task },
    Row { name: "paused", judge: paused },
    Row { name: "suppressed", judge: suppressed },
    Row { name: "budget", judge: budget },
    Row { name: "drained", judge: drained },
    Row { name: "maintenance", judge: maintenance },
    Row { name: "master", judge: master },
    Row { name: "spares", judge: spares },
    Row { name: "zone", judge: zone },
    Row { name: "commits", judge: commits },
    Row { name: "successor", judge: successor },
    Row { name: "loss", judge: loss },
];

/// Every rail, whether it holds or not.
#[must_use]
pub fn rails_of(ground: &Ground<'_>) -> Vec<Rail> {
    let judged = |row: &Row| {
        let judged = (row.judge)(ground);
        Rail { name: row.name, holds: judged.is_ok(), seen: judged.unwrap_or_else(|why| why) }
    };
    TABLE.iter().map(judged).collect()
}

/// Those that do not hold, in one sentence; `None` where all do.
#[must_use]
pub fn broken(rails: &[Rail]) -> Option<String> {
    let broken: Vec<_> = rails.iter().filter(|rail| !rail.holds).collect();
    let texts: Vec<_> = broken.iter().map(|rail| format!("{}: {}", rail.name, rail.seen)).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

fn provider(ground: &Ground<'_>) -> Result<String, String> {
    let left = ground.lock_left;
    match left >= ground.lock_needed {
        true => Ok(format!("the arbiter's lock is good for {left} more")),
        false => Err(format!(
            "the arbiter's lock is good for {left} more, less than {}: it is not being renewed",
            ground.lock_needed
        )),
    }
}

fn moving(ground: &Ground<'_>) -> Result<String, String> {
    match ground.moving {
        false => Ok("the state stays where it is".to_owned()),
        true => Err("the state is being moved to another provider".to_owned()),
    }
}

fn active(ground: &Ground<'_>) -> Result<String, String> {
    let view = ground.view;
    match &view.record {
        _ if view.held => Err("the provider was restored, and the set is held".to_owned()),
        Some(record) if view.state == MasterState::Active => {
            let master = record.master.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
            Ok(format!("{master} is the active master, at term {}", record.term))
        }
        Some(_) | None => Err(format!("the set has no active master ({})", view.state.name())),
    }
}

fn settled(ground: &Ground<'_>) -> Result<String, String> {
    ground.unsettled.map_or_else(|| Ok("nothing is under way".to_owned()), |busy| Err(busy.to_owned()))
}

fn task(ground: &Ground<'_>) -> Result<String, String> {
    match ground.task {
        false => Ok("nobody asked for anything else".to_owned()),
        true => Err("a change of master, or another drill, is under way".to_owned()),
    }
}

fn paused(ground: &Ground<'_>) -> Result<String, String> {
    let pinned = ground.view.record.as_ref().is_some_and(|record| record.pinned.is_some());
    match ground.view.hold {
        Some(Hold::Paused) => Err(Hold::Paused.text().to_owned()),
        _ if pinned => Err("the master still holds the right of a pause".to_owned()),
        _ => Ok("the set is not paused".to_owned()),
    }
}

fn suppressed(ground: &Ground<'_>) -> Result<String, String> {
    match ground.view.hold {
        Some(Hold::Suppressed) => Err(Hold::Suppressed.text().to_owned()),
        _ => Ok("the set had no more failovers than suppress_threshold".to_owned()),
    }
}

fn budget(ground: &Ground<'_>) -> Result<String, String> {
    match ground.view.hold {
        Some(Hold::Budget) => Err(Hold::Budget.text().to_owned()),
        _ => Ok("the cluster's budget of failovers is not used up".to_owned()),
    }
}

fn drained(ground: &Ground<'_>) -> Result<String, String> {
    let zones = ground.view.members.iter().filter_map(|member| member.listed.zone.as_ref());
    let drained: BTreeSet<_> = zones.filter(|zone| ground.drained.contains(*zone)).collect();
    match drained.is_empty() {
        true => Ok("no zone of its members is drained".to_owned()),
        false => Err(format!("{} is drained", joined(drained))),
    }
}

fn maintenance(ground: &Ground<'_>) -> Result<String, String> {
    let worked_on = |member: &&MemberView| member.maintenance.is_some();
    let names: Vec<_> =
        ground.view.members.iter().filter(worked_on).map(|member| &member.listed.instance).collect();
    match names.is_empty() {
        true => Ok("nobody works on a member".to_owned()),
        false => Err(format!("{} is in maintenance", joined(names))),
    }
}

fn master(ground: &Ground<'_>) -> Result<String, String> {
    let Some((name, member)) = master_of(ground) else { return Err("it is not a known member".to_owned()) };
    let heard = member.beat_age.map_or("never heard".to_owned(), |age| format!("heard {age} ago"));
    let leads = member.beat.as_ref().is_some_and(|beat| {
        matches!(beat.stand, Stand::Leading { writable: true, .. }) && beat.engine.health == Health::Up
    });
    if let Some(by) = &member.relayed_by {
        Err(format!("{name} is heard through {by} only"))
    } else if member.attached_by.is_none() || member.beat_age.is_none_or(|age| age > ground.master_silence) {
        Err(format!("{name} is not heard in time ({heard})"))
    } else if !leads {
        Err(format!("{name} is heard, and does not accept writes"))
    } else if ground.asked.fault == Fault::KillEngine
        && !member.hello.as_ref().is_some_and(|hello| hello.supervised)
    {
        // Its own supervisor may start it again, or nobody: we would leave the set a member short.
        Err(format!("the engine of {name} is adopted: nobody of ours would start it again"))
    } else {
        Ok(format!("{name} accepts writes, {heard}"))
    }
}

/// Why a member does not count as a spare; `None`: it does.
fn unfit(ground: &Ground<'_>, member: &MemberView) -> Option<String> {
    let endpoint = ground.view.record.as_ref().and_then(|record| record.endpoint.as_ref());
    let beat = member.beat.as_ref();
    let in_time = member.beat_age.is_some_and(|age| age <= ground.replica_silence);
    let follows = beat.is_some_and(|beat| endpoint.is_some() && beat.engine.follows.as_ref() == endpoint);
    let text = if !member.electable {
        "not electable"
    } else if !member.in_sync {
        "not in the in-sync set"
    } else if member.attached_by.is_none() || member.relayed_by.is_some() || !in_time {
        "not heard in time"
    } else if beat.is_none_or(|beat| beat.engine.health != Health::Up) {
        "its engine is not up"
    } else if beat.is_none_or(|beat| beat.hold > Span::ZERO) {
        "it may lead nothing yet, by what it promised"
    } else if !follows {
        "not connected to the master"
    } else if beat.is_none_or(|beat| !beat.engine.whole) {
        "not caught up since its engine started"
    } else {
        return match member.behind {
            Some(0) => None,
            Some(bytes) => Some(format!("lags {bytes} bytes")),
            None => Some("how far it has come is not known yet".to_owned()),
        };
    };
    Some(text.to_owned())
}

fn others<'a>(ground: &'a Ground<'_>) -> impl Iterator<Item = &'a MemberView> {
    let master = master_of(ground).map(|(name, _)| name.clone());
    ground.view.members.iter().filter(move |member| Some(&member.listed.instance) != master.as_ref())
}

fn spares(ground: &Ground<'_>) -> Result<String, String> {
    let fit: Vec<_> = others(ground).filter(|member| unfit(ground, member).is_none()).collect();
    let (names, wanted) = (fit.iter().map(|member| &member.listed.instance), ground.asked.spares);
    let why = |member: &MemberView| Some(format!("{}: {}", member.listed.instance, unfit(ground, member)?));
    let why: Vec<_> = others(ground).filter_map(why).collect();
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
    if !fit.is_empty() && fit.len() >= wanted as usize {
        let names = joined(names);
        return Ok(format!("{names} could take over, in sync and without lag, {wanted} wanted{why}"));
    }
    Err(format!("{} of {} could take over at once{why}", fit.len(), wanted.max(1)))
}

fn zone(ground: &Ground<'_>) -> Result<String, String> {
    let own = master_of(ground).and_then(|(_, member)| member.listed.zone.as_ref());
    let policy = ground.policy.zone_policy;
    let near = |member: &MemberView| member.listed.zone.as_ref() == own && unfit(ground, member).is_none();
    match policy {
        ZonePolicy::Same if !others(ground).any(near) => {
            Err("zone_policy = same, and nobody in the master's zone could take over".to_owned())
        }
        ZonePolicy::Same | ZonePolicy::Prefer | ZonePolicy::Any => {
            Ok(format!("zone_policy = {} can be kept", policy.name()))
        }
    }
}

fn commits(ground: &Ground<'_>) -> Result<String, String> {
    let k = ground.view.record.as_ref().map_or(0, |record| record.ack_quorum);
    let fit = others(ground).filter(|member| unfit(ground, member).is_none()).count();
    // Of a crash one becomes the master, and the old one is away for a while; after a switchover it follows at once.
    let left = if ground.asked.fault == Fault::KillEngine { fit.saturating_sub(1) } else { fit };
    match left >= k as usize {
        true if k == 0 => Ok("commits wait for no replica".to_owned()),
        true => Ok(format!("commits wait for {k}, and {left} would be left")),
        false => Err(format!("commits wait for {k}, and {left} would be left: writes would wait")),
    }
}

fn successor(ground: &Ground<'_>) -> Result<String, String> {
    let nothing = ground.policy.loss_policy == LossPolicy::None;
    let k = ground.view.record.as_ref().map_or(0, |record| record.ack_quorum);
    if ground.asked.fault == Fault::KillEngine && nothing && k == 0 {
        return Err("after a crash nobody would be appointed (loss_policy = none)".to_owned());
    }
    match &ground.successor {
        Ok(name) => Ok(format!("{name} would take over")),
        Err(why) => Err(format!("nobody would take over: {why}")),
    }
}

fn loss(ground: &Ground<'_>) -> Result<String, String> {
    let k = ground.view.record.as_ref().map_or(0, |record| record.ack_quorum);
    match ground.asked {
        DrillAsked { fault: Fault::Switchover, .. } => Ok("a switchover loses nothing".to_owned()),
        DrillAsked { fault: Fault::KillEngine, .. } if k > 0 => {
            Ok(format!("nothing that was acknowledged: commits wait for {k}"))
        }
        DrillAsked { accept_loss: true, .. } => {
            Ok("what no replica had received yet may be lost; that is accepted".to_owned())
        }
        DrillAsked { accept_loss: false, .. } => Err(
            "commits wait for no replica (ack_quorum = 0): what none had received yet may be lost; accept it with \
             --accept-loss"
                .to_owned(),
        ),
    }
}

fn master_of<'a>(ground: &'a Ground<'_>) -> Option<(&'a InstanceName, &'a MemberView)> {
    let name = ground.view.record.as_ref()?.master.as_ref()?;
    let member = ground.view.members.iter().find(|member| member.listed.instance == *name)?;
    Some((name, member))
}

fn joined(names: impl IntoIterator<Item = impl ToString>) -> String {
    names.into_iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
