//! The state of a cluster as a whole, out of etcd and into it, and the steps of a move. Knows nothing of the other end.
//!
//! What comes in is written under the mark of its move, and every transaction demands that mark as it was written: of two
//! who fill at a time one fails. Nobody reads or locks what arrives before the mark is gone.

use super::EtcdProvider;
use super::appoint::record_at;
use super::documents::member_at;
use super::keys::{Key, end_of};
use super::lock::{grant_lease, granted_for, lives_at_most, seconds};
use super::outcome::Failure;
use super::store::{ATTEMPTS, Head, Store, revision};
use super::tasks::task_at;
use super::txn::{self, Do, Get, Kv, Unchanged};
use super::values::{
    self, EpochDoc, EpochValue, HistoryDoc, IdentityDoc, MemberDoc, RecordDoc, ReleasedDoc, SettingsDoc,
    TaskDoc,
};
use crate::error::{FatalError, ProviderError};
use baton_board::{Durable, DurableLock, SettingsOutcome, rules};
use baton_core::ids::{Epoch, Revision, Version};
use baton_core::record::{Move, MovePhase, Settings};
use baton_core::time::Span;
use baton_core::timing::Timing;
use std::collections::BTreeMap;

/// Operations in one transaction; etcd's default allows 128, its comparisons apart.
const OPS: usize = 100;
/// Bytes of values in one transaction; etcd's default takes requests of 1.5 MiB.
const BYTES: usize = 1024 * 1024;

/// What stands below the cluster's folder besides its head.
type Standing = BTreeMap<String, Kv>;

impl Store {
    pub(super) async fn put_move(
        &self,
        expected: Version,
        moving: Option<Move>,
    ) -> Result<SettingsOutcome, ProviderError> {
        for _ in 0..ATTEMPTS {
            let head = self.head(Vec::new()).await?;
            if head.settings.version != expected {
                return Ok(SettingsOutcome::Conflict(Box::new(head.settings)));
            }
            let before = head.settings.moving.as_ref();
            if let Err(refusal) = rules::check_move(&self.limits, before, moving.as_ref()) {
                return Ok(SettingsOutcome::Refused(refusal));
            }
            let mut ops = Vec::new();
            if let Some(before) = before.filter(|before| before.phase == MovePhase::Arriving) {
                // Whoever held the lock at the end that was left could renew it until a moment ago: to whoever takes it here
                // that is one more who resigned.
                let wait = seconds(before.lock).max(1);
                let lease = grant_lease(self, wait).await?;
                let value = values::write(&ReleasedDoc::new(head.epoch(), wait));
                ops.push(Do::Put { key: self.keys.released(head.epoch()), value, lease });
            }
            let settings =
                Settings { moving: moving.clone(), version: expected.next(), ..head.settings.clone() };
            ops.push(Do::put(self.keys.settings(), values::write(&SettingsDoc::from(&settings))));
            let answer = txn::write(&self.endpoints, &head.same_cluster(&self.keys), &ops).await?;
            if answer.done {
                return Ok(SettingsOutcome::Applied(revision(answer.revision)));
            }
        }
        Err(ProviderError::NotApplied("others wrote the same at the same time, again and again".to_owned()))
    }

    /// Everything of the sets and all tasks, at one revision (0: now), with the revision that it is from.
    async fn standing(&self, at: i64) -> Result<(Standing, i64), ProviderError> {
        let (mut standing, at) = self.folder(self.keys.sets(), at).await?;
        let (tasks, at) = self.folder(self.keys.tasks(), at).await?;
        standing.extend(tasks);
        Ok((standing, at))
    }

    async fn folder(&self, from: String, at: i64) -> Result<(Standing, i64), ProviderError> {
        /// Keys in one answer: a line of a history may be long.
        const KEYS: i64 = 500;
        let (to, mut from) = (end_of(&from), from);
        let (mut standing, mut at) = (Standing::new(), at);
        loop {
            let page = Get::Page { from: from.clone(), to: to.clone(), limit: KEYS, revision: at };
            let mut answer = txn::read(&self.endpoints, &[page]).await.map_err(Failure::into_error)?;
            at = if at == 0 { answer.revision } else { at };
            let found = answer.found.pop().unwrap_or_default();
            let Some(last) = found.kvs.last() else { return Ok((standing, at)) };
            from = format!("{}\0", last.key);
            standing.extend(found.kvs.into_iter().map(|kv| (kv.key.clone(), kv)));
            if !found.more {
                return Ok((standing, at));
            }
        }
    }

