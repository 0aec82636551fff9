//! Moves a live cluster's state from one provider to another. Every step is a conditional write under the version of the
//! settings at the end that is left, so a run that is cut off anywhere leaves what the next run completes or takes back:
//!
//! 1. *copy* the state to the target, under a mark: it is nobody's state there;
//! 2. *announce*: the coordinators look whether they reach the target, and the run waits for all of them;
//! 3. *freeze*: nothing changes and the lock changes no hands; the arbiter that holds it leads on from memory;
//! 4. *copy* again what has changed since;
//! 5. *commit*: one conditional write. Before it everything is taken back, after it everything goes on at the target;
//! 6. *open* the target. Any coordinator does it, too, once it has read that the move is committed.

use crate::StateProvider;
use crate::error::ProviderError;
use crate::etcd::EtcdProvider;
use crate::stateboard::{RestoreOptions, StateboardProvider, TakeError};
use async_trait::async_trait;
use baton_board::{Durable, SettingsOutcome};
use baton_core::ids::{Epoch, Version};
use baton_core::record::{Move, MovePhase, Settings};
use baton_core::time::Span;
use baton_core::timing::Timing;
use std::time::{Duration, Instant};

/// Between two attempts of a step that had no answer, and between two looks at the hosts.
const AGAIN: Duration = Duration::from_millis(50);
/// Of a backup as it is sent.
const BLOCK: usize = 64 * 1024;

/// One end of a move.
#[async_trait]
pub trait MoveEnd: StateProvider {
    /// What stands there, without making anything: the settings and the last epoch; `None` where there is no cluster.
    ///
    /// # Errors
    /// No answer, or another cluster's.
    async fn look(&self) -> Result<Option<(Settings, Epoch)>, ProviderError>;

    /// The whole state, at one revision.
    ///
    /// # Errors
    /// No answer.
    async fn export(&self) -> Result<Durable, ProviderError>;

    /// Puts a state there, under the mark of its move. May be repeated.
    ///
    /// # Errors
    /// `NotApplied` where there is a state that must not be replaced.
    async fn fill(&self, durable: Durable, arriving: Move) -> Result<(), ProviderError>;
}

#[async_trait]
impl MoveEnd for StateboardProvider {
    async fn look(&self) -> Result<Option<(Settings, Epoch)>, ProviderError> {
        let snapshot = self.read().await?;
        let never_used = snapshot.revision.0 == 0;
        Ok((!never_used).then_some((snapshot.settings, snapshot.lock.epoch)))
    }

    async fn export(&self) -> Result<Durable, ProviderError> {
        StateboardProvider::export(self).await.map_err(|error| match error {
            TakeError::Provider(error) => error,
            error @ (TakeError::Backup(_) | TakeError::Keep(_)) => {
                ProviderError::NotApplied(error.to_string())
            }
        })
    }

    async fn fill(&self, durable: Durable, arriving: Move) -> Result<(), ProviderError> {
        let bytes = crate::backup::encode(&durable, 0, env!("CARGO_PKG_VERSION"));
        let blocks: Vec<Vec<u8>> = bytes.chunks(BLOCK).map(<[u8]>::to_vec).collect();
        let options = RestoreOptions { arriving: Some(arriving), ..RestoreOptions::default() };
        self.restore(options, blocks.into_iter()).await.map(|_| ())
    }
}

#[async_trait]
impl MoveEnd for EtcdProvider {
    async fn look(&self) -> Result<Option<(Settings, Epoch)>, ProviderError> {
        EtcdProvider::look(self).await
    }

    async fn export(&self) -> Result<Durable, ProviderError> {
        EtcdProvider::export(self).await
    }

