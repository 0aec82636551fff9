//! What can go wrong, what people can ask for, and how often each may still happen.
//!
//! It must not know what any of it does; that is `strike.rs`.

use crate::moves::Move;
use crate::state::{State, ToArbiter};
use crate::world::World;

/// How often each fault may still strike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// All together.
    pub all: u8,
    /// A host and an arbiter lose every message between them until the cut heals.
    pub cut: u8,
    /// The host is not heard by the arbiter, and hears it.
    pub cut_up: u8,
    /// The host is heard by the arbiter, and does not hear it.
    pub cut_down: u8,
    /// The stream between a host and an arbiter breaks, and both know.
    pub part: u8,
    /// A guard reaches no other guard until that heals.
    pub cut_peers: u8,
    /// What a guard says to another is held back; it arrives at any later time, or never.
    pub delay_mail: u8,
    /// An arbiter does not reach the provider until that heals.
    pub cut_off: u8,
    /// The provider sees an arbiter's connection close; the arbiter does not, until it reaches the provider again.
    pub close: u8,
    /// A coordinator's guard does not run until it goes on.
    pub pause_guard: u8,
    /// An arbiter does not run until it goes on.
    pub pause_arbiter: u8,
    /// A whole host stands still until it goes on.
    pub freeze: u8,
    /// A coordinator's guard dies.
    pub crash_guard: u8,
    /// An arbiter's process dies, and with it all that it knew.
    pub crash_arbiter: u8,
    /// The provider dies, or stands still; it comes back with what is durable.
    pub crash_provider: u8,
    /// An engine dies.
    pub crash_engine: u8,
    /// A message is held back; it arrives at any later time, or never.
    pub delay: u8,
    /// A message arrives, and once more at any later time.
    pub duplicate: u8,
    /// The same for a beat.
    pub duplicate_up: u8,
    /// A write is applied, and its answer is lost.
    pub lose_answer: u8,
    /// A write has no answer; it lands at any later time, or never.
    pub late_write: u8,
    /// The guard's connection to its engine breaks with a command unanswered, which may be executed later.
    pub break_connection: u8,
    /// A replica gets nothing from its master until that heals.
    pub cut_replica: u8,
    /// A replica's confirmation is held back.
    pub delay_confirm: u8,
    /// The fence command confirms nothing, and turns nothing off.
    pub fence_fails: u8,
    /// A client writes.
    pub write: u8,
    /// An arbiter gives its lock up, and stands in line again.
    pub resign: u8,
    /// A sidecar is restarted on purpose, and hands over.
    pub hand_over: u8,
    /// A person asks for a switchover.
    pub switchover: u8,
    /// A person wants the old master back.
    pub abort: u8,
    /// A person pauses the set.
    pub pin: u8,
    /// A person ends the pause.
    pub unpin: u8,
    /// A person forces a failover.
    pub force: u8,
    /// A person removes the set.
    pub remove: u8,
    /// A person lets commits wait for one replica more.
    pub raise: u8,
    /// A person lets commits wait for one replica fewer.
    pub lower: u8,
}

/// What can go wrong, and what people do; see [`Faults`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Between a host and an arbiter.
    Cut(usize, usize),
    /// From a host to an arbiter.
    CutUp(usize, usize),
    /// From an arbiter to a host.
    CutDown(usize, usize),
    /// End the stream of a host.
    Part(usize),
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
    /// Kill the arbiter.
    CrashArbiter(usize),
    /// Kill the provider.
    CrashProvider,
    /// Kill the engine.
    CrashEngine(usize),
    /// Hold back the next message to the guard.
    DelayDown(usize),
    /// Hold back the next message from the host to the arbiter.
    DelayUp(usize, usize),
    /// Deliver the next message to the guard twice.
    Duplicate(usize),
    /// Deliver the next beat of the host to the arbiter twice.
    DuplicateUp(usize, usize),
    /// Apply the arbiter's write and lose the answer.
    LoseAnswer(usize),
    /// Leave the arbiter's write on its way.
    LateWrite(usize),
    /// Break the guard's connection to its engine.
    BreakConnection(usize),
    /// Between a replica and its master's engine.
    CutReplica(usize),
    /// Let the replica have its master's data, and hold back that it has.
    DelayConfirm(usize),
    /// Let the fence command fail.
    FenceFails(usize),
    /// Write to the engine of a host.
    Write(usize),
    /// Let the arbiter resign.
    Resign(usize),
    /// Let the guard hand over.
    HandOver(usize),
    /// Ask the arbiter for a switchover.
    Switchover(usize),
    /// Ask it for the old master.
    Abort(usize),
    /// Ask it for a pause.
    Pin(usize),
    /// Ask it for the end of the pause.
    Unpin(usize),
    /// Ask it for a forced failover.
    Force(usize),
    /// Ask it to remove the set.
    Remove(usize),
    /// Tell it to let commits wait for one more.
    Raise(usize),
    /// Tell it to let commits wait for one fewer.
    Lower(usize),
}

