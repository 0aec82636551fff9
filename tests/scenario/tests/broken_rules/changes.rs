//! What happens in the worlds in which a rule of writes, versions, in-sync sets or promises matters.

use crate::scripts::waits_for;
use crate::support::{guard, host, until};
use scenario::fixtures::name;
use scenario::world::{NextWrite, World};

/// The master's beats come late.
pub fn evidence_before_sever(world: &mut World) {
    world.net().hold("a1", "b1", "beat");
    world.millis(2_000);
    world.release("a1", "b1");
    world.millis(1_000);
}

/// A member stays away until the set is recorded without it.
pub fn shrink_by(world: &mut World, member: &str) {
    let others = ["a1", "a2", "a3", "b1", "b2", "board"].into_iter().filter(|other| *other != member);
    let links: Vec<_> = others.flat_map(|other| [(member, other), (other, member)]).collect();
    for (from, to) in &links {
        world.net().hold(from, to, "all");
    }
    let left = |world: &World| world.provider.record().is_some_and(|it| !it.in_sync.contains(&name(member)));
    until(world, left);
    for (from, to) in &links {
        world.net().drop_held(from, to);
        world.release(from, to);
    }
}

/// Orders to lead stay on their way while the in-sync set changes to and fro.
pub fn ignore_lower_version(world: &mut World) {
    shrink_by(world, "a3");
    world.net().hold("b1", "a1", "lead");
    world.millis(1_000);
    world.isolate("a2");
    world.millis(5_000);
    world.release("b1", "a1");
    world.millis(500);
}

/// A member's leaving is on its way to the record for long; meanwhile that one is back, and another one goes away.
pub fn another_change(world: &mut World) {
    world.treat_next_write(NextWrite::Delay);
    world.isolate("a3");
    world.take_lines();
    until(world, |world| world.clone().take_lines().0.iter().any(|line| line.contains("b1: writes v")));
    world.heal();
    world.millis(1_000);
    world.isolate("a2");
    world.millis(5_000);
}

/// Somebody is outside the in-sync set, and is heard, when the master dies.
pub fn narrow_in_sync(world: &mut World) {
    shrink_by(world, "a3");
    world.net().hold("b1", "a1", "grow");
    world.millis(1_000);
    world.net().hold("a2", "b1", "beat");
    world.end_engine(&name("a1"));
    world.millis(100);
    world.release("a2", "b1");
    world.millis(2_000);
}

/// Commits are to wait for a replica, the master has answered so, and the lock goes elsewhere before that is recorded: the first
/// order of the next arbiter takes the raise back.
pub fn count_own_answers(world: &mut World) {
    world.treat_next_write(NextWrite::LoseRequest);
    waits_for(world, 1);
    let written =
        |world: &World| world.clone().take_lines().0.iter().any(|line| line.contains("b1: writes v"));
    until(world, written);
    world.net().hold("b2", "a1", "lead");
    world.resign("b1");
    let written =
        |world: &World| world.clone().take_lines().0.iter().any(|line| line.contains("b2: writes v"));
    until(world, written);
    world.release("b2", "a1");
    world.millis(2_000);
}

/// A member that left is ready to come back, and the master is not asked yet.
pub fn record_before_count(world: &mut World) {
    world.cut("a1", "a3");
    let left = |world: &World| world.provider.record().is_some_and(|it| !it.in_sync.contains(&name("a3")));
    until(world, left);
    world.heal();
    world.net().hold("b1", "a1", "grow");
    world.net().hold("a1", "a2", "data");
    world.millis(200);
    world.client_write(&name("a1"));
    world.millis(200);
}

/// No grant reaches the master, by whichever way; the others promise.
pub fn live_by_promises(world: &mut World) {
    world.net().hold("b1", "a1", "grant");
    for member in ["a2", "a3"] {
        world.net().hold("b1", member, "relay");
    }
    until(world, |world| guard(world, "a1").rests_on_promises());
}

/// A member that left comes back while the master lives by the promise of the other one.
pub fn regrant_before_grow(world: &mut World) {
    for (from, to) in [("a3", "b1"), ("b1", "a3")] {
        world.net().hold(from, to, "all");
    }
    let left = |world: &World| world.provider.record().is_some_and(|it| !it.in_sync.contains(&name("a3")));
    until(world, left);
    live_by_promises(world);
    for (from, to) in [("a3", "b1"), ("b1", "a3")] {
        world.release(from, to);
    }
    world.millis(2_000);
}

/// A member is expelled while the master lives by promises, and its leaving does not get to the record.
pub fn need_leaver(world: &mut World) {
    live_by_promises(world);
    let mut settings = world.settings.clone();
    settings.members.entry(name("a3")).or_default().expelled = true;
    world.change_settings(settings);
    world.millis(2);
    world.cut("b1", "board");
    world.millis(3_000);
}

/// No grant reaches the master but by the others.
pub fn relay_in_contact(world: &mut World) {
    world.net().hold("b1", "a1", "grant");
    world.millis(5_000);
}

/// A replica confirms a write, loses it, and cannot get it again before the master dies.
pub fn report_whole(world: &mut World) {
    world.net().hold("a1", "a3", "data");
    world.client_write(&name("a1"));
    world.millis(50);
    world.cut("a1", "a2");
    world.end_engine(&name("a2"));
    host(world, "a2").engine.log.pop();
    world.millis(600);
    world.kill_host(&name("a1"));
    world.millis(8_000);
}

/// A replica confirms a write, and loses it with its host's power. Its guard reads that the run before was whole, and the master
/// dies before the replica can catch up.
pub fn forget_ended_run(world: &mut World) {
    world.net().hold("a1", "a3", "data");
    world.client_write(&name("a1"));
    world.millis(50);
    world.cut("a1", "a2");
    world.kill_host(&name("a2"));
    let a2 = host(world, "a2");
    a2.engine.log.pop();
    a2.boot += 1;
    a2.same_boot = false;
    world.start_guard(&name("a2"));
    world.millis(600);
    world.kill_host(&name("a1"));
    world.millis(12_000);
}

/// The master is replaced, and the others follow the next one.
pub fn forget_before_follow(world: &mut World) {
    world.kill_host(&name("a1"));
    world.millis(6_000);
}

/// A pause ends while the lock runs out, and the master is cut off once that is recorded.
pub fn cover_unpin(world: &mut World) {
    world.pause_set(None);
    world.millis(2_000);
    world.arbiters.get_mut("b1").expect("it is in the world").no_renewals = true;
    world.millis(3_000);
    world.resume_set();
    world.millis(20);
    world.isolate("a1");
    world.millis(6_000);
}

/// Whoever takes the lock over gives it up before it has read anything.
pub fn keep_earlier_bounds(world: &mut World) {
    let epoch = world.provider.epoch();
    world.crash_arbiter("b1");
    until(world, |world| world.provider.epoch() > epoch);
    world.resign("b2");
    world.start_arbiter("b1");
    world.millis(200);
}

/// The master's clock is slow and the arbiter's fast, each by what they may be; guard and master are stopped.
pub fn keep_margin(world: &mut World) {
    let now = world.now;
    host(world, "a1").clock.set_rate(now, -5_000);
    world.arbiters.get_mut("b1").expect("it is in the world").clock.set_rate(now, 5_000);
    world.millis(2_000);
    host(world, "a1").guard_frozen = true;
    world.millis(4_000);
}
