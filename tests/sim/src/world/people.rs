//! What people do to the set: pauses, forced failovers, settings.
//!
//! It must not know what the machine makes of it.

use super::World;
use baton_board::{Input as BoardInput, Request, RequestId};
use baton_core::arbiter::{Forcing, Input, TaskId};
use baton_core::ids::{InstanceName, Term};
use baton_core::record::{Change, Pin, Record, Settings};
use baton_core::time::Span;

impl World {
    /// A person asks the active arbiter for something.
    pub fn tell_arbiter(&mut self, input: Input) {
        match self.active_arbiter() {
            Some(name) => self.arbiter_step(&name, input),
            None => self.say("you", "there is no active arbiter to ask"),
        }
    }

    /// A person pauses the set, for good where no span is given.
    pub fn pause_set(&mut self, span: Option<Span>) {
        let until = span.map_or(0, |span| self.unix_millis() + span.as_millis());
        let pin = Pin { span: span.unwrap_or(Pin::FOR_GOOD), until_unix_millis: until };
        let replicaset = self.replicaset.clone();
        self.tell_arbiter(Input::Pause { replicaset, pin });
    }

    /// A person ends a pause, or what holds the set.
    pub fn resume_set(&mut self) {
        let replicaset = Some(self.replicaset.clone());
        self.tell_arbiter(Input::Resume { replicaset });
    }

    /// A person wants the set to be no more.
    pub fn remove_set(&mut self) {
        let replicaset = self.replicaset.clone();
        self.tell_arbiter(Input::RemoveSet { replicaset });
    }

    /// What the fence command does: the host is off, if it works.
    pub(super) fn fence_host(&mut self, instance: &InstanceName) -> bool {
        if self.fence_works {
            self.kill_host(instance);
        }
        self.fence_works
    }

    /// A person changes settings; everybody who is told of them hears of it at once.
    pub fn change_settings(&mut self, settings: Settings) {
        let expected = self.provider.durable.settings.version;
        self.last_request += 1;
        let (id, request) =
            (RequestId(self.last_request), Request::PutSettings { expected, settings: Box::new(settings) });
        self.board_step(BoardInput::Request { id, request });
        if self.weather.is_some() {
            // Word of it goes out once it is durable.
            return;
        }
        self.settings = self.provider.durable.settings.clone();
        let (settings, unix_millis) = (Box::new(self.settings.clone()), self.unix_millis());
        let names: Vec<_> = self.arbiters.keys().cloned().collect();
        for name in names {
            self.knows_settings(&name);
            self.arbiter_step(&name, Input::Settings { settings: settings.clone(), unix_millis });
        }
    }

    /// A person forces a failover.
    pub fn force(&mut self, target: Option<InstanceName>, timeout: Span, fence: bool) {
        self.force_with(target, timeout, Forcing { fence, others_off: false });
    }

    /// The same, with everything that a person may add.
    pub fn force_with(&mut self, target: Option<InstanceName>, timeout: Span, forcing: Forcing) {
        self.last_task += 1;
        let (task, replicaset) = (TaskId(self.last_task), self.replicaset.clone());
        self.tell_arbiter(Input::Failover { task, replicaset, target, timeout, forcing });
    }

    /// A program that is not ours asks, under the current lock, for the recorded term for another member, or for an earlier one: the
    /// provider has to refuse it, whoever asks.
    pub(crate) fn write_wrongly(&mut self, earlier: bool) {
        let asks = self.active_arbiter().and_then(|name| self.arbiters.get(&name)?.token);
        let (Some(token), Some(record)) = (asks, self.provider.record().cloned()) else { return };
        let mut others = record.in_sync.iter().filter(|member| Some(*member) != record.master.as_ref());
        let Some(other) = others.next().and_then(|other| self.nodes.get(other)) else { return };
        let wrong = Record {
            term: Term(record.term.0.saturating_sub(u64::from(earlier))),
            version: record.version.next(),
            master: Some(other.name.clone()),
            endpoint: Some(other.endpoint()),
            incarnation: Some(other.incarnation()),
            epoch: token.epoch,
            reason: "wrong".to_owned(),
            ..record.clone()
        };
        self.say("somebody", format_args!("asks for term {} of {}", wrong.term, other.name.clone()));
        let change = Change { expected: Some(record.version), record: wrong, decision: String::new() };
        let request = Request::Appoint { token, changes: vec![change] };
        let id = self.provider.next_id();
        self.board_step(BoardInput::Request { id, request });
    }

    /// The wall clock, the same everywhere.
    #[must_use]
    pub fn unix_millis(&self) -> u64 {
        1_700_000_000_000 + self.now / 1_000
    }
}
