//! Random faults on worlds that keep all rules: the oracle must see nothing. Each seed is a run that can be had again.

use baton_client::decision::{CHOSEN, DecisionRecord, ELIGIBLE, Ranked};
use baton_client::replay::{Inputs, replay};
use baton_core::arbiter::{DrillAsked, Fault};
use baton_core::decision::Verdict;
use baton_core::ids::InstanceName;
use baton_core::record::Settings;
use baton_core::rng::split_mix;
use baton_core::settings::LossPolicy;
use baton_core::time::Span;
use baton_core::timing::LEASE_TTL_MIN;
use sim::fixtures::{at_rest, name, setup, synchronous};
use sim::world::{Answer, NextWrite, World};

/// Numbers of one run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        split_mix(self.0) % most
    }

    fn of<'a>(&mut self, names: &[&'a str]) -> &'a str {
        names[usize::try_from(self.below(names.len() as u64)).expect("small")]
    }
}

const HOSTS: [&str; 3] = ["a1", "a2", "a3"];
const ARBITERS: [&str; 2] = ["b1", "b2"];
const ALL: [&str; 6] = ["a1", "a2", "a3", "b1", "b2", "board"];
const KINDS: [&str; 12] = [
    "grant", "beat", "lead", "follow", "sever", "data", "confirm", "promise", "relay", "settings", "quorum",
    "all",
];
const TREATMENTS: [NextWrite; 3] = [NextWrite::LoseAnswer, NextWrite::LoseRequest, NextWrite::Delay];
/// The longest lease of a world: twice what each begins with.
const LONGEST: Span = Span::from_secs(6);

fn fault(world: &mut World, dice: &mut Dice, with: Faults) {
    let host: InstanceName = name(dice.of(&HOSTS));
    match dice.below(if with == Faults::Quorum { 55 } else { 50 }) {
        0 => world.end_engine(&host),
        1 => world.kill_host(&host),
        2 => restart(world, &host),
        3 => world.crash_guard(&host),
        4 => world.freeze(&host),
        5 | 6 => world.thaw(&host),
        7 => world.crash_arbiter(dice.of(&ARBITERS)),
        8 => world.start_arbiter_if_down(dice.of(&ARBITERS)),
        9 => world.resign(dice.of(&ARBITERS)),
        10 => world.net().cut(dice.of(&ALL), dice.of(&ALL)),
        11 => world.isolate(dice.of(&HOSTS)),
        12 | 13 => {
            let (from, to, kind) = (dice.of(&ALL), dice.of(&ALL), dice.of(&KINDS));
            world.net().hold(from, to, kind);
        }
        14 => {
            let (from, to) = (dice.of(&ALL), dice.of(&ALL));
            world.release(from, to);
        }
        15 => world.close_stream(&host),
        16 => world.switchover(None, Span::from_secs(2)),
        17 => world.treat_next_write(TREATMENTS[usize::try_from(dice.below(3)).expect("small")]),
        18 => world.let_write_through(),
        19 => world.break_connection(&host),
        20 => {
            world.stop_provider();
            world.millis(300);
            world.start_provider_if_down();
        }
        21 => {
            if let Some(node) = world.nodes.get_mut(&host) {
                node.engine_deaf = !node.engine_deaf;
            }
        }
        22 => world.late_commands(&host),
        23 => world.kill_deadman(&host),
        24 => world.free_disk(&host),
        25 | 26 => switch(world, &host, dice.below(3)),
        27 => world.resume_backlog(&host),
        28 => world.stop_provider(),
        29 => match world.provider.backup.take() {
            None => world.provider.backup = Some(Box::new(world.provider.durable.clone())),
            Some(backup) => world.restore_provider(*backup),
        },
        30 | 31 => world.start_provider_if_down(),
        32 => world.abort(),
        33 => world.switchover(Some(host), Span::from_secs(2)),
        34 => world.pause_set(Some(Span::from_millis(dice.below(40_000)))),
        35 => world.pause_set(None),
        36 | 37 => world.resume_set(),
        38 => {
            let target = (dice.below(2) == 0).then(|| host.clone());
            world.fence_works = dice.below(2) == 0;
            world.force(target, Span::from_millis(dice.below(8_000)), dice.below(2) == 0);
        }
        39 => people_change_settings(world, dice, host),
        which @ (40 | 41) => change_lease(world, which == 40),
        42 => drill(world, dice),
        43..=46 => restart_on_purpose(world, &host, dice),
        50 | 51 => another_quorum(world, dice.below(3)),
        52 | 53 => expel(world, host, dice.below(2) == 0),
        54 => take_set_away(world, dice),
        _ => world.heal(),
    }
}

