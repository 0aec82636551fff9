//! Settings that change while a world runs: put at the board by a person, and learned by each host when word of them comes
//! through to it, in whatever order.
//!
//! It must not know what a machine makes of them.

use super::World;
use super::net::Body;
use super::provider::BOARD;
use baton_board::{Input as BoardInput, Request};
use baton_core::arbiter::Input as ArbiterInput;
use baton_core::guard::Input as GuardInput;
use baton_core::ids::{InstanceName, Version};
use baton_core::record::Settings;
use baton_core::time::Span;
use baton_core::timing::Timing;
use baton_oracle::Seen;

/// By which settings are ordered: a restore of the provider may have set their version back.
pub(super) type Stamp = (u64, Version);

impl World {
    /// A person changes the lease; refused where that is not safe, lost where the board is away.
    pub fn change_lease(&mut self, lease_ttl: Span) {
        let before = self.provider.durable.settings.clone();
        let settings = Box::new(Settings { lease_ttl, ..before.clone() });
        if settings.check().is_ok() {
            self.say("operator", format_args!("puts lease_ttl = {lease_ttl}"));
            let id = self.provider.next_id();
            let request = Request::PutSettings { expected: before.version, settings };
            self.board_step(BoardInput::Request { id, request });
        }
    }

    /// The lease that holds, as the board has it.
    #[must_use]
    pub fn lease(&self) -> Span {
        self.provider.durable.settings.lease_ttl
    }

    fn stamp(&self) -> Stamp {
        let durable = &self.provider.durable;
        (durable.lock.epoch.generation, durable.settings.version)
    }

    /// The host was told by another way.
    pub(super) fn knows_settings(&mut self, host: &str) {
        self.known.insert(host.to_owned(), self.stamp());
    }

    /// What a process that starts reads, and the timing that follows from it.
    pub(super) fn read_settings(&mut self, host: &str) -> (Settings, Timing) {
        self.knows_settings(host);
        let settings = self.provider.durable.settings.clone();
        let timing = Timing::new(&settings).unwrap_or_else(|_| self.timing.clone());
        (settings, timing)
    }

    /// Word of them goes out to everybody: after each change, and where a connection stands again.
    pub(super) fn spread_settings(&mut self) {
        let (generation, settings) = (self.stamp().0, self.provider.durable.settings.clone());
        if let Ok(timing) = Timing::new(&settings) {
            self.timing = timing;
            if settings.check_identity != self.settings.check_identity {
                let (replicaset, may_lead) = (self.replicaset.clone(), !settings.check_identity);
                self.observe(Seen::AnyData { replicaset, may_lead });
            }
            self.settings = settings.clone();
            let expelled = settings.members.iter().filter(|(_, member)| member.expelled);
            self.expelled.extend(expelled.map(|(instance, _)| instance.clone()));
        }
        let hosts = self.nodes.keys().map(ToString::to_string).chain(self.arbiters.keys().cloned());
        for host in hosts.collect::<Vec<_>>() {
            self.send(BOARD, &host, Body::Settings(generation, Box::new(settings.clone())));
        }
    }

    /// Whether the host did not know them, or later ones.
    fn learns(&mut self, host: &str, generation: u64, settings: &Settings) -> bool {
        let stamp = (generation, settings.version);
        let known = self.known.entry(host.to_owned()).or_default();
        let newer = stamp > *known;
        *known = stamp.max(*known);
        newer
    }

    pub(super) fn arbiter_learns(&mut self, name: &str, generation: u64, settings: Settings) {
        let alive = self.arbiters.get(name).is_some_and(|node| node.machine.is_some());
        if alive && self.learns(name, generation, &settings) {
            let (settings, unix_millis) = (Box::new(settings), self.unix_millis());
            self.arbiter_step(name, ArbiterInput::Settings { settings, unix_millis });
        }
    }

    pub(super) fn node_learns(&mut self, instance: &InstanceName, generation: u64, settings: &Settings) {
        let alive = self.nodes.get(instance).is_some_and(|node| node.guard.is_some());
        if alive
            && self.learns(instance.as_str(), generation, settings)
            && let Ok(timing) = Timing::new(settings)
        {
            let failsafe = settings.failsafe;
            self.tell_guard(instance, GuardInput::Settings { timing: Box::new(timing), failsafe });
        }
    }
}
