//! Whose turn is next: messages first, then hosts, arbiters, contenders and the board, each in the order of their names.
//!
//! It must not know what anybody does with its turn. A moment that was worked out stands until its host was in hand again.

use super::World;
use super::clock::Clock;
use super::table::{Eye, Table};
use baton_core::time::Time;
use std::borrow::Borrow;

/// When something is to be done, in true time, and until when that is sure while nobody has the host in hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    /// The moment; the end of all time where there is none.
    pub(super) at: u64,
    /// From here on it is worked out anew.
    until: u64,
}

impl Deadline {
    /// Nothing is to be done.
    pub(super) const NEVER: Self = Self { at: u64::MAX, until: u64::MAX };

    /// When a clock shows this.
    pub(super) fn of(clock: &Clock, now: u64, local: Option<Time>) -> Self {
        let at = local.and_then(|local| clock.when(now, local));
        at.map_or(Self::NEVER, |at| Self { at, until: clock.sure_until(at) })
    }

    /// The same, but not before this moment.
    pub(super) fn not_before(self, moment: u64) -> Self {
        Self { at: self.at.max(moment), ..self }
    }

    /// The earlier one.
    pub(super) fn or(self, other: Self) -> Self {
        Self { at: self.at.min(other.at), until: self.until.min(other.until) }
    }
}

/// What was worked out last for a table, in the order of its names.
#[derive(Clone, Debug, Default)]
struct Page {
    deadlines: Vec<Deadline>,
    /// The first of them, and until when all are sure.
    first: u64,
    sure: u64,
}

impl Page {
    fn renew<K: Ord + Borrow<str>, V>(
        &mut self,
        table: &mut Table<K, V>,
        now: u64,
        of: impl Fn(&V) -> Deadline,
    ) {
        let all = self.deadlines.len() != table.len();
        if !all && now < self.sure && table.rests(Eye::Agenda) {
            return;
        }
        self.deadlines.resize(table.len(), Deadline::NEVER);
        (self.first, self.sure) = (u64::MAX, u64::MAX);
        for (deadline, (_, it, touched)) in self.deadlines.iter_mut().zip(table.look(Eye::Agenda)) {
            if all || touched || now >= deadline.until {
                *deadline = of(it);
            }
            self.first = self.first.min(deadline.at);
            self.sure = self.sure.min(deadline.until);
        }
    }

    /// Who is due first, by its place in the table.
    fn due(&self, now: u64) -> Option<usize> {
        if self.first > now {
            return None;
        }
        self.deadlines.iter().position(|deadline| deadline.at <= now)
    }
}

/// When each host wants its turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    nodes: Page,
    arbiters: Page,
    /// Whether any contender wants to be stepped at some moment; most wait for news only.
    contends: bool,
}

impl World {
    fn renew_agenda(&mut self) {
        let now = self.now;
        self.agenda.nodes.renew(&mut self.nodes, now, |node| node.deadline(now));
        self.agenda.arbiters.renew(&mut self.arbiters, now, |node| node.deadline(now));
        if !self.contenders.rests(Eye::Agenda) {
            let wants = self.contenders.look(Eye::Agenda).filter(|(_, node, _)| node.deadline().is_some());
            self.agenda.contends = wants.count() > 0;
        }
    }

    /// When anything is to be done next.
    pub(super) fn next_moment(&mut self) -> Option<u64> {
        self.renew_agenda();
        if self.doubts {
            let plain = self.nodes.values().map(|node| node.deadline(self.now).at).collect::<Vec<_>>();
            let known = self.agenda.nodes.deadlines.iter().map(|it| it.at).collect::<Vec<_>>();
            assert_eq!(known, plain, "a host's turn was worked out before it changed");
            let plain = self.arbiters.values().map(|node| node.deadline(self.now).at).collect::<Vec<_>>();
            let known = self.agenda.arbiters.deadlines.iter().map(|it| it.at).collect::<Vec<_>>();
            assert_eq!(known, plain, "an arbiter's turn was worked out before it changed");
        }
        let hosts = self.agenda.nodes.first.min(self.agenda.arbiters.first);
        let hosts = Some(hosts).filter(|at| *at < u64::MAX);
        let contender = self.contender_deadline().map(|(at, _)| at);
        [hosts, self.queue.moment(), contender, self.provider.deadline()].into_iter().flatten().min()
    }

