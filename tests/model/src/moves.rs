//! What can happen next in a world: what is due, what may come at any time, and what may go wrong.
//!
//! Due is what a machine that runs does without waiting: no clock goes on past it. That a machine or a message is late
//! is a fault, so that a search is bounded by numbers of faults while no pause and no delay is bounded in length. What is
//! due at one instant happens in one order, faults strike before the steps that they change, and what may come at any time
//! comes when nothing is due, unless the world says otherwise.

use crate::faults::{Fault, faults_of};
use crate::state::{Letter, State};
use crate::world::World;
use baton_core::time::{Span, Time};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    /// A clock goes on by one unit.
    Advance(usize),
    /// The guard's deadline has come.
    TickGuard(usize),
    /// The guard looks at what its engine and deadman said.
    Settle(usize),
    /// The deadman answers a guard that started.
    Greet(usize),
    /// The guard's connection to its engine opens.
    Connect(usize),
    /// The guard reads the provider.
    Read(usize),
    /// The host opens a stream to the arbiter that holds the lock.
    Attach(usize),
    /// A message reaches the guard.
    Hear(usize),
    /// What another guard says reaches it.
    Post(usize),
    /// The host reaches the other guards again.
    MendPeers(usize),
    /// A replica takes what its master has, and confirms it.
    Replicate(usize),
    /// A replica reaches its master's engine again.
    MendReplica(usize),
    /// The fence command turns the host off and says so.
    TurnOff(usize),
    /// A clock goes far on, so that everything of its node is long due.
    Leap(usize),
    /// The arbiter is started again.
    RestartArbiter(usize),
    /// The provider is started again.
    RestartProvider,
    /// The engine executes what it was asked.
    Execute(usize),
    /// The engine executes what came over an older connection.
    ExecuteLate(usize),
    /// The deadman hears what it was told.
    DeadmanHears(usize),
    /// The deadman's deadline has come.
    DeadmanKills(usize),
    /// The arbiter's deadline has come.
    TickArbiter(usize),
    /// A message of the host reaches the arbiter.
    Deliver(usize, usize),
    /// The arbiter asks for the lock, or renews it.
    Renew(usize),
    /// The arbiter reads everything.
    Load(usize),
    /// The arbiter's oldest write is applied or refused, and answered.
    Write(usize),
    /// A message that was held back arrives.
    Late(usize),
    /// A write without an answer lands.
    LandLate(usize),
    /// Something goes wrong.
    Fault(Fault),
    /// The host and the arbiter reach each other again.
    Mend(usize, usize),
    /// The arbiter reaches the provider again.
    Rejoin(usize),
    /// The guard goes on.
    ResumeGuard(usize),
    /// The arbiter goes on.
    ResumeArbiter(usize),
    /// The host goes on; what its deadman owes happens before anything else.
    Thaw(usize),
    /// The guard is started again.
    Restart(usize),
}

/// Everything that can happen in a state, in an order that depends on nothing else.
pub fn moves(world: &World, state: &State, out: &mut Vec<Move>) {
    for host in 0..state.hosts.len() {
        due_of_guard(world, state, host, out);
        due_of_host(world, state, host, out);
    }
    for arbiter in 0..state.seats.len() {
        due_of_arbiter(world, state, arbiter, out);
    }
    let next = out.first().copied();
    let calm = world.any_order || next.is_none();
    if calm {
        clocks(world, state, out);
        any_time(world, state, out);
    } else {
        out.truncate(1);
    }
    faults_of(world, state, next, out);
}

impl Move {
    /// The host that takes this step.
    #[must_use]
    pub fn host(self) -> Option<usize> {
        match self {
            Self::TickGuard(host)
            | Self::Settle(host)
            | Self::Greet(host)
            | Self::Connect(host)
            | Self::Read(host)
            | Self::Attach(host)
            | Self::Hear(host)
            | Self::Post(host)
            | Self::Execute(host)
            | Self::DeadmanKills(host) => Some(host),
            _ => None,
        }
    }

