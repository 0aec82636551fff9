//! Clients: two that ask where routers send them, and one that tries every instance in turn. Each asks one thing at a time,
//! and remembers when it asked and what it was told.
//!
//! They must not know who is master but by what was published.

use super::engine::Answer;
use super::{Due, World};
use crate::dice::Dice;
use baton_core::arbiter::MasterState;
use baton_core::ids::{InstanceName, Term};
use baton_core::record::Record;
use baton_oracle::register::{Asked, Operation};
use baton_oracle::{Moment, WriteId};
use std::collections::BTreeMap;

/// How many there are; the last one does not ask routers.
const CLIENTS: usize = 3;
/// After so long a client gives an answer up, in microseconds.
const PATIENCE_MICROS: u64 = 1_000_000;
/// Numbers of reads are above those of writes.
const READS: u64 = 1 << 62;

/// A step of a client's request.
#[derive(Clone, Debug)]
pub enum ClientStep {
    /// A client asks the next thing.
    Ask(usize),
    /// A request comes to an instance.
    Arrives(WriteId, InstanceName),
    /// Its answer comes back: done, or refused.
    Answered(WriteId, bool),
    /// Its client waits no more.
    GivenUp(WriteId),
    /// Routers hear of a master.
    Routed(Term, InstanceName),
}

/// One request under way.
#[derive(Clone, Debug)]
struct Open {
    client: usize,
    sent: u64,
    asked: Asked,
    /// It was under way when the history began anew: whatever becomes of it says nothing.
    void: bool,
}

/// All clients, and what they saw.
#[derive(Clone, Debug)]
pub struct Clients {
    dice: Dice,
    pause: u64,
    master: Option<(Term, InstanceName)>,
    open: BTreeMap<WriteId, Open>,
    last: u64,
    turn: u64,
    history: Vec<Operation>,
    /// Whether commits wait for replicas, by the last record, and its term.
    waits: bool,
    term: Term,
    /// How many requests were answered: done, refused, or not at all.
    pub answers: [u64; 3],
}

impl Clients {
    /// Clients that wait so long between two requests, at most.
    #[must_use]
    pub fn new(dice: Dice, pause: u64) -> Self {
        Self {
            dice,
            pause,
            master: None,
            open: BTreeMap::new(),
            last: 0,
            turn: 0,
            history: Vec::new(),
            waits: false,
            term: Term(0),
            answers: [0; 3],
        }
    }
}

impl World {
    /// From now on clients ask.
    pub fn let_clients_in(&mut self, clients: Clients) {
        self.clients = Some(clients);
        for client in 0..CLIENTS {
            self.after(0, Due::Client(ClientStep::Ask(client)));
        }
    }

    /// What clients have seen since commits wait for replicas, or since a person accepted a loss.
    #[must_use]
    pub fn history(&self) -> &[Operation] {
        self.clients.as_ref().map_or(&[], |clients| &clients.history)
    }

    /// How the clients' requests were answered: done, refused, or not at all.
    #[must_use]
    pub fn answers(&self) -> [u64; 3] {
        self.clients.as_ref().map_or([0; 3], |clients| clients.answers)
    }

    pub(super) fn client_steps(&mut self, step: ClientStep) {
        match step {
            ClientStep::Ask(client) => self.client_asks(client),
            ClientStep::Arrives(request, instance) => self.request_arrives(request, &instance),
            ClientStep::Answered(request, done) => self.request_ends(request, Some(done)),
            ClientStep::GivenUp(request) => self.request_ends(request, None),
            ClientStep::Routed(term, master) => {
                if let Some(clients) = &mut self.clients
                    && clients.master.as_ref().is_none_or(|(known, _)| *known <= term)
                {
                    clients.master = Some((term, master));
                }
            }
        }
    }

    /// An arbiter has published a master.
    pub(super) fn route(&mut self, record: &Record, state: MasterState) {
        if let (MasterState::Active, Some(master), true) = (state, &record.master, self.clients.is_some()) {
            let step = ClientStep::Routed(record.term, master.clone());
            let micros = self.road_micros();
            self.after(micros, Due::Client(step));
        }
    }

