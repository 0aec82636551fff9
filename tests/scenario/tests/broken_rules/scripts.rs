//! What happens in the worlds in which a rule of leases, locks, evidence, promotions or people matters.

use crate::support::{guard, host, leads, recorded, until};
use baton_core::guard::Input;
use baton_core::message::{Directive, Grant, Order, ToGuard};
use baton_core::record::Settings;
use baton_core::time::Span;
use scenario::fixtures::name;
use scenario::world::{NextWrite, World};

/// A restarted guard is told to lead at the very term that it read when it started. (No arbiter of ours says so: it
/// would have to err. The guard is the last to know better.)
pub fn lead_above_read_term(world: &mut World) {
    let a3 = name("a3");
    world.crash_guard(&a3);
    world.start_guard(&a3);
    world.millis(5_000);
    let record = world.provider.record().expect("there is a master").clone();
    let incarnation = world.nodes[&a3].incarnation();
    let order =
        Order::Lead { in_sync: record.in_sync, data_id: record.data_id.expect("it is known"), ack_quorum: 0 };
    let (epoch, version, term) = (record.epoch, record.version.next(), record.term);
    let directive = Directive { incarnation, epoch, version, term, order };
    world.tell_guard(&a3, Input::FromArbiter(ToGuard::Directive(directive)));
    let beat = world.nodes[&a3].clock.read(world.now);
    let lease = world.timing.lease_ttl;
    let grant = Grant { beat, incarnation, epoch, term, ttl: lease, lease, pinned: None };
    world.tell_guard(&a3, Input::FromArbiter(ToGuard::Grant(grant)));
    world.millis(100);
}

/// A grant that answers an early beat comes late; the beats after it never arrive.
pub fn lease_from_send(world: &mut World) {
    world.net().hold("b1", "a1", "grant");
    world.millis(600);
    world.net().cut("a1", "b1");
    world.millis(1_100);
    world.release("b1", "a1");
    world.millis(10);
    world.net().cut("b1", "a1");
    world.millis(4_000);
}

/// The right lapses while the engine is slow to answer the fence; then grants come that were on their way.
pub fn no_revival(world: &mut World) {
    world.net().hold("b1", "a1", "grant");
    world.millis(1_000);
    host(world, "a1").engine_deaf = true;
    until(world, |world| !leads(world, "a1"));
    world.release("b1", "a1");
    world.millis(3_000);
}

/// The master hears nothing more.
pub fn fence_before_deadline(world: &mut World) {
    world.cut("a1", "b1");
    world.millis(4_000);
}

/// The deadman of the next master is starved.
pub fn arm_before_promote(world: &mut World) {
    host(world, "a2").deadman.deaf = true;
    world.end_engine(&name("a1"));
    world.millis(3_000);
}

/// A promotion waits in a socket that is given up, and is carried out after another was appointed.
pub fn settle_promotion(world: &mut World) {
    world.kill_host(&name("a1"));
    until(world, |world| leads(world, "a2"));
    host(world, "a2").engine_deaf = true;
    // Its host is configured anew, so that it is not the first choice again.
    host(world, "a2").priority = 1;
    world.close_stream(&name("a2"));
    world.millis(200);
    world.engine_hears(&name("a2"));
    world.break_connection(&name("a2"));
    until(world, |world| recorded(world, 3));
    world.millis(100);
    world.late_commands(&name("a2"));
    world.millis(1_000);
}

/// The disk of the first master stands still.
pub fn persist_term_before_promote(world: &mut World) {
    host(world, "a1").disk_stuck = true;
    world.millis(5_000);
}

/// An order to follow the old master, on its way since before, reaches a member that was severed.
pub fn sever_binds(world: &mut World) {
    world.net().hold("b1", "a2", "follow");
    world.close_stream(&name("a2"));
    world.millis(1_000);
    for replica in ["a2", "a3"] {
        world.net().hold("a1", replica, "data");
    }
    world.client_write(&name("a1"));
    world.cut("a1", "b1");
    until(world, |world| recorded(world, 2));
    world.net().hold("b1", "a2", "lead");
    world.release("b1", "a2");
    world.net().cut("b1", "a2");
    world.millis(100);
    world.release("a1", "a2");
    world.millis(2_000);
}

