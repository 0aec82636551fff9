//! Who may replicate from a master without being heard (docs/protocol.md, P144, P145): kept from one record to the next until the member
//! is heard, since nobody can tell it to stop, and its acknowledgements count again at once if that master is appointed anew.
//!
//! It must not know how reports are counted, or why a master is replaced.

use super::Arbiter;
use super::set::{GuardState, SetState};
use super::succession::{all_heard, severed};
use crate::decision::Class;
use crate::engine::DataState;
use crate::ids::InstanceName;
use crate::record::Record;
use crate::rules::Rule;
use crate::stragglers::Stragglers;
use std::collections::BTreeSet;

impl Arbiter {
    /// The replicas whose acknowledgements may have counted: those of the in-sync set, and whoever was not heard when it
    /// last followed this very master, at an earlier term.
    pub(super) fn who_may_have_acknowledged(
        &self,
        set: &SetState,
        record: &Record,
    ) -> BTreeSet<InstanceName> {
        let counted = self.keep(Rule::CountStragglers);
        let of_master = record.master.iter().flat_map(|master| record.stragglers.of(master));
        let in_sync = record.in_sync.iter();
        let all = in_sync.chain(of_master.filter(|_| counted));
        all.filter(|instance| !set.is_master(instance)).cloned().collect()
    }

    /// The stragglers of the next record of the same term, whose in-sync set is `next`.
    pub(super) fn still_straggling(
        &self,
        set: &SetState,
        record: &Record,
        next: &BTreeSet<InstanceName>,
    ) -> Stragglers {
        let mut stragglers = record.stragglers.clone();
        let taken_in = |member: &InstanceName| !self.keep(Rule::KeepStragglers) && next.contains(member);
        for member in record.stragglers.members() {
            let guard = set.guards.get(member);
            let follows = follows_master(guard, record);
            if follows || severed(guard, record).is_some() || taken_in(member) {
                stragglers.found(member);
            }
            // Whoever is in the set is counted there.
            if let Some(master) = record.master.as_ref().filter(|_| follows && !next.contains(member)) {
                stragglers.add(member.clone(), master.clone());
            }
        }
        stragglers
    }

    /// The stragglers of the record of the next term.
    pub(super) fn next_stragglers(
        &self,
        set: &SetState,
        record: &Record,
        chosen: &InstanceName,
    ) -> Stragglers {
        if record.ack_quorum == 0 {
            return Stragglers::default();
        }
        let mut stragglers = self.still_straggling(set, record, &record.in_sync);
        for old in record.master.iter() {
            for member in record.in_sync.iter().filter(|member| *member != old) {
                stragglers.add(member.clone(), old.clone());
            }
        }
        // A first master severed from nobody before it was appointed. Where it never led, its engine may follow another still (P146).
        if record.reason == Class::FirstAppointment.name() {
            for old in record.master.iter() {
                let others = record.stragglers.members();
                stragglers.extend(others.map(|other| (old.clone(), other.clone())).collect());
            }
        }
        // The record of before a restore does not say whom they follow: somebody of whom it knows nothing, or its old master, which
        // may be a replica of the chosen one by now.
        if all_heard(set) {
            stragglers.extend(Stragglers::all_of(set.guards.keys(), chosen));
        }
        let cut = |member: &InstanceName| severed(set.guards.get(member), record).is_some();
        let members: BTreeSet<_> = stragglers.members().cloned().collect();
        for member in members.iter().filter(|member| *member == chosen || cut(member)) {
            stragglers.found(member);
        }
        stragglers
    }
}

/// Whether a member was heard to follow the master of this very term: its data bears the mark of it. Whom it follows later it
/// is told by a later record.
fn follows_master(guard: Option<&GuardState>, record: &Record) -> bool {
    let Some(engine) = guard.and_then(|guard| guard.beat.as_ref()).map(|beat| &beat.engine) else {
        return false;
    };
    let marked = matches!(&engine.data, DataState::Marked { term, .. } if *term == record.term);
    marked && engine.follows.is_some() && engine.follows == record.endpoint
}