fn change_lease(world: &mut World, shorter: bool) {
    let lease = world.lease();
    world.change_lease(if shorter { (lease / 2).max(LEASE_TTL_MIN) } else { (lease * 2).min(LONGEST) });
}

fn drill(world: &mut World, dice: &mut Dice) {
    let fault = Fault::ALL[usize::try_from(dice.below(2)).expect("small")];
    let (accept_loss, back) = (true, dice.below(2) == 0);
    let timeout = Span::from_millis(dice.below(20_000));
    world.drill(DrillAsked { fault, spares: 1, accept_loss, back }, timeout);
}

fn restart(world: &mut World, host: &InstanceName) {
    world.crash_guard(host);
    world.start_guard(host);
}

/// A sidecar hands over, and whoever goes on comes soon or late; or somebody copies what was left, or puts a copy back.
fn restart_on_purpose(world: &mut World, host: &InstanceName, dice: &mut Dice) {
    match dice.below(4) {
        0 | 1 if world.hand_over(host) => {
            world.millis(dice.below(400));
            world.start_guard(host);
        }
        2 => drop(world.hand_over(host)),
        3 => {
            if let Some(node) = world.nodes.get_mut(host) {
                match node.left.clone() {
                    Some(left) => node.copy = Some(left),
                    None => node.left = node.copy.clone(),
                }
            }
        }
        _ => {}
    }
}

/// Which there are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Faults {
    /// All but the next.
    Others,
    /// Also another `ack_quorum`, members that are expelled, and a set that is removed.
    Quorum,
}

fn expel(world: &mut World, host: InstanceName, expelled: bool) {
    let mut settings = world.settings.clone();
    settings.members.entry(host).or_default().expelled = expelled;
    world.change_settings(settings);
}

/// All sidecars are stopped, and the set is removed, if it can be; sooner or later they come back under its name.
fn take_set_away(world: &mut World, dice: &mut Dice) {
    for host in HOSTS.map(name) {
        world.crash_guard(&host);
    }
    world.millis(dice.below(8_000));
    world.remove_set();
    world.millis(dice.below(2_000));
    for host in HOSTS.map(name) {
        world.start_guard(&host);
    }
}

fn another_quorum(world: &mut World, ack_quorum: u64) {
    let ack_quorum = u32::try_from(ack_quorum).unwrap_or(0);
    world.change_settings(Settings { ack_quorum, ..world.settings.clone() });
}

fn people_change_settings(world: &mut World, dice: &mut Dice, host: InstanceName) {
    let mut settings = world.settings.clone();
    match dice.below(8) {
        0 => settings.autoreturn = !settings.autoreturn,
        1 => settings.suppress_threshold = u32::try_from(dice.below(4)).unwrap_or(0),
        2 => settings.max_failovers_per_minute = (dice.below(2) == 0).then_some(1),
        3 => settings.loss_policy = LossPolicy::ALL[usize::try_from(dice.below(3)).expect("small")],
        4 => settings.fence_command = Some("off".to_owned()),
        5 => settings.members.entry(host).or_default().electable = Some(dice.below(2) == 0),
        6 => {
            let until = world.unix_millis() + dice.below(20_000);
            settings.members.entry(host).or_default().maintenance_until = Some(until);
        }
        _ => settings.members.entry(host).or_default().priority = Some(200),
    }
    settings.immunity = Span::from_millis(dice.below(3_000));
    settings.autoreturn_delay = Span::from_millis(dice.below(5_000));
    world.change_settings(settings);
}