    async fn fill(&self, durable: Durable, arriving: Move) -> Result<(), ProviderError> {
        EtcdProvider::fill(self, &durable, &arriving).await.map(|_| ())
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The end that is left, for people: `stateboard http://10.0.0.9:4401`.
    pub from: String,
    /// The end that it goes to.
    pub to: String,
    /// How long the hosts may take to reach the target.
    pub ready_within: Duration,
    /// How long the state may be frozen.
    pub frozen_at_most: Duration,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// A step that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Both ends were looked at.
    Checked,
    /// A first copy is at the target.
    Copied,
    /// The coordinators know, and reach the target.
    Announced,
    /// Nothing changes any more.
    Frozen,
    /// What had changed is at the target, too.
    CopiedAgain,
    /// Everything goes on at the target.
    Committed,
    /// The target gives the lock.
    Opened,
}

impl Step {
    /// The word for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Copied => "copied",
            Self::Announced => "announced",
            Self::Frozen => "frozen",
            Self::CopiedAgain => "copied_again",
            Self::Committed => "committed",
            Self::Opened => "opened",
        }
    }
}

/// Who knows of the hosts, and is told of the steps.
#[async_trait(?Send)]
pub trait Company {
    /// The attached hosts that do not reach the target of the move with this id, each with the reason.
    ///
    /// # Errors
    /// Nobody could be asked.
    async fn not_ready(&mut self, id: u64) -> Result<Vec<String>, String>;

    /// A step was done, in this time.
    fn done(&mut self, step: Step, took: Duration);
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Whether it only completed what an earlier run had committed.
    pub completed_earlier: bool,
    /// Whether nothing was done because nothing was to be done: it had been moved there.
    pub nothing_to_do: bool,
    /// Records, members and lines of history at the target.
    pub records: usize,
    /// See above.
    pub members: usize,
    /// See above.
    pub history: usize,
    /// How long nothing could be changed.
    pub frozen_for: Duration,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// One end, and what is wrong with it.
    #[error("{end}: {error}")]
    End {
        /// Which.
        end: String,
        /// What.
        #[source]
        error: ProviderError,
    },
    /// It cannot be done, and nothing was changed that matters.
    #[error("{0}")]
    Refused(String),
    /// It was begun, and taken back: everything goes on where it was.
    #[error("the move was taken back, and everything goes on at the old provider: {0}")]
    TakenBack(String),
    /// How a step ended is not known.
    #[error("{0}; run the same command again: it completes the move or takes it back")]
    Unknown(String),
}

/// One run of a move.
pub struct Mover<'a> {
    from: &'a dyn MoveEnd,
    to: &'a dyn MoveEnd,
    plan: Plan,
    company: &'a mut dyn Company,
    id: u64,
    since: Instant,
}

impl<'a> Mover<'a> {
    /// A run that has done nothing yet.
    pub fn new(from: &'a dyn MoveEnd, to: &'a dyn MoveEnd, plan: Plan, company: &'a mut dyn Company) -> Self {
        Self { from, to, plan, company, id: rand::random(), since: Instant::now() }
    }

    /// Does it all.
    ///
    /// # Errors
    /// [`MoveError`] says what was done about it.
    pub async fn run(mut self) -> Result<Done, MoveError> {
        let settings = match self.check().await? {
            Ok(settings) => settings,
            Err(done) => return Ok(done),
        };
        self.step(Step::Checked);
        if self.plan.dry_run {
            return Ok(done_nothing(false));
        }
        let copy = self.copy().await?;
        self.step(Step::Copied);
        let announced = self.mark(MovePhase::Announced, copy.lock.longest_ttl);
        let version = self.put(settings.version, Some(announced.clone())).await?;
        if let Err(why) = self.wait_for_hosts().await {
            return Err(self.take_back(why).await);
        }
        self.step(Step::Announced);
        let frozen = Move { phase: MovePhase::Frozen, ..announced.clone() };
        let version = match self.put(version, Some(frozen)).await {
            Ok(version) => version,
            Err(error) => return Err(self.take_back(error.to_string()).await),
        };
        let frozen = Instant::now();
        self.step(Step::Frozen);
        let copied = match tokio::time::timeout(self.plan.frozen_at_most, self.copy()).await {
            Ok(Ok(copied)) => copied,
            Ok(Err(error)) => return Err(self.take_back(error.to_string()).await),
            Err(_) => {
                let why = format!("the copy took longer than {:?}", self.plan.frozen_at_most);
                return Err(self.take_back(why).await);
            }
        };
        self.step(Step::CopiedAgain);
        self.commit(version, Move { phase: MovePhase::Moved, ..announced }).await?;
        let frozen_for = frozen.elapsed();
        self.step(Step::Committed);
        self.open().await?;
        self.step(Step::Opened);
        Ok(Done {
            completed_earlier: false,
            nothing_to_do: false,
            records: copied.records.len(),
            members: copied.members.len(),
            history: copied.history.values().map(std::collections::VecDeque::len).sum(),
            frozen_for,
        })
    }

