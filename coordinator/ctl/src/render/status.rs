//! The cluster, and the map of masters.

use super::{Palette, drill, line, table};
use baton_client::status::{ClusterStatus, MemberStatus, ReplicaSetStatus};
use baton_client::{Master, MasterState};
use baton_core::time::Span;
use baton_proto::v1::MastersChange;

/// The whole cluster: who decides, what is wrong, then set by set.
#[must_use]
pub fn status(status: &ClusterStatus, palette: Palette) -> String {
    let mut text = String::new();
    let arbiter = &status.arbiter;
    line(
        &mut text,
        format_args!("cluster {}, as {} sees it", palette.strong(&status.cluster), status.answered_by),
    );
    match (&arbiter.coordinator, arbiter.active_here) {
        (Some(name), active_here) => {
            let mut parts = vec![format!("arbiter {}", palette.good(name))];
            parts.extend(arbiter.address.as_ref().map(|address| format!("at {address}")));
            parts.extend(arbiter.epoch.as_ref().map(|epoch| format!("epoch {epoch}")));
            parts.extend(
                arbiter.lock_valid_ms.map(|valid| format!("lock good for {}", Span::from_millis(valid))),
            );
            line(&mut text, parts.join(", "));
            if !active_here {
                line(
                    &mut text,
                    palette.doubtful("it could not be asked: what follows may be old and lacks members"),
                );
            }
        }
        (None, _) => line(&mut text, palette.bad("arbiter: none is known here")),
    }
    for issue in &status.issues {
        line(&mut text, format_args!("{} {issue}", palette.bad("!")));
    }
    if status.replicasets.is_empty() {
        line(&mut text, "\nno replica set yet");
    }
    for set in &status.replicasets {
        line(&mut text, "");
        text.push_str(&replicaset(set, palette));
    }
    text
}

fn replicaset(set: &ReplicaSetStatus, palette: Palette) -> String {
    let mut text = String::new();
    let state = match set.state.as_str() {
        "active" => palette.good("active"),
        "appointed" => palette.doubtful("appointed, not confirmed yet"),
        _ => palette.bad("no master"),
    };
    let mut head = vec![palette.strong(&set.replicaset), format!("term {}", set.term)];
    if let Some(master) = &set.master {
        head.push(format!("master {master} at {}", table::or_dash(set.endpoint.as_deref())));
    }
    head.push(state);
    line(&mut text, head.join("  "));
    for issue in &set.issues {
        line(&mut text, format_args!("  {} {issue}", palette.bad("!")));
    }
    if !matches!(set.phase.as_str(), "" | "steady") {
        line(&mut text, format_args!("  now: {}", palette.doubtful(&set.phase)));
    }
    if !set.members.is_empty() {
        let columns =
            ["INSTANCE", "ROLE", "HEALTH", "IN SYNC", "LAG", "POSITION", "LAST BEAT", "ZONE", "COORDINATOR"];
        let mut members = table::new(&columns);
        for member in &set.members {
            members.add_row(member_row(member));
        }
        text.push_str(&table::indented(members, palette.color, "  "));
    }
    if let Some(last) = &set.last_drill {
        line(&mut text, format_args!("  {}", drill::last(last, palette)));
    }
    if let Some(decision) = &set.last_decision {
        let at = baton_client::status::rfc3339(decision.at_unix_millis);
        line(&mut text, format_args!("  last decision: {} ({}), {at}", decision.rule, decision.class));
    }
    text
}

fn member_row(member: &MemberStatus) -> Vec<comfy_table::Cell> {
    let beat = member.beat_age_ms.map(|age| format!("{} ago", Span::from_millis(age)));
    let in_sync = if member.in_sync { "yes" } else { "no" };
    let name = if member.electable {
        member.instance.clone()
    } else {
        format!("{} (not electable)", member.instance)
    };
    vec![
        comfy_table::Cell::new(name),
        table::word(&member.role),
        table::word(&member.health),
        table::word(in_sync),
        comfy_table::Cell::new(member.lag_bytes.map_or("-".to_owned(), bytes)),
        comfy_table::Cell::new(&member.position),
        table::word(beat.as_deref().unwrap_or("never")),
        comfy_table::Cell::new(table::or_dash(member.zone.as_deref())),
        comfy_table::Cell::new(table::or_dash(member.coordinator.as_deref())),
    ]
}

/// Decimal, at most one digit after the point: `0 B`, `512 B`, `1.2 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.into_iter().find(|(scale, _)| count >= *scale) {
        Some((scale, unit)) => format!("{}.{} {unit}", count / scale, count % scale * 10 / scale),
        None => format!("{count} B"),
    }
}

/// Who is master of what.
#[must_use]
pub fn masters(change: &MastersChange, palette: Palette) -> String {
    let mut masters = table::new(&["REPLICA SET", "TERM", "MASTER", "ENDPOINT", "STATE"]);
    for entry in &change.masters {
        masters.add_row(vec![
            comfy_table::Cell::new(&entry.replicaset),
            comfy_table::Cell::new(entry.term),
            comfy_table::Cell::new(table::or_dash(Some(&entry.master))),
            comfy_table::Cell::new(table::or_dash(Some(&entry.endpoint))),
            table::word(&entry.state),
        ]);
    }
    table::indented(masters, palette.color, "")
}

/// One change of master, in a line that can be searched for.
#[must_use]
pub fn change(at: &str, replicaset: &str, master: &Master, palette: Palette) -> String {
    let state = match master.state {
        MasterState::Active => palette.good("active"),
        MasterState::Appointed => palette.doubtful("appointed"),
        MasterState::None => palette.bad("no master"),
    };
    let (instance, endpoint) =
        (table::or_dash(Some(&master.instance)), table::or_dash(Some(&master.endpoint)));
    let name = palette.strong(replicaset);
    format!("{at}  {name}  term {}  {instance} at {endpoint}  {state}\n", master.term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_short() {
        for (count, text) in
            [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_250_000, "1.2 MB"), (3_000_000_000, "3.0 GB")]
        {
            assert_eq!(bytes(count), text);
        }
    }
}