    fn road_micros(&mut self) -> u64 {
        self.weather.as_mut().map_or(super::NET_MICROS, super::Weather::road_micros)
    }

    fn client_asks(&mut self, client: usize) {
        let hosts: Vec<InstanceName> = self.nodes.keys().cloned().collect();
        let now = self.now;
        let Some(clients) = &mut self.clients else { return };
        let to = if client + 1 == CLIENTS {
            clients.turn += 1;
            hosts.into_iter().cycle().nth(usize::try_from(clients.turn % 64).unwrap_or(0))
        } else {
            clients.master.as_ref().map(|(_, master)| master.clone())
        };
        let Some(to) = to else {
            // Nobody is master as far as routers know: the client comes back.
            return self.after(100_000, Due::Client(ClientStep::Ask(client)));
        };
        clients.last += 1;
        let (request, asked) = if clients.dice.chance(600) {
            let request = WriteId(clients.last);
            (request, Asked::Write(request))
        } else {
            (WriteId(READS + clients.last), Asked::Read(None))
        };
        clients.open.insert(request, Open { client, sent: now, asked, void: false });
        let micros = self.road_micros();
        self.after(micros, Due::Client(ClientStep::Arrives(request, to)));
        self.after(PATIENCE_MICROS, Due::Client(ClientStep::GivenUp(request)));
    }

    fn request_arrives(&mut self, request: WriteId, instance: &InstanceName) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let answer = if request.0 < READS {
            node.engine.write(request)
        } else {
            let (answer, value) = node.engine.read(request);
            if let Some(open) = self.clients.as_mut().and_then(|clients| clients.open.get_mut(&request)) {
                open.asked = Asked::Read(value);
            }
            answer
        };
        match answer {
            Answer::Acknowledged => self.acknowledged(instance, request),
            Answer::ReadOnly => self.answer_client(request, false),
            // Nobody listens there.
            Answer::Silence if self.nodes.get(instance).is_some_and(|node| !node.engine.running) => {
                self.answer_client(request, false);
            }
            Answer::Waits | Answer::Silence => {}
        }
        if request.0 < READS {
            self.replicate_from(instance);
        }
        self.acknowledge_settled(instance);
    }

    /// An engine has answered; whether what was acknowledged is a write.
    pub(super) fn answers_client(&mut self, request: WriteId) -> bool {
        self.answer_client(request, true);
        request.0 < READS
    }

    fn answer_client(&mut self, request: WriteId, done: bool) {
        if self.clients.as_ref().is_some_and(|clients| clients.open.contains_key(&request)) {
            let micros = self.road_micros();
            self.after(micros, Due::Client(ClientStep::Answered(request, done)));
        }
    }

    fn request_ends(&mut self, request: WriteId, done: Option<bool>) {
        let now = self.now;
        let Some(clients) = &mut self.clients else { return };
        let Some(Open { client, sent, asked, void }) = clients.open.remove(&request) else { return };
        let answered = done.map(|_| Moment(now));
        match done {
            Some(true) => clients.answers[0] += 1,
            Some(false) => clients.answers[1] += 1,
            None => clients.answers[2] += 1,
        }
        if done != Some(false) && clients.waits && !void {
            clients.history.push(Operation { asked, sent: Moment(sent), answered });
        }
        let pause = 1_000 + clients.dice.below(clients.pause * 1_000);
        self.after(pause, Due::Client(ClientStep::Ask(client)));
    }

    /// A record is durable. Where it lets acknowledged writes be lost, what was seen so far says nothing about what comes.
    pub(super) fn clients_see_record(&mut self, record: &Record) {
        self.term_changes += u32::from(self.last_term.is_some_and(|last| record.term > last));
        self.last_term = Some(record.term);
        let Some(clients) = &mut self.clients else { return };
        let waits = record.ack_quorum > 0 && record.master.is_some();
        let waited = std::mem::replace(&mut clients.waits, waits);
        let accepted = record.forced && clients.term < record.term;
        clients.term = record.term;
        if !waits || !waited || accepted {
            clients.history.clear();
            clients.open.values_mut().for_each(|open| open.void = true);
        }
    }
}