/// An order to give up, of an arbiter that lost its lock meanwhile, arrives after its successor was heard.
pub fn ignore_lower_epoch(world: &mut World) {
    world.net().hold("b1", "a1", "relinquish");
    world.switchover(None, Span::from_secs(2));
    world.millis(10);
    world.crash_arbiter("b1");
    world.millis(1_000);
    world.release("b1", "a1");
    world.millis(1_000);
}

/// The master is cut off from the arbiter.
pub fn wait_for_outer_bound(world: &mut World) {
    world.cut("a1", "b1");
    world.millis(5_000);
}

/// The arbiter does not reach the provider, and its successor does not hear the master.
pub fn grant_within_lock(world: &mut World) {
    world.cut("a1", "b2");
    world.cut("board", "b1");
    world.millis(9_000);
}

/// An appointed master is not heard in time, and comes back while the next one is being chosen.
pub fn no_grant_after_evidence(world: &mut World) {
    world.kill_host(&name("a1"));
    until(world, |world| recorded(world, 2));
    world.net().hold("a2", "b1", "beat");
    world.net().hold("b1", "a2", "relinquish");
    world.net().hold("b1", "a3", "sever");
    world.take_lines();
    until(world, |world| world.clone().take_lines().0.iter().any(|line| line.contains("tells a3: sever")));
    world.millis(10);
    world.release("a2", "b1");
    world.millis(30);
    world.release("b1", "a3");
    world.millis(2_000);
}

/// The arbiter dies just after a grant, and its successor does not hear the master.
pub fn wait_for_predecessor(world: &mut World) {
    world.cut("a1", "b2");
    world.crash_arbiter("b1");
    world.millis(6_000);
}

/// The write of the first appointment is lost.
pub fn record_before_direct(world: &mut World) {
    world.treat_next_write(NextWrite::LoseRequest);
    world.millis(500);
}

/// The master's host is gone; another host with its name speaks to a new arbiter that never heard the real one.
pub fn evidence_from_holder(world: &mut World) {
    world.kill_host(&name("a1"));
    world.crash_arbiter("b1");
    let impostor = host(world, "a1");
    impostor.home += 100;
    impostor.disk = baton_core::guard::Saved::default();
    impostor.engine.log.clear();
    world.start_guard(&name("a1"));
    world.millis(10_000);
}

/// The only one that is left was never in the in-sync set.
pub fn choose_in_sync(world: &mut World) {
    world.isolate("a3");
    world.millis(8_000);
    for gone in ["a1", "a2"] {
        world.kill_host(&name(gone));
    }
    world.heal();
    world.millis(8_000);
}

/// A write was acknowledged by a3 alone, which is out of reach when the master dies.
pub fn sever_quorum(world: &mut World) {
    world.net().hold("a1", "a2", "data");
    world.client_write(&name("a1"));
    world.millis(100);
    world.isolate("a3");
    world.kill_host(&name("a1"));
    world.millis(8_000);
}

/// Only a2 confirmed the last write. It is appointed, and its host dies at once.
pub fn hold_term_start(world: &mut World) {
    world.net().hold("a1", "a3", "data");
    world.client_write(&name("a1"));
    world.millis(100);
    world.kill_host(&name("a1"));
    until(world, |world| recorded(world, 2));
    world.kill_host(&name("a2"));
    world.millis(10_000);
}

/// A member whose guard is dead follows the old master on; that one comes back as master, and only this member hears of a
/// write.
pub fn count_stragglers(world: &mut World) {
    world.crash_guard(&name("a3"));
    for (target, term) in [("a2", 2), ("a1", 3)] {
        world.switchover(Some(name(target)), Span::from_secs(2));
        until(world, |world| recorded(world, term));
        world.millis(2_000);
    }
    world.cut("a1", "a2");
    world.client_write(&name("a1"));
    world.millis(50);
    world.isolate("a1");
    world.millis(8_000);
}

