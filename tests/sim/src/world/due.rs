//! What waits for its moment, and who is given it.
//!
//! It must not know what anybody makes of it.

use super::World;
use super::clients::ClientStep;
use super::net::{Body, Packet};
use super::provider::BOARD;
use baton_board::RequestId;
use baton_core::arbiter::SessionId;
use baton_core::guard::{Input as GuardInput, Saved};
use baton_core::ids::{InstanceName, OpId};
use baton_core::time::Time;

/// Something that happens at a moment.
#[derive(Clone, Debug)]
pub enum Due {
    /// A client's request goes a step on.
    Client(ClientStep),
    /// A message arrives.
    Packet(Box<Packet>),
    /// Something for a guard, of this run.
    Guard(InstanceName, u64, Box<GuardInput>),
    /// The engine's answer, over this connection.
    Answer(InstanceName, u64, u64, Box<GuardInput>),
    /// What the board asked its disk for first is durable, where its process is still this one.
    BoardDisk(u64),
    /// A guard's state is on disk.
    Disk(InstanceName, u64, OpId, Box<Saved>),
    /// The deadman hears of a deadline.
    Arm(InstanceName, u64, OpId, Time),
    /// The deadman hears that there is none.
    Disarm(InstanceName),
    /// A command reaches the engine over this connection.
    Command(InstanceName, u64, OpId),
    /// It should have been answered.
    CommandTimeout(InstanceName, u64, OpId),
    /// A connection to the engine stands.
    EngineConnected(InstanceName, u64),
    /// A starting guard asks the provider, again if it must.
    ReadProvider(InstanceName, u64),
    /// The board notices the end of a connection.
    SessionGone(baton_board::SessionId),
    /// An arbiter notices the end of a stream.
    StreamGone(String, SessionId),
    /// A guard notices the end of its stream.
    StreamBroken(InstanceName, SessionId),
    /// A guard without a stream tries once more.
    AttachAgain(InstanceName),
    /// A replica looks after its link.
    Replication(InstanceName),
    /// An arbiter whose campaign may have been lost.
    CampaignAgain {
        /// Whose.
        arbiter: String,
        /// Of which process.
        run: u64,
        /// Over which connection.
        session: baton_board::SessionId,
    },
    /// An arbiter that resigned stands in line again.
    Rejoin {
        /// Which.
        arbiter: String,
        /// Of which process.
        run: u64,
    },
    /// A knock has waited long enough.
    KnockUnanswered {
        /// Who knocked.
        host: String,
        /// Which knock.
        number: u64,
    },
    /// A request to the board has waited long enough.
    RequestTimeout {
        /// Whose.
        arbiter: String,
        /// Of which process.
        run: u64,
        /// Which.
        id: RequestId,
    },
}

impl World {
    pub(super) fn fall_due(&mut self, due: Due) {
        let Some(due) = self.unless_frozen(due) else { return };
        match due {
            Due::Client(step) => self.client_steps(step),
            Due::Packet(packet) => self.deliver(*packet),
            Due::Guard(instance, run, input) => self.guard_hears(&instance, run, *input),
            Due::Answer(instance, run, connection, input) => {
                self.engine_answer(&instance, run, connection, *input);
            }
            Due::BoardDisk(run) => self.board_saved(run),
            Due::Disk(instance, run, op, saved) => self.saved(&instance, run, op, *saved),
            Due::Arm(instance, run, op, deadline) => self.armed(&instance, run, op, deadline),
            Due::Disarm(instance) => {
                if let Some(node) = self.nodes.get_mut(&instance) {
                    node.deadman.deadline = None;
                }
            }
            Due::Command(instance, connection, op) => self.engine_command(&instance, connection, op),
            Due::CommandTimeout(instance, connection, op) => self.engine_timeout(&instance, connection, op),
            Due::EngineConnected(instance, connection) => self.engine_connected(&instance, connection),
            Due::ReadProvider(instance, run) => self.read_provider(&instance, run),
            Due::SessionGone(session) => self.board_closed(session),
            Due::StreamGone(arbiter, session) => self.stream_gone(&arbiter, session),
            Due::StreamBroken(instance, session) => self.stream_broken(&instance, session),
            Due::AttachAgain(instance) => self.attach_again(&instance),
            Due::Replication(instance) => self.replication(&instance),
            Due::CampaignAgain { arbiter, run, session } => self.campaign_again(&arbiter, run, session),
            Due::Rejoin { arbiter, run } => self.rejoin(&arbiter, run),
            Due::KnockUnanswered { host, number } => self.knock_ended(&host, number, false),
            Due::RequestTimeout { arbiter, run, id } => {
                if self.arbiters.get(&arbiter).is_some_and(|node| node.run == run) {
                    self.request_timed_out(&arbiter, id);
                }
            }
        }
    }

