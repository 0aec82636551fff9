//! Breaks every safety rule of guard and arbiter in turn: the oracle must see it, and must see nothing in the same world
//! while all rules are kept. A check that cannot fail would be no check.

use baton_core::guard::{Guard, Input};
use baton_core::ids::Term;
use baton_core::message::{Directive, Grant, Order, ToGuard};
use baton_core::record::Settings;
use baton_core::rules::{Keeper, Rule, Rules};
use baton_core::time::Span;
use scenario::fixtures::{at_rest, name, setup, synchronous};
use scenario::world::{NextWrite, Setup, World};

/// Without failsafe: a master that no arbiter answers stops, and no rule of the lease is covered by promises.
fn rest(rules: Rules) -> World {
    at_rest(Setup { rules, settings: Settings { failsafe: false, ..Settings::default() }, ..setup() })
}

fn rest_with_failsafe(rules: Rules) -> World {
    at_rest(Setup { rules, ..setup() })
}

/// Lets time pass, a tenth of a millisecond at a time, until `come` or for ten seconds.
fn until(world: &mut World, come: impl Fn(&World) -> bool) {
    for _ in 0..100_000 {
        if come(world) || world.violation().is_some() {
            return;
        }
        world.advance(Span(100));
    }
    let (lines, _) = world.take_lines();
    panic!("what the script waits for never comes:\n{}", lines.join("\n"));
}

fn guard<'a>(world: &'a World, instance: &str) -> &'a Guard {
    world.nodes[&name(instance)].guard.as_ref().expect("the guard runs")
}

fn leads(world: &World, instance: &str) -> bool {
    guard(world, instance).right_until().is_some()
}

fn recorded(world: &World, term: u64) -> bool {
    world.provider.record().is_some_and(|record| record.term == Term(term))
}

fn host<'a>(world: &'a mut World, instance: &str) -> &'a mut scenario::world::Node {
    world.nodes.get_mut(&name(instance)).expect("it is in the world")
}