    fn step(&mut self, step: Step) {
        self.company.done(step, self.since.elapsed());
        self.since = Instant::now();
    }

    fn mark(&self, phase: MovePhase, lock: Span) -> Move {
        Move { id: self.id, phase, other: self.plan.to.clone(), lock }
    }

    fn at_from(&self, error: ProviderError) -> MoveError {
        MoveError::End { end: self.plan.from.clone(), error }
    }

    fn at_to(&self, error: ProviderError) -> MoveError {
        MoveError::End { end: self.plan.to.clone(), error }
    }

    /// The settings of the end that is left, free of what an earlier run left; or how it ended already.
    async fn check(&mut self) -> Result<Result<Settings, Done>, MoveError> {
        let here = self.from.look().await.map_err(|error| self.at_from(error))?;
        let Some((settings, epoch)) = here else {
            return Err(MoveError::Refused(format!("{}: there is no state of this cluster", self.plan.from)));
        };
        Timing::new(&settings).map_err(|error| MoveError::Refused(format!("{}: {error}", self.plan.from)))?;
        let there = self.to.look().await.map_err(|error| self.at_to(error))?;
        if let Some(moved) = settings.moving.as_ref().filter(|it| it.phase == MovePhase::Moved) {
            return self.moved_already(moved.clone(), epoch, there).await.map(Err);
        }
        if settings.phase() == Some(MovePhase::Arriving) {
            let why = "a move to it was begun and never committed; the state is at its other end";
            return Err(MoveError::Refused(format!("{}: {why}", self.plan.from)));
        }
        if let Some((theirs, at)) = &there {
            let given_up = matches!(theirs.phase(), Some(MovePhase::Arriving | MovePhase::Moved));
            if !given_up || *at > epoch {
                let why = format!(
                    "holds a state (epoch {at}) and was not moved away from, or is further than {} (epoch {epoch})",
                    self.plan.from
                );
                return Err(MoveError::Refused(format!("{} {why}: nothing was changed", self.plan.to)));
            }
        }
        if settings.moving.is_none() || self.plan.dry_run {
            return Ok(Ok(settings));
        }
        // An earlier run was cut off before it committed.
        let version = self.put(settings.version, None).await?;
        Ok(Ok(Settings { moving: None, version, ..settings }))
    }

    /// An earlier run was committed: what it left is done.
    async fn moved_already(
        &mut self,
        moved: Move,
        epoch: Epoch,
        there: Option<(Settings, Epoch)>,
    ) -> Result<Done, MoveError> {
        let elsewhere = || {
            MoveError::Refused(format!(
                "{} was left for {}: the state is there, not where this move would find it",
                self.plan.from, moved.other
            ))
        };
        let (theirs, at) = there.ok_or_else(elsewhere)?;
        match &theirs.moving {
            Some(it) if it.phase == MovePhase::Arriving && it.id == moved.id => {
                if !self.plan.dry_run {
                    self.id = moved.id;
                    self.open().await?;
                    self.step(Step::Opened);
                }
                Ok(Done { completed_earlier: true, ..done_nothing(false) })
            }
            None if at >= epoch => Ok(done_nothing(true)),
            Some(_) | None => Err(elsewhere()),
        }
    }

    async fn copy(&self) -> Result<Durable, MoveError> {
        let durable = self.from.export().await.map_err(|error| self.at_from(error))?;
        let arriving = Move {
            id: self.id,
            phase: MovePhase::Arriving,
            other: self.plan.from.clone(),
            lock: durable.lock.longest_ttl,
        };
        self.to.fill(durable.clone(), arriving).await.map_err(|error| self.at_to(error))?;
        Ok(durable)
    }

