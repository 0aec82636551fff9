//! The engines of one replica set, acted: a mark, an offset that grows, replicas that hold what their master holds. They do
//! what they are told at once.
//!
//! It must not know guards or arbiters.

use baton_core::engine::{DataState, EngineCommand, Probe};
use baton_core::ids::{DataId, Endpoint, EngineRun, InstanceName, Term};
use baton_core::position::Position;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One engine. What it holds outlives its process.
#[derive(Debug, Default)]
struct Engine {
    name: String,
    run: u64,
    running: bool,
    writable: bool,
    /// Its host stands still: it accepts nothing, and sends nothing.
    frozen: bool,
    follows: Option<Endpoint>,
    mark: Option<(DataId, Term)>,
    offset: u64,
}

/// All engines of a set, by where they are reached.
#[derive(Debug, Default)]
pub(crate) struct Engines(Mutex<BTreeMap<Endpoint, Engine>>);

impl Engines {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Endpoint, Engine>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, empty, not running.
    pub(crate) fn add(&self, name: &InstanceName, at: &Endpoint) {
        let engine = Engine { name: name.to_string(), ..Engine::default() };
        self.all().insert(at.clone(), engine);
    }

    /// A new run, fenced, following nobody. How it looks.
    pub(crate) fn start(&self, at: &Endpoint) -> Option<Probe> {
        let mut all = self.all();
        let engine = all.get_mut(at)?;
        engine.end();
        engine.run += 1;
        engine.running = true;
        Some(probe(&all, at)?.0)
    }

    /// No process of it is left. Whether there was one.
    pub(crate) fn end(&self, at: &Endpoint) -> bool {
        self.all().get_mut(at).is_some_and(|engine| {
            let ran = engine.running;
            engine.end();
            ran
        })
    }

    /// The host of an engine stands still, or goes on.
    pub(crate) fn freeze(&self, at: &Endpoint, frozen: bool) {
        if let Some(engine) = self.all().get_mut(at) {
            engine.frozen = frozen;
        }
    }

    /// The names of those that accept writes now.
    pub(crate) fn writable(&self) -> Vec<String> {
        let all = self.all();
        let writable = all.values().filter(|engine| engine.works() && engine.writable);
        writable.map(|engine| engine.name.clone()).collect()
    }

    /// Carries a command out and looks afterwards; `None` where nobody is there. With it: whether two engines of the set
    /// can be written now.
    pub(crate) fn obey(&self, at: &Endpoint, command: &EngineCommand) -> Option<(Probe, bool)> {
        let mut all = self.all();
        let engine = all.get_mut(at).filter(|engine| engine.running)?;
        match command {
            EngineCommand::Probe | EngineCommand::Quorum { .. } => {
                engine.offset += u64::from(engine.writable)
            }
            EngineCommand::Fence => engine.fence(None),
            EngineCommand::Follow { endpoint } => engine.fence(Some(endpoint.clone())),
            EngineCommand::Promote { term, data_id, .. } => {
                engine.fence(None);
                engine.writable = true;
                engine.mark = Some((data_id.clone(), *term));
                engine.offset += 1;
            }
        }
        // Whoever follows holds at once what there is.
        let source = engine.follows.clone().unwrap_or_else(|| at.clone());
        replicate(&mut all, &source);
        probe(&all, at)
    }
}

impl Engine {
    fn end(&mut self) {
        self.running = false;
        self.fence(None);
    }

    fn fence(&mut self, follows: Option<Endpoint>) {
        self.writable = false;
        self.follows = follows;
    }

    fn works(&self) -> bool {
        self.running && !self.frozen
    }

    fn position(&self) -> Position {
        Position::at(self.mark.as_ref().map_or(0, |(_, term)| term.0), self.offset)
    }
}

/// Everybody who follows `source` holds what it holds.
fn replicate(all: &mut BTreeMap<Endpoint, Engine>, source: &Endpoint) {
    let Some(engine) = all.get(source).filter(|engine| engine.works() && engine.mark.is_some()) else {
        return;
    };
    let (mark, offset) = (engine.mark.clone(), engine.offset);
    for engine in all.values_mut().filter(|engine| engine.works() && engine.follows.as_ref() == Some(source))
    {
        engine.mark.clone_from(&mark);
        engine.offset = offset;
    }
}

fn probe(all: &BTreeMap<Endpoint, Engine>, at: &Endpoint) -> Option<(Probe, bool)> {
    let engine = all.get(at)?;
    let source = engine.follows.as_ref().and_then(|source| all.get(source));
    let holds_all = |other: &&Engine| {
        other.works() && other.follows.as_ref() == Some(at) && other.position() == engine.position()
    };
    let caught_up = all.values().filter(holds_all).count();
    let probe = Probe {
        run: EngineRun(format!("{}.{}", engine.name, engine.run).into()),
        writable: engine.writable,
        follows: engine.follows.clone(),
        link_up: source.is_some_and(|source| source.works() && source.position() == engine.position()),
        position: engine.position(),
        data: match &engine.mark {
            Some((id, term)) => DataState::Marked { id: id.clone(), term: *term },
            None => DataState::Empty,
        },
        replicas_caught_up: u32::try_from(caught_up).unwrap_or(u32::MAX),
    };
    let writable = all.values().filter(|engine| engine.works() && engine.writable).count();
    Some((probe, writable > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_hold_what_their_master_holds_and_two_masters_are_seen() {
        let (a, b) = (Endpoint("a:1".into()), Endpoint("b:1".into()));
        let engines = Engines::default();
        for (name, at) in [("a", &a), ("b", &b)] {
            engines.add(&InstanceName::parse(name).expect("a name"), at);
            engines.start(at).expect("it was added");
        }
        let promote = EngineCommand::Promote { term: Term(1), data_id: DataId("d".into()), ack_quorum: 0 };
        engines.obey(&a, &promote).expect("it runs");
        engines.obey(&b, &EngineCommand::Follow { endpoint: a.clone() }).expect("it runs");
        let (master, two) = engines.obey(&a, &EngineCommand::Probe).expect("it runs");
        let (replica, _) = engines.obey(&b, &EngineCommand::Probe).expect("it runs");
        assert_eq!((master.position, two), (Position::at(1, 2), false));
        assert_eq!((replica.position, replica.link_up), (master.position, true));
        assert_eq!(master.replicas_caught_up, 1);

        let (_, two) = engines.obey(&b, &promote).expect("it runs");
        assert!(two, "two engines can be written");
        assert!(engines.end(&a), "it ran");
        assert_eq!(engines.obey(&a, &EngineCommand::Probe), None);
        let again = engines.start(&a).expect("it was added");
        assert_eq!((again.writable, again.follows, again.position), (false, None, Position::at(1, 2)));
    }
}