/// Something of the host stops working until it is put right.
fn switch(world: &mut World, host: &InstanceName, which: u64) {
    let Some(node) = world.nodes.get_mut(host) else { return };
    match which {
        0 => node.disk_stuck = true,
        1 => node.guard_frozen = true,
        _ => node.deadman.deaf = true,
    }
}

/// Faults, writes and time, in any order; then everything is healed.
fn run(seed: u64, k: u32, with: Faults) -> World {
    let mut dice = Dice(split_mix(seed));
    let mut world = at_rest(if k == 0 { setup() } else { synchronous(k) });
    world.duties = true;
    for (host, ppm) in HOSTS.iter().zip([-4_000, 0, 4_000]) {
        let now = world.now;
        world.nodes.get_mut(&name(host)).expect("it is there").clock.set_rate(now, ppm);
    }
    for _ in 0..60 {
        fault(&mut world, &mut dice, with);
        for host in HOSTS {
            world.client_write(&name(host));
        }
        world.advance(Span(dice.below(2) * 5_000 + dice.below(30) * dice.below(60) * 1_000));
        if world.violation().is_some() {
            break;
        }
    }
    world
}

fn hosts_go_on(world: &mut World) {
    for host in HOSTS.map(name) {
        world.thaw(&host);
        world.deadman_hears(&host);
        world.free_disk(&host);
        world.engine_hears(&host);
        let ended = world.nodes[&host].guard.as_ref().is_none_or(|guard| guard.next_deadline().is_none());
        if ended || !world.nodes[&host].deadman.up {
            world.crash_guard(&host);
            world.start_guard(&host);
        }
    }
}

/// Every fault ends: what is stopped goes on, what is down is started.
fn put_right(world: &mut World, ack_quorum: u32) {
    world.heal();
    hosts_go_on(world);
    world.start_provider_if_down();
    for arbiter in ARBITERS {
        world.start_arbiter_if_down(arbiter);
    }
    let fence_command = Some("off".to_owned());
    world.change_settings(Settings { ack_quorum, fence_command, ..Settings::default() });
    world.fence_works = true;
    // A connection whose other end is gone is noticed in the end.
    for host in HOSTS.map(name) {
        world.close_stream(&host);
    }
    world.advance(Span::from_secs(20));
    // What holds the set is a person's to end; a pinned master that nobody hears of any more is a person's to replace.
    world.resume_set();
    world.advance(Span::from_secs(20));
    world.resume_set();
    world.advance(Span::from_secs(20));
    let leads =
        |host: &str| world.nodes[&name(host)].guard.as_ref().is_some_and(|it| it.writable_at().is_some());
    if !HOSTS.iter().any(|host| leads(host)) {
        world.force(None, Span::from_secs(10), true);
        world.advance(Span::from_secs(20));
        hosts_go_on(world);
        world.advance(Span::from_secs(20));
    }
}

#[test]
fn once_the_faults_have_ended_every_set_has_a_master_again() {
    for seed in seeds() {
        let mut world = run(seed, 0, Faults::Others);
        put_right(&mut world, 0);
        let answers = HOSTS.map(|host| world.client_write(&name(host)).1);
        let masters = answers.iter().filter(|answer| **answer == Answer::Acknowledged).count();
        let (lines, violation) = world.take_lines();
        let last: Vec<_> = lines.iter().rev().take(80).rev().cloned().collect();
        assert!(
            masters == 1 && violation.is_none(),
            "seed {seed}: {answers:?} {violation:?}\n{}",
            last.join("\n")
        );
    }
}

