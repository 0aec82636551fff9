//! What a person should know before a change of the settings has effects: names that nobody has, and values that are safe
//! but may surprise.

use super::super::command::{Refused, RefusedKind};
use baton_core::ids::{ReplicaSetName, Zone};
use baton_core::record::{Member, Settings};
use baton_core::time::Span;
use baton_core::timing::{FailureClass, Timing};
use baton_provider::{Snapshot, StateProvider};
use std::collections::BTreeSet;

/// Most names that are shown of what is known.
const SHOWN_MAX: usize = 20;

/// Refuses names of sets, members and zones that are new in the settings and that nobody has: a slip of the pen would have no
/// effect, and nobody would notice.
pub(super) fn check_names(snapshot: &Snapshot, after: &Settings) -> Result<(), Refused> {
    let before = &snapshot.settings;
    let sets: BTreeSet<&str> = sets(snapshot).iter().map(|set| set.as_str()).collect();
    let members: BTreeSet<&str> = snapshot.members.keys().map(|(_, name)| name.as_str()).collect();
    let zones: BTreeSet<&str> =
        snapshot.members.values().filter_map(|member| member.zone.as_ref()).map(Zone::as_str).collect();
    let new_sets = after.overrides.keys().filter(|name| !before.overrides.contains_key(*name));
    let new_members = after.members.keys().filter(|name| !before.members.contains_key(*name));
    let new_zones = after.drained.difference(&before.drained);
    check("replica set", new_sets.map(|name| name.as_str()), &sets)?;
    check("instance", new_members.map(|name| name.as_str()), &members)?;
    check("zone", new_zones.map(Zone::as_str), &zones)
}

fn check<'a>(
    what: &'static str,
    mut named: impl Iterator<Item = &'a str>,
    known: &BTreeSet<&str>,
) -> Result<(), Refused> {
    let Some(unknown) = named.find(|name| !known.contains(name)) else { return Ok(()) };
    let shown: Vec<_> = known.iter().copied().take(SHOWN_MAX).collect();
    let known = if shown.is_empty() { "none".to_owned() } else { shown.join(", ") };
    let message = format!("nothing was changed: there is no {what} {unknown}");
    let what_to_do = format!("known are: {known}; with --force it is taken all the same");
    Err(Refused::new(RefusedKind::NotFound, message, what_to_do).with_fact(what, unknown))
}

fn sets(snapshot: &Snapshot) -> BTreeSet<&ReplicaSetName> {
    let listed = snapshot.members.keys().map(|(set, _)| set);
    listed.chain(snapshot.records.keys()).collect()
}

/// A sentence for each thing that deserves a word.
pub(super) fn remarks(provider: &dyn StateProvider, snapshot: &Snapshot, after: &Settings) -> Vec<String> {
    let before = &snapshot.settings;
    let mut remarks = of_timing(provider, before, after);
    for set in sets(snapshot) {
        let of_set: Vec<&Member> =
            snapshot.members.iter().filter(|((name, _), _)| name == set).map(|(_, member)| member).collect();
        if of_set.is_empty() {
            continue;
        }
        let replicas = of_set.len() - 1;
        let (quorum, was) = (after.ack_quorum_of(set), before.ack_quorum_of(set));
        if quorum != was && quorum as usize > replicas {
            remarks.push(format!(
                "{set} has {replicas} beside its master: with ack_quorum = {quorum} no commit of it can be confirmed"
            ));
        }
        let recorded = snapshot.records.get(set).map(|record| record.ack_quorum);
        if let Some(recorded) = recorded.filter(|recorded| quorum != was && *recorded != quorum) {
            remarks.push(if quorum > recorded {
                format!(
                    "{set} keeps ack_quorum = {recorded} until {quorum} of its replicas hold everything: see batonctl issues {set}"
                )
            } else {
                format!("what {set} confirms from then on may be held by {quorum} replicas only")
            });
        }
        let someone = |settings: &Settings| of_set.iter().any(|member| may_lead(settings, member));
        if someone(before) && !someone(after) {
            remarks.push(format!("nobody of {set} is left who may be appointed"));
        }
        let outside = |settings: &Settings| {
            let drained =
                |member: &Member| member.zone.as_ref().is_some_and(|zone| settings.drained.contains(zone));
            of_set.iter().any(|member| may_lead(settings, member) && !drained(member))
        };
        if outside(before) && !outside(after) && someone(after) {
            remarks.push(format!(
                "{set} has nobody outside the drained zones who could lead it: it stays there"
            ));
        }
    }
    remarks
}

fn may_lead(settings: &Settings, member: &Member) -> bool {
    let said = settings.members.get(&member.instance);
    let electable = said.and_then(|said| said.electable).unwrap_or(member.electable);
    electable && !said.is_some_and(|said| said.expelled || said.maintenance_until.is_some())
}

fn of_timing(provider: &dyn StateProvider, before: &Settings, after: &Settings) -> Vec<String> {
    let (Ok(was), Ok(mut timing)) = (Timing::new(before), Timing::new(after)) else { return Vec::new() };
    if was == timing {
        return Vec::new();
    }
    let worst = |timing: &Timing, class| timing.worst_outage(class);
    let mut was = was;
    was.lock_ttl = provider.lock_ttl(&was);
    timing.lock_ttl = provider.lock_ttl(&timing);
    let classes = FailureClass::ALL.iter().filter(|class| worst(&was, **class) != worst(&timing, **class));
    let changed: Vec<_> = classes
        .map(|class| format!("{} {} (was {})", class.name(), worst(&timing, *class), worst(&was, *class)))
        .collect();
    let mut remarks = Vec::new();
    if !changed.is_empty() {
        remarks.push(format!("the worst outages become: {}", changed.join(", ")));
    }
    if after.lease_ttl < before.lease_ttl {
        remarks.push(format!(
            "a guard that starts without its memory still waits out the longest lease that ever was: {}",
            after.longest()
        ));
    }
    /// Below it, an ordinary pause of a busy host costs a master its right.
    const SHORT: Span = Span::from_secs(1);
    if after.lease_ttl < SHORT && before.lease_ttl >= SHORT {
        remarks.push(format!(
            "a host that stands still for {} loses its master: watch `batonctl issues` for a while",
            timing.usable().less(timing.beat_master)
        ));
    }
    remarks
}