impl Fault {
    /// What of the budget it takes.
    pub fn budget(self, faults: &mut Faults) -> &mut u8 {
        match self {
            Self::Cut(..) => &mut faults.cut,
            Self::CutUp(..) => &mut faults.cut_up,
            Self::CutDown(..) => &mut faults.cut_down,
            Self::Part(_) => &mut faults.part,
            Self::CutPeers(_) => &mut faults.cut_peers,
            Self::DelayMail(_) => &mut faults.delay_mail,
            Self::CutOff(_) => &mut faults.cut_off,
            Self::Close(_) => &mut faults.close,
            Self::PauseGuard(_) => &mut faults.pause_guard,
            Self::PauseArbiter(_) => &mut faults.pause_arbiter,
            Self::Freeze(_) => &mut faults.freeze,
            Self::CrashGuard(_) => &mut faults.crash_guard,
            Self::CrashArbiter(_) => &mut faults.crash_arbiter,
            Self::CrashProvider => &mut faults.crash_provider,
            Self::CrashEngine(_) => &mut faults.crash_engine,
            Self::DelayDown(_) | Self::DelayUp(..) => &mut faults.delay,
            Self::Duplicate(_) => &mut faults.duplicate,
            Self::DuplicateUp(..) => &mut faults.duplicate_up,
            Self::LoseAnswer(_) => &mut faults.lose_answer,
            Self::LateWrite(_) => &mut faults.late_write,
            Self::BreakConnection(_) => &mut faults.break_connection,
            Self::CutReplica(_) => &mut faults.cut_replica,
            Self::DelayConfirm(_) => &mut faults.delay_confirm,
            Self::FenceFails(_) => &mut faults.fence_fails,
            Self::Write(_) => &mut faults.write,
            Self::Resign(_) => &mut faults.resign,
            Self::HandOver(_) => &mut faults.hand_over,
            Self::Switchover(_) => &mut faults.switchover,
            Self::Abort(_) => &mut faults.abort,
            Self::Pin(_) => &mut faults.pin,
            Self::Unpin(_) => &mut faults.unpin,
            Self::Force(_) => &mut faults.force,
            Self::Remove(_) => &mut faults.remove,
            Self::Raise(_) => &mut faults.raise,
            Self::Lower(_) => &mut faults.lower,
        }
    }

    /// Whether a fault makes a difference at this very step: one that strikes a machine or a link earlier, but after its
    /// last step, leads to the same states. Nothing due: what strikes from outside.
    fn matters(self, next: Option<Move>) -> bool {
        let Some(next) = next else { return self.comes_from_outside() };
        match self {
            Self::Cut(host, arbiter) => next == Move::Hear(host) || next == Move::Deliver(host, arbiter),
            Self::CutUp(host, arbiter) | Self::DelayUp(host, arbiter) | Self::DuplicateUp(host, arbiter) => {
                next == Move::Deliver(host, arbiter)
            }
            Self::CutDown(host, _) | Self::DelayDown(host) | Self::Duplicate(host) => {
                next == Move::Hear(host)
            }
            Self::Part(host) => next == Move::Hear(host) || next.is_from(host),
            Self::CutPeers(_) => matches!(next, Move::Post(_)),
            Self::DelayMail(host) => next == Move::Post(host),
            Self::CutOff(arbiter) | Self::Close(arbiter) => {
                [Move::Renew(arbiter), Move::Load(arbiter), Move::Write(arbiter)].contains(&next)
            }
            Self::CrashProvider => {
                matches!(next, Move::Renew(_) | Move::Load(_) | Move::Write(_) | Move::Read(_))
            }
            Self::PauseGuard(host) | Self::Freeze(host) | Self::CrashGuard(host) | Self::Write(host) => {
                next.host() == Some(host)
            }
            Self::PauseArbiter(arbiter) | Self::CrashArbiter(arbiter) | Self::Resign(arbiter) => {
                next.arbiter() == Some(arbiter)
            }
            Self::LoseAnswer(arbiter) | Self::LateWrite(arbiter) => next == Move::Write(arbiter),
            Self::BreakConnection(host) => next == Move::Execute(host),
            Self::CutReplica(host) | Self::DelayConfirm(host) => next == Move::Replicate(host),
            Self::FenceFails(arbiter) => next == Move::TurnOff(arbiter),
            Self::CrashEngine(_)
            | Self::HandOver(_)
            | Self::Switchover(_)
            | Self::Abort(_)
            | Self::Pin(_)
            | Self::Unpin(_)
            | Self::Force(_)
            | Self::Remove(_)
            | Self::Raise(_)
            | Self::Lower(_) => false,
        }
    }

