//! What is put right after a safety phase, and whether the set then has a master in time: within the worst outage that `timing`
//! prints for the settings, the arbiter's own loss included.
//!
//! Some ends need a person, and the operators' guide says which: a set that is paused, held or over its budget is resumed, and where
//! nobody is sure to hold what was confirmed, somebody has to accept a loss. A scripted person does that here, it is counted, and
//! the time runs anew.

use crate::fixtures::name;
use crate::world::{Node, World};
use baton_core::arbiter::{Forcing, MasterState, SetView};
use baton_core::decision::Verdict;
use baton_core::engine::DataState;
use baton_core::ids::{DataId, InstanceName};
use baton_core::record::Settings;
use baton_core::time::Span;
use baton_core::timing::{FailureClass, Timing};

/// How often one looks.
const LOOK: Span = Span::from_millis(20);
/// How often a person may be needed.
const PERSON_MOST: usize = 6;

/// What a person had to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Act {
    /// End a pause.
    Resumed,
    /// Let a set be decided again that failed over too often.
    Decided,
    /// Accept a loss, since nobody is sure to hold what was confirmed.
    Forced,
    /// Say which of two data sets stays, where members of a set that was removed come with both.
    Chose,
    /// Nothing helps: the name of a removed set waits for a host that another one replaced.
    Stranded,
}

/// How a liveness phase ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// How long it took since faults had ended, or since a person did something; `None`: too long.
    pub took: Option<Span>,
    /// How long it may take.
    pub within: Span,
    /// What people had to do.
    pub acts: Vec<Act>,
    /// How the set stood in the end, where it took too long.
    pub stands: String,
}

