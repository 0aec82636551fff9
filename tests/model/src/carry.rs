//! How each move changes a state. The machines are the ones of production; this is their driver.
//!
//! It must not know which moves are allowed when; that is `moves.rs`.

use crate::host::Sent;
use crate::moves::{Move, next_due};
use crate::provider::Request;
use crate::state::{Letter, Mail, State, ToArbiter, ToPeer, guard_config, hello, incarnation, instance};
use crate::state::{new_seat, set_name};
use crate::world::World;
use baton_core::arbiter::{self, RelayId, SessionId, WriteOutcome};
use baton_core::guard::{self, Guard};
use baton_core::ids::{Epoch, InstanceName};
use baton_core::message::{Beat, Grant};
use baton_core::record::Settings;
use baton_core::time::{Span, Time};

/// Messages that wait on one stream; what is beyond is lost.
pub const WAITING_MOST: usize = 3;

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
    pub(crate) fn host_now(&self, host: usize) -> Time {
        self.state.clocks[self.world.host_clocks[host]]
    }

    pub(crate) fn arbiter_now(&self, arbiter: usize) -> Time {
        self.state.clocks[self.world.arbiter_clocks[arbiter]]
    }

    pub(crate) fn provider_now(&self) -> Time {
        self.state.clocks[self.world.provider_clock]
    }

    /// Carries one move out.
    pub fn carry_out(&mut self, step: Move) {
        match step {
            Move::Advance(clock) => self.advance(clock),
            Move::Leap(clock) => {
                let far = self.world.horizon();
                let now = &mut self.state.clocks[clock];
                *now = *now + far;
            }
            Move::TickGuard(host) => self.step_guard(host, guard::Input::Tick),
            Move::Settle(host) => self.settle(host),
            Move::Greet(host) => self.greet(host),
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
            Move::Connect(host)
            | Move::Execute(host)
            | Move::ExecuteLate(host)
            | Move::DeadmanHears(host)
            | Move::DeadmanKills(host) => self.engine_moves(step, host),
            Move::Replicate(host) => self.replicate(host, true),
            Move::TickArbiter(arbiter) => self.step_arbiter(arbiter, arbiter::Input::Tick),
            Move::Deliver(host, arbiter) => self.deliver(host, arbiter),
            Move::Renew(arbiter) => self.renew(arbiter),
            Move::Load(arbiter) => self.load(arbiter),
            Move::Write(arbiter) => {
                let (op, request) = self.state.seats[arbiter].writes.remove(0);
                let outcome = self.apply(request);
                self.step_arbiter(arbiter, arbiter::Input::Written { op, outcome });
            }
            Move::TurnOff(arbiter) => self.turn_off(arbiter, true),
            Move::Post(host) => self.receive_next(host),
            Move::Late(index) => self.late(index),
            Move::LandLate(index) => {
                let request = self.state.late_writes.remove(index);
                let _ = self.apply(request);
            }
            Move::Fault(fault) => self.strike(fault),
            Move::MendPeers(_)
            | Move::MendReplica(_)
            | Move::Mend(..)
            | Move::Rejoin(_)
            | Move::ResumeGuard(_)
            | Move::ResumeArbiter(_)
            | Move::Thaw(_)
            | Move::Restart(_)
            | Move::RestartArbiter(_)
            | Move::RestartProvider => self.mend(step),
        }
        self.look_at_engines();
        self.remember();
    }

    /// What a world has to show and no single state does.
    fn remember(&mut self) {
        let (promises, pause) =
            (self.world.is_to_show("a failsafe is left"), self.world.is_to_show("the set is paused"));
        if !promises && !pause {
            return;
        }
        for index in 0..self.state.hosts.len() {
            let now = self.host_now(index);
            let host = &self.state.hosts[index];
            let Some(guard) = &host.guard else { continue };
            let on_promises = promises && guard.rests_on_promises();
            let pinned =
                pause && guard.right_until().is_some_and(|(_, end)| end > now + self.world.timing.lease_ttl);
            if (on_promises && !host.past.on_promises) || (pinned && !host.past.pinned) {
                let past = &mut self.state.hosts[index].past;
                past.on_promises |= on_promises;
                past.pinned |= pinned;
            }
        }
    }

    /// What went wrong is over.
    fn mend(&mut self, step: Move) {
        match step {
            Move::MendPeers(host) => self.state.links[host].alone = false,
            Move::MendReplica(host) => self.state.links[host].replica_cut = false,
            Move::Mend(host, arbiter) => self.state.links[host].cut[arbiter] = crate::state::Cut::default(),
            Move::Rejoin(arbiter) => self.state.seats[arbiter].cut_off = false,
            Move::ResumeGuard(host) => self.state.hosts[host].paused = false,
            Move::ResumeArbiter(arbiter) => self.state.seats[arbiter].paused = false,
            Move::Thaw(host) => self.thaw(host),
            Move::Restart(host) => self.restart(host),
            Move::RestartArbiter(arbiter) => {
                let (now, run) = (self.arbiter_now(arbiter), self.state.seats[arbiter].run + 1);
                *self.state.seats[arbiter] = new_seat(self.world, now, arbiter, run);
            }
            Move::RestartProvider => {
                let there = self.provider_now();
                self.state.provider.restart(there, self.world.timing.lock_ttl);
            }
            _ => unreachable!("carry_out sends nothing else here"),
        }
    }

    fn engine_moves(&mut self, step: Move, host: usize) {
        let (manner, peers) = (self.world.manner, self.state.peers());
        let there = &mut self.state.hosts[host];
        match step {
            Move::Connect(_) => there.connect(manner, &peers),
            Move::Execute(_) => there.execute_next(manner, &peers),
            Move::ExecuteLate(_) => return there.execute_late(manner, &peers),
            Move::DeadmanHears(_) => there.deadman_hears(),
            _ => there.kill_engine(manner),
        }
        self.settle(host);
    }

    /// By one unit; where clocks mean nothing, to whatever is due next.
    fn advance(&mut self, clock: usize) {
        let now = self.state.clocks[clock];
        let due = next_due(self.world, &self.state, clock).filter(|_| self.world.timeless);
        self.state.clocks[clock] = due.map_or(now + Span(1), |due| due.max(now));
    }

    /// A conditional write reaches the provider.
    pub(crate) fn apply(&mut self, request: Request) -> WriteOutcome {
        let outcome = self.state.provider.write(request);
        if outcome == WriteOutcome::Applied
            && self.world.manner.logs
            && let Some(record) = &self.state.provider.record
        {
            self.state.watch.recorded(record);
        }
        outcome
    }

    /// A replica takes all of its master's data; `confirms`: and the master knows it.
    pub(crate) fn replicate(&mut self, replica: usize, confirms: bool) {
        let Some(master) = self.state.hosts[replica].engine.follows else { return };
        let from = &self.state.hosts[master].engine;
        let (log, data, run) = (from.log.clone(), from.data.clone(), from.run);
        let length = log.len();
        let engine = &mut self.state.hosts[replica].engine;
        (engine.log, engine.data) = (log, data);
        if confirms {
            self.state.hosts[master].engine.confirmed(replica, length);
        } else {
            self.state.letters.push(Letter::Confirm { master, run, replica, length });
        }
    }

    /// Whoever follows another, or is gone, is its old master's replica no more; and the oracle is told what was done.
    fn look_at_engines(&mut self) {
        if !self.world.manner.logs {
            return;
        }
        for index in 0..self.state.hosts.len() {
            let hosts = &self.state.hosts;
            let follows =
                |replica: &usize| hosts[*replica].engine.up && hosts[*replica].engine.follows == Some(index);
            let gone: Vec<usize> =
                hosts[index].engine.attached.keys().filter(|replica| !follows(replica)).copied().collect();
            for replica in gone {
                self.state.hosts[index].engine.attached.remove(&replica);
            }
            if !self.state.hosts[index].engine.did.is_empty() {
                for did in std::mem::take(&mut self.state.hosts[index].engine.did) {
                    self.state.watch.saw(index, did);
                }
            }
        }
    }

    /// The fence command ends: the host has no power any more, or nothing is known.
    pub(crate) fn turn_off(&mut self, arbiter: usize, confirmed: bool) {
        let Some((term, host)) = self.state.seats[arbiter].fence.take() else { return };
        if confirmed {
            let link = &mut self.state.links[host];
            (link.session, link.down) = (None, Vec::new());
            self.state.hosts[host].turn_off(self.world.manner);
        }
        self.step_arbiter(arbiter, arbiter::Input::Fenced { replicaset: set_name(), term, confirmed });
    }

    pub(crate) fn step_guard(&mut self, index: usize, input: guard::Input) {
        let now = self.host_now(index);
        let peers = self.state.peers();
        let sent = self.state.hosts[index].step(now, input, self.world.manner, &peers);
        self.send_all(index, sent);
    }

    pub(crate) fn settle(&mut self, index: usize) {
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
        let Some(arbiter) = link.session.filter(|arbiter| !link.cut[*arbiter].up) else { return };
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
        let open = |arbiter: &usize| !link.cut[*arbiter].up && !link.cut[*arbiter].down;
        let Some(arbiter) = link.session.filter(open) else { return };
        let Some(master) = self.state.hosts.iter().find(|host| instance(host.index) == of) else { return };
        if !self.state.seats[arbiter].runs() {
            return;
        }
        let hello = Box::new(hello(self.world, master));
        let by = instance(index);
        self.step_arbiter(arbiter, arbiter::Input::Relayed { relay: RelayId(0), by, hello, beat });
        if let Some((epoch, well, grant)) = self.relayed.take() {
            if grant.is_some() && self.world.is_to_show("a beat is passed on") {
                self.state.hosts[index].past.passed_on = true;
            }
            let input = guard::Input::RelayAnswered { of, epoch, well, grant };
            self.state.hosts[index].inbox.push(input);
        }
    }

    /// The driver has made sure that the older guard's deadman holds no deadline: the engine cannot be written.
    fn greet(&mut self, index: usize) {
        let host = &mut self.state.hosts[index];
        host.greets = false;
        let handed = host.guard.as_ref().and_then(Guard::armed);
        let input = match (handed, host.deadline) {
            // A right that was handed over: the deadman has held its deadline all the while, or it is as if it had died.
            (Some(handed), Some(held)) if handed == held => guard::Input::DeadmanUp,
            (Some(_), _) => guard::Input::DeadmanLost,
            (None, _) => {
                host.deadline = None;
                guard::Input::DeadmanUp
            }
        };
        self.step_guard(index, input);
    }

    fn attach(&mut self, index: usize) {
        let Some(holder) = self.state.provider.holding() else { return };
        self.leave_stream(index);
        let hello = hello(self.world, &self.state.hosts[index]);
        let link = &mut self.state.links[index];
        link.session = Some(holder);
        link.up.push((holder, ToArbiter::Attach(Box::new(hello))));
        self.step_guard(index, guard::Input::Attached);
    }

    pub(crate) fn leave_stream(&mut self, index: usize) {
        let link = &mut self.state.links[index];
        link.down.clear();
        let Some(old) = link.session.take() else { return };
        if !link.cut[old].up {
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
        let holder = self.state.holder(arbiter);
        let provider = &mut self.state.provider;
        let seat = &mut self.state.seats[arbiter];
        if provider.renew(there, holder, ttl) {
            seat.renew_at = again;
            self.step_arbiter(arbiter, arbiter::Input::LockRenewed { valid_until });
        } else if seat.machine.epoch().is_some() && provider.holder != Some(holder) {
            // At once after this it stands in line.
            self.step_arbiter(arbiter, arbiter::Input::LockLost);
        } else if let Some(granted) = provider.campaign(there, holder, ttl) {
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
        let settings = Box::new(self.settings());
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

    /// What the provider has of them now.
    pub(crate) fn settings(&self) -> Settings {
        Settings { ack_quorum: self.state.ack_quorum, ..self.world.settings() }
    }

    pub(crate) fn step_arbiter(&mut self, index: usize, input: arbiter::Input) {
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
                arbiter::Action::Fence { term, instance: holder, .. } => {
                    let host = (0..self.state.links.len()).find(|host| instance(*host) == holder);
                    seat.fence = host.map(|host| (term, host));
                }
                arbiter::Action::Send { session, message, .. } => {
                    let Some(link) =
                        usize::try_from(session.0).ok().and_then(|at| self.state.links.get_mut(at))
                    else {
                        continue;
                    };
                    let open = link.session == Some(index) && !link.cut[index].down;
                    if open && link.down.len() < WAITING_MOST {
                        link.down.push(message);
                    }
                }
                arbiter::Action::AnswerRelay { epoch, well, grant, .. } => {
                    self.relayed = Some((epoch, well, grant));
                }
                arbiter::Action::PutMember(member) => {
                    seat.machine.step(now, arbiter::Input::Listed(Box::new(member)));
                }
                arbiter::Action::Decided(_)
                | arbiter::Action::Publish(_)
                | arbiter::Action::Task { .. }
                | arbiter::Action::Drilled { .. }
                | arbiter::Action::AbortAnswered { .. }
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
            Letter::Confirm { master, run, replica, length } => {
                let engine = &mut self.state.hosts[master].engine;
                if engine.up && engine.run == run {
                    engine.confirmed(replica, length);
                }
            }
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
            host.kill_engine(self.world.manner);
        }
    }

    /// The sidecar is started. It goes on from a hand-over that fits, or begins a run of its own.
    fn restart(&mut self, index: usize) {
        let now = self.host_now(index);
        let host = &mut self.state.hosts[index];
        let home = guard::Home {
            instance: instance(index),
            replicaset: set_name(),
            supervised: true,
            incarnation: incarnation(index, host.boot, host.run),
            taken: host.taken,
            saved: host.disk.clone(),
        };
        let fits = |handed: &guard::HandOver| handed.fits(&home, self.world.rules()).is_ok();
        let handed = host.handed.as_deref().filter(|handed| fits(handed)).cloned();
        if let Some(handed) = handed {
            host.taken += 1;
            let config = guard_config(self.world, index, host.boot, host.run);
            host.guard = Some(Guard::resume(now, config, handed));
        } else {
            let same_boot = home.incarnation.boot == host.guard_boot;
            host.run += 1;
            host.guard_boot = host.boot;
            let config = guard_config(self.world, index, host.boot, host.run);
            host.guard = Some(Guard::new(now, config, host.disk.clone(), same_boot));
        }
        host.greets = true;
        host.engine.reconnect = host.engine.up;
        let first = if host.engine.up { guard::Input::Tick } else { guard::Input::EngineEnded };
        self.step_guard(index, first);
    }
}