    async fn export(&self) -> Result<Durable, ProviderError> {
        let released = Get::folder(self.keys.released_folder());
        let mut head = self.head(vec![released]).await?;
        let (standing, _) = self.standing(head.revision).await?;
        let mut longest_ttl = longest(&mut head)?;
        if let Some(lock) = &head.lock
            && let Some(granted) = granted_for(self, lock.kv.lease).await?
        {
            // One of earlier settings may be longer.
            longest_ttl = longest_ttl.max(Span::from_secs(granted));
        }
        let lock = DurableLock { epoch: head.epoch(), holder: None, longest_ttl };
        let mut durable = Durable::genesis(self.options.identity.clone(), head.settings.clone());
        durable.revision = head.revision();
        durable.lock = lock;
        let mut lines: Vec<&Kv> = Vec::new();
        for kv in standing.values() {
            match self.keys.parse(&kv.key) {
                Key::Record(set) => {
                    durable.records.insert(set.clone(), record_at(kv, &set)?);
                }
                Key::Member(set, instance) => {
                    let member = member_at(kv, &set, &instance)?;
                    durable.members.insert((set, instance), member);
                }
                Key::Task(id) => {
                    durable.tasks.insert(id, task_at(kv, id)?);
                }
                Key::Other if kv.key.contains("/history/") => lines.push(kv),
                Key::Identity | Key::Epoch | Key::Lock | Key::Bid | Key::Settings | Key::Other => {}
            }
        }
        lines.sort_by_key(|kv| kv.created);
        for kv in lines {
            let line = values::read::<HistoryDoc>(&kv.key, &kv.value)?;
            let set = durable.history.entry(line.record.replicaset.clone()).or_default();
            set.push_back(line);
        }
        for set in durable.history.values_mut() {
            set.make_contiguous().sort_by_key(|line| line.record.term);
        }
        Ok(durable)
    }

    /// Puts `durable` in the place of what is here, as the state that arrives by `arriving`.
    async fn fill(&self, durable: &Durable, arriving: &Move) -> Result<(), ProviderError> {
        let mark = self.mark(durable, arriving).await?;
        let unchanged = [Unchanged::new(self.keys.settings(), mark)];
        let (standing, _) = self.standing(0).await?;
        for ops in self.rounds(durable, &standing) {
            if !txn::write(&self.endpoints, &unchanged, &ops).await?.done {
                return Err(taken_over());
            }
        }
        Ok(())
    }

    /// Marks what is here as arriving, makes the head where there is none, and forgets a lock of an earlier life; the
    /// revision of the mark.
    async fn mark(&self, durable: &Durable, arriving: &Move) -> Result<i64, ProviderError> {
        let head: Vec<String> =
            vec![self.keys.identity(), self.keys.epoch(), self.keys.lock(), self.keys.settings()];
        let mut gets: Vec<Get> = head.iter().cloned().map(Get::Key).collect();
        gets.push(Get::folder(self.keys.released_folder()));
        let answer = txn::read(&self.endpoints, &gets).await.map_err(Failure::into_error)?;
        let of = |index: usize| answer.found.get(index).and_then(|found| found.kvs.first());
        if of(0).is_some() {
            // Checks whose it is, too.
            let there = self.head(Vec::new()).await?;
            may_be_filled(&there, durable.lock.epoch)?;
        }
        let mut unchanged = Vec::new();
        for (index, key) in head.iter().enumerate() {
            unchanged.push(Unchanged::since(key.as_str(), of(index)));
        }
        let epoch =
            EpochValue { generation: durable.lock.epoch.generation, above: durable.lock.epoch.number };
        let moving = Some(Move { phase: MovePhase::Arriving, ..arriving.clone() });
        let settings = Settings { moving, ..durable.settings.clone() };
        let mut ops = vec![
            Do::put(self.keys.settings(), values::write(&SettingsDoc::from(&settings))),
            Do::put(self.keys.epoch(), values::write(&EpochDoc::new(epoch))),
            Do::put(self.keys.identity(), values::write(&IdentityDoc::from(&durable.identity))),
        ];
        ops.extend(of(2).map(|_| Do::Delete(self.keys.lock())));
        let released = answer.found.get(4).map(|found| found.kvs.as_slice()).unwrap_or_default();
        ops.extend(released.iter().map(|kv| Do::Delete(kv.key.clone())));
        let answer = txn::write(&self.endpoints, &unchanged, &ops).await?;
        if answer.done { Ok(answer.revision) } else { Err(taken_over()) }
    }