    fn comes_from_outside(self) -> bool {
        matches!(
            self,
            Self::CrashEngine(_)
                | Self::Close(_)
                | Self::Write(_)
                | Self::Resign(_)
                | Self::HandOver(_)
                | Self::Switchover(_)
                | Self::Abort(_)
                | Self::Pin(_)
                | Self::Unpin(_)
                | Self::Force(_)
                | Self::Remove(_)
                | Self::Raise(_)
                | Self::Lower(_)
        )
    }
}

/// What may go wrong in a state before its next step.
pub fn faults_of(world: &World, state: &State, next: Option<Move>, out: &mut Vec<Move>) {
    if state.left.all == 0 {
        return;
    }
    let mut all = Vec::new();
    of_hosts(state, &mut all);
    of_arbiters(state, &mut all);
    let mut left = state.left;
    all.retain(|fault| *fault.budget(&mut left) > 0 && (world.any_order || fault.matters(next)));
    out.extend(all.into_iter().map(Move::Fault));
}

fn of_hosts(state: &State, out: &mut Vec<Fault>) {
    for (index, host) in state.hosts.iter().enumerate() {
        of_link(state, index, out);
        let link = &state.links[index];
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
            if link.session.is_some() {
                out.push(Fault::Part(index));
            }
            if host.guard.as_ref().is_some_and(|guard| guard.settled().is_ok()) {
                out.push(Fault::HandOver(index));
            }
        }
        if host.engine.up {
            out.push(Fault::CrashEngine(index));
            if host.engine.writable {
                out.push(Fault::Write(index));
            }
            if host.engine.follows.is_some() && !link.replica_cut {
                out.push(Fault::CutReplica(index));
                out.push(Fault::DelayConfirm(index));
            }
        }
        if !host.engine.queue.is_empty() {
            out.push(Fault::BreakConnection(index));
        }
    }
}

fn of_link(state: &State, index: usize, out: &mut Vec<Fault>) {
    let link = &state.links[index];
    for (arbiter, cut) in link.cut.iter().enumerate() {
        if !cut.up && !cut.down {
            out.push(Fault::Cut(index, arbiter));
            out.push(Fault::CutUp(index, arbiter));
            out.push(Fault::CutDown(index, arbiter));
        }
        let beat = link.up.iter().find(|(to, _)| *to == arbiter);
        if matches!(beat, Some((_, ToArbiter::Beat(_)))) {
            out.push(Fault::DelayUp(index, arbiter));
            out.push(Fault::DuplicateUp(index, arbiter));
        }
    }
    if !link.down.is_empty() && !state.hosts[index].frozen {
        out.push(Fault::DelayDown(index));
        out.push(Fault::Duplicate(index));
    }
}

fn of_arbiters(state: &State, out: &mut Vec<Fault>) {
    if !state.provider.down {
        out.push(Fault::CrashProvider);
    }
    for (index, seat) in state.seats.iter().enumerate() {
        if !seat.runs() {
            continue;
        }
        out.push(Fault::PauseArbiter(index));
        out.push(Fault::CrashArbiter(index));
        if seat.fence.is_some() {
            out.push(Fault::FenceFails(index));
        }
        if seat.cut_off {
            continue;
        }
        out.push(Fault::CutOff(index));
        if state.provider.holding() == Some(index) && !state.provider.closed {
            out.push(Fault::Close(index));
            out.extend(
                [Fault::Switchover, Fault::Abort, Fault::Pin, Fault::Unpin, Fault::Force, Fault::Remove]
                    .map(|wish| wish(index)),
            );
            out.push(Fault::Raise(index));
            if state.ack_quorum > 0 {
                out.push(Fault::Lower(index));
            }
            if !state.provider.down {
                out.push(Fault::Resign(index));
            }
        }
        if !seat.writes.is_empty() {
            out.push(Fault::LoseAnswer(index));
            out.push(Fault::LateWrite(index));
        }
    }
}
