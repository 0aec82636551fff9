//! Members, settings and the history: versioned documents, written only if they stand as they were read.

use super::appoint::record_at;
use super::store::{ATTEMPTS, Store, revision};
use super::txn::{self, Do, Get, Kv, Unchanged};
use super::values::{self, HistoryDoc, MemberDoc, SettingsDoc};
use crate::error::ProviderError;
use baton_board::{LockToken, SettingsOutcome, WriteOutcome, rules};
use baton_core::ids::{InstanceName, ReplicaSetName, Version};
use baton_core::record::{HistoryEntry, Member, Settings};

fn overtaken() -> ProviderError {
    ProviderError::NotApplied("others wrote the same at the same time, again and again".to_owned())
}

/// The member under a key, which must be about that member.
pub(super) fn member_at(
    kv: &Kv,
    set: &ReplicaSetName,
    instance: &InstanceName,
) -> Result<Member, values::Damaged> {
    let member = values::read::<MemberDoc>(&kv.key, &kv.value)?;
    let here = member.replicaset == *set && member.instance == *instance;
    if here { Ok(member) } else { Err(values::Damaged::misplaced(&kv.key)) }
}

impl Store {
    pub(super) async fn put_member(
        &self,
        token: LockToken,
        mut member: Member,
    ) -> Result<WriteOutcome, ProviderError> {
        let (set, instance) = (member.replicaset.clone(), member.instance.clone());
        let key = self.keys.member(&set, &instance);
        for _ in 0..ATTEMPTS {
            let all = Get::Oldest(self.keys.members(&set));
            let mut head = self.head(vec![Get::Key(key.clone()), all]).await?;
            head.open()?;
            if head.held_by(token).is_none() {
                return Ok(WriteOutcome::StaleEpoch(head.epoch()));
            }
            let kv = head.take(0).into_iter().next();
            let before = kv.as_ref().map(|kv| member_at(kv, &set, &instance)).transpose()?;
            member.version = before.as_ref().map_or(Version(0), |before| before.version);
            if let (Some(kv), Some(before)) = (&kv, &before)
                && *before == member
            {
                return Ok(WriteOutcome::Applied(revision(kv.modified)));
            }
            let others = before.is_none().then(|| head.take(1).len());
            if let Err(refusal) = rules::check_member(&self.limits, &member, others) {
                return Ok(WriteOutcome::Refused(refusal));
            }
            member.version = member.version.next();
            let mut unchanged = head.same_lock(&self.keys);
            unchanged.push(Unchanged::since(key.as_str(), kv.as_ref()));
            let put = Do::put(key.clone(), values::write(&MemberDoc::from(&member)));
            let answer = txn::write(&self.endpoints, &unchanged, &[put]).await?;
            if answer.done {
                return Ok(WriteOutcome::Applied(revision(answer.revision)));
            }
        }
        Err(overtaken())
    }

    pub(super) async fn remove_member(
        &self,
        token: LockToken,
        set: &ReplicaSetName,
        instance: &InstanceName,
    ) -> Result<WriteOutcome, ProviderError> {
        let (key, record_key) = (self.keys.member(set, instance), self.keys.record(set));
        for _ in 0..ATTEMPTS {
            let mut head = self.head(vec![Get::Key(key.clone()), Get::Key(record_key.clone())]).await?;
            head.open()?;
            if head.held_by(token).is_none() {
                return Ok(WriteOutcome::StaleEpoch(head.epoch()));
            }
            let record_kv = head.take(1).into_iter().next();
            let record = record_kv.as_ref().map(|kv| record_at(kv, set)).transpose()?;
            if let Err(refusal) = rules::check_removal(record.as_ref(), instance) {
                return Ok(WriteOutcome::Refused(refusal));
            }
            let Some(kv) = head.take(0).into_iter().next() else {
                return Ok(WriteOutcome::Applied(head.revision()));
            };
            let mut unchanged = head.same_lock(&self.keys);
            unchanged.push(Unchanged::since(key.as_str(), Some(&kv)));
            // Otherwise it could be appointed between the read and the removal.
            unchanged.push(Unchanged::since(record_key.as_str(), record_kv.as_ref()));
            let answer = txn::write(&self.endpoints, &unchanged, &[Do::Delete(key.clone())]).await?;
            if answer.done {
                return Ok(WriteOutcome::Applied(revision(answer.revision)));
            }
        }
        Err(overtaken())
    }

    pub(super) async fn put_settings(
        &self,
        expected: Version,
        mut settings: Settings,
    ) -> Result<SettingsOutcome, ProviderError> {
        for _ in 0..ATTEMPTS {
            let head = self.head(Vec::new()).await?;
            if head.settings.version != expected {
                return Ok(SettingsOutcome::Conflict(Box::new(head.settings)));
            }
            head.open()?;
            if let Err(refusal) = rules::check_settings(&self.limits, &settings) {
                return Ok(SettingsOutcome::Refused(refusal));
            }
            settings.version = expected.next();
            // Whoever wrote these may not know what a move is, and must not take one back by it.
            settings.moving.clone_from(&head.settings.moving);
            settings.longest_lease = head.settings.longest().max(settings.longest());
            let key = self.keys.settings();
            let unchanged = head.same_cluster(&self.keys);
            let put = Do::put(key, values::write(&SettingsDoc::from(&settings)));
            let answer = txn::write(&self.endpoints, &unchanged, &[put]).await?;
            if answer.done {
                return Ok(SettingsOutcome::Applied(revision(answer.revision)));
            }
        }
        Err(overtaken())
    }

    pub(super) async fn history(
        &self,
        set: &ReplicaSetName,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, ProviderError> {
        if limit == 0 {
            // etcd takes 0 for no limit.
            return Ok(Vec::new());
        }
        let most = i64::try_from(limit.min(self.limits.history_per_set)).unwrap_or(i64::MAX);
        let mut head = self.head(vec![Get::Newest(self.keys.history(set), most)]).await?;
        let lines = head.take(0);
        let entries: Result<Vec<_>, _> =
            lines.iter().map(|kv| values::read::<HistoryDoc>(&kv.key, &kv.value)).collect();
        Ok(entries?)
    }
}
