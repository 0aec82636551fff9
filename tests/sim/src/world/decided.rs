//! What an arbiter has decided, carried out: what is sent to guards, written to the board, shown to routers and said to people.
//!
//! It must not know why.

use super::World;
use super::arbiter::Purpose;
use super::net::Body;
use crate::show;
use baton_board::{LockToken, Request};
use baton_core::arbiter::{Action, Input, MasterState, SessionId, TaskState};
use baton_core::decision::{Class, Decision};
use baton_core::ids::{InstanceName, OpId, Term, Version};
use baton_core::message::ToGuard;
use baton_core::record::{Change, Record};
use baton_oracle::Seen;

impl World {
    pub(super) fn arbiter_acts(&mut self, name: &str, token: Option<LockToken>, action: Action) {
        match action {
            Action::Load => self.ask_board(name, Purpose::Load, Request::Read),
            Action::Write { op, expected, record, decision } => {
                let Some(token) = token else { return };
                self.arbiter_writes(name, token, op, (expected, record), decision);
            }
            Action::PutMember(member) => {
                let Some(token) = token else { return };
                let member = Box::new(member);
                let request = Request::PutMember { token, member: member.clone() };
                self.ask_board(name, Purpose::Member(member), request);
            }
            Action::Send { session, instance, message } => {
                self.arbiter_sends(name, session, &instance, message);
            }
            Action::Decided(decision) => {
                for line in if self.silent { Vec::new() } else { show::decision(&decision) } {
                    self.say(name, &line);
                }
                self.observe_evidence(name, Some(&decision));
                self.watch_evidence(&decision);
                self.decisions.push(*decision);
            }
            Action::Publish(_) => self.published(name),
            Action::Task { task, state } => {
                self.say(name, show::task(task, &state));
                if state != TaskState::Running {
                    self.forget_task(name, task);
                }
            }
            Action::Drilled { task, outage } => {
                let (took, budget) = (outage.took, outage.budget);
                self.say(name, format_args!("task {task}: the fault is over, in {took} of {budget}"));
            }
            Action::AbortAnswered { task, answer } => {
                let text = answer.map_or_else(|why| format!("refused: {why}"), |()| "accepted".to_owned());
                self.say(name, format_args!("task {task}: its abort is {text}"));
            }
            Action::AnswerRelay { relay, epoch, well, grant } => {
                self.arbiter_answers_relay(name, relay, epoch, well, grant);
            }
            Action::Fence { replicaset, term, instance } => {
                let confirmed = self.fence_host(&instance);
                let said = if confirmed { "and it is off" } else { "which does not confirm it" };
                self.say(name, format_args!("runs the fence command against {instance}, {said}"));
                self.arbiter_step(name, Input::Fenced { replicaset, term, confirmed });
            }
            Action::Bid { expected, hears } => self.arbiter_calls(name, token, expected, hears),
            Action::GiveUp { to, hears, heard, listed } => {
                let text = format!("hears {heard} of {listed}, and {to} hears {hears}: gives its lock up");
                self.say(name, &text);
                self.resign(name);
            }
            Action::RemovalAnswered { answer, .. } => self.say_removal(name, answer),
            Action::TurnedAway { instance } => self.say(name, format_args!("turns {instance} away")),
            Action::NameUsedTwice { instance } => {
                self.say(name, format_args!("another guard uses the name {instance}"));
            }
        }
    }

    fn arbiter_sends(&mut self, name: &str, session: SessionId, to: &InstanceName, message: ToGuard) {
        if let ToGuard::Directive(directive) = &message
            && !self.silent
        {
            self.say_order(name, to, show::order(directive));
        }
        self.send(name, to.as_str(), Body::ToGuard(session, message));
    }

    fn arbiter_writes(
        &mut self,
        name: &str,
        token: LockToken,
        op: OpId,
        (expected, record): (Option<Version>, Box<Record>),
        decision: Option<Box<Decision>>,
    ) {
        self.observe_evidence(name, decision.as_deref());
        let before = self.provider.record().filter(|before| Some(before.version) == expected);
        let before = before.cloned().map(Box::new);
        if let Some(before) = &before {
            let why = decision.as_ref().and_then(|decision| decision.evidence);
            self.watch_appointment(name, before, &record, why);
        }
        // Sent again, what it follows is not there any more.
        let first = decision.as_ref().is_some_and(|decision| decision.class == Class::FirstAppointment);
        if first && (before.is_some() || expected.is_none()) {
            self.watch_first(name, before.as_deref(), &record);
        }
        self.observe(Seen::Asked { before, record: record.clone() });
        let decision = decision.map(|decision| decision.sentence()).unwrap_or_default();
        let master = record.master.as_ref().map_or("nobody".to_owned(), ToString::to_string);
        self.say(name, format_args!("writes v{}: term {} of {master}", record.version, record.term));
        let change = Change { expected, record: *record, decision };
        let request = Request::Appoint { token, changes: vec![change] };
        self.ask_board(name, Purpose::Write(op), request);
    }

    fn say_removal(&mut self, name: &str, answer: Result<Option<Term>, Vec<String>>) {
        match answer {
            Ok(Some(term)) => {
                self.say(name, format_args!("the set is removed, its tombstone has term {term}"))
            }
            Ok(None) => self.say(name, "the set is removed, without a tombstone"),
            Err(against) => {
                against.iter().for_each(|text| self.say(name, format_args!("not removed: {text}")))
            }
        }
    }

    /// Once, however often it is sent.
    fn say_order(&mut self, name: &str, instance: &InstanceName, text: String) {
        let key = (name.to_owned(), instance.to_string());
        if self.told.insert(key, text.clone()).as_ref() != Some(&text) {
            self.say(name, format_args!("tells {instance}: {text}"));
        }
    }

    fn arbiter_calls(&mut self, name: &str, token: Option<LockToken>, expected: u64, hears: Option<u32>) {
        let text = hears.map_or("takes what stands beside its lock away".to_owned(), |hears| {
            format!("calls: it hears {hears}")
        });
        self.say(name, &text);
        if let Some(token) = token {
            self.put_bid(name, token.epoch, expected, hears);
        }
    }

    fn published(&mut self, name: &str) {
        // That there is no master any more is published with the step that accepts evidence against the last one, though what is done
        // about it may wait for a write of before.
        if let Some((_, term)) = self.accused(name) {
            self.said_by(name, term);
        }
        let route = self
            .arbiters
            .get(name)
            .and_then(|node| node.machine.as_ref()?.master_of(&self.replicaset))
            .filter(|(_, state)| *state == MasterState::Active)
            .map(|(record, state)| (record.clone(), state));
        if let Some((record, state)) = route {
            self.route(&record, state);
        }
        if self.silent {
            return;
        }
        let published = self
            .arbiters
            .get(name)
            .and_then(|node| node.machine.as_ref()?.master_of(&self.replicaset))
            .map(|(record, state)| show::master(record, state));
        if let Some(text) = published {
            self.say(name, format_args!("publishes: {text}"));
        }
    }
}
