//! The members list: who belongs to which set, as the active arbiter heard it. Nobody leaves it who may still count.

use crate::board::Board;
use crate::lock::LockToken;
use crate::message::Write;
use crate::outcome::{Refusal, RefusalReason, WriteOutcome};
use crate::rules;
use crate::watch::Item;
use baton_core::ids::{InstanceName, ReplicaSetName, Version};
use baton_core::record::Member;
use baton_core::rules::Rule;

impl Board {
    /// Adds or changes a member. Its version is decided here; an equal one changes nothing.
    pub(crate) fn put_member(&mut self, token: LockToken, mut member: Member) -> WriteOutcome {
        if let Some(refusal) = self.standstill() {
            return WriteOutcome::Refused(refusal);
        }
        if !self.lock.is_current(token) && self.keep(Rule::WriteUnderEpoch) {
            return WriteOutcome::StaleEpoch(self.lock.durable.epoch);
        }
        let key = (member.replicaset.clone(), member.instance.clone());
        let before = self.members.get(&key);
        member.version = before.map_or(Version(0), |before| before.version);
        if before == Some(&member) {
            return WriteOutcome::Applied(self.revision);
        }
        if let Err(refusal) = self.check_member(&member, before.is_none()) {
            return WriteOutcome::Refused(refusal);
        }
        member.version = member.version.next();
        self.members.insert(key, member.clone());
        let member = Box::new(member);
        self.commit(vec![Write::Member(member.clone())], vec![Item::Member(member)]);
        WriteOutcome::Applied(self.revision)
    }

    fn check_member(&self, member: &Member, new: bool) -> Result<(), Refusal> {
        if !new {
            return rules::check_member(&self.limits, member, None);
        }
        let of_the_set = self.members.keys().filter(|(set, _)| *set == member.replicaset).count();
        rules::check_member(&self.limits, member, Some(of_the_set))?;
        if self.members.len() >= self.limits.members {
            let detail = format!("the board keeps at most {} members", self.limits.members);
            return Err(Refusal::new(RefusalReason::Limit, Some(&member.replicaset), detail));
        }
        Ok(())
    }

    pub(crate) fn remove_member(
        &mut self,
        token: LockToken,
        replicaset: ReplicaSetName,
        instance: InstanceName,
    ) -> WriteOutcome {
        if let Some(refusal) = self.standstill() {
            return WriteOutcome::Refused(refusal);
        }
        if !self.lock.is_current(token) && self.keep(Rule::WriteUnderEpoch) {
            return WriteOutcome::StaleEpoch(self.lock.durable.epoch);
        }
        if let Err(refusal) = rules::check_removal(self.records.get(&replicaset), &instance) {
            return WriteOutcome::Refused(refusal);
        }
        if self.members.remove(&(replicaset.clone(), instance.clone())).is_none() {
            return WriteOutcome::Applied(self.revision);
        }
        self.commit(
            vec![Write::MemberRemoved { replicaset: replicaset.clone(), instance: instance.clone() }],
            vec![Item::MemberRemoved { replicaset, instance }],
        );
        WriteOutcome::Applied(self.revision)
    }
}
