//! Verbs of processes and disks.
//!
//! Of an instance's host: `kill-engine a1`, `kill-host a1`, `pause a1`, `thaw a1`, `pause-guard a1`, `thaw-guard a1`,
//! `crash-guard a1`, `restart-guard a1`, `reboot a1`, `move a1` (the same name on another host), `stall a1`, `deaf a1`,
//! `hears a1`, `late-commands a1`, `break-connection a1`, `deaf-deadman a1`, `deadman-hears a1`, `kill-deadman a1`, `stick-disk a1`,
//! `free-disk a1`, `adopt a1` (a writable engine that somebody else runs), `hand-over a1` (the sidecar ends by plan), `start-guard a1`,
//! `keep-copy a1` (of a hand-over), `put-back a1`, `lose-hand-over a1` (its taker crashes before it takes a step). Of an arbiter: `crash-arbiter b1`, `start-arbiter b1`, `pause-arbiter b1`, `thaw-arbiter b1`,
//! `stop-renewing b1`. Of the board: `stop-provider`, `start-provider`, `backup-provider`, `restore-provider`,
//! `lose-provider`, `put-provider-back`.

use super::{StoryError, Words};
use crate::world::World;
use baton_core::guard::{Input, Saved};
use baton_core::ids::InstanceName;

pub(super) fn verb(world: &mut World, verb: &str, words: &mut Words<'_>) -> Result<bool, StoryError> {
    match verb {
        "stop-provider" => world.stop_provider(),
        "start-provider" => world.start_provider(),
        "backup-provider" => world.provider.backup = Some(Box::new(world.provider.durable.clone())),
        "restore-provider" => {
            let backup = world.provider.backup.clone();
            let backup = backup.ok_or_else(|| StoryError::Words("there is no backup".to_owned()))?;
            world.restore_provider(*backup);
        }
        "lose-provider" if world.lose_provider() => {}
        "put-provider-back" => world.put_provider_back(),
        "crash-arbiter" => world.crash_arbiter(&words.one()?),
        "start-arbiter" => world.start_arbiter(&words.one()?),
        "pause-arbiter" | "thaw-arbiter" => world.freeze_arbiter(&words.one()?, verb == "pause-arbiter"),
        "stop-renewing" => {
            if let Some(node) = world.arbiters.get_mut(&words.one()?) {
                node.no_renewals = true;
            }
        }
        _ => return host_verb(world, verb, words),
    }
    Ok(true)
}

fn host_verb(world: &mut World, verb: &str, words: &mut Words<'_>) -> Result<bool, StoryError> {
    let known = [
        "kill-engine",
        "kill-host",
        "pause",
        "thaw",
        "pause-guard",
        "thaw-guard",
        "crash-guard",
        "stop-guard",
        "restart-guard",
        "reboot",
        "move",
        "stall",
        "deaf",
        "hears",
        "break-connection",
        "deaf-deadman",
        "deadman-hears",
        "kill-deadman",
        "late-commands",
        "adopt",
        "stick-disk",
        "free-disk",
        "hand-over",
        "start-guard",
        "keep-copy",
        "put-back",
        "lose-hand-over",
    ];
    if !known.contains(&verb) {
        return Ok(false);
    }
    let instance = words.instance()?;
    match verb {
        "kill-engine" => world.end_engine(&instance),
        "kill-host" => world.kill_host(&instance),
        "pause" => world.freeze(&instance),
        "thaw" => world.thaw(&instance),
        "thaw-guard" => world.resume_backlog(&instance),
        "crash-guard" => world.crash_guard(&instance),
        "stop-guard" => world.tell_guard_to_stop(&instance),
        "restart-guard" => {
            world.crash_guard(&instance);
            world.start_guard(&instance);
        }
        "hand-over" => drop(world.hand_over(&instance)),
        "start-guard" => world.start_guard(&instance),
        "hears" => world.engine_hears(&instance),
        "adopt" => adopt(world, &instance),
        "late-commands" => world.late_commands(&instance),
        "break-connection" => world.break_connection(&instance),
        "deadman-hears" => world.deadman_hears(&instance),
        "kill-deadman" => world.kill_deadman(&instance),
        "free-disk" => world.free_disk(&instance),
        "stall" => stall(world, &instance),
        "reboot" | "move" => restart_elsewhere(world, &instance, verb == "move"),
        _ => switch(world, &instance, verb),
    }
    Ok(true)
}

fn switch(world: &mut World, instance: &InstanceName, verb: &str) {
    let Some(node) = world.nodes.get_mut(instance) else { return };
    match verb {
        "pause-guard" => node.guard_frozen = true,
        "deaf" => node.engine_deaf = true,
        "deaf-deadman" => node.deadman.deaf = true,
        "stick-disk" => node.disk_stuck = true,
        "keep-copy" => node.copy = node.left.clone(),
        "put-back" => node.left = node.copy.clone(),
        "lose-hand-over" => {
            node.left = None;
            node.taken += 1;
        }
        _ => {}
    }
}

/// The engine is run by somebody else, is writable, and its guard comes after it.
fn adopt(world: &mut World, instance: &InstanceName) {
    world.crash_guard(instance);
    let Some(node) = world.nodes.get_mut(instance) else { return };
    node.supervised = false;
    node.engine.start();
    node.engine.writable = true;
    world.start_guard(instance);
}

/// The engine answers nobody, and the write-path check says so.
fn stall(world: &mut World, instance: &InstanceName) {
    let Some(node) = world.nodes.get_mut(instance) else { return };
    node.engine.stalled = true;
    world.tell_guard(instance, Input::WritePath { finished: false });
}

/// The machine boots anew; or another host, with a directory of its own, takes the name.
fn restart_elsewhere(world: &mut World, instance: &InstanceName, other_host: bool) {
    world.kill_host(instance);
    let Some(node) = world.nodes.get_mut(instance) else { return };
    node.boot += 1;
    node.same_boot = false;
    if other_host {
        node.home += 100;
        node.disk = Saved::default();
        node.engine.replace_data(Vec::new());
    }
    world.start_guard(instance);
}
