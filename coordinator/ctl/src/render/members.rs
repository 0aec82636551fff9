//! The members as a table, with what people said of each.

use super::{Palette, line, table};
use baton_proto::v1::ListedMember;
use std::time::Duration;

/// All of them; `now` in milliseconds since 1970, for what is left of a maintenance.
#[must_use]
pub fn members(members: &[ListedMember], now: u64, palette: Palette) -> String {
    if members.is_empty() {
        return "no members yet: each is listed when its coordinator attaches\n".to_owned();
    }
    let mut found = table::new(&[
        "INSTANCE",
        "REPLICA SET",
        "ROLE",
        "PRIORITY",
        "ELECTABLE",
        "ZONE",
        "COORDINATOR",
        "SAID",
    ]);
    for member in members {
        let role = match (member.master, member.in_sync) {
            (true, _) => "master",
            (false, true) => "in sync",
            (false, false) => "-",
        };
        let electable = member.said_electable.unwrap_or(member.electable);
        found.add_row(vec![
            comfy_table::Cell::new(&member.instance),
            comfy_table::Cell::new(table::or_dash(Some(&member.replicaset))),
            table::word(role),
            comfy_table::Cell::new(member.said_priority.unwrap_or(member.priority)),
            table::word(if electable { "yes" } else { "no" }),
            comfy_table::Cell::new(table::or_dash(Some(&member.zone))),
            comfy_table::Cell::new(table::or_dash(Some(&member.coordinator))),
            comfy_table::Cell::new(said(member, now)),
        ]);
    }
    let mut text = table::indented(found, palette.color, "");
    if members.iter().any(|member| !member.listed) {
        line(&mut text, "Without a replica set: only spoken of in the settings, not in the list.");
    }
    text
}

fn said(member: &ListedMember, now: u64) -> String {
    let mut words = Vec::new();
    if member.expelled {
        words.push("expelled".to_owned());
    }
    if let Some(until) = member.maintenance_until_unix_millis {
        let at = baton_client::status::rfc3339(until);
        words.push(match until.checked_sub(now).filter(|left| *left > 0) {
            // Whole seconds: nobody needs more of an hour.
            Some(left) => {
                let left = humantime::format_duration(Duration::from_secs(left.div_ceil(1_000)));
                format!("in maintenance, {left} left")
            }
            None => format!("maintenance ended at {at}"),
        });
    }
    if let Some(priority) = member.said_priority {
        words.push(format!("priority {priority} (host: {})", member.priority));
    }
    if let Some(electable) = member.said_electable {
        let word = |electable| if electable { "electable" } else { "not electable" };
        words.push(format!("{} (host: {})", word(electable), word(member.electable)));
    }
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}
