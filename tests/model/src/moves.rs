//! What can happen next in a world: what is due, what may come at any time, and what may go wrong.
//!
//! Due is what a machine that runs does without waiting: no clock goes on past it. That a machine or a message is late
//! is a fault, so that a search is bounded by numbers of faults while no pause and no delay is bounded in length. What is
//! due at one instant happens in one order, faults strike before the steps that they change, and what may come at any time
//! comes when nothing is due, unless the world says otherwise.

use crate::state::{Letter, State, ToArbiter};
use crate::world::{Faults, World};
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

/// What can go wrong; see [`Faults`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Between a host and an arbiter.
    Cut(usize, usize),
    /// Between a host and all other guards.
    CutPeers(usize),
    /// Hold back what another guard says to this one.
    DelayMail(usize),
    /// Between an arbiter and the provider.
    CutOff(usize),
    /// The provider sees the arbiter's connection close.
    Close(usize),
    /// Stop the guard.
    PauseGuard(usize),
    /// Stop the arbiter.
    PauseArbiter(usize),
    /// Stop the host.
    Freeze(usize),
    /// Kill the guard.
    CrashGuard(usize),
    /// Kill the engine.
    CrashEngine(usize),
    /// Hold back the next message to the guard.
    DelayDown(usize),
    /// Hold back the next message from the host to the arbiter.
    DelayUp(usize, usize),
    /// Deliver the next message to the guard twice.
    Duplicate(usize),
    /// Apply the arbiter's write and lose the answer.
    LoseAnswer(usize),
    /// Leave the arbiter's write on its way.
    LateWrite(usize),
    /// Break the guard's connection to its engine.
    BreakConnection(usize),
    /// Ask the arbiter for a switchover.
    Switchover(usize),
}

impl Fault {
    /// What of the budget it takes.
    pub fn budget(self, faults: &mut Faults) -> &mut u8 {
        match self {
            Self::Cut(..) => &mut faults.cut,
            Self::CutPeers(_) => &mut faults.cut_peers,
            Self::DelayMail(_) => &mut faults.delay_mail,
            Self::CutOff(_) => &mut faults.cut_off,
            Self::Close(_) => &mut faults.close,
            Self::PauseGuard(_) => &mut faults.pause_guard,
            Self::PauseArbiter(_) => &mut faults.pause_arbiter,
            Self::Freeze(_) => &mut faults.freeze,
            Self::CrashGuard(_) => &mut faults.crash_guard,
            Self::CrashEngine(_) => &mut faults.crash_engine,
            Self::DelayDown(_) | Self::DelayUp(..) => &mut faults.delay,
            Self::Duplicate(_) => &mut faults.duplicate,
            Self::LoseAnswer(_) => &mut faults.lose_answer,
            Self::LateWrite(_) => &mut faults.late_write,
            Self::BreakConnection(_) => &mut faults.break_connection,
            Self::Switchover(_) => &mut faults.switchover,
        }
    }
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
        any_time(state, out);
    } else {
        out.truncate(1);
    }
    if state.left.all > 0 {
        let mut all = Vec::new();
        faults(state, &mut all);
        let mut left = state.left;
        all.retain(|fault| *fault.budget(&mut left) > 0 && (world.any_order || matters(*fault, next)));
        out.extend(all.into_iter().map(Move::Fault));
    }
}

/// Whether a fault makes a difference at this very step: one that strikes a machine or a link earlier, but after its
/// last step, leads to the same states. Nothing due: what strikes from outside.
fn matters(fault: Fault, next: Option<Move>) -> bool {
    let Some(next) = next else {
        return matches!(fault, Fault::CrashEngine(_) | Fault::Close(_) | Fault::Switchover(_));
    };
    match fault {
        Fault::Cut(host, arbiter) => next == Move::Hear(host) || next == Move::Deliver(host, arbiter),
        Fault::CutPeers(_) => matches!(next, Move::Post(_)),
        Fault::DelayMail(host) => next == Move::Post(host),
        Fault::CutOff(arbiter) | Fault::Close(arbiter) => {
            [Move::Renew(arbiter), Move::Load(arbiter), Move::Write(arbiter)].contains(&next)
        }
        Fault::PauseGuard(host) | Fault::Freeze(host) | Fault::CrashGuard(host) => next.host() == Some(host),
        Fault::PauseArbiter(arbiter) => next.arbiter() == Some(arbiter),
        Fault::DelayDown(host) | Fault::Duplicate(host) => next == Move::Hear(host),
        Fault::DelayUp(host, arbiter) => next == Move::Deliver(host, arbiter),
        Fault::LoseAnswer(arbiter) | Fault::LateWrite(arbiter) => next == Move::Write(arbiter),
        Fault::BreakConnection(host) => next == Move::Execute(host),
        Fault::CrashEngine(_) | Fault::Switchover(_) => false,
    }
}