    /// What happens on a frozen host waits until it is thawed.
    fn unless_frozen(&mut self, due: Due) -> Option<Due> {
        let host = match &due {
            Due::Client(ClientStep::Arrives(_, instance)) => instance.as_str(),
            Due::BoardDisk(_) | Due::SessionGone(_) | Due::Client(_) => return Some(due),
            Due::Packet(packet) => &packet.to,
            Due::Guard(instance, ..)
            | Due::Answer(instance, ..)
            | Due::Disk(instance, ..)
            | Due::Arm(instance, ..)
            | Due::Disarm(instance)
            | Due::Command(instance, ..)
            | Due::CommandTimeout(instance, ..)
            | Due::EngineConnected(instance, _)
            | Due::ReadProvider(instance, _)
            | Due::StreamBroken(instance, _)
            | Due::AttachAgain(instance)
            | Due::Replication(instance) => instance.as_str(),
            Due::KnockUnanswered { host, .. } => host,
            Due::CampaignAgain { arbiter, .. }
            | Due::StreamGone(arbiter, _)
            | Due::Rejoin { arbiter, .. }
            | Due::RequestTimeout { arbiter, .. } => arbiter,
        };
        if let Some(node) = self.nodes.get(host) {
            if !node.frozen {
                return Some(due);
            }
            let name = node.name.clone();
            self.nodes.get_mut(&name)?.backlog.push(due);
            return None;
        }
        if let Some(node) = self.arbiters.get(host).filter(|node| node.frozen) {
            let name = node.name.clone();
            self.arbiters.get_mut(&name)?.backlog.push(due);
            return None;
        }
        Some(due)
    }

    fn deliver(&mut self, packet: Packet) {
        let Packet { from, to, body } = packet;
        if *to == *BOARD {
            match body {
                Body::ToBoard(input) => self.board_hears(&from, *input),
                Body::Renew(session, sent) => self.board_hears_renewal(&from, session, sent),
                Body::Read(run) => self.board_reads(&from, run),
                _ => {}
            }
            return;
        }
        let body = match body {
            Body::Lock(view) => return self.host_sees_lock(&to, &view),
            Body::Knock(number, guards) => return self.knocked(&to, &from, number, guards),
            Body::KnockHeard(number) => return self.knock_ended(&to, number, true),
            body => body,
        };
        if self.arbiters.contains_key(&*to) {
            self.arbiter_hears(&to, &from, body);
            return;
        }
        let Some(instance) = self.nodes.name(&*to).cloned() else { return };
        match body {
            Body::Data(run, link, start, log) => {
                self.replica_receives(&instance, &from, (&run, link), start, log);
            }
            Body::Confirm(run, replica, link, length) => {
                self.master_confirmed(&instance, &run, (&replica, link), length);
            }
            Body::Settings(generation, settings) => self.node_learns(&instance, generation, &settings),
            Body::Ask(..) => self.node_is_asked(&instance, body),
            Body::Promised(answer) => {
                if let Some(from) = self.nodes.name(&*from).cloned() {
                    self.tell_guard(&instance, GuardInput::Answered { from, answer });
                }
            }
            Body::Relayed { of, epoch, well, grant } => {
                self.tell_guard(&instance, GuardInput::RelayAnswered { of, epoch, well, grant });
            }
            body => self.node_hears(&instance, body),
        }
    }

    fn arbiter_hears(&mut self, name: &str, from: &str, body: Body) {
        use baton_core::arbiter::Input;
        match body {
            Body::Hello(session, hello) => {
                if self.arbiters.get(name).is_none_or(|node| node.machine.is_none()) {
                    self.send(name, from, Body::Bye(session));
                    return;
                }
                self.send(name, from, Body::Welcome(session));
                self.streams.insert(session, name.to_owned());
                self.arbiter_step(name, Input::Attached { session, guards: vec![*hello] });
            }
            Body::Bye(session) => {
                self.streams.remove(&session);
                self.arbiter_step(name, Input::Detached { session });
            }
            Body::Beat(session, beat) => self.arbiter_step(name, Input::Beat { session, beat }),
            Body::Relay(hello, beat) => self.arbiter_is_relayed(name, from, hello, beat),
            Body::FromBoard(session, message, sent) => {
                self.arbiter_hears_board(name, session, message, sent);
            }
            Body::Answer(id, reply) => self.arbiter_hears_answer(name, id, *reply),
            Body::Settings(generation, settings) => self.arbiter_learns(name, generation, *settings),
            _ => {}
        }
    }
}
