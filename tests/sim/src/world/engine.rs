//! A scripted engine: a log of writes, replicas that copy it, a mark for each term. It does what it is told at once.
//!
//! It must not know guards, arbiters or terms beyond the marks in its log.

use baton_core::engine::{DataState, EngineCommand, Probe};
use baton_core::ids::{DataId, Endpoint, EngineRun, InstanceName, Term};
use baton_core::position::Position;
use baton_oracle::WriteId;
use std::collections::{BTreeMap, BTreeSet};

/// One entry of an engine's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Written by a client.
    Write(WriteId),
    /// Written by a promotion.
    Mark(DataId, Term),
    /// Was there before Baton came.
    Found,
}

/// A client's write that waits for replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub write: WriteId,
    /// The length of the log that holds it.
    pub length: usize,
}

/// What became of a client's write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Committed.
    Acknowledged,
    /// Refused: read-only.
    ReadOnly,
    /// No answer yet: it waits for replicas.
    Waits,
    /// Nobody answers.
    Silence,
}

/// The engine of one instance.
#[derive(Clone, Debug)]
pub struct Engine {
    name: InstanceName,
    run_name: EngineRun,
    /// The run of the master's engine from which all of the log came, since this one follows it.
    copied_from: Option<EngineRun>,
    /// Counts the runs.
    pub run: u64,
    /// Counts the lives of its data, where that outlives every run.
    durable: Option<u64>,
    /// Whether a process is there.
    pub running: bool,
    /// Whether it accepts writes.
    pub writable: bool,
    /// The term for which it was promoted in this run; `None` where another hand made it writable, without its guard's right.
    pub promoted: Option<Term>,
    /// Whom it replicates from.
    pub follows: Option<Endpoint>,
    /// Whether that link is up.
    pub link_up: bool,
    /// Its data.
    pub log: Vec<Entry>,
    /// How much of its log each attached replica has confirmed.
    pub attached: BTreeMap<InstanceName, usize>,
    /// What was sent to each, so that nothing is sent twice over a link that works.
    pub sent: BTreeMap<InstanceName, usize>,
    /// How often each has opened a link to this run: what was said over one that is gone is nothing.
    links: BTreeMap<InstanceName, u64>,
    /// Clients that wait.
    pub waiting: Vec<Waiting>,
    /// For how many replicas a commit waits.
    pub ack_quorum: usize,
    /// It answers nobody.
    pub stalled: bool,
}

impl Engine {
    /// An engine that does not run, with this data.
    #[must_use]
    pub fn new(name: InstanceName, log: Vec<Entry>, ack_quorum: usize) -> Self {
        Self {
            run_name: EngineRun(format!("{name}.0").into()),
            name,
            copied_from: None,
            run: 0,
            durable: None,
            running: false,
            writable: false,
            promoted: None,
            follows: None,
            link_up: false,
            log,
            attached: BTreeMap::new(),
            sent: BTreeMap::new(),
            links: BTreeMap::new(),
            waiting: Vec::new(),
            ack_quorum,
            stalled: false,
        }
    }

    /// A new run, fenced, following nobody.
    pub fn start(&mut self) {
        self.end();
        self.run += 1;
        let run = format!("{}.{}", self.name, self.run);
        self.run_name = match self.durable {
            Some(life) => EngineRun::of_durable(&format!("{}:{life}", self.name), &run),
            None => EngineRun(run.into()),
        };
        self.running = true;
    }

    /// Whatever it confirms is on its disk first.
    pub fn make_durable(&mut self) {
        self.durable = Some(0);
    }

    /// Its disk has this now, and not what it had, from the next run on.
    pub fn replace_data(&mut self, log: Vec<Entry>) {
        self.log = log;
        self.durable = self.durable.map(|life| life + 1);
    }

    /// No process is left.
    pub fn end(&mut self) {
        self.running = false;
        self.writable = false;
        self.promoted = None;
        self.follows = None;
        self.copied_from = None;
        self.link_up = false;
        self.attached.clear();
        self.sent.clear();
        self.links.clear();
        self.waiting.clear();
        self.stalled = false;
    }