    /// What has to be written, in transactions. Lines of one history never share one: their order is that of the
    /// revisions that make them.
    fn rounds(&self, durable: &Durable, standing: &Standing) -> Vec<Vec<Do>> {
        let mut wanted: Vec<Vec<(String, Vec<u8>)>> = vec![Vec::new()];
        let plain = wanted.first_mut().expect("just made");
        for (set, record) in &durable.records {
            plain.push((self.keys.record(set), values::write(&RecordDoc::from(record))));
        }
        for ((set, instance), member) in &durable.members {
            plain.push((self.keys.member(set, instance), values::write(&MemberDoc::from(member))));
        }
        for (id, task) in &durable.tasks {
            plain.push((self.keys.task(*id), values::write(&TaskDoc::from(task))));
        }
        for (set, lines) in &durable.history {
            for (index, line) in lines.iter().enumerate() {
                if wanted.len() <= index + 1 {
                    wanted.push(Vec::new());
                }
                let key = self.keys.history_line(set, line.record.term);
                if let Some(round) = wanted.get_mut(index + 1) {
                    round.push((key, values::write(&HistoryDoc::from(line))));
                }
            }
        }
        let keep: std::collections::BTreeSet<&String> = wanted.iter().flatten().map(|(key, _)| key).collect();
        let gone = standing.keys().filter(|key| !keep.contains(key)).map(|key| Do::Delete(key.clone()));
        let gone: Vec<Do> = gone.collect();
        let differs = |key: &String, value: &Vec<u8>| standing.get(key).is_none_or(|kv| kv.value != *value);
        let mut rounds: Vec<Vec<Do>> = gone.chunks(OPS).map(<[Do]>::to_vec).collect();
        for round in &wanted {
            let puts: Vec<Do> = round
                .iter()
                .filter(|(key, value)| differs(key, value))
                .map(|(key, value)| Do::put(key.clone(), value.clone()))
                .collect();
            rounds.extend(chunks(puts));
        }
        rounds
    }
}

/// In transactions that etcd takes.
fn chunks(puts: Vec<Do>) -> Vec<Vec<Do>> {
    let (mut chunks, mut bytes) = (Vec::<Vec<Do>>::new(), 0);
    for put in puts {
        let length = match &put {
            Do::Put { key, value, .. } => key.len() + value.len(),
            Do::Delete(key) | Do::Read(key) => key.len(),
        };
        let full = chunks.last().is_none_or(|last| last.len() == OPS || bytes + length > BYTES);
        if full {
            chunks.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        if let Some(last) = chunks.last_mut() {
            last.push(put);
        }
    }
    chunks
}

fn taken_over() -> ProviderError {
    ProviderError::NotApplied("somebody else writes at the end that the state is to come to".to_owned())
}

fn may_be_filled(there: &Head, comes: Epoch) -> Result<(), ProviderError> {
    let given_up = matches!(there.settings.phase(), Some(MovePhase::Arriving | MovePhase::Moved));
    let here = given(there);
    if given_up && here <= comes {
        return Ok(());
    }
    let refusal = format!(
        "this etcd holds a state (epoch {here}) and was not moved away from, or it is further than the one that would \
         come (epoch {comes}): nothing was changed"
    );
    Err(ProviderError::NotApplied(refusal))
}

/// The last epoch that was given: where the state has not arrived, at the end that it comes from.
fn given(there: &Head) -> Epoch {
    match there.settings.phase() {
        Some(MovePhase::Arriving) => {
            Epoch { generation: there.epoch_value.generation, number: there.epoch_value.above }
        }
        Some(MovePhase::Announced | MovePhase::Frozen | MovePhase::Moved) | None => there.epoch(),
    }
}

/// The longest that a lock given here can be believed in, or a grant of one that resigned lives.
fn longest(head: &mut Head) -> Result<Span, ProviderError> {
    let timing = Timing::new(&head.settings)
        .map_err(|error| FatalError::Protocol(format!("the settings in etcd are not safe: {error}")))?;
    let mut longest = lives_at_most(&timing);
    for kv in head.take(0) {
        longest = longest.max(values::read::<ReleasedDoc>(&kv.key, &kv.value)?);
    }
    Ok(longest)
}

impl EtcdProvider {
    /// The whole state, at one revision.
    ///
    /// # Errors
    /// No answer, or a value that cannot be understood.
    pub async fn export(&self) -> Result<Durable, ProviderError> {
        self.store.export().await
    }

    /// Puts `durable` here, as the state that arrives by `arriving`: nobody reads it as the state or gets the lock before
    /// a step of the move takes the mark away.
    ///
    /// # Errors
    /// `NotApplied` where there is a state that must not be replaced. What was written so far is under the mark.
    pub async fn fill(&self, durable: &Durable, arriving: &Move) -> Result<Revision, ProviderError> {
        self.store.fill(durable, arriving).await?;
        Ok(self.store.head(Vec::new()).await?.revision())
    }

    /// What stands here without making anything: `None` where there is no cluster of ours.
    ///
    /// # Errors
    /// No answer, another cluster's secret, or a value that cannot be understood.
    pub async fn look(&self) -> Result<Option<(Settings, Epoch)>, ProviderError> {
        let identity = [Get::Key(self.store.keys.identity())];
        let answer = txn::read(&self.store.endpoints, &identity).await.map_err(Failure::into_error)?;
        if answer.found.iter().all(|found| found.kvs.is_empty()) {
            return Ok(None);
        }
        let head = self.store.head(Vec::new()).await?;
        let epoch = given(&head);
        Ok(Some((head.settings, epoch)))
    }
}