    /// The arbiter that takes this step.
    #[must_use]
    pub fn arbiter(self) -> Option<usize> {
        match self {
            Self::TickArbiter(arbiter)
            | Self::Deliver(_, arbiter)
            | Self::Renew(arbiter)
            | Self::Load(arbiter)
            | Self::Write(arbiter) => Some(arbiter),
            _ => None,
        }
    }

    /// Whether it brings an arbiter something of this host.
    #[must_use]
    pub fn is_from(self, host: usize) -> bool {
        matches!(self, Self::Deliver(from, _) if from == host)
    }
}

fn due_of_guard(world: &World, state: &State, index: usize, out: &mut Vec<Move>) {
    let (host, link) = (&state.hosts[index], &state.links[index]);
    let Some(guard) = host.guard.as_ref().filter(|_| host.runs()) else { return };
    let now = state.clocks[world.host_clocks[index]];
    if !host.inbox.is_empty() {
        out.push(Move::Settle(index));
        return;
    }
    if host.greets && (host.deadline.is_none() || !host.engine.writable) {
        out.push(Move::Greet(index));
    }
    if host.engine.reconnect && host.engine.up {
        out.push(Move::Connect(index));
    }
    if host.reads && !state.provider.down {
        out.push(Move::Read(index));
    }
    if state
        .provider
        .holding()
        .is_some_and(|holder| link.session != Some(holder) && link.may_attach(state, holder))
    {
        out.push(Move::Attach(index));
    }
    if !link.down.is_empty() {
        out.push(Move::Hear(index));
    }
    if state.mail.iter().any(|mail| mail.to == index) {
        out.push(Move::Post(index));
    }
    if guard.next_deadline().is_some_and(|at| at <= now) {
        out.push(Move::TickGuard(index));
    }
}

fn due_of_host(world: &World, state: &State, index: usize, out: &mut Vec<Move>) {
    let host = &state.hosts[index];
    let now = state.clocks[world.host_clocks[index]];
    if host.frozen {
        return;
    }
    if !host.engine.queue.is_empty() {
        out.push(Move::Execute(index));
    }
    if world.manner.logs && state.takes_data(index) {
        out.push(Move::Replicate(index));
    }
    // Where clocks mean nothing, a deadman is early or late; see `any_time`.
    let due = host.deadline.is_some_and(|at| at <= now) && !world.timeless;
    if due && host.engine.up && !world.manner.no_deadman {
        out.push(Move::DeadmanKills(index));
    }
}

fn due_of_arbiter(world: &World, state: &State, index: usize, out: &mut Vec<Move>) {
    let seat = &state.seats[index];
    let now = state.clocks[world.arbiter_clocks[index]];
    if !seat.runs() {
        return;
    }
    for (host, link) in state.links.iter().enumerate() {
        if link.up.iter().any(|(to, _)| *to == index) {
            out.push(Move::Deliver(host, index));
        }
    }
    if seat.fence.is_some() {
        out.push(Move::TurnOff(index));
    }
    if !seat.cut_off && !state.provider.down {
        if now >= seat.renew_at && wants_lock(world, state, index) && !world.timeless {
            out.push(Move::Renew(index));
        }
        if seat.loads {
            out.push(Move::Load(index));
        }
        if !seat.writes.is_empty() {
            out.push(Move::Write(index));
        }
    }
    if seat.machine.next_deadline().is_some_and(|at| at <= now) {
        out.push(Move::TickArbiter(index));
    }
}

fn wants_lock(world: &World, state: &State, index: usize) -> bool {
    let (seat, provider) = (&state.seats[index], &state.provider);
    let there = state.clocks[world.provider_clock];
    provider.holding() == Some(index) || seat.machine.epoch().is_some() || provider.is_free(there)
}

fn clocks(world: &World, state: &State, out: &mut Vec<Move>) {
    for (clock, now) in state.clocks.iter().enumerate() {
        if world.timeless {
            if may_advance(world, state, clock, *now) && clock != world.provider_clock {
                out.push(Move::Advance(clock));
                out.push(Move::Leap(clock));
            }
            continue;
        }
        let next = *now + Span(1);
        let others = state.clocks.iter().enumerate().filter(|(other, _)| *other != clock);
        let slowest = others.map(|(_, time)| *time).min().unwrap_or(next);
        if next.since(slowest).0 <= world.drift && may_advance(world, state, clock, next) {
            out.push(Move::Advance(clock));
        }
    }
}

