//! One run of one seed: a safety phase under faults, and what was seen in it.
//!
//! It must not know which faults there are.

use crate::dice::Dice;
use crate::fault::Fault;
use crate::fixtures::name;
use crate::liveness::{Act, Recovery};
use crate::strike::End;
use crate::swarm::{SAFETY_MICROS, Script, Shape, script};
use crate::world::{Clients, Setup, World};
use baton_core::ids::{InstanceName, Zone};
use baton_core::rules::Rules;
use baton_core::time::Span;
use baton_oracle::{Violation, register};
use std::collections::BTreeMap;

/// How often a person looks at the set, in microseconds.
const ROUND_MICROS: u64 = 4_000_000;
/// How often in a row there must be no master before a person does something.
const ROUNDS: u32 = 3;

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The seed, which says everything that follows does not.
    pub seed: u64,
    /// Which rules the machines keep.
    pub rules: Rules,
    /// Which of the seed's faults happen, by their numbers; all of them if not set.
    pub only: Option<Vec<usize>>,
    /// Whether the journal is kept.
    pub journal: bool,
    /// Whether after everything that happens all hosts are looked at, and not only those that it touched: much slower, and a
    /// panic where that finds anything more.
    pub doubts: bool,
}

impl Plan {
    /// A run of this seed where every rule is kept.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// The same with other rules.
    #[must_use]
    pub fn with(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first property that was broken.
    pub violation: Option<Violation>,
    /// How much time was simulated.
    pub simulated: Span,
    /// How many faults took hold.
    pub faults: u32,
    /// How many lasted at the same moment, at most.
    pub overlapping: u32,
    /// How many times the term rose after the first appointment.
    pub term_changes: u32,
    /// How the liveness phase went, where there was one.
    pub recovery: Option<Recovery>,
    /// How clients were answered: done, refused, not at all.
    pub answers: [u64; 3],
    /// How many of their requests were judged as one history in the end.
    pub judged: usize,
    /// What was told, where it was asked for.
    pub journal: Vec<String>,
}

/// Runs a seed.
#[must_use]
pub fn run(plan: &Plan) -> Outcome {
    let Script { shape, mut faults } = script(plan.seed);
    if let Some(only) = &plan.only {
        let mut number = 0;
        faults.retain(|_| {
            number += 1;
            only.contains(&(number - 1))
        });
    }
    let mut run = Run::begin(&shape, plan);
    run.safety(&faults);
    run.liveness(&shape);
    run.ended()
}

/// A run under way.
struct Run {
    world: World,
    /// When the safety phase began.
    began: u64,
    /// What lasts: when it ends, and how.
    lasting: BTreeMap<(u64, usize), End>,
    faults: u32,
    overlapping: u32,
    /// When a person looks next, how often there was no master then, and what was done last.
    next_round: u64,
    missed: u32,
    last_act: Option<Act>,
    recovery: Option<Recovery>,
    violation: Option<Violation>,
}

impl Run {
    fn begin(shape: &Shape, plan: &Plan) -> Self {
        let mut world = World::new(setup(shape, plan)).expect("every shape has safe settings");
        // A tenth of a millisecond apart from each other, so that nobody is always first.
        world.advance(world.timing.lease_ttl * 2);
        let now = world.now;
        let names: Vec<InstanceName> = world.nodes.keys().cloned().collect();
        for (number, host) in names.iter().enumerate() {
            let zones = usize::from(shape.zones);
            if let Some(node) = world.nodes.get_mut(host) {
                node.clock.set_rate(now, shape.clocks[number]);
                node.zone = (zones > 0).then(|| zone(number % zones));
            }
        }
        for (number, arbiter) in (names.len()..).zip(world.arbiters.values_mut()) {
            arbiter.clock.set_rate(now, shape.clocks[number]);
        }
        world.doubts = plan.doubts;
        world.let_clients_in(Clients::new(Dice::of(plan.seed, 5), shape.client_pause));
        Self {
            next_round: world.now + ROUND_MICROS,
            missed: 0,
            last_act: None,
            began: world.now,
            world,
            lasting: BTreeMap::new(),
            faults: 0,
            overlapping: 0,
            recovery: None,
            violation: None,
        }
    }