    /// One look at it.
    #[must_use]
    pub fn probe(&self) -> Probe {
        let caught_up = self.attached.values().filter(|length| **length >= self.log.len()).count();
        Probe {
            run: self.run_name.clone(),
            writable: self.writable,
            follows: self.follows.clone(),
            link_up: self.link_up,
            position: self.position(),
            data: self.data(),
            replicas_caught_up: u32::try_from(caught_up).unwrap_or(u32::MAX),
        }
    }

    /// How far its data reaches.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::at(self.mark().map_or(0, |(_, term)| term.0), self.log.len() as u64)
    }

    /// The same as numbers that can be ordered.
    #[must_use]
    pub fn reach(&self) -> (u64, usize) {
        (self.mark().map_or(0, |(_, term)| term.0), self.log.len())
    }

    /// What its data says of itself.
    #[must_use]
    pub fn data(&self) -> DataState {
        match self.mark() {
            Some((id, term)) => DataState::Marked { id, term },
            None if self.log.is_empty() => DataState::Empty,
            None => DataState::Unmarked,
        }
    }

    /// The clients' writes that it holds.
    #[must_use]
    pub fn writes(&self) -> BTreeSet<WriteId> {
        self.log
            .iter()
            .filter_map(|entry| match entry {
                Entry::Write(write) => Some(*write),
                Entry::Mark(..) | Entry::Found => None,
            })
            .collect()
    }

    /// How far its data reached with this write as the last; unknown where it does not hold it.
    pub fn position_of(&self, write: WriteId) -> Position {
        let Some(place) = self.log.iter().rposition(|entry| *entry == Entry::Write(write)) else {
            return Position::Unknown;
        };
        Position::at(last_mark(&self.log[..place]).map_or(0, |(_, term)| term.0), place as u64 + 1)
    }

    fn mark(&self) -> Option<(DataId, Term)> {
        last_mark(&self.log)
    }

    /// Carries a command out and looks afterwards.
    pub fn obey(&mut self, command: &EngineCommand) -> Probe {
        match command {
            EngineCommand::Probe => {}
            EngineCommand::Fence => self.fence(None),
            EngineCommand::Follow { endpoint } => {
                // Whoever waited here for replicas is sent away: what it wrote may be thrown away now.
                self.waiting.clear();
                self.fence(Some(endpoint.clone()));
            }
            EngineCommand::Quorum { ack_quorum, .. } => self.ack_quorum = *ack_quorum as usize,
            EngineCommand::Promote { term, data_id, ack_quorum } => {
                self.fence(None);
                self.ack_quorum = *ack_quorum as usize;
                self.writable = true;
                self.promoted = Some(*term);
                self.log.push(Entry::Mark(data_id.clone(), *term));
            }
        }
        self.probe()
    }

    fn fence(&mut self, follows: Option<Endpoint>) {
        self.writable = false;
        self.promoted = None;
        if self.follows != follows {
            self.follows = follows;
            self.copied_from = None;
            self.link_up = false;
        }
    }

    /// The name of this run.
    #[must_use]
    pub fn name_of_run(&self) -> EngineRun {
        self.run_name.clone()
    }

    /// A replica opens a link; nothing is known of what it holds.
    pub fn attach(&mut self, replica: &InstanceName) {
        self.attached.insert(replica.clone(), 0);
        self.sent.remove(replica);
        *self.links.entry(replica.clone()).or_default() += 1;
    }

    /// Which of the links that a replica has opened to this run is the last.
    #[must_use]
    pub fn link_of(&self, replica: &InstanceName) -> u64 {
        self.links.get(replica).copied().unwrap_or(0)
    }

    /// Takes what its master sent; not where something is missing before it.
    pub fn takes(&mut self, run: &EngineRun, start: usize, log: Vec<Entry>) -> bool {
        if start == 0 {
            // A whole copy. Whoever replicates from here holds what is gone now: it is sent away, and takes a copy, too. Given only
            // what comes after what it was given before, it would come to hold a mixture of the two.
            self.attached.clear();
            self.sent.clear();
            self.log = log;
            self.copied_from = Some(run.clone());
            return true;
        }
        if self.copied_from.as_ref() != Some(run) || start > self.log.len() {
            return false;
        }
        self.log.truncate(start);
        self.log.extend(log);
        true
    }

    /// A client writes.
    pub fn write(&mut self, write: WriteId) -> Answer {
        if !self.running || self.stalled {
            return Answer::Silence;
        }
        // What another hand lets in is nobody's promise.
        if !self.writable || self.promoted.is_none() {
            return Answer::ReadOnly;
        }
        self.log.push(Entry::Write(write));
        if self.ack_quorum == 0 {
            return Answer::Acknowledged;
        }
        self.waiting.push(Waiting { write, length: self.log.len() });
        Answer::Waits
    }

    /// A client reads the newest write. As a write does, its answer waits for what it may rest on.
    pub fn read(&mut self, read: WriteId) -> (Answer, Option<WriteId>) {
        if !self.running || self.stalled {
            return (Answer::Silence, None);
        }
        if !self.writable || self.promoted.is_none() {
            return (Answer::ReadOnly, None);
        }
        let newest = self.log.iter().rev().find_map(|entry| match entry {
            Entry::Write(write) => Some(*write),
            Entry::Mark(..) | Entry::Found => None,
        });
        if self.ack_quorum == 0 {
            return (Answer::Acknowledged, newest);
        }
        self.waiting.push(Waiting { write: read, length: self.log.len() });
        (Answer::Waits, newest)
    }

    /// A replica has confirmed so much, over this of its links; the writes that are committed by it.
    pub fn confirmed(&mut self, replica: &InstanceName, link: u64, length: usize) -> Vec<WriteId> {
        let last = self.link_of(replica);
        if let Some(known) = self.attached.get_mut(replica).filter(|_| link == last) {
            *known = (*known).max(length);
        }
        self.settled()
    }

    /// The writes that wait for nothing more.
    pub fn settled(&mut self) -> Vec<WriteId> {
        let enough = |waiting: &Waiting| {
            self.attached.values().filter(|length| **length >= waiting.length).count() >= self.ack_quorum
        };
        let done: Vec<_> = self.waiting.iter().filter(|waiting| enough(waiting)).map(|it| it.write).collect();
        self.waiting.retain(|waiting| !done.contains(&waiting.write));
        done
    }
}

