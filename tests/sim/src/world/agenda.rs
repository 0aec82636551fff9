//! Whose turn is next: messages first, then hosts, arbiters, contenders and the board, each in the order of their names.
//!
//! It must not know what anybody does with its turn. A moment that was worked out stands until its host was in hand again.

use super::World;
use super::clock::Clock;
use super::table::{Eye, Table};
use baton_core::time::Time;

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

/// What was worked out last, in the order of the names.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    nodes: Vec<Deadline>,
    arbiters: Vec<Deadline>,
}

fn renew<K: Ord, V>(known: &mut Vec<Deadline>, table: &mut Table<K, V>, now: u64, of: impl Fn(&V) -> Deadline) {
    let all = known.len() != table.len();
    known.resize(table.len(), Deadline::NEVER);
    for (deadline, (_, it, touched)) in known.iter_mut().zip(table.look(Eye::Agenda)) {
        if all || touched || now >= deadline.until {
            *deadline = of(it);
        }
    }
}

impl World {
    fn renew_agenda(&mut self) {
        let now = self.now;
        renew(&mut self.agenda.nodes, &mut self.nodes, now, |node| node.deadline(now));
        renew(&mut self.agenda.arbiters, &mut self.arbiters, now, |node| node.deadline(now));
    }

    /// When anything is to be done next.
    pub(super) fn next_moment(&mut self) -> Option<u64> {
        self.renew_agenda();
        let Agenda { nodes, arbiters } = &self.agenda;
        let hosts = nodes.iter().chain(arbiters).map(|it| it.at).filter(|at| *at < u64::MAX);
        let rest = [self.queue.moment(), self.contender_deadline().map(|(at, _)| at), self.provider.deadline()];
        hosts.chain(rest.into_iter().flatten()).min()
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
        let due = |deadlines: &[Deadline]| deadlines.iter().position(|it| it.at <= now);
        if let Some(instance) = due(&self.agenda.nodes).and_then(|at| self.nodes.keys().nth(at)).cloned() {
            self.node_tick(&instance);
        } else if let Some(name) = due(&self.agenda.arbiters).and_then(|at| self.arbiters.keys().nth(at)) {
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
        let due = self.contenders.iter().filter_map(|(host, node)| {
            let local = node.deadline()?;
            let (clock, _) = self.process(host).filter(|(_, stopped)| !stopped)?;
            Some((clock.when(self.now, local)?, host.as_str()))
        });
        due.min()
    }

    /// What is due now, for the message of a world that does not move on.
    pub(super) fn stuck(&self) -> String {
        let nodes: Vec<_> = self.nodes.values().map(|node| (&node.name, node.deadline(self.now).at)).collect();
        let arbiters: Vec<_> =
            self.arbiters.values().map(|node| (&node.name, node.deadline(self.now).at)).collect();
        format!("at {}: next {:?}, {nodes:?}, {arbiters:?}", self.now, self.queue.first())
    }
}
