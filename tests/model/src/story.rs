//! A way through a world as people read it: one line a step, with what changed.

use crate::host::Host;
use crate::moves::Move;
use crate::state::{State, instance};
use crate::world::World;

/// The lines of a way from the beginning to where an invariant is broken. Steps that only let time pass are joined.
#[must_use]
pub fn story(world: &World, path: &[(State, Option<Move>)]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut before: Option<String> = None;
    let mut cause: Option<Move> = None;
    for (number, (state, next)) in path.iter().enumerate() {
        let now = glance(world, state);
        if before.as_ref() != Some(&now) || !matches!(cause, Some(Move::Advance(_))) {
            let did = cause.map_or("begin".to_owned(), |step| format!("{step:?}"));
            lines.push(format!("{number:4}  {did:<28} {now}"));
        }
        before = Some(now);
        cause = *next;
    }
    lines
}

fn glance(world: &World, state: &State) -> String {
    let hosts = state.hosts.iter().map(|host| host_glance(host));
    let hosts: Vec<String> = hosts.collect();
    let clocks: Vec<String> = state.clocks.iter().map(|time| time.0.to_string()).collect();
    let arbiters: Vec<String> = state
        .seats
        .iter()
        .enumerate()
        .map(|(index, seat)| {
            let now = state.clocks[world.arbiter_clocks[index]];
            let active = if seat.machine.is_active(now) { "active" } else { "idle" };
            format!("c{} {active}{}", index + 11, if seat.paused { " paused" } else { "" })
        })
        .collect();
    let record = state.provider.record.as_ref().map_or("no record".to_owned(), |record| {
        let master = record.master.as_ref().map_or("nobody".to_owned(), ToString::to_string);
        format!("term {} of {master}", record.term)
    });
    format!(
        "{record}, epoch {} | {} | {} | clocks {}",
        state.provider.epoch,
        hosts.join(", "),
        arbiters.join(", "),
        clocks.join(" ")
    )
}

fn host_glance(host: &Host) -> String {
    let engine = match (&host.engine.up, &host.engine.writable, &host.engine.follows) {
        (false, ..) => "ended".to_owned(),
        (true, true, _) => format!("WRITABLE at {}", host.engine.promoted),
        (true, false, Some(master)) => format!("follows {}", instance(*master)),
        (true, false, None) => "fenced".to_owned(),
    };
    let right = host.guard.as_ref().and_then(baton_core::guard::Guard::right_until);
    let right = right.map_or(String::new(), |(_, until)| format!(" right to {}", until.0));
    let deadline = host.deadline.map_or(String::new(), |at| format!(" deadman at {}", at.0));
    let state = match (host.frozen, host.paused, host.guard.is_some()) {
        (true, ..) => " FROZEN",
        (_, true, _) => " PAUSED",
        (_, _, false) => " CRASHED",
        _ => "",
    };
    format!("{} {engine}{right}{deadline}{state}", instance(host.index))
}