    /// One step at the end that is left, made again until it is answered; the version after it.
    async fn put(&self, expected: Version, moving: Option<Move>) -> Result<Version, MoveError> {
        let until = Instant::now() + self.plan.frozen_at_most;
        loop {
            let error = match self.from.put_move(expected, moving.clone()).await {
                Ok(SettingsOutcome::Applied(_)) => return Ok(expected.next()),
                // Ours, whose answer was lost.
                Ok(SettingsOutcome::Conflict(now))
                    if now.version == expected.next() && now.moving == moving =>
                {
                    return Ok(now.version);
                }
                Ok(SettingsOutcome::Conflict(_)) => {
                    let why = "the settings were changed at the same time, or another move is under way";
                    return Err(MoveError::Refused(format!("{}: {why}", self.plan.from)));
                }
                Ok(SettingsOutcome::Refused(refusal)) => {
                    return Err(MoveError::Refused(format!("{}: {refusal}", self.plan.from)));
                }
                Err(error @ ProviderError::Fatal(_)) => return Err(self.at_from(error)),
                Err(error) => error,
            };
            if Instant::now() > until {
                return Err(MoveError::Unknown(format!("{}: {error}", self.plan.from)));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn commit(&mut self, version: Version, moved: Move) -> Result<(), MoveError> {
        match self.put(version, Some(moved)).await {
            Ok(_) => Ok(()),
            // Refused by its version: a coordinator has thawed the state, since it took so long.
            Err(MoveError::Refused(why)) => Err(MoveError::TakenBack(why)),
            Err(error) => Err(error),
        }
    }

    /// Everything goes on where it was; says why. Whatever the version is now: somebody may have changed the settings.
    async fn take_back(&mut self, why: String) -> MoveError {
        let until = Instant::now() + self.plan.frozen_at_most;
        loop {
            let failed = match self.from.look().await {
                Ok(Some((settings, _))) => match &settings.moving {
                    Some(it) if it.id == self.id && it.phase != MovePhase::Moved => {
                        self.put(settings.version, None).await.err().map(|error| error.to_string())
                    }
                    Some(_) | None => return MoveError::TakenBack(why),
                },
                Ok(None) => Some("the state is gone".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            if Instant::now() > until {
                let failed = failed.unwrap_or_default();
                return MoveError::Unknown(format!("{why}; and it could not be taken back: {failed}"));
            }
            if failed.is_some() {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    async fn wait_for_hosts(&mut self) -> Result<(), String> {
        let until = Instant::now() + self.plan.ready_within;
        loop {
            let lacking = self.company.not_ready(self.id).await.map(|hosts| hosts.join("; "));
            if lacking.as_ref().is_ok_and(String::is_empty) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(match lacking {
                    Ok(hosts) => format!("not every host reaches {}: {hosts}", self.plan.to),
                    Err(why) => format!("whether the hosts reach {} is not known: {why}", self.plan.to),
                });
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The move is committed, so what has arrived is the state.
    async fn open(&self) -> Result<(), MoveError> {
        let until = Instant::now() + self.plan.ready_within;
        loop {
            let opened = match self.to.look().await {
                Ok(Some((settings, _))) => match &settings.moving {
                    Some(it) if it.phase == MovePhase::Arriving && it.id == self.id => {
                        self.to.put_move(settings.version, None).await.map(|_| false)
                    }
                    Some(_) | None => return Ok(()),
                },
                Ok(None) => Ok(false),
                Err(error) => Err(error),
            };
            if Instant::now() > until {
                let why = opened.err().map(|error| error.to_string()).unwrap_or_default();
                return Err(MoveError::Unknown(format!("{} was not opened: {why}", self.plan.to)));
            }
            if opened.is_err() {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

fn done_nothing(nothing_to_do: bool) -> Done {
    Done {
        completed_earlier: false,
        nothing_to_do,
        records: 0,
        members: 0,
        history: 0,
        frozen_for: Duration::ZERO,
    }
}

#[cfg(test)]
pub(crate) mod tests;