    /// Faults begin and end, in the order of their moments.
    fn safety(&mut self, faults: &[Fault]) {
        for (number, fault) in faults.iter().enumerate() {
            self.until(self.began + fault.from);
            if self.world.violation().is_some() {
                return;
            }
            self.world.say("fault", format_args!("{:?} for {}", fault.what, Span(fault.lasts)));
            let end = self.world.strike(fault);
            self.faults += 1;
            if let Some(end) = end {
                self.lasting.insert((self.world.now + fault.lasts, number), end);
            }
            let now = u32::try_from(self.lasting.len()).unwrap_or(u32::MAX);
            self.overlapping = self.overlapping.max(now);
        }
        self.until(self.began + SAFETY_MICROS);
    }

    /// Lets time pass until this moment, and ends what ends before it.
    fn until(&mut self, moment: u64) {
        while let Some(entry) = self.lasting.first_entry().filter(|entry| entry.key().0 <= moment) {
            let ((at, _), end) = entry.remove_entry();
            self.pass(at);
            if self.world.violation().is_some() {
                return;
            }
            self.world.say("fault", format_args!("ends: {end:?}"));
            self.world.end(end);
        }
        self.pass(moment);
    }

    /// Lets time pass. Now and then a person looks, and does what a set without a master waits for.
    fn pass(&mut self, moment: u64) {
        while self.world.now < moment && self.world.violation().is_none() {
            let until = moment.min(self.next_round);
            self.world.advance(Span(until.saturating_sub(self.world.now)));
            if self.world.now < self.next_round {
                continue;
            }
            self.next_round += ROUND_MICROS;
            self.missed = if self.world.is_served() { 0 } else { self.missed + 1 };
            if self.missed >= ROUNDS {
                self.missed = 0;
                self.last_act = self.world.person_does(self.last_act);
                self.world.start_ended();
            }
        }
    }

    /// All faults end; then there must be a master in time, and what the clients saw must be one history.
    fn liveness(&mut self, shape: &Shape) {
        if self.world.violation().is_some() {
            return;
        }
        self.world.say("fault", "all faults end");
        for (_, end) in std::mem::take(&mut self.lasting) {
            self.world.end(end);
        }
        self.world.put_right(&shape.settings);
        // Whoever was told to stand down is started again, once nobody else is heard under its name.
        self.world.advance(self.world.timing.lease_ttl + Span::from_secs(1));
        self.world.hosts_go_on();
        let recovery = self.world.recover();
        if recovery.took.is_none() && self.world.violation().is_none() {
            let Recovery { within, stands, acts, .. } = &recovery;
            let text = format!("no master {within} after all faults ended ({acts:?}): {stands}");
            self.violation = Some(Violation { property: "I7", text });
        }
        self.recovery = Some(recovery);
        // The clients hear of it, and what they asked is answered.
        self.world.advance(Span::from_secs(2));
        if self.world.violation().is_none() && self.violation.is_none() {
            self.violation = register::check_history(self.world.history()).err();
        }
    }

    fn ended(mut self) -> Outcome {
        let term_changes = self.world.term_changes;
        let simulated = Span(self.world.now);
        let (journal, violation) = self.world.take_lines();
        Outcome {
            violation: violation.or(self.violation),
            simulated,
            faults: self.faults,
            overlapping: self.overlapping,
            term_changes,
            recovery: self.recovery,
            answers: self.world.answers(),
            judged: self.world.history().len(),
            journal,
        }
    }
}

fn zone(number: usize) -> Zone {
    Zone::parse(&format!("z{number}")).expect("a good name")
}

fn setup(shape: &Shape, plan: &Plan) -> Setup {
    let instances: Vec<InstanceName> =
        (1..=shape.members).map(|number| name(&format!("a{number}"))).collect();
    let priorities = instances.iter().cloned().zip((0..=110).rev().step_by(10)).collect();
    Setup {
        instances,
        arbiters: (1..=shape.arbiters).map(|number| format!("b{number}")).collect(),
        settings: shape.settings.clone(),
        bootstrap_members: shape.bootstrap_members,
        data: BTreeMap::new(),
        priorities,
        rules: plan.rules,
        weather: Some(shape.weather.clone()),
        durable: shape.durable,
        silent: !plan.journal,
    }
}