/// A restarted guard is told to lead at the very term that it read when it started. (No arbiter of ours says so: it
/// would have to err. The guard is the last to know better.)
fn lead_above_read_term(world: &mut World) {
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
fn lease_from_send(world: &mut World) {
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
fn no_revival(world: &mut World) {
    world.net().hold("b1", "a1", "grant");
    world.millis(1_000);
    host(world, "a1").engine_deaf = true;
    until(world, |world| !leads(world, "a1"));
    world.release("b1", "a1");
    world.millis(3_000);
}

/// The master hears nothing more.
fn fence_before_deadline(world: &mut World) {
    world.cut("a1", "b1");
    world.millis(4_000);
}

/// The deadman of the next master is starved.
fn arm_before_promote(world: &mut World) {
    host(world, "a2").deadman.deaf = true;
    world.end_engine(&name("a1"));
    world.millis(3_000);
}

/// A promotion waits in a socket that is given up, and is carried out after another was appointed.
fn settle_promotion(world: &mut World) {
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
fn persist_term_before_promote(world: &mut World) {
    host(world, "a1").disk_stuck = true;
    world.millis(5_000);
}

/// An order to follow the old master, on its way since before, reaches a member that was severed.
fn sever_binds(world: &mut World) {
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
fn ignore_lower_epoch(world: &mut World) {
    world.net().hold("b1", "a1", "relinquish");
    world.switchover(None, Span::from_secs(2));
    world.millis(10);
    world.crash_arbiter("b1");
    world.millis(1_000);
    world.release("b1", "a1");
    world.millis(1_000);
}

/// The master is cut off from the arbiter.
fn wait_for_outer_bound(world: &mut World) {
    world.cut("a1", "b1");
    world.millis(5_000);
}

/// The arbiter does not reach the provider, and its successor does not hear the master.
fn grant_within_lock(world: &mut World) {
    world.cut("a1", "b2");
    world.cut("board", "b1");
    world.millis(9_000);
}

/// An appointed master is not heard in time, and comes back while the next one is being chosen.
fn no_grant_after_evidence(world: &mut World) {
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
fn wait_for_predecessor(world: &mut World) {
    world.cut("a1", "b2");
    world.crash_arbiter("b1");
    world.millis(6_000);
}

/// The write of the first appointment is lost.
fn record_before_direct(world: &mut World) {
    world.treat_next_write(NextWrite::LoseRequest);
    world.millis(500);
}

/// The master's host is gone; another host with its name speaks to a new arbiter that never heard the real one.
fn evidence_from_holder(world: &mut World) {
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
fn choose_in_sync(world: &mut World) {
    world.isolate("a3");
    world.millis(8_000);
    for gone in ["a1", "a2"] {
        world.kill_host(&name(gone));
    }
    world.heal();
    world.millis(8_000);
}

/// A write was acknowledged by a3 alone, which is out of reach when the master dies.
fn sever_quorum(world: &mut World) {
    world.net().hold("a1", "a2", "data");
    world.client_write(&name("a1"));
    world.millis(100);
    world.isolate("a3");
    world.kill_host(&name("a1"));
    world.millis(8_000);
}

/// A member whose guard is dead follows the old master on; that one comes back as master, and only this member hears of a
/// write.
fn count_stragglers(world: &mut World) {
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

/// The write of the next appointment is lost, and nobody says so.
fn settle_unknown(world: &mut World) {
    world.treat_next_write(NextWrite::LoseRequest);
    world.end_engine(&name("a1"));
    world.millis(3_000);
}

/// The only one that is left has lost its data.
fn check_identity(world: &mut World) {
    world.kill_host(&name("a3"));
    world.cut("a1", "a2");
    world.end_engine(&name("a2"));
    host(world, "a2").engine.log.clear();
    world.millis(600);
    world.kill_host(&name("a1"));
    world.millis(8_000);
}

/// Something makes an engine writable before the set has its first master.
fn fence_intruder(world: &mut World) {
    world.kill_host(&name("a3"));
    world.millis(100);
    host(world, "a2").engine.writable = true;
    world.millis(5_000);
}

/// The provider is away for a while, and as it comes back the master is cut off with the others' promises in hand.
fn hold_promise(world: &mut World) {
    world.stop_provider();
    world.millis(6_000);
    world.start_provider();
    world.isolate("a1");
    world.millis(6_000);
}

/// The disk of a member stands still while it promises; then its guard is restarted and remembers nothing of it.
fn persist_promise(world: &mut World) {
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
fn need_every_promise(world: &mut World) {
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
fn honour_newcomer(world: &mut World) {
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
fn hold_restored(world: &mut World) {
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
fn bound_pin(world: &mut World) {
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
fn await_unpin(world: &mut World) {
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

fn waits_for(world: &mut World, ack_quorum: u32) {
    let settings = Settings { ack_quorum, ..world.settings.clone() };
    world.change_settings(settings);
}

/// Commits are to wait, and a write that nobody was waited for is on no replica yet when the master dies.
fn quorum_master_first(world: &mut World) {
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
fn cut_before_quorum(world: &mut World) {
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
fn leave_the_master_alone(world: &mut World) {
    world.isolate("a2");
    world.isolate("a3");
    let alone =
        |world: &World| world.provider.record().is_some_and(|record| record.in_sync == [name("a1")].into());
    until(world, alone);
    world.millis(200);
    world.heal();
}

/// A master alone in its in-sync set is heard by nobody, and needs nobody's promise; a person wants another one.
fn force_needs_refusal(world: &mut World) {
    leave_the_master_alone(world);
    world.isolate("a1");
    world.millis(1_000);
    world.force(Some(name("a2")), Span::from_secs(10), false);
    world.millis(12_000);
}

/// A master alone in its in-sync set goes on unheard while its set is removed; then the others come back under the name.
fn await_removed_master(world: &mut World) {
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
fn take_hand_over_once(world: &mut World) {
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
fn hand_promise_over(world: &mut World) {
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

/// How a world begins.
type Begin = fn(Rules) -> World;
/// What happens in it.
type Script = fn(&mut World);

/// The world in which a rule matters, and what happens in it.
fn script(rule: Rule) -> (Begin, Script) {
    fn begins(rules: Rules) -> World {
        World::new(Setup { rules, ..setup() }).expect("safe settings")
    }
    fn two_begin(rules: Rules) -> World {
        at_rest(Setup { rules, bootstrap_members: Some(2), ..setup() })
    }
    fn waits_for_one(rules: Rules) -> World {
        let priorities = [("a1", 110), ("a2", 90), ("a3", 100)].map(|(text, it)| (name(text), it));
        let one = synchronous(1);
        let settings = Settings { failsafe: false, ..one.settings };
        at_rest(Setup { rules, settings, priorities: priorities.into_iter().collect(), ..synchronous(1) })
    }
    match rule {
        Rule::LeadAboveReadTerm => (rest, lead_above_read_term),
        Rule::LeaseFromSend => (rest, lease_from_send),
        Rule::NoRevival => (rest, no_revival),
        Rule::FenceBeforeDeadline => (rest, fence_before_deadline),
        Rule::ArmBeforePromote => (rest, arm_before_promote),
        Rule::SettlePromotion => (rest, settle_promotion),
        Rule::PersistTermBeforePromote => (begins, persist_term_before_promote),
        Rule::SeverBinds => (waits_for_one, sever_binds),
        Rule::IgnoreLowerEpoch => (rest, ignore_lower_epoch),
        Rule::WaitForOuterBound => (rest, wait_for_outer_bound),
        Rule::GrantWithinLock => (rest, grant_within_lock),
        Rule::NoGrantAfterEvidence => (rest, no_grant_after_evidence),
        Rule::WaitForPredecessor => (rest, wait_for_predecessor),
        Rule::RecordBeforeDirect => (begins, record_before_direct),
        Rule::EvidenceFromHolder => (rest, evidence_from_holder),
        Rule::ChooseInSync => (rest, choose_in_sync),
        Rule::SeverQuorum => (waits_for_one, sever_quorum),
        Rule::CountStragglers => (waits_for_one, count_stragglers),
        Rule::SettleUnknown => (rest, settle_unknown),
        Rule::CheckIdentity => (rest, check_identity),
        Rule::FenceIntruder => (begins, fence_intruder),
        Rule::HoldRestored => (rest_with_failsafe, hold_restored),
        Rule::PersistPromise => (rest_with_failsafe, persist_promise),
        Rule::HoldPromise => (rest_with_failsafe, hold_promise),
        Rule::NeedEveryPromise => (rest_with_failsafe, need_every_promise),
        Rule::HonourNewcomer => (rest_with_failsafe, honour_newcomer),
        Rule::BoundPin => (rest, bound_pin),
        Rule::AwaitUnpin => (rest, await_unpin),
        Rule::QuorumMasterFirst => (rest, quorum_master_first),
        Rule::CutBeforeQuorum => (rest, cut_before_quorum),
        Rule::ForceNeedsRefusal => (rest_with_failsafe, force_needs_refusal),
        Rule::AwaitRemovedMaster => (two_begin, await_removed_master),
        Rule::TakeHandOverOnce => (rest, take_hand_over_once),
        Rule::HandPromiseOver => (rest_with_failsafe, hand_promise_over),
        other => panic!("there is no story for {other:?}"),
    }
}

/// Which property is to see it.
fn seen_by(rule: Rule) -> &'static str {
    match rule {
        Rule::LeadAboveReadTerm | Rule::PersistTermBeforePromote => "I3",
        Rule::NoRevival | Rule::FenceBeforeDeadline | Rule::ArmBeforePromote | Rule::TakeHandOverOnce => {
            "rights"
        }
        Rule::LeaseFromSend
        | Rule::SettlePromotion
        | Rule::WaitForOuterBound
        | Rule::GrantWithinLock
        | Rule::NoGrantAfterEvidence
        | Rule::WaitForPredecessor
        | Rule::HoldRestored
        | Rule::PersistPromise
        | Rule::HoldPromise
        | Rule::NeedEveryPromise
        | Rule::HonourNewcomer
        | Rule::BoundPin
        | Rule::AwaitUnpin
        | Rule::ForceNeedsRefusal
        | Rule::AwaitRemovedMaster
        | Rule::HandPromiseOver => "I2",
        Rule::RecordBeforeDirect | Rule::SettleUnknown => "I4",
        Rule::SeverBinds
        | Rule::SeverQuorum
        | Rule::CountStragglers
        | Rule::QuorumMasterFirst
        | Rule::CutBeforeQuorum => "I5",
        Rule::IgnoreLowerEpoch => "epochs",
        Rule::EvidenceFromHolder => "evidence",
        Rule::ChooseInSync => "appointments",
        Rule::CheckIdentity => "identity",
        Rule::FenceIntruder => "intruder",
        other => panic!("there is no story for {other:?}"),
    }
}

#[test]
fn every_broken_rule_is_caught() {
    let mut wrong = Vec::new();
    for rule in Rule::ALL {
        // The board's own are broken in its tests, and what is taken off for clocks in the model.
        if matches!(rule.keeper(), Keeper::Board | Keeper::Timing) {
            continue;
        }
        let (begin, script) = script(rule);
        let mut kept = begin(Rules::default());
        script(&mut kept);
        if let (lines, Some(violation)) = kept.take_lines() {
            wrong.push(format!("{rule:?} kept: {violation}\n{}", lines.join("\n")));
        }
        let mut broken = begin(Rules::without(rule));
        script(&mut broken);
        match broken.take_lines() {
            (_, Some(violation)) if violation.property == seen_by(rule) => {}
            (lines, found) => {
                let found = found.map_or("nothing".to_owned(), |violation| violation.to_string());
                wrong.push(format!("{rule:?} broken: {found} is seen\n{}", lines.join("\n")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
