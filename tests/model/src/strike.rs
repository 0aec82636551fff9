//! What a fault does to a state, and what people ask for.
//!
//! It must not know when a fault makes a difference; that is `faults.rs`.

use crate::carry::Carrier;
use crate::faults::{Fault, Faults};
use crate::state::{Letter, ToArbiter, set_name};
use baton_core::arbiter::{self, TaskId, WriteOutcome};
use baton_core::guard;
use baton_oracle::WriteId;

/// What a person asked for is known by this number.
const TASK: TaskId = TaskId(1);

impl Carrier<'_> {
    /// Lets a fault strike, and takes it off the budget.
    pub(crate) fn strike(&mut self, fault: Fault) {
        self.state.left.all -= 1;
        *fault.budget(&mut self.state.left) -= 1;
        if self.state.left.all == 0 {
            // What is left of one kind means nothing any more, and would only tell equal states apart.
            self.state.left = Faults::default();
        }
        match fault {
            Fault::Cut(host, arbiter) => self.cut(host, arbiter, true, true),
            Fault::CutUp(host, arbiter) => self.cut(host, arbiter, true, false),
            Fault::CutDown(host, arbiter) => self.cut(host, arbiter, false, true),
            Fault::Part(host) => {
                self.leave_stream(host);
                self.step_guard(host, guard::Input::Detached);
            }
            Fault::CutPeers(host) => {
                self.state.links[host].alone = true;
                self.state.mail.retain(|mail| mail.from != host && mail.to != host);
            }
            Fault::DelayMail(host) => {
                if let Some(at) = self.state.mail.iter().position(|mail| mail.to == host) {
                    let mail = self.state.mail.remove(at);
                    self.state.letters.push(Letter::Peer(mail));
                }
            }
            Fault::DelayDown(host) => {
                let message = self.state.links[host].down.remove(0);
                self.state.letters.push(Letter::Guard(host, message));
            }
            Fault::Duplicate(host) => {
                let message = self.state.links[host].down.remove(0);
                self.state.letters.push(Letter::Guard(host, message.clone()));
                self.step_guard(host, guard::Input::FromArbiter(message));
            }
            Fault::DelayUp(host, arbiter) => self.hold_beat(host, arbiter, false),
            Fault::DuplicateUp(host, arbiter) => self.hold_beat(host, arbiter, true),
            Fault::PauseGuard(host) => self.state.hosts[host].paused = true,
            Fault::Freeze(host) => self.state.hosts[host].frozen = true,
            Fault::CrashGuard(host) => self.crash_guard(host),
            Fault::HandOver(host) => self.hand_over(host),
            Fault::CrashEngine(host) => {
                self.state.hosts[host].kill_engine(self.world.manner);
                self.settle(host);
            }
            Fault::BreakConnection(host) => {
                self.state.hosts[host].break_connection();
                self.settle(host);
            }
            Fault::CutReplica(host) => self.state.links[host].replica_cut = true,
            Fault::DelayConfirm(host) => self.replicate(host, false),
            Fault::Write(host) => {
                self.state.last_write += 1;
                let write = WriteId(self.state.last_write);
                self.state.hosts[host].engine.write(write);
            }
            _ => self.strike_arbiter(fault),
        }
    }

    fn strike_arbiter(&mut self, fault: Fault) {
        match fault {
            Fault::CutOff(arbiter) => self.state.seats[arbiter].cut_off = true,
            Fault::Close(arbiter) => {
                self.state.provider.closed = true;
                self.state.seats[arbiter].cut_off = true;
            }
            Fault::PauseArbiter(arbiter) => self.state.seats[arbiter].paused = true,
            Fault::CrashArbiter(arbiter) => self.crash_arbiter(arbiter),
            Fault::CrashProvider => self.state.provider.down = true,
            Fault::Resign(arbiter) => self.resign(arbiter),
            Fault::LoseAnswer(arbiter) => {
                let (op, request) = self.state.seats[arbiter].writes.remove(0);
                let _ = self.apply(request);
                let outcome = WriteOutcome::Unknown;
                self.step_arbiter(arbiter, arbiter::Input::Written { op, outcome });
            }
            Fault::LateWrite(arbiter) => {
                let (op, request) = self.state.seats[arbiter].writes.remove(0);
                self.state.late_writes.push(request);
                let outcome = WriteOutcome::Unknown;
                self.step_arbiter(arbiter, arbiter::Input::Written { op, outcome });
            }
            Fault::FenceFails(arbiter) => self.turn_off(arbiter, false),
            Fault::Switchover(arbiter)
            | Fault::Abort(arbiter)
            | Fault::Pin(arbiter)
            | Fault::Unpin(arbiter)
            | Fault::Force(arbiter)
            | Fault::Remove(arbiter) => self.ask(arbiter, fault),
            Fault::Raise(arbiter) => self.set_quorum(arbiter, self.state.ack_quorum + 1),
            Fault::Lower(arbiter) => self.set_quorum(arbiter, self.state.ack_quorum - 1),
            _ => unreachable!("strike does all others itself"),
        }
    }

    /// A person asks the arbiter for something.
    fn ask(&mut self, arbiter: usize, wish: Fault) {
        let replicaset = set_name();
        let timeout = self.world.timing.promote_wait;
        let input = match wish {
            Fault::Switchover(_) => {
                arbiter::Input::Switchover { task: TASK, replicaset, target: None, timeout }
            }
            Fault::Abort(_) => arbiter::Input::Abort { task: TASK },
            Fault::Pin(_) => arbiter::Input::Pause { replicaset, pin: self.world.pin() },
            Fault::Unpin(_) => arbiter::Input::Resume { replicaset: Some(replicaset) },
            Fault::Force(_) => {
                let master = self.state.provider.record.as_ref().and_then(|record| record.master.clone());
                let others = (0..self.state.hosts.len()).map(crate::state::instance);
                let target = others.rev().find(|name| Some(name) != master.as_ref());
                let timeout = self.world.timing.lease_ttl * 2;
                let forcing = arbiter::Forcing { fence: self.world.fences, others_off: false };
                arbiter::Input::Failover { task: TASK, replicaset, target, timeout, forcing }
            }
            _ => arbiter::Input::RemoveSet { replicaset },
        };
        self.step_arbiter(arbiter, input);
    }

    /// The settings change in the provider, and whoever holds the lock hears of it.
    fn set_quorum(&mut self, arbiter: usize, ack_quorum: u32) {
        self.state.ack_quorum = ack_quorum;
        let settings = Box::new(self.settings());
        self.step_arbiter(arbiter, arbiter::Input::Settings { settings, unix_millis: 0 });
    }

    fn cut(&mut self, host: usize, arbiter: usize, up: bool, down: bool) {
        let link = &mut self.state.links[host];
        link.cut[arbiter] = crate::state::Cut { up, down };
        if up {
            link.up.retain(|(to, _)| *to != arbiter);
        }
        if down && link.session == Some(arbiter) {
            link.down.clear();
        }
    }

    /// Its process is gone: whoever reaches its host sees the connections close, and the provider too.
    fn crash_arbiter(&mut self, arbiter: usize) {
        let seat = &mut self.state.seats[arbiter];
        let reached = !seat.cut_off;
        (seat.dead, seat.loads, seat.fence) = (true, false, None);
        // What it had asked of the provider may still be on its way there.
        let asked = std::mem::take(&mut seat.writes);
        self.state.late_writes.extend(asked.into_iter().map(|(_, request)| request));
        let holder = self.state.holder(arbiter);
        if reached && self.state.provider.holder == Some(holder) {
            self.state.provider.closed = true;
        }
        for host in 0..self.state.hosts.len() {
            let link = &mut self.state.links[host];
            if link.up.iter().any(|(to, _)| *to == arbiter) {
                link.up.retain(|(to, _)| *to != arbiter);
            }
            let knows = link.session == Some(arbiter) && !link.cut[arbiter].down;
            if knows {
                (link.session, link.down) = (None, Vec::new());
                self.step_guard(host, guard::Input::Detached);
            }
        }
    }

    fn resign(&mut self, arbiter: usize) {
        let (now, there) = (self.arbiter_now(arbiter), self.provider_now());
        let holder = self.state.holder(arbiter);
        let last_grant = self.state.seats[arbiter].machine.last_grant_until().since(now);
        self.state.provider.resign(there, holder, last_grant);
        // It stands in line again after a while, so that others come first.
        self.state.seats[arbiter].renew_at = now + self.world.timing.lock_renew;
        self.step_arbiter(arbiter, arbiter::Input::LockLost);
    }

    fn crash_guard(&mut self, index: usize) {
        self.leave_stream(index);
        let host = &mut self.state.hosts[index];
        host.guard = None;
        host.inbox.clear();
        // The driver of the next run makes sure that no connection of this one is read any more.
        host.engine.queue.clear();
        host.engine.late = None;
        host.engine.reconnect = false;
        host.pipe.clear();
        host.reads = false;
        host.greets = false;
    }

    /// The sidecar is restarted on purpose: engine and deadman stay as they are.
    fn hand_over(&mut self, index: usize) {
        let host = &mut self.state.hosts[index];
        let taken = host.taken;
        let handed = host.guard.as_mut().and_then(|guard| guard.hand_over(taken).ok());
        let Some(handed) = handed else { return };
        host.handed = Some(Box::new(handed));
        self.crash_guard(index);
    }

    fn hold_beat(&mut self, host: usize, arbiter: usize, twice: bool) {
        let link = &mut self.state.links[host];
        let Some(at) = link.up.iter().position(|(to, _)| *to == arbiter) else { return };
        let held = if twice { link.up[at].1.clone() } else { link.up.remove(at).1 };
        if let ToArbiter::Beat(beat) = held {
            self.state.letters.push(Letter::Arbiter(host, arbiter, beat));
        }
    }
}
