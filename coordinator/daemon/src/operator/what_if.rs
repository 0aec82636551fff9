//! What a person imagines to be lost, in names that the cluster knows; and the machine's forecasts in the shape that is shown.

use super::command::{Imagined, Refused, RefusedKind};
use baton_client::forecast::{CommitsShort, ForecastRank, ForecastStatus, RailStatus};
use baton_client::status::{ClusterStatus, MemberStatus};
use baton_core::arbiter::{DrillAsked, Fate, Fault, Forecast, Loss, Rail};
use baton_core::decision::{Ranked, Verdict};
use baton_core::ids::{InstanceName, ReplicaSetName};
use baton_proto::v1;
use std::collections::BTreeSet;

/// What a request is about.
pub(super) fn imagined(status: &ClusterStatus, request: &v1::WhatIfRequest) -> Result<Imagined, Refused> {
    if let Some(drill) = &request.drill {
        let (replicaset, asked) = drill_asked(drill)?;
        return Ok(Imagined::Drill { replicaset, asked });
    }
    if request.switchover.is_empty() && request.failover.is_empty() {
        return loss(status, request).map(Imagined::Loss);
    }
    let bad = |error: baton_core::ids::BadName| {
        Refused::new(RefusedKind::NotPossible, error.to_string(), "look at the names with: batonctl status")
    };
    let to = Some(request.to.as_str()).filter(|to| !to.is_empty());
    let to = to.map(InstanceName::parse).transpose().map_err(bad)?;
    let set = |name: &str| ReplicaSetName::parse(name).map_err(bad);
    Ok(match request.failover.as_str() {
        "" => Imagined::Switchover { replicaset: set(&request.switchover)?, to },
        failover => Imagined::Failover { replicaset: set(failover)?, to },
    })
}

/// What a drill is about.
pub(super) fn drill_asked(request: &v1::DrillRequest) -> Result<(ReplicaSetName, DrillAsked), Refused> {
    let bad = |message: String, what_to_do: &str| Refused::new(RefusedKind::NotPossible, message, what_to_do);
    let replicaset = ReplicaSetName::parse(&request.replicaset)
        .map_err(|error| bad(error.to_string(), "look at the names with: batonctl status"))?;
    let fault = Fault::ALL.into_iter().find(|fault| fault.name() == request.fault);
    let fault = fault.ok_or_else(|| {
        bad(format!("there is no fault {:?}", request.fault), "known are: kill_engine, switchover")
    })?;
    let (spares, accept_loss, back) = (request.spares.max(1), request.accept_loss, request.back);
    Ok((replicaset, DrillAsked { fault, spares, accept_loss, back }))
}

/// The loss that a request names: instances by name, and all instances of a zone.
fn loss(status: &ClusterStatus, request: &v1::WhatIfRequest) -> Result<Loss, Refused> {
    let members = || status.replicasets.iter().flat_map(|set| &set.members);
    let mut instances = BTreeSet::new();
    for wanted in &request.lose_instances {
        let of_name = |member: &&MemberStatus| member.instance == *wanted;
        add("instance", wanted, members().filter(of_name), &mut instances, || {
            names(members().map(|member| Some(member.instance.as_str())))
        })?;
    }
    for wanted in &request.lose_zones {
        let of_zone = |member: &&MemberStatus| member.zone.as_deref() == Some(wanted);
        add("zone", wanted, members().filter(of_zone), &mut instances, || {
            names(members().map(|member| member.zone.as_deref()))
        })?;
    }
    if instances.is_empty() && !request.lose_provider {
        return Err(Refused::new(
            RefusedKind::NotPossible,
            "nothing is named that could be lost",
            "name an instance, a zone or the provider",
        ));
    }
    Ok(Loss { instances, provider: request.lose_provider })
}

fn add<'a>(
    what: &'static str,
    wanted: &str,
    found: impl Iterator<Item = &'a MemberStatus>,
    instances: &mut BTreeSet<InstanceName>,
    known: impl Fn() -> String,
) -> Result<(), Refused> {
    let mut any = false;
    for member in found {
        any = true;
        // Every name that is shown was parsed once; one that is none loses nothing.
        instances.extend(InstanceName::parse(&member.instance));
    }
    if any {
        return Ok(());
    }
    let message = format!("there is no {what} {wanted}");
    Err(Refused::new(RefusedKind::NotFound, message, format!("known are: {}", known()))
        .with_fact(what, wanted))
}

/// The first of them, each once.
fn names<'a>(all: impl Iterator<Item = Option<&'a str>>) -> String {
    let known: BTreeSet<_> = all.flatten().collect();
    if known.is_empty() {
        return "none".to_owned();
    }
    Vec::from_iter(known.into_iter().take(20)).join(", ")
}

/// As it is shown.
pub(crate) fn shown(forecast: &Forecast) -> ForecastStatus {
    let (fate, successor, why) = match &forecast.fate {
        Fate::NoneNow => ("none_now", None, None),
        Fate::Stays => ("stays", None, None),
        Fate::GoesOn => ("goes_on", None, None),
        Fate::Stops(why) => ("stops", None, Some(why)),
        Fate::Replaced(successor) => ("replaced", Some(successor), None),
        Fate::NoSuccessor(why) => ("no_successor", None, Some(why)),
    };
    let rank = |ranked: &Ranked| ForecastRank {
        instance: ranked.instance.to_string(),
        verdict: match &ranked.verdict {
            Verdict::Chosen => "chosen".to_owned(),
            Verdict::Eligible => "eligible".to_owned(),
            Verdict::Refused(why) => why.to_string(),
        },
    };
    let rail =
        |rail: &Rail| RailStatus { name: rail.name.to_owned(), holds: rail.holds, seen: rail.seen.clone() };
    let short = |(wait_for, left): (u32, usize)| CommitsShort {
        wait_for,
        left: u32::try_from(left).unwrap_or(u32::MAX),
    };
    ForecastStatus {
        replicaset: forecast.replicaset.to_string(),
        master: forecast.master.as_ref().map(ToString::to_string),
        lost: forecast.lost.iter().map(ToString::to_string).collect(),
        fate: fate.to_owned(),
        successor: successor.map(ToString::to_string),
        why: why.cloned(),
        ranking: forecast.ranking.iter().map(rank).collect(),
        within_ms: forecast.within.map(baton_core::time::Span::as_millis),
        commits_short: forecast.commits_short.map(short),
        may_lose: forecast.may_lose.clone(),
        rails: forecast.rails.iter().map(rail).collect(),
    }
}