impl Move {
    /// The host that takes this step.
    fn host(self) -> Option<usize> {
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
    fn arbiter(self) -> Option<usize> {
        match self {
            Self::TickArbiter(arbiter)
            | Self::Deliver(_, arbiter)
            | Self::Renew(arbiter)
            | Self::Load(arbiter)
            | Self::Write(arbiter) => Some(arbiter),
            _ => None,
        }
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
    if host.reads {
        out.push(Move::Read(index));
    }
    if state.provider.holder.is_some_and(|holder| link.session != Some(holder) && !link.cut[holder]) {
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
    let due = host.deadline.is_some_and(|at| at <= now);
    if due && host.engine.up && !world.manner.no_deadman {
        out.push(Move::DeadmanKills(index));
    }
}

fn due_of_arbiter(world: &World, state: &State, index: usize, out: &mut Vec<Move>) {
    let seat = &state.seats[index];
    let now = state.clocks[world.arbiter_clocks[index]];
    if seat.paused {
        return;
    }
    for (host, link) in state.links.iter().enumerate() {
        if link.up.iter().any(|(to, _)| *to == index) {
            out.push(Move::Deliver(host, index));
        }
    }
    if !seat.cut_off {
        let provider = &state.provider;
        let there = state.clocks[world.provider_clock];
        let wanted =
            provider.holder == Some(index) || seat.machine.epoch().is_some() || provider.is_free(there);
        if now >= seat.renew_at && wanted {
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

fn clocks(world: &World, state: &State, out: &mut Vec<Move>) {
    for (clock, now) in state.clocks.iter().enumerate() {
        let next = *now + Span(1);
        let others = state.clocks.iter().enumerate().filter(|(other, _)| *other != clock);
        let slowest = others.map(|(_, time)| *time).min().unwrap_or(next);
        if next.since(slowest).0 <= world.drift && may_advance(world, state, clock, next) {
            out.push(Move::Advance(clock));
        }
    }
}

fn may_advance(world: &World, state: &State, clock: usize, next: Time) -> bool {
    let mut due = Vec::new();
    for index in (0..state.hosts.len()).filter(|index| world.host_clocks[*index] == clock) {
        due_of_guard(world, state, index, &mut due);
        // A kill takes up to its budget, and is done before the right ends.
        let host = &state.hosts[index];
        let owed = host.deadline.is_some_and(|at| next >= at + world.timing.kill_budget);
        if owed && host.engine.up && !host.frozen && !world.manner.no_deadman {
            return false;
        }
        if !host.engine.queue.is_empty() && !host.frozen {
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

fn any_time(state: &State, out: &mut Vec<Move>) {
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
        let cut = state.links[index].cut.iter().enumerate().filter(|(_, cut)| **cut);
        out.extend(cut.map(|(arbiter, _)| Move::Mend(index, arbiter)));
    }
    for (index, seat) in state.seats.iter().enumerate() {
        if seat.paused {
            out.push(Move::ResumeArbiter(index));
        }
        if seat.cut_off {
            out.push(Move::Rejoin(index));
        }
    }
    for (index, letter) in state.letters.iter().enumerate() {
        let awake = match letter {
            Letter::Guard(host, _) => state.hosts[*host].runs(),
            Letter::Peer(mail) => state.hosts[mail.to].runs(),
            Letter::Arbiter(_, arbiter, _) => !state.seats[*arbiter].paused,
        };
        if awake {
            out.push(Move::Late(index));
        }
    }
    out.extend((0..state.late_writes.len()).map(Move::LandLate));
}

fn faults(state: &State, out: &mut Vec<Fault>) {
    for (index, host) in state.hosts.iter().enumerate() {
        let link = &state.links[index];
        for (arbiter, cut) in link.cut.iter().enumerate() {
            if !cut {
                out.push(Fault::Cut(index, arbiter));
            }
            let beat = link.up.iter().find(|(to, _)| *to == arbiter);
            if matches!(beat, Some((_, ToArbiter::Beat(_)))) {
                out.push(Fault::DelayUp(index, arbiter));
            }
        }
        if host.frozen {
            continue;
        }
        if !link.alone {
            out.push(Fault::CutPeers(index));
        }
        if state.mail.iter().any(|mail| mail.to == index) {
            out.push(Fault::DelayMail(index));
        }
        out.push(Fault::Freeze(index));
        if host.runs() {
            out.push(Fault::PauseGuard(index));
            out.push(Fault::CrashGuard(index));
        }
        if host.engine.up {
            out.push(Fault::CrashEngine(index));
        }
        if !link.down.is_empty() {
            out.push(Fault::DelayDown(index));
            out.push(Fault::Duplicate(index));
        }
        if !host.engine.queue.is_empty() {
            out.push(Fault::BreakConnection(index));
        }
    }
    for (index, seat) in state.seats.iter().enumerate() {
        if seat.paused {
            continue;
        }
        out.push(Fault::PauseArbiter(index));
        if !seat.cut_off {
            out.push(Fault::CutOff(index));
            if state.provider.holder == Some(index) && !state.provider.closed {
                out.push(Fault::Close(index));
                out.push(Fault::Switchover(index));
            }
            if !seat.writes.is_empty() {
                out.push(Fault::LoseAnswer(index));
                out.push(Fault::LateWrite(index));
            }
        }
    }
}