/// The next moment at which anything of a node is due by its own clock.
#[must_use]
pub fn next_due(world: &World, state: &State, clock: usize) -> Option<Time> {
    let hosts = state.hosts.iter().filter(|host| world.host_clocks[host.index] == clock && host.runs());
    let guards = hosts.filter_map(|host| host.guard.as_ref()?.next_deadline());
    let seats = state.seats.iter().enumerate().filter(|(index, _)| world.arbiter_clocks[*index] == clock);
    let arbiters = seats.filter_map(|(_, seat)| seat.machine.next_deadline().filter(|_| seat.runs()));
    guards.chain(arbiters).min()
}

fn may_advance(world: &World, state: &State, clock: usize, next: Time) -> bool {
    let mut due = Vec::new();
    for index in (0..state.hosts.len()).filter(|index| world.host_clocks[*index] == clock) {
        due_of_guard(world, state, index, &mut due);
        // A kill takes up to its budget, and is done before the right ends.
        let host = &state.hosts[index];
        let owed = host.deadline.is_some_and(|at| next >= at + world.timing.kill_budget) && !world.timeless;
        if owed && host.engine.up && !host.frozen && !world.manner.no_deadman {
            return false;
        }
        if !host.engine.queue.is_empty() && !host.frozen {
            return false;
        }
        if world.manner.logs && state.takes_data(index) {
            return false;
        }
        // The deadman may be slow to hear a guard that stopped in between, not one that goes on talking to it.
        if !host.pipe.is_empty() && host.runs() {
            return false;
        }
    }
    for index in (0..state.seats.len()).filter(|index| world.arbiter_clocks[*index] == clock) {
        due_of_arbiter(world, state, index, &mut due);
    }
    due.is_empty()
}

fn any_time(world: &World, state: &State, out: &mut Vec<Move>) {
    for (index, host) in state.hosts.iter().enumerate() {
        if host.frozen {
            out.push(Move::Thaw(index));
            continue;
        }
        if !host.pipe.is_empty() {
            out.push(Move::DeadmanHears(index));
        }
        if host.engine.late.is_some() {
            out.push(Move::ExecuteLate(index));
        }
        if host.paused {
            out.push(Move::ResumeGuard(index));
        }
        if host.guard.is_none() {
            out.push(Move::Restart(index));
        }
        if state.links[index].alone {
            out.push(Move::MendPeers(index));
        }
        if state.links[index].replica_cut {
            out.push(Move::MendReplica(index));
        }
        if world.timeless && host.deadline.is_some() && host.engine.up {
            out.push(Move::DeadmanKills(index));
        }
        let cut = state.links[index].cut.iter().enumerate().filter(|(_, cut)| cut.up || cut.down);
        out.extend(cut.map(|(arbiter, _)| Move::Mend(index, arbiter)));
    }
    for (index, seat) in state.seats.iter().enumerate() {
        if seat.paused {
            out.push(Move::ResumeArbiter(index));
        }
        if seat.dead {
            out.push(Move::RestartArbiter(index));
        }
        if seat.cut_off {
            out.push(Move::Rejoin(index));
        } else if world.timeless && seat.runs() && !state.provider.down {
            out.push(Move::Renew(index));
        }
    }
    if state.provider.down {
        out.push(Move::RestartProvider);
    }
    for (index, letter) in state.letters.iter().enumerate() {
        let awake = match letter {
            Letter::Guard(host, _) => state.hosts[*host].runs(),
            Letter::Peer(mail) => state.hosts[mail.to].runs(),
            Letter::Arbiter(_, arbiter, _) => state.seats[*arbiter].runs(),
            Letter::Confirm { master, .. } => !state.hosts[*master].frozen,
        };
        if awake {
            out.push(Move::Late(index));
        }
    }
    out.extend((0..state.late_writes.len()).map(Move::LandLate));
}
