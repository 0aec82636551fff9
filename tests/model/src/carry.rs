//! How each move changes a state. The machines are the ones of production; this is their driver.
//!
//! It must not know which moves are allowed when; that is `moves.rs`.

use crate::host::Sent;
use crate::moves::{Fault, Move};
use crate::provider::Request;
use crate::state::{Letter, Mail, State, ToArbiter, ToPeer, hello, instance, new_guard, set_name};
use crate::world::{Faults, World};
use baton_core::arbiter::{self, RelayId, SessionId, TaskId, WriteOutcome};
use baton_core::guard;
use baton_core::ids::{Epoch, InstanceName};
use baton_core::message::{Beat, Grant};
use baton_core::record::Settings;
use baton_core::time::Time;

/// Messages that wait on one stream; what is beyond is lost.
const WAITING_MOST: usize = 3;

/// A state on its way to the next.
pub struct Carrier<'a> {
    /// The world's rules.
    pub world: &'a World,
    /// What changes.
    pub state: State,
    /// How the arbiter answered the last relayed beat.
    pub relayed: Option<(Epoch, bool, Option<Grant>)>,
}

impl Carrier<'_> {
    fn host_now(&self, host: usize) -> Time {
        self.state.clocks[self.world.host_clocks[host]]
    }

    fn arbiter_now(&self, arbiter: usize) -> Time {
        self.state.clocks[self.world.arbiter_clocks[arbiter]]
    }

    fn provider_now(&self) -> Time {
        self.state.clocks[self.world.provider_clock]
    }

    /// Carries one move out.
    pub fn carry_out(&mut self, step: Move) {
        match step {
            Move::Advance(clock) => {
                let now = &mut self.state.clocks[clock];
                *now = *now + baton_core::time::Span(1);
            }
            Move::TickGuard(host) => self.step_guard(host, guard::Input::Tick),
            Move::Settle(host) => self.settle(host),
            Move::Greet(host) => self.greet(host),
            Move::Connect(host) => {
                let peers = self.state.peers();
                self.state.hosts[host].connect(&peers);
                self.settle(host);
            }
            Move::Read(host) => {
                self.state.hosts[host].reads = false;
                let (record, epoch) = (self.state.provider.record.clone(), self.state.provider.epoch);
                self.step_guard(host, guard::Input::ProviderRead { record, epoch });
            }
            Move::Attach(host) => self.attach(host),
            Move::Hear(host) => {
                let message = self.state.links[host].down.remove(0);
                self.step_guard(host, guard::Input::FromArbiter(message));
            }
            Move::Execute(host) => {
                let peers = self.state.peers();
                self.state.hosts[host].execute_next(&peers);
                self.settle(host);
            }
            Move::ExecuteLate(host) => {
                let peers = self.state.peers();
                self.state.hosts[host].execute_late(&peers);
            }
            Move::DeadmanHears(host) => {
                self.state.hosts[host].deadman_hears();
                self.settle(host);
            }
            Move::DeadmanKills(host) => {
                self.state.hosts[host].kill_engine();
                self.settle(host);
            }
            Move::TickArbiter(arbiter) => self.step_arbiter(arbiter, arbiter::Input::Tick),
            Move::Deliver(host, arbiter) => self.deliver(host, arbiter),
            Move::Renew(arbiter) => self.renew(arbiter),
            Move::Load(arbiter) => self.load(arbiter),
            Move::Write(arbiter) => {
                let (op, request) = self.state.seats[arbiter].writes.remove(0);
                let outcome = self.state.provider.write(request);
                self.step_arbiter(arbiter, arbiter::Input::Written { op, outcome });
            }
            Move::Post(host) => self.receive_next(host),
            Move::MendPeers(host) => self.state.links[host].alone = false,
            Move::Late(index) => self.late(index),
            Move::LandLate(index) => {
                let request = self.state.late_writes.remove(index);
                let _ = self.state.provider.write(request);
            }
            Move::Fault(fault) => self.fault(fault),
            Move::Mend(host, arbiter) => self.state.links[host].cut[arbiter] = false,
            Move::Rejoin(arbiter) => self.state.seats[arbiter].cut_off = false,
            Move::ResumeGuard(host) => self.state.hosts[host].paused = false,
            Move::ResumeArbiter(arbiter) => self.state.seats[arbiter].paused = false,
            Move::Thaw(host) => self.thaw(host),
            Move::Restart(host) => self.restart(host),
        }
    }

    fn step_guard(&mut self, index: usize, input: guard::Input) {
        let now = self.host_now(index);
        let peers = self.state.peers();
        let sent = self.state.hosts[index].step(now, input, self.world.manner, &peers);
        self.send_all(index, sent);
    }

    fn settle(&mut self, index: usize) {
        let now = self.host_now(index);
        let peers = self.state.peers();
        let sent = self.state.hosts[index].settle(now, self.world.manner, &peers);
        self.send_all(index, sent);
    }

    fn send_all(&mut self, index: usize, sent: Vec<Sent>) {
        for sent in sent {
            match sent {
                Sent::Beat(beat) => self.send_beat(index, beat),
                Sent::Ask(to, ask) => self.post(index, &to, ToPeer::Ask(ask)),
                Sent::Answer(to, answer) => self.post(index, &to, ToPeer::Answer(answer)),
                Sent::Relay(of, beat) => self.relay(index, of, beat),
            }
        }
    }

    fn send_beat(&mut self, index: usize, beat: Box<Beat>) {
        let link = &mut self.state.links[index];
        let Some(arbiter) = link.session.filter(|arbiter| !link.cut[*arbiter]) else { return };
        if link.up.len() < WAITING_MOST {
            link.up.push((arbiter, ToArbiter::Beat(beat)));
        }
    }

    fn post(&mut self, from: usize, to: &InstanceName, what: ToPeer) {
        let Some(to) = (0..self.state.hosts.len()).find(|index| instance(*index) == *to) else { return };
        let alone = self.state.links[from].alone || self.state.links[to].alone;
        if !alone && self.state.mail.len() < WAITING_MOST {
            self.state.mail.push(Mail { from, to, what });
        }
    }

    fn receive_next(&mut self, host: usize) {
        if let Some(at) = self.state.mail.iter().position(|mail| mail.to == host) {
            let mail = self.state.mail.remove(at);
            self.receive(mail);
        }
    }

    fn receive(&mut self, mail: Mail) {
        let from = instance(mail.from);
        let input = match mail.what {
            ToPeer::Ask(ask) => guard::Input::Asked { from, ask },
            ToPeer::Answer(answer) => guard::Input::Answered { from, answer },
        };
        self.step_guard(mail.to, input);
    }

    /// There and back in one step, where the arbiter runs and is reached: what a slow relay does, a slow stream does.
    fn relay(&mut self, index: usize, of: InstanceName, beat: Box<Beat>) {
        let link = &self.state.links[index];
        let Some(arbiter) = link.session.filter(|arbiter| !link.cut[*arbiter]) else { return };
        let Some(master) = self.state.hosts.iter().find(|host| instance(host.index) == of) else { return };
        if self.state.seats[arbiter].paused {
            return;
        }
        let hello = Box::new(hello(self.world, master));
        let by = instance(index);
        self.step_arbiter(arbiter, arbiter::Input::Relayed { relay: RelayId(0), by, hello, beat });
        if let Some((epoch, well, grant)) = self.relayed.take() {
            let input = guard::Input::RelayAnswered { of, epoch, well, grant };
            self.state.hosts[index].inbox.push(input);
        }
    }

    /// The driver has made sure that the older guard's deadman holds no deadline: the engine cannot be written.
    fn greet(&mut self, index: usize) {
        let host = &mut self.state.hosts[index];
        host.greets = false;
        host.deadline = None;
        self.step_guard(index, guard::Input::DeadmanUp);
    }

    fn attach(&mut self, index: usize) {
        let Some(holder) = self.state.provider.holder else { return };
        self.leave_stream(index);
        let hello = hello(self.world, &self.state.hosts[index]);
        let link = &mut self.state.links[index];
        link.session = Some(holder);
        link.up.push((holder, ToArbiter::Attach(Box::new(hello))));
        self.step_guard(index, guard::Input::Attached);
    }

    fn leave_stream(&mut self, index: usize) {
        let link = &mut self.state.links[index];
        link.down.clear();
        let Some(old) = link.session.take() else { return };
        if !link.cut[old] {
            link.up.push((old, ToArbiter::Detach));
        }
    }

    fn deliver(&mut self, host: usize, arbiter: usize) {
        let link = &mut self.state.links[host];
        let Some(at) = link.up.iter().position(|(to, _)| *to == arbiter) else { return };
        let (_, message) = link.up.remove(at);
        let session = SessionId(host as u64);
        let input = match message {
            ToArbiter::Attach(hello) => arbiter::Input::Attached { session, guards: vec![*hello] },
            ToArbiter::Beat(beat) => arbiter::Input::Beat { session, beat },
            ToArbiter::Detach => arbiter::Input::Detached { session },
        };
        self.step_arbiter(arbiter, input);
    }

    fn renew(&mut self, arbiter: usize) {
        let (now, there) = (self.arbiter_now(arbiter), self.provider_now());
        let timing = &self.world.timing;
        let valid_until = (now + timing.lock_ttl).back(timing.lock_margin);
        let (ttl, again) = (timing.lock_ttl, now + timing.lock_renew);
        let provider = &mut self.state.provider;
        let seat = &mut self.state.seats[arbiter];
        if provider.renew(there, arbiter, ttl) {
            seat.renew_at = again;
            self.step_arbiter(arbiter, arbiter::Input::LockRenewed { valid_until });
        } else if seat.machine.epoch().is_some() && provider.holder != Some(arbiter) {
            // At once after this it stands in line.
            self.step_arbiter(arbiter, arbiter::Input::LockLost);
        } else if let Some(granted) = provider.campaign(there, arbiter, ttl) {
            seat.renew_at = again;
            let predecessor_bound = now + granted.predecessor_bound;
            let epoch = granted.epoch;
            self.step_arbiter(
                arbiter,
                arbiter::Input::LockAcquired { epoch, valid_until, predecessor_bound },
            );
        }
    }

    fn load(&mut self, arbiter: usize) {
        self.state.seats[arbiter].loads = false;
        let records = self.state.provider.record.clone().into_iter().collect();
        let settings = Box::new(Settings::default());
        self.step_arbiter(
            arbiter,
            arbiter::Input::Loaded {
                records,
                members: Vec::new(),
                settings,
                tasks: Vec::new(),
                unix_millis: 0,
            },
        );
    }

    fn step_arbiter(&mut self, index: usize, input: arbiter::Input) {
        let now = self.arbiter_now(index);
        let seat = &mut self.state.seats[index];
        seat.machine.step(now, input);
        while let Some(action) = seat.machine.pop_action() {
            match action {
                arbiter::Action::Load => seat.loads = true,
                arbiter::Action::Write { op, expected, record, .. } => {
                    let request = Request { epoch: record.epoch, expected, record: *record };
                    seat.writes.push((op, request));
                }
                arbiter::Action::Send { session, message, .. } => {
                    let Some(link) =
                        usize::try_from(session.0).ok().and_then(|at| self.state.links.get_mut(at))
                    else {
                        continue;
                    };
                    let open = link.session == Some(index) && !link.cut[index];
                    if open && link.down.len() < WAITING_MOST {
                        link.down.push(message);
                    }
                }
                arbiter::Action::AnswerRelay { epoch, well, grant, .. } => {
                    self.relayed = Some((epoch, well, grant));
                }
                arbiter::Action::PutMember(_)
                | arbiter::Action::Decided(_)
                | arbiter::Action::Publish(_)
                | arbiter::Action::Task { .. }
                | arbiter::Action::Drilled { .. }
                | arbiter::Action::AbortAnswered { .. }
                | arbiter::Action::Fence { .. }
                | arbiter::Action::Bid { .. }
                | arbiter::Action::GiveUp { .. }
                | arbiter::Action::RemovalAnswered { .. }
                | arbiter::Action::TurnedAway { .. }
                | arbiter::Action::NameUsedTwice { .. } => {}
            }
        }
    }

    fn late(&mut self, index: usize) {
        match self.state.letters.remove(index) {
            Letter::Peer(mail) => self.receive(mail),
            Letter::Guard(host, message) => self.step_guard(host, guard::Input::FromArbiter(message)),
            Letter::Arbiter(host, arbiter, beat) => {
                let session = SessionId(host as u64);
                self.step_arbiter(arbiter, arbiter::Input::Beat { session, beat });
            }
        }
    }

    fn thaw(&mut self, index: usize) {
        let now = self.host_now(index);
        let host = &mut self.state.hosts[index];
        host.frozen = false;
        // What an engine accepts between its host's thaw and its deadman's first instruction is the gate's business, not
        // the lease's (design, *What the lease assumes, and what goes beyond it*): here the deadman is first.
        if host.deadline.is_some_and(|at| at <= now) && !self.world.manner.no_deadman {
            host.kill_engine();
        }
    }

    fn restart(&mut self, index: usize) {
        let now = self.host_now(index);
        let host = &mut self.state.hosts[index];
        host.run += 1;
        host.guard = Some(new_guard(self.world, now, index, host.run, host.disk.clone()));
        host.greets = true;
        host.engine.reconnect = host.engine.up;
        let first = if host.engine.up { guard::Input::Tick } else { guard::Input::EngineEnded };
        self.step_guard(index, first);
    }

    fn fault(&mut self, fault: Fault) {
        self.state.left.all -= 1;
        *fault.budget(&mut self.state.left) -= 1;
        if self.state.left.all == 0 {
            // What is left of one kind means nothing any more, and would only tell equal states apart.
            self.state.left = Faults::default();
        }
        match fault {
            Fault::Cut(host, arbiter) => self.cut(host, arbiter),
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
            Fault::CutOff(arbiter) => self.state.seats[arbiter].cut_off = true,
            Fault::Close(arbiter) => {
                self.state.provider.closed = true;
                self.state.seats[arbiter].cut_off = true;
            }
            Fault::PauseGuard(host) => self.state.hosts[host].paused = true,
            Fault::PauseArbiter(arbiter) => self.state.seats[arbiter].paused = true,
            Fault::Freeze(host) => self.state.hosts[host].frozen = true,
            Fault::CrashGuard(host) => self.crash_guard(host),
            Fault::CrashEngine(host) => {
                self.state.hosts[host].kill_engine();
                self.settle(host);
            }
            Fault::DelayDown(host) => {
                let message = self.state.links[host].down.remove(0);
                self.state.letters.push(Letter::Guard(host, message));
            }
            Fault::DelayUp(host, arbiter) => self.delay_up(host, arbiter),
            Fault::Duplicate(host) => {
                let message = self.state.links[host].down.remove(0);
                self.state.letters.push(Letter::Guard(host, message.clone()));
                self.step_guard(host, guard::Input::FromArbiter(message));
            }
            Fault::LoseAnswer(arbiter) => {
                let (op, request) = self.state.seats[arbiter].writes.remove(0);
                let _ = self.state.provider.write(request);
                let outcome = WriteOutcome::Unknown;
                self.step_arbiter(arbiter, arbiter::Input::Written { op, outcome });
            }
            Fault::LateWrite(arbiter) => {
                let (op, request) = self.state.seats[arbiter].writes.remove(0);
                self.state.late_writes.push(request);
                let outcome = WriteOutcome::Unknown;
                self.step_arbiter(arbiter, arbiter::Input::Written { op, outcome });
            }
            Fault::BreakConnection(host) => {
                self.state.hosts[host].break_connection();
                self.settle(host);
            }
            Fault::Switchover(arbiter) => self.switch_over(arbiter),
        }
    }

    fn cut(&mut self, host: usize, arbiter: usize) {
        let link = &mut self.state.links[host];
        link.cut[arbiter] = true;
        link.up.retain(|(to, _)| *to != arbiter);
        if link.session == Some(arbiter) {
            link.down.clear();
        }
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

    fn delay_up(&mut self, host: usize, arbiter: usize) {
        let link = &mut self.state.links[host];
        let Some(at) = link.up.iter().position(|(to, _)| *to == arbiter) else { return };
        if let (_, ToArbiter::Beat(beat)) = link.up.remove(at) {
            self.state.letters.push(Letter::Arbiter(host, arbiter, beat));
        }
    }

    fn switch_over(&mut self, arbiter: usize) {
        let input = arbiter::Input::Switchover {
            task: TaskId(1),
            replicaset: set_name(),
            target: None,
            timeout: self.world.timing.promote_wait,
        };
        self.step_arbiter(arbiter, input);
    }
}