/// One that follows the old master is taken into the set of the new one, and its guard dies before it hears of that. Then the old
/// one leads again, and only this member hears of a write.
pub fn keep_stragglers(world: &mut World) {
    world.crash_guard(&name("a3"));
    world.switchover(Some(name("a2")), Span::from_secs(2));
    until(world, |world| recorded(world, 2));
    world.net().hold("b1", "a3", "follow");
    host(world, "a3").supervised = false;
    world.start_guard(&name("a3"));
    let in_sync = |world: &World| world.provider.record().is_some_and(|it| it.in_sync.contains(&name("a3")));
    until(world, in_sync);
    world.crash_guard(&name("a3"));
    world.switchover(Some(name("a1")), Span::from_secs(2));
    until(world, |world| recorded(world, 3));
    world.millis(100);
    world.cut("a1", "a2");
    world.client_write(&name("a1"));
    world.millis(50);
}

/// The write of the next appointment is lost, and nobody says so.
pub fn settle_unknown(world: &mut World) {
    world.treat_next_write(NextWrite::LoseRequest);
    world.end_engine(&name("a1"));
    world.millis(3_000);
}

/// The only one that is left has lost its data.
pub fn check_identity(world: &mut World) {
    world.kill_host(&name("a3"));
    world.cut("a1", "a2");
    world.end_engine(&name("a2"));
    host(world, "a2").engine.log.clear();
    world.millis(600);
    world.kill_host(&name("a1"));
    world.millis(8_000);
}

/// Something makes an engine writable before the set has its first master.
pub fn fence_intruder(world: &mut World) {
    world.kill_host(&name("a3"));
    world.millis(100);
    host(world, "a2").engine.writable = true;
    world.millis(5_000);
}

/// The provider is away for a while, and as it comes back the master is cut off with the others' promises in hand.
pub fn hold_promise(world: &mut World) {
    world.stop_provider();
    world.millis(6_000);
    world.start_provider();
    world.isolate("a1");
    world.millis(6_000);
}

/// The disk of a member stands still while it promises; then its guard is restarted and remembers nothing of it.
pub fn persist_promise(world: &mut World) {
    world.stop_provider();
    world.millis(4_000);
    host(world, "a2").disk_stuck = true;
    world.millis(5_000);
    world.start_provider();
    world.isolate("a1");
    let a2 = name("a2");
    world.crash_guard(&a2);
    world.free_disk(&a2);
    world.start_guard(&a2);
    world.millis(6_000);
}

/// One member promises, the other one cannot be asked, and it alone is heard by the arbiter that comes back.
pub fn need_every_promise(world: &mut World) {
    world.stop_provider();
    world.millis(6_000);
    world.cut("a1", "a2");
    for member in ["a1", "a3"] {
        for arbiter in ["b1", "b2"] {
            world.cut(member, arbiter);
        }
    }
    world.millis(4_000);
    world.start_provider();
    world.millis(6_000);
}

/// A newcomer is recorded on the master's word, and the master is cut off before it hears that it was.
pub fn honour_newcomer(world: &mut World) {
    world.isolate("a3");
    world.millis(5_000);
    world.heal();
    world.net().hold("b1", "a1", "lead");
    let grown =
        |world: &World| world.provider.record().is_some_and(|record| record.in_sync.contains(&name("a3")));
    until(world, grown);
    world.cut("a1", "a3");
    for member in ["a1", "a2"] {
        for arbiter in ["b1", "b2"] {
            world.cut(member, arbiter);
        }
    }
    world.millis(8_000);
}

/// The provider is put back to a state from before the last two failovers; the present master is alone in its in-sync set
/// and heard by nobody, and the members of old are back.
pub fn hold_restored(world: &mut World) {
    let backup = world.provider.durable.clone();
    world.kill_host(&name("a1"));
    until(world, |world| recorded(world, 2));
    world.millis(2_000);
    world.kill_host(&name("a3"));
    world.millis(6_000);
    world.isolate("a2");
    world.restore_provider(backup);
    for back in ["a1", "a3"] {
        world.start_guard(&name(back));
    }
    world.millis(12_000);
}

