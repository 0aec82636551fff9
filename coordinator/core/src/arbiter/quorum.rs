//! Another `ack_quorum` for a set that has its record (design, *The in-sync set*): raised at the master first, lowered in the
//! record first. So the recorded number, by which a failover counts reports, is never larger than what the master waited for.
//!
//! Where no commit waited for replicas, anybody may have replicated: before the first one waits, whoever is outside the in-sync
//! set is severed, and whoever is not heard is waited for, since its acknowledgements would count and nobody would ask for
//! its report.
//!
//! It must not know how an engine waits, or who changed the setting.

use super::Arbiter;
use super::insync::{is_cut, is_sound};
use super::set::{Proposal, SetState};
use crate::ids::InstanceName;
use crate::record::Record;
use crate::rules::Rule;
use crate::stragglers::Stragglers;
use crate::time::Time;
use std::collections::BTreeSet;

impl Arbiter {
    /// Whether nobody outside the in-sync set may replicate from now on, since commits are about to wait for replicas.
    pub(super) fn prepare_raise(&self, now: Time, set: &mut SetState, record: &Record) {
        let first = record.ack_quorum == 0 && self.settings.ack_quorum_of(&set.name) > 0;
        // Who has caught up is taken in rather than cut off.
        set.raising = first
            && self.keep(Rule::CutBeforeQuorum)
            && self.short_of(now, set, record).is_none()
            && self.newcomer(now, set, record).is_none();
    }

    /// The next step towards a higher number.
    pub(super) fn raise(&mut self, now: Time, set: &mut SetState, record: &Record) -> Option<Proposal> {
        let wanted = self.settings.ack_quorum_of(&set.name);
        if wanted <= record.ack_quorum || self.waits_to_raise(now, set, record).is_some() {
            return None;
        }
        if !self.keep(Rule::QuorumMasterFirst) {
            let changed = Record { ack_quorum: wanted, ..record.clone() };
            self.write_change(now, set, changed, format!("ack_quorum {wanted}"));
            return None;
        }
        Some(Proposal::Quorum(wanted))
    }

    /// Records a lower number; the master hears of it afterwards. Whether it did.
    pub(super) fn write_lower_quorum(&mut self, now: Time, set: &mut SetState, record: &Record) -> bool {
        let wanted = self.settings.ack_quorum_of(&set.name);
        if wanted >= record.ack_quorum {
            return false;
        }
        let stragglers = if wanted == 0 { Stragglers::default() } else { record.stragglers.clone() };
        let changed = Record { ack_quorum: wanted, stragglers, ..record.clone() };
        self.write_change(now, set, changed, format!("ack_quorum {wanted}"));
        true
    }

    /// Why the set's `ack_quorum` is not raised to what the settings say; nothing where it is that, or about to be.
    pub(super) fn waits_to_raise(&self, now: Time, set: &SetState, record: &Record) -> Option<String> {
        if self.settings.ack_quorum_of(&set.name) <= record.ack_quorum {
            return None;
        }
        if let Some(short) = self.short_of(now, set, record) {
            return Some(short);
        }
        let cut = |instance: &InstanceName| is_cut(set.guards.get(instance), record);
        let loose: Vec<_> = outsiders(set, record).into_iter().filter(|instance| !cut(instance)).collect();
        (record.ack_quorum == 0 && !loose.is_empty() && self.keep(Rule::CutBeforeQuorum))
            .then(|| format!("{} is being cut off from the master first", listed(&loose)))
    }

    /// What has to come before anybody is cut off for it.
    fn short_of(&self, now: Time, set: &SetState, record: &Record) -> Option<String> {
        let wanted = self.settings.ack_quorum_of(&set.name) as usize;
        let others = record.in_sync.iter().filter(|instance| !set.is_master(instance));
        let sound = others.filter(|instance| is_sound(set, instance)).count();
        if sound < wanted {
            return Some(format!(
                "it needs {wanted} in-sync replicas that follow the master, and has {sound}"
            ));
        }
        let unheard: Vec<_> = outsiders(set, record)
            .into_iter()
            .filter(|instance| !self.hears_from(now, set.guards.get(instance)))
            .collect();
        (record.ack_quorum == 0 && !unheard.is_empty() && self.keep(Rule::CutBeforeQuorum)).then(|| {
            format!("{} is not heard, and may replicate: its acknowledgements would count", listed(&unheard))
        })
    }
}

/// The members that are not in the in-sync set.
fn outsiders(set: &SetState, record: &Record) -> BTreeSet<InstanceName> {
    let known = set.members.keys().chain(set.guards.keys());
    known.filter(|instance| !record.in_sync.contains(*instance)).cloned().collect()
}

pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a InstanceName>) -> String {
    names.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