fn last_mark(log: &[Entry]) -> Option<(DataId, Term)> {
    log.iter().rev().find_map(|entry| match entry {
        Entry::Mark(id, term) => Some((id.clone(), *term)),
        Entry::Write(_) | Entry::Found => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::name;

    fn marked(term: u64, writes: &[u64]) -> Vec<Entry> {
        let mark = Entry::Mark(DataId("ours".into()), Term(term));
        writes.iter().map(|write| Entry::Write(WriteId(*write))).chain([mark]).collect()
    }

    fn replica(log: Vec<Entry>) -> Engine {
        let mut engine = Engine::new(name("a2"), log, 1);
        engine.start();
        engine
    }

    /// Seed 10020006: a3 followed a2, which followed a1 as soon as that led. a3 was sent what a2 came to hold after the 64 entries
    /// of before: the old ones stayed, and a3 held a mixture that nobody had ever written. As master it lacked what was confirmed.
    #[test]
    fn one_that_takes_a_whole_copy_sends_its_own_replicas_away() {
        let (a3, a1) = (name("a3"), EngineRun("a1.1".into()));
        let mut a2 = replica(marked(1, &[1, 2, 3]));
        a2.attach(&a3);
        a2.confirmed(&a3, 1, 4);
        assert!(a2.takes(&a1, 0, marked(2, &[1, 9])));
        assert_eq!((a2.attached.len(), a2.probe().replicas_caught_up), (0, 0));
        a2.attach(&a3);
        assert_eq!(a2.sent.get(&a3), None, "it takes all of it");
        // What follows the copy is no reason to send anybody away.
        assert!(a2.takes(&a1, 3, vec![Entry::Write(WriteId(10))]));
        assert_eq!(a2.attached.len(), 1);
    }

    #[test]
    fn what_was_confirmed_over_a_link_that_is_gone_commits_nothing() {
        let a3 = name("a3");
        let mut a2 = replica(marked(1, &[]));
        a2.attach(&a3);
        a2.obey(&EngineCommand::Promote { term: Term(2), data_id: DataId("ours".into()), ack_quorum: 1 });
        assert_eq!(a2.write(WriteId(5)), Answer::Waits);
        a2.attached.remove(&a3);
        a2.attach(&a3);
        assert_eq!(a2.confirmed(&a3, 1, 3), []);
        assert_eq!(a2.confirmed(&a3, 2, 3), [WriteId(5)]);
    }
}
