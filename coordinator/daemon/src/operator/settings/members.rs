//! Who belongs to which set as the provider lists it, with what people said of each; and what stands against a removal.

use super::{read, unavailable};
use crate::operator::{Refused, RefusedKind};
use baton_client::status::ClusterStatus;
use baton_core::ids::{InstanceName, ReplicaSetName};
use baton_core::record::{Member, Record};
use baton_core::settings::MemberSettings;
use baton_proto::v1;
use baton_provider::{Snapshot, StateProvider};

/// All members by set and name, then those of whom people only spoke.
pub(in super::super) async fn list(provider: &dyn StateProvider) -> Result<v1::MembersResponse, Refused> {
    let snapshot = read(provider).await.map_err(|error| unavailable(&error))?;
    let nothing = MemberSettings::default();
    let said = |name: &InstanceName| snapshot.settings.members.get(name).unwrap_or(&nothing);
    let listed = snapshot.members.values().map(|member| {
        let record = snapshot.records.get(&member.replicaset);
        listed(member, record, said(&member.instance))
    });
    let known = |name: &InstanceName| snapshot.members.keys().any(|(_, instance)| instance == name);
    let spoken = snapshot.settings.members.iter().filter(|(name, _)| !known(name)).map(|(name, said)| {
        with_said(v1::ListedMember { instance: name.to_string(), ..v1::ListedMember::default() }, said)
    });
    Ok(v1::MembersResponse { members: listed.chain(spoken).collect() })
}

fn listed(member: &Member, record: Option<&Record>, said: &MemberSettings) -> v1::ListedMember {
    let listed = v1::ListedMember {
        instance: member.instance.to_string(),
        replicaset: member.replicaset.to_string(),
        coordinator: member.coordinator.to_string(),
        endpoint: member.endpoint.to_string(),
        zone: member.zone.as_ref().map(ToString::to_string).unwrap_or_default(),
        priority: member.priority,
        electable: member.electable,
        master: record.is_some_and(|record| record.master.as_ref() == Some(&member.instance)),
        in_sync: record.is_some_and(|record| record.in_sync.contains(&member.instance)),
        listed: true,
        ..v1::ListedMember::default()
    };
    with_said(listed, said)
}

fn with_said(listed: v1::ListedMember, said: &MemberSettings) -> v1::ListedMember {
    v1::ListedMember {
        said_priority: said.priority,
        said_electable: said.electable,
        maintenance_until_unix_millis: said.maintenance_until,
        expelled: said.expelled,
        ..listed
    }
}

/// Of which set the instance is, where nothing that is known here stands against its removal. The provider has the last
/// word, and looks at the record of that moment.
pub(in super::super) async fn removal(
    provider: &dyn StateProvider,
    status: &ClusterStatus,
    instance: &InstanceName,
    expel: bool,
) -> Result<ReplicaSetName, Refused> {
    let snapshot = read(provider).await.map_err(|error| unavailable(&error))?;
    let Some((set, _)) = snapshot.members.keys().find(|(_, name)| name == instance) else {
        let message = format!("there is no instance {instance}");
        return Err(Refused::new(RefusedKind::NotFound, message, "batonctl member list shows them all")
            .with_fact("instance", instance));
    };
    if let Some(refused) = against(&snapshot, set, instance, expel) {
        return Err(refused);
    }
    let mut members = status.replicasets.iter().flat_map(|set| &set.members);
    let attached = members.find(|member| member.instance == instance.as_str());
    match attached.and_then(|member| member.coordinator.as_ref()) {
        Some(coordinator) if !expel => Err(Refused::new(
            RefusedKind::NotPossible,
            format!("{instance} is attached by coordinator {coordinator}: it would be listed again at once"),
            "stop that coordinator first, or turn it away for good with --expel",
        )
        .with_fact("coordinator", coordinator)),
        Some(_) | None => Ok(set.clone()),
    }
}

/// Who may still be appointed, or counts, cannot be removed.
fn against(
    snapshot: &Snapshot,
    set: &ReplicaSetName,
    instance: &InstanceName,
    expel: bool,
) -> Option<Refused> {
    let record = snapshot.records.get(set)?;
    let master = record.master.as_ref() == Some(instance);
    if !master && !record.in_sync.contains(instance) {
        return None;
    }
    let refused = |message, what_to_do| Refused::new(RefusedKind::StillCounts, message, what_to_do);
    let refused = if expel {
        let (role, next) = match master {
            true => {
                ("the recorded master", "the mastership is given away by itself where somebody can take it")
            }
            false => {
                ("in the in-sync set", "it is cut off and taken out by itself once its coordinator is heard")
            }
        };
        refused(
            format!("{instance} is {role} of {set}, and is expelled now"),
            format!("{next}: wait for it with --timeout, or ask again"),
        )
    } else if master {
        refused(
            format!("{instance} is the recorded master of {set}"),
            format!("give the mastership away first: batonctl switchover {set}"),
        )
    } else {
        refused(
            format!("{instance} is in the in-sync set of {set}: it may be appointed, and counts"),
            "stop its coordinator and engine: it leaves that set about a lease later, and can be removed then"
                .to_owned(),
        )
    };
    Some(refused.with_fact("replicaset", set).with_fact("master", master))
}