/// However often another number was wanted in between: in the end it is the one that the settings say.
#[test]
fn once_the_faults_have_ended_commits_wait_for_as_many_replicas_as_is_set() {
    let mut checked = 0;
    for seed in seeds() {
        let mut world = run(seed, u32::try_from(seed % 3).unwrap_or(0), Faults::Quorum);
        put_right(&mut world, 1);
        // The fence command may have turned one off, for which the raise waits.
        hosts_go_on(&mut world);
        world.advance(Span::from_secs(20));
        // Where all engines were started anew, nobody is sure to hold what was confirmed, and a person has to decide.
        let leads = |host: &InstanceName| {
            world.nodes[host].guard.as_ref().is_some_and(|guard| guard.writable_at().is_some())
        };
        if world.violation().is_none() && !HOSTS.map(name).iter().any(leads) {
            continue;
        }
        checked += 1;
        let recorded = world.provider.record().map(|record| record.ack_quorum);
        let answers = HOSTS.map(|host| world.client_write(&name(host)).1);
        let waits = answers.iter().filter(|answer| **answer == Answer::Waits).count();
        world.millis(1_000);
        let settled = HOSTS.iter().all(|host| world.nodes[&name(host)].engine.waiting.is_empty());
        let (lines, violation) = world.take_lines();
        let last: Vec<_> = lines.iter().rev().take(80).rev().cloned().collect();
        assert!(
            recorded == Some(1) && waits == 1 && settled && violation.is_none(),
            "seed {seed}: {recorded:?} {answers:?} {violation:?}\n{}",
            last.join("\n")
        );
    }
    assert!(checked > 0, "no run had a master in the end");
}

/// Every decision, through the text in which it is kept, gives the same ranking again.
#[test]
fn every_decision_replays_to_the_same_result() {
    let mut replayed = 0;
    for seed in seeds() {
        let world = run(seed, u32::try_from(seed % 2).unwrap_or(0), Faults::Quorum);
        for decision in world.decisions.iter().filter(|decision| decision.question.is_some()) {
            let ranked = |ranked: &baton_core::decision::Ranked| Ranked {
                instance: ranked.instance.to_string(),
                verdict: match &ranked.verdict {
                    Verdict::Chosen => CHOSEN.to_owned(),
                    Verdict::Eligible => ELIGIBLE.to_owned(),
                    Verdict::Refused(why) => why.to_string(),
                },
            };
            let kept = DecisionRecord {
                inputs: decision.question.as_deref().map(Inputs::from),
                ranking: decision.ranking.iter().map(ranked).collect(),
                ..DecisionRecord::default()
            };
            let read = DecisionRecord::from_json(&kept.to_json()).expect("it was just written");
            let replay = replay(&read).expect("it has its inputs");
            assert!(replay.same, "seed {seed}: {decision:?}\n{:?}", replay.ranking);
            replayed += 1;
        }
    }
    assert!(replayed > 0, "nothing was decided");
}

fn check(k: u32, with: Faults, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut world = run(seed, k, with);
        let now = world.now;
        if let (lines, Some(violation)) = world.take_lines() {
            let last: Vec<_> = lines.iter().rev().take(60).rev().cloned().collect();
            panic!("seed {seed}, {k} replicas waited for, at {now}us: {violation}\n{}", last.join("\n"));
        }
    }
}

#[test]
fn no_random_fault_breaks_a_property() {
    check(0, Faults::Others, seeds());
}

#[test]
fn no_random_fault_breaks_a_property_where_commits_wait() {
    check(1, Faults::Others, seeds());
}

#[test]
fn no_random_fault_breaks_a_property_while_the_quorum_changes() {
    check(0, Faults::Quorum, seeds());
    check(1, Faults::Quorum, seeds());
}

/// Some seconds of a small machine, together. `BATON_SEEDS` asks for more, `BATON_FROM` for those from a number on.
fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("BATON_SEEDS").ok().and_then(|text| text.parse().ok());
    let from = std::env::var("BATON_FROM").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    from..from + asked.unwrap_or(100)
}