impl World {
    /// Every fault ends at once: what is stopped goes on, what is down is started, what people set is as at first.
    pub(crate) fn put_right(&mut self, settings: &Settings) {
        if let Some(weather) = &mut self.weather {
            weather.calm();
        }
        self.heal();
        self.notice_dead_streams();
        self.start_provider_if_down();
        // What was under way to the board's disk is durable, so that nobody's change stands against this one.
        self.advance(Span::from_millis(200));
        for arbiter in self.arbiters.keys().cloned().collect::<Vec<_>>() {
            self.freeze_arbiter(&arbiter, false);
            if let Some(node) = self.arbiters.get_mut(&arbiter) {
                node.no_renewals = false;
            }
            self.start_arbiter_if_down(&arbiter);
        }
        let version = self.settings.version;
        let longest_lease = self.settings.longest();
        let suppress_threshold = 100;
        let lease_ttl = self.lease();
        let fence_command = Some("off".to_owned());
        self.fence_works = true;
        self.change_settings(Settings {
            version,
            longest_lease,
            suppress_threshold,
            lease_ttl,
            fence_command,
            ..settings.clone()
        });
        self.advance(Span::from_millis(200));
        self.hosts_go_on();
        // A connection whose other end is gone is noticed in the end.
        for host in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.close_stream(&host);
        }
    }

    /// Whatever has ended on a host is started again.
    pub(crate) fn hosts_go_on(&mut self) {
        for host in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.thaw(&host);
            self.deadman_hears(&host);
            self.free_disk(&host);
            self.engine_hears(&host);
            self.forget_unheard(&host);
            let Some(node) = self.nodes.get_mut(&host) else { continue };
            node.engine.stalled = false;
            let ended = node.guard.as_ref().is_none_or(|guard| guard.next_deadline().is_none());
            if ended || !node.deadman.up {
                self.crash_guard(&host);
                self.start_guard(&host);
            } else {
                self.tell_guard(&host, baton_core::guard::Input::WritePath { finished: true });
            }
        }
    }

    /// Guards that were told to stand down are started again.
    pub(crate) fn start_ended(&mut self) {
        for host in self.nodes.keys().cloned().collect::<Vec<_>>() {
            let node = self.nodes.get(&host).filter(|node| !node.frozen);
            let guard = node.and_then(|node| node.guard.as_ref());
            if guard.is_some_and(|guard| guard.next_deadline().is_none()) {
                self.crash_guard(&host);
                self.start_guard(&host);
            }
        }
    }

    /// Whether routers are told of a master that takes writes.
    pub(crate) fn is_served(&self) -> bool {
        let Some(active) = self.active_arbiter() else { return false };
        let machine = self.arbiters.get(&active).and_then(|node| node.machine.as_ref());
        let Some((record, MasterState::Active)) = machine.and_then(|it| it.master_of(&self.replicaset))
        else {
            return false;
        };
        let node = record.master.as_ref().and_then(|master| self.nodes.get(master));
        node.is_some_and(|node| {
            node.engine.running && node.engine.writable && node.engine.promoted == Some(record.term)
        })
    }

    fn set_view(&self) -> Option<SetView> {
        let node = self.arbiters.get(&self.active_arbiter()?)?;
        node.machine.as_ref()?.set_view(node.clock.read(self.now), &self.replicaset)
    }

    /// The worst outage that `timing` prints.
    pub(crate) fn worst_outage(&self) -> Span {
        // Where the lease was longer before, the lock of that time may still be believed.
        let longest = Timing::derive(
            self.settings.longest(),
            self.settings.stall_timeout,
            self.settings.clock_drift_ppm,
        );
        let timing = longest.unwrap_or_else(|_| self.timing.clone());
        // Every fault has ended: no arbiter is cut off from the others any more.
        let classes = FailureClass::ALL.into_iter().filter(|class| *class != FailureClass::AloneWithArbiter);
        classes.map(|class| timing.worst_outage(class)).max().unwrap_or(Span::ZERO)
    }

    /// Waits for a master, and does what a person has to do.
    pub(crate) fn recover(&mut self) -> Recovery {
        self.ended = true;
        let within = self.worst_outage();
        let mut acts = Vec::new();
        loop {
            let mut since = self.now;
            // Nobody replaces the master of a paused set. Where the pause ends by itself, the time is counted from there; whoever ends
            // one gets a whole time anyway.
            let mut paused = self.set_view().is_some_and(|view| self.is_paused(&view));
            while self.now < since + within.0 && !self.is_served() && self.violation().is_none() {
                self.advance(LOOK);
                let before = paused;
                paused = paused && self.set_view().is_none_or(|view| self.is_paused(&view));
                if before && !paused && acts.last() != Some(&Act::Resumed) {
                    since = self.now;
                }
            }
            if self.is_served() {
                let took = Some(Span(self.now - since));
                return Recovery { took, within, acts, stands: String::new() };
            }
            let act = if acts.len() < PERSON_MOST { self.person_does(acts.last().copied()) } else { None };
            match act {
                Some(Act::Stranded) => {
                    acts.push(Act::Stranded);
                    return Recovery { took: Some(within), within, acts, stands: String::new() };
                }
                Some(act) => acts.push(act),
                None => {
                    let stands = self.set_view().map_or_else(
                        || "there is no active arbiter".to_owned(),
                        |view| format!("{}; {:?}", view.phase, view.last_decision.map(|it| it.sentence())),
                    );
                    return Recovery { took: None, within, acts, stands };
                }
            }
        }
    }

    /// What the set waits for a person for, done by one.
    pub(crate) fn person_does(&mut self, last: Option<Act>) -> Option<Act> {
        let view = self.set_view()?;
        if self.waits_for_removed() {
            return Some(Act::Stranded);
        }
        if self.choose_data() {
            return Some(Act::Chose);
        }
        let resumed = last == Some(Act::Resumed);
        if !resumed && self.is_paused(&view) {
            self.resume_set();
            return Some(Act::Resumed);
        }
        if view.hold.is_some() {
            self.resume_set();
            return Some(Act::Decided);
        }
        if self.ended && view.held {
            // Every fault has ended: whoever is not attached is no more.
            self.force_with(None, Span::from_secs(10), Forcing { fence: false, others_off: true });
            return Some(Act::Forced);
        }
        let refused = view.last_decision.as_ref().is_some_and(|decision| decision.appointed.is_none());
        // A pinned master that nobody hears of is for a person to replace, with the fence command.
        let lost = resumed && self.is_paused(&view);
        // The last life of a set may be one that the provider forgot.
        let lived = view.last_decision.as_ref().is_some_and(|decision| decision.evidence.is_some());
        if (refused || lost || resumed) && (view.record.is_some() || lived) {
            let best = self.nodes.values().filter(|node| node.guard.is_some() && !node.engine.log.is_empty());
            let best = best.max_by_key(|node| node.engine.reach()).map(|node| node.name.clone());
            self.forced_in_vain = if last == Some(Act::Forced) { self.forced_in_vain + 1 } else { 0 };
            self.abort_all();
            // Whom the refusal calls the best choice, now that nothing else is asked for, is another's better choice than whoever has
            // most data.
            let decision = self.set_view().and_then(|view| view.last_decision);
            let ranking = decision.iter().flat_map(|decision| &decision.ranking);
            let told =
                ranking.filter(|ranked| ranked.verdict == Verdict::Chosen).map(|it| &it.instance).next();
            let best = match self.forced_in_vain {
                0 => None,
                tries if tries % 2 == 1 => best,
                _ => told.cloned().or(best),
            };
            let nobody = !self.nodes.values().any(|node| self.has_the_sets_data(node));
            if nobody && self.settings.check_identity {
                // Nobody has anything, or another life's data only: a person says that such a member may begin.
                self.change_settings(Settings { check_identity: false, ..self.settings.clone() });
                self.advance(Span::from_millis(200));
            }
            self.force(best, Span::from_secs(10), true);
            // What the fence command turned off is started again.
            self.advance(Span::from_secs(1));
            self.hosts_go_on();
            return Some(Act::Forced);
        }
        None
    }

    /// Where the name of a removed set waits for a person to say which data it goes on with: the most advanced, and whoever holds
    /// another, or was found writable beside it, begins empty. Whether there was anything to say.
    fn choose_data(&mut self) -> bool {
        if self.provider.record().is_none_or(|record| record.master.is_some()) {
            return false;
        }
        let held = self.nodes.values().filter_map(|node| match node.engine.data() {
            DataState::Marked { id, .. } => Some((node.engine.reach(), id, node.name.clone())),
            DataState::Empty | DataState::Unmarked => None,
        });
        let held: Vec<_> = held.collect();
        let Some((_, stays, best)) = held.iter().max_by_key(|(reach, ..)| *reach).cloned() else {
            return false;
        };
        // Of two that were writable when they were found, by somebody's hand, nobody knows whose writes are wanted.
        let view = self.set_view();
        let told = view.and_then(|view| view.last_decision).map(|decision| decision.sentence());
        let writable = told.is_some_and(|told| told.contains("found as writable masters"));
        let aside = |id: &DataId, name: &InstanceName| *id != stays || writable && *name != best;
        let others: Vec<_> =
            held.into_iter().filter(|(_, id, name)| aside(id, name)).map(|(.., name)| name).collect();
        for other in &others {
            self.say("you", format_args!("put the data of {other} aside"));
            self.kill_host(other);
            if let Some(node) = self.nodes.get_mut(other) {
                node.engine.replace_data(Vec::new());
            }
            self.thaw(other);
            self.start_guard(other);
        }
        !others.is_empty()
    }

    /// Whether it holds data of the identity that the record names; any data where it names none.
    pub(crate) fn has_the_sets_data(&self, node: &Node) -> bool {
        let named = self.provider.record().and_then(|record| record.data_id.clone());
        match node.engine.data() {
            DataState::Empty => false,
            DataState::Unmarked => named.is_none(),
            DataState::Marked { id, .. } => named.is_none_or(|named| named == id),
        }
    }

    fn is_paused(&self, view: &SetView) -> bool {
        view.record.as_ref().is_some_and(|record| record.pinned.is_some()) || view.paused_for > Span::ZERO
    }

    /// Whether the set was removed while its last master was silent, and the host of that one is no more: the name waits for it.
    fn waits_for_removed(&self) -> bool {
        let Some(record) = self.provider.record().filter(|record| record.master.is_none()) else {
            return false;
        };
        let home = record.incarnation.map(|run| run.home);
        home.is_some_and(|home| self.nodes.values().all(|node| node.home != home))
    }

    /// Every instance, by the names that worlds use.
    #[must_use]
    pub fn members(&self) -> Vec<InstanceName> {
        (1..=self.nodes.len()).map(|number| name(&format!("a{number}"))).collect()
    }
}