/// A pinned master is heard by nobody, and the arbiter that pinned it dies; then a person ends the pause.
pub fn bound_pin(world: &mut World) {
    world.pause_set(None);
    world.millis(2_000);
    world.isolate("a1");
    world.millis(1_000);
    let active = world.active_arbiter().expect("there is one");
    world.crash_arbiter(&active);
    world.millis(8_000);
    world.resume_set();
    world.millis(8_000);
}

/// The same, and a person ends the pause before the arbiter dies.
pub fn await_unpin(world: &mut World) {
    world.pause_set(None);
    world.millis(2_000);
    world.isolate("a1");
    world.millis(1_000);
    world.resume_set();
    world.millis(1_000);
    let active = world.active_arbiter().expect("there is one");
    world.crash_arbiter(&active);
    world.millis(15_000);
}

pub fn waits_for(world: &mut World, ack_quorum: u32) {
    let settings = Settings { ack_quorum, ..world.settings.clone() };
    world.change_settings(settings);
}

/// Commits are to wait, and a write that nobody was waited for is on no replica yet when the master dies.
pub fn quorum_master_first(world: &mut World) {
    for replica in ["a2", "a3"] {
        world.net().hold("a1", replica, "data");
    }
    world.client_write(&name("a1"));
    waits_for(world, 1);
    world.millis(50);
    world.kill_host(&name("a1"));
    world.millis(8_000);
}

/// A member that is not in the in-sync set replicates on behind the arbiter's back, and commits are to wait for replicas.
pub fn cut_before_quorum(world: &mut World) {
    for arbiter in ["b1", "b2"] {
        world.cut("a3", arbiter);
    }
    world.millis(5_000);
    waits_for(world, 1);
    world.millis(1_000);
    world.net().hold("a1", "a2", "data");
    world.client_write(&name("a1"));
    world.millis(50);
    world.isolate("a1");
    world.millis(8_000);
}

/// The others are away until the record says that the master is alone in its in-sync set.
pub fn leave_the_master_alone(world: &mut World) {
    world.isolate("a2");
    world.isolate("a3");
    let alone =
        |world: &World| world.provider.record().is_some_and(|record| record.in_sync == [name("a1")].into());
    until(world, alone);
    world.millis(200);
    world.heal();
}

/// A master alone in its in-sync set is heard by nobody, and needs nobody's promise; a person wants another one.
pub fn force_needs_refusal(world: &mut World) {
    leave_the_master_alone(world);
    world.isolate("a1");
    world.millis(1_000);
    world.force(Some(name("a2")), Span::from_secs(10), false);
    world.millis(12_000);
}

/// A master alone in its in-sync set goes on unheard while its set is removed; then the others come back under the name.
pub fn await_removed_master(world: &mut World) {
    leave_the_master_alone(world);
    world.close_stream(&name("a1"));
    world.isolate("a1");
    for member in ["a2", "a3"].map(name) {
        world.crash_guard(&member);
    }
    world.millis(4_000);
    world.remove_set();
    until(world, |world| world.provider.record().is_some_and(|record| record.master.is_none()));
    for member in ["a2", "a3"].map(name) {
        world.start_guard(&member);
    }
    world.millis(5_000);
}

/// A master hands over, gives its term up as the next process, and ends; then somebody puts a copy of the hand-over back.
pub fn take_hand_over_once(world: &mut World) {
    let a1 = name("a1");
    assert!(world.hand_over(&a1), "nothing is under way");
    let copy = host(world, "a1").left.clone();
    world.start_guard(&a1);
    world.millis(10);
    world.tell_guard(&a1, Input::Stop);
    world.millis(1);
    world.crash_guard(&a1);
    host(world, "a1").left = copy;
    world.start_guard(&a1);
    world.millis(1_000);
}

/// The provider is away for a while, and as it comes back the master is cut off with the others' promises in hand, whose
/// sidecars are restarted on purpose.
pub fn hand_promise_over(world: &mut World) {
    world.stop_provider();
    world.millis(6_000);
    world.start_provider();
    world.isolate("a1");
    for member in ["a2", "a3"].map(name) {
        until(world, |world| guard(world, member.as_str()).settled().is_ok());
        assert!(world.hand_over(&member), "nothing is under way");
        world.start_guard(&member);
    }
    world.millis(6_000);
}
