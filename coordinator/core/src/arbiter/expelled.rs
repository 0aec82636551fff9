//! Members that a person took out for good while they run (design, *The in-sync set*, shrink): severed first, which binds them
//! across restarts, then out of the record, and only then told to go. In this order nobody keeps replicating of whom the
//! record knows nothing, and no set waits for ever for whom nobody hears any more.
//!
//! It must not know why somebody was expelled.

use super::Arbiter;
use super::insync::is_cut;
use super::io::{Action, SessionId};
use super::set::SetState;
use super::succession::all_heard;
use crate::ids::InstanceName;
use crate::message::Hello;
use crate::record::Record;
use crate::time::Time;

impl Arbiter {
    pub(super) fn is_expelled(&self, instance: &InstanceName) -> bool {
        self.settings.members.get(instance).is_some_and(|own| own.expelled)
    }

    /// Whether nothing has to be asked of an expelled guard that attaches: there is no master that its engine could follow.
    pub(super) fn has_left(&self, hello: &Hello) -> bool {
        let record = self.sets.get(&hello.replicaset).and_then(|set| set.record.as_ref());
        self.is_loaded() && record.is_none_or(|record| record.master.is_none())
    }

    pub(super) fn turned_away(&mut self, session: SessionId, hello: &Hello) {
        self.stand_down(session, hello);
        self.push(Action::TurnedAway { instance: hello.instance.clone() });
    }

    /// Lets those go who have been severed and are out of the record. One that says nothing has stood down before.
    pub(super) fn turn_away(&mut self, now: Time, set: &mut SetState) {
        // After a restore the record does not say who counted: whoever was heard reports, and its report is kept until a successor is
        // recorded. Gone, it would not be missed, and what it had confirmed might be held by nobody (I5).
        if self.is_held(set) || all_heard(set) || self.forgotten(set).is_some() {
            return;
        }
        let patience = self.timing.lease_ttl;
        let done = |instance: &InstanceName, record: &Record| {
            let guard = set.guards.get(instance);
            let counted = record.in_sync.contains(instance) || record.stragglers.contains(instance);
            let silent = guard.is_some_and(|guard| {
                guard.beat.is_none() && guard.unsound_since.is_some_and(|since| now >= since + patience)
            });
            !counted && (is_cut(guard, record) || silent)
        };
        let going = |instance: &&InstanceName| {
            let master = set.record.as_ref().filter(|record| record.master.is_some());
            self.is_expelled(instance)
                && !set.is_master(instance)
                && master.is_none_or(|record| done(instance, record))
        };
        let names: Vec<_> = set.guards.keys().filter(going).cloned().collect();
        for name in names {
            self.homes.remove(&name);
            let Some(guard) = set.guards.remove(&name) else { continue };
            if let Some(session) = guard.session {
                self.turned_away(session, &guard.hello);
            }
        }
    }
}

impl SetState {
    /// By what people said of it.
    pub(super) fn expels(&self, instance: &InstanceName) -> bool {
        self.said.get(instance).is_some_and(|said| said.expelled)
    }
}