    /// Whatever is due at this moment, messages first: one thing.
    pub(super) fn happen(&mut self) {
        self.happen_one();
        self.watch_links();
    }

    fn happen_one(&mut self) {
        let now = self.now;
        if let Some(due) = self.queue.take(now) {
            return self.fall_due(due);
        }
        self.renew_agenda();
        if let Some(instance) = self.agenda.nodes.due(now).and_then(|place| self.nodes.keys().nth(place)) {
            let instance = instance.clone();
            self.node_tick(&instance);
        } else if let Some(name) =
            self.agenda.arbiters.due(now).and_then(|place| self.arbiters.keys().nth(place))
        {
            let name = name.clone();
            self.arbiter_tick(&name);
        } else if let Some((_, host)) = self.contender_deadline().filter(|(at, _)| *at <= now) {
            let host = host.to_owned();
            self.contender_tick(&host);
        } else if self.provider.deadline().is_some_and(|at| at <= now) {
            self.board_step(baton_board::Input::Tick);
        }
    }

    /// The next moment at which a contender wants to be stepped, and whose.
    fn contender_deadline(&self) -> Option<(u64, &str)> {
        if !self.agenda.contends {
            return None;
        }
        let due = self.contenders.iter().filter_map(|(host, node)| {
            let local = node.deadline()?;
            let (clock, _) = self.process(host).filter(|(_, stopped)| !stopped)?;
            Some((clock.when(self.now, local)?, host.as_str()))
        });
        due.min()
    }

    /// What is due now, for the message of a world that does not move on.
    pub(super) fn stuck(&self) -> String {
        let nodes: Vec<_> =
            self.nodes.values().map(|node| (&node.name, node.deadline(self.now).at)).collect();
        let arbiters: Vec<_> =
            self.arbiters.values().map(|node| (&node.name, node.deadline(self.now).at)).collect();
        format!("at {}: next {:?}, {nodes:?}, {arbiters:?}", self.now, self.queue.first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{name, setup};
    use baton_core::ids::Term;
    use baton_core::time::Span;

    /// A world at work that doubts whether it looks at all that it has to.
    fn doubting() -> World {
        let mut world = World::new(setup()).expect("safe settings");
        world.doubts = true;
        world.advance(Span::from_secs(10));
        world
    }

    #[test]
    #[should_panic(expected = "a host's turn was worked out before it changed")]
    fn a_turn_that_changed_unseen_is_found() {
        let mut world = doubting();
        world.nodes.get_mut(&name("a1")).expect("it is there").not_before = world.now + 60_000_000;
        world.nodes.conceal();
        world.next_moment();
    }

    #[test]
    #[should_panic(expected = "links that changed were passed over")]
    fn a_link_that_changed_unseen_is_found() {
        let mut world = doubting();
        world.nodes.get_mut(&name("a1")).expect("it is there").welcome = false;
        world.nodes.conceal();
        world.watch_links();
    }

    #[test]
    #[should_panic(expected = "a host that changed was passed over")]
    fn an_engine_that_changed_unseen_is_found() {
        let mut world = doubting();
        world.nodes.get_mut(&name("a2")).expect("it is there").engine.promoted = Some(Term(9));
        world.nodes.get_mut(&name("a2")).expect("it is there").engine.writable = true;
        world.nodes.conceal();
        world.look();
    }

    #[test]
    fn what_is_told_is_seen_by_whoever_doubts_nothing() {
        let mut world = doubting();
        world.nodes.get_mut(&name("a1")).expect("it is there").welcome = false;
        world.watch_links();
        world.advance(Span::from_secs(1));
        assert_eq!(world.violation(), None);
    }
}
