//! One attempt at one step: strike, see the set get a new master, mend, wait until all is well, and hand the history to
//! the checkers.

use std::time::{Duration, Instant};

use anyhow::Context;
use baton_client::decision::DecisionRecord;
use baton_client::replay::replay;
use rand::RngExt;
use rand::seq::IteratorRandom;
use tokio::time::sleep;

use super::stage::{Stage, Standing};
use super::step::Step;
use super::verdict::{self, Counts};
use crate::checker::gap::{Gap, acknowledged_writes, write_gap};
use crate::checker::stale::{Frozen, Stale, note_first, stale_writes};
use crate::cluster::host::Family;
use crate::report::narrator::Narrator;
use crate::report::timeline;
use crate::workload::history::{Author, History, Moment};

/// Least time of undisturbed writing before a fault: room for the hundred writes that an attempt needs.
const CALM: Duration = Duration::from_millis(400);
/// How long the clients go on after all is well again, so that a late offender is seen.
const LINGER: Duration = Duration::from_millis(300);
/// Between two looks for the new master.
const LOOK: Duration = Duration::from_millis(2);
/// How many stale writes are told one by one.
const OFFENCES_SHOWN: usize = 5;
/// How long a planned change may take before it counts as failed.
const SWITCHOVER_LIMIT: Duration = Duration::from_secs(20);

/// Something that happened, for the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Moment,
    /// Who did or said it, in a word.
    pub who: &'static str,
    /// What, in words.
    pub what: String,
}

/// What came of one attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The step.
    pub step: Step,
    /// How things stood before.
    pub before: Standing,
    /// When the fault struck.
    pub fault: Moment,
    /// What was counted.
    pub counts: Counts,
    /// Where the gap lies.
    pub gap: Option<Gap>,
    /// Every reason why it is not ok.
    pub problems: Vec<String>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Why the new master is the new master.
    pub decision: Option<DecisionRecord>,
    /// Whether the cluster did not recover, so that nothing more can be tried.
    pub broken: bool,
}

/// What the strike leaves to be judged or mended.
#[derive(Default)]
struct Struck {
    fault: Moment,
    events: Vec<Event>,
    frozen: Vec<Frozen>,
    family: Option<Family>,
}

impl Stage {
    /// Does the step once. A cluster that does not recover makes a broken attempt, not an error.
    ///
    /// # Errors
    /// It could not even begin: the cluster was not well, or a process was not found.
    pub async fn attempt(
        &mut self,
        step: Step,
        count_unconfirmed: bool,
        narrator: &Narrator,
    ) -> anyhow::Result<Attempt> {
        narrator.doing(&format!("{step}: all well, placing the master"));
        let before = self.place(step).await?;
        let budget = self.budget(step)?;
        let mut struck = Struck::default();
        if step.changes_master() && step != Step::Switchover {
            struck.family = Some(self.cluster.hosts[self.cluster.host_of(&before.master)?].family()?);
        }
        let _earlier = self.recorder.take_attempt();
        let phase = self.random.random_range(Duration::ZERO..self.lease_ttl / 2);
        sleep(CALM + phase).await;
        struck.fault = self.recorder.now();
        narrator.doing(&format!("{step}: struck {}", before.master));
        let played = self.play(step, &before, budget, &mut struck, narrator).await;
        let end = self.recorder.now();
        let broken = played.is_err() && self.recover(&before, &mut struck).await.is_err();
        sleep(LINGER).await;
        let mut attempt = self.judge(step, before, budget, struck, end, count_unconfirmed).await;
        attempt.problems.splice(..0, played.err().map(|error| format!("{error:#}")));
        attempt.broken |= broken;
        Ok(attempt)
    }

    /// After a failure halfway: nothing may stay stopped or dead, and all may become well yet.
    async fn recover(&mut self, before: &Standing, struck: &mut Struck) -> anyhow::Result<()> {
        if let Some(family) = struck.family.take() {
            let _order = family.thaw(&mut self.random, &self.recorder);
        }
        let place = self.cluster.host_of(&before.master)?;
        if self.cluster.hosts[place].ended().is_some() {
            self.cluster.hosts[place].start()?;
        }
        self.cluster.provider.start_what_is_down()?;
        self.healthy().await.map(|_| ())
    }

    /// From the fault until all is well again.
    async fn play(
        &mut self,
        step: Step,
        before: &Standing,
        budget: Duration,
        struck: &mut Struck,
        narrator: &Narrator,
    ) -> anyhow::Result<()> {
        match step {
            Step::KillEngine => self.kill_engine(before, struck)?,
            Step::FreezeHost | Step::FreezeHostWithArbiter => self.freeze(before, struck)?,
            Step::KillHost | Step::KillHostWithArbiter => self.kill_host(before, struck)?,
            Step::Switchover => self.switchover(before, struck).await?,
            Step::ProviderRestart => self.restart_provider(struck).await?,
        }
        if step.changes_master() {
            self.wait_replaced(before, struck.fault, budget).await?;
        }
        self.mend(step, before, struck).await?;
        narrator.doing(&format!("{step}: waiting until all is well again"));
        let healthy = self.healthy().await?;
        let what = format!("all in sync behind {} at term {}", healthy.master, healthy.term);
        self.event(struck, "cluster", what);
        Ok(())
    }

    fn event(&self, struck: &mut Struck, who: &'static str, what: String) {
        struck.events.push(Event { at: self.recorder.now(), who, what });
    }

    fn kill_engine(&self, before: &Standing, struck: &mut Struck) -> anyhow::Result<()> {
        let called = self.cluster.engine().called();
        let engine = &struck.family.as_ref().context("no family was found")?.engine;
        engine.kill();
        let what = format!("SIGKILL to the {called} of {} (process {})", before.master, engine.pid());
        self.event(struck, "fault", what);
        Ok(())
    }

    fn freeze(&self, before: &Standing, struck: &mut Struck) -> anyhow::Result<()> {
        struck.family.as_ref().context("no family was found")?.freeze();
        let what = format!("SIGSTOP to engine, sidecar and deadman of {}", before.master);
        self.event(struck, "fault", what);
        Ok(())
    }

    fn kill_host(&self, before: &Standing, struck: &mut Struck) -> anyhow::Result<()> {
        struck.family.take().context("no family was found")?.kill();
        let arbiter = if self.arbiter_beside(before) { ", the active arbiter with them" } else { "" };
        let what = format!("SIGKILL to engine, sidecar and deadman of {}{arbiter}", before.master);
        self.event(struck, "fault", what);
        Ok(())
    }

    fn arbiter_beside(&self, before: &Standing) -> bool {
        self.cluster
            .host_of(&before.master)
            .is_ok_and(|place| self.cluster.hosts[place].name == before.arbiter)
    }

    async fn switchover(&mut self, before: &Standing, struck: &mut Struck) -> anyhow::Result<()> {
        let others = self.cluster.hosts.iter().filter(|host| *host.instance != *before.master);
        let target = others.choose(&mut self.random).context("there is no other instance")?.instance.clone();
        self.event(struck, "operator", format!("asks to switch over from {} to {target}", before.master));
        self.cluster.operator.switchover(&target, SWITCHOVER_LIMIT).await?;
        self.event(struck, "operator", "is told that it is done".to_owned());
        Ok(())
    }

    /// The provider's lock outlives a lease; it is back well within one.
    async fn restart_provider(&mut self, struck: &mut Struck) -> anyhow::Result<()> {
        let killed = self.cluster.provider.kill().await?;
        self.event(struck, "fault", format!("SIGKILL to {killed}"));
        sleep(self.random.random_range(self.lease_ttl / 10..self.lease_ttl / 2)).await;
        self.cluster.provider.start_what_is_down()?;
        self.event(struck, "mended", "it is started again, with its data".to_owned());
        // Every right that was granted before has to be renewed after it.
        sleep((self.lease_ttl * 2).max(self.cluster.provider.lock_ttl_min() * 2)).await;
        Ok(())
    }

    /// Until the directory names a new active master and the writer has an acknowledgement from it.
    async fn wait_replaced(&self, before: &Standing, fault: Moment, budget: Duration) -> anyhow::Result<()> {
        let limit = budget * 2 + Duration::from_secs(10);
        let deadline = Instant::now() + limit;
        loop {
            let newest = self.follower.newest().filter(|master| master.term > before.term);
            if newest.is_some_and(|master| self.wrote_to(&master.instance, fault)) {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "no client could write to a new master within {limit:?}"
            );
            sleep(LOOK).await;
        }
    }

    fn wrote_to(&self, instance: &str, since: Moment) -> bool {
        let history = self.recorder.lock();
        // The writer's last word is among the last few: probers end as many writes each.
        history.operations.iter().rev().take(200).any(|operation| {
            operation.author == Author::Writer
                && &*operation.instance == instance
                && operation.acknowledged().is_some_and(|at| at > since)
        })
    }

    /// Lets the new master work for a moment, then brings the struck host back.
    async fn mend(&mut self, step: Step, before: &Standing, struck: &mut Struck) -> anyhow::Result<()> {
        if !matches!(
            step,
            Step::FreezeHost | Step::FreezeHostWithArbiter | Step::KillHost | Step::KillHostWithArbiter
        ) {
            return Ok(());
        }
        sleep(self.random.random_range(Duration::from_millis(50)..Duration::from_millis(300))).await;
        let place = self.cluster.host_of(&before.master)?;
        if let Some(family) = struck.family.take() {
            let (order, woke) = family.thaw(&mut self.random, &self.recorder);
            let instance = self.cluster.hosts[place].instance.clone();
            struck.frozen.push(Frozen { instance, from: struck.fault, until: woke });
            self.event(struck, "mended", format!("SIGCONT to all three at once: {order}"));
        } else {
            self.cluster.hosts[place].start()?;
            self.event(struck, "mended", format!("the sidecar of {} is started again", before.master));
        }
        Ok(())
    }

    async fn judge(
        &mut self,
        step: Step,
        before: Standing,
        budget: Duration,
        struck: Struck,
        end: Moment,
        count_unconfirmed: bool,
    ) -> Attempt {
        self.learn_reigns().await;
        let history = self.recorder.take_attempt();
        note_first(&mut self.first, &history.operations, &history.reigns);
        let stale = stale_writes(&history.operations, &history.reigns, &self.first, &struck.frozen);
        let gap = write_gap(&history.operations, struck.fault, end);
        let after = self.follower.newest();
        let lost = self.newly_lost(&history).await;
        let mut counts = Counts {
            writes: acknowledged_writes(&history.operations),
            failed: failed_writes(&history),
            before: (before.master.clone(), before.term),
            after: after.map(|master| (master.instance.to_string(), master.term)).unwrap_or_default(),
            gap: gap.map(|gap| gap.length),
            budget,
            stale: stale.stale.len() as u64,
            woken: stale.woken.len() as u64,
            ..Counts::default()
        };
        let mut problems = Vec::new();
        let broken = lost.is_err();
        match lost {
            Ok(lost) => {
                counts.lost = lost.confirmed.len() as u64;
                counts.unconfirmed_lost = lost.unconfirmed.len() as u64;
            }
            Err(error) => problems.push(format!("{error:#}")),
        }
        problems.extend(verdict::problems(step, &counts, count_unconfirmed));
        let decision =
            self.cluster.operator.explain(counts.after.1).await.ok().filter(|_| step.changes_master());
        problems.extend(decision.as_ref().and_then(not_replayed));
        let fault = struck.fault;
        let mut events = struck.events;
        events.extend(offences(&history, &stale));
        let events = all_events(events, &history, &counts);
        Attempt { step, before, fault, counts, gap, problems, events, decision, broken }
    }
}

/// Why the decision that was made says nothing: what is stored of it has to give the same choice again.
fn not_replayed(decision: &DecisionRecord) -> Option<String> {
    match replay(decision) {
        Ok(replay) if replay.same => None,
        Ok(_) => Some(format!(
            "the decision of term {} comes out otherwise when it is replayed",
            decision.term_after
        )),
        Err(error) => {
            Some(format!("the decision of term {} cannot be replayed: {error}", decision.term_after))
        }
    }
}

/// Writes of the writer that did not succeed.
fn failed_writes(history: &History) -> u64 {
    let of_writer = history.operations.iter().filter(|operation| operation.author == Author::Writer);
    of_writer.filter(|operation| operation.acknowledged().is_none()).count() as u64
}

/// The first few stale writes, one by one, so that a person sees what to look for in the logs.
fn offences(history: &History, stale: &Stale) -> Vec<Event> {
    let offence = |index: &usize| {
        let operation = history.operations.get(*index)?;
        let at = operation.acknowledged()?;
        let took = timeline::span(at.since(operation.sent));
        let what = format!("stale: {} acknowledged what was sent {took} before", operation.instance);
        Some(Event { at, who: "prober", what })
    };
    stale.stale.iter().take(OFFENCES_SHOWN).filter_map(offence).collect()
}

/// The stage's own events, what the directory said, and the new master's first word to the writer, in order.
fn all_events(mut events: Vec<Event>, history: &History, counts: &Counts) -> Vec<Event> {
    events.extend(history.notices.iter().map(|notice| Event {
        at: notice.at,
        who: "directory",
        what: format!("{} is {} at term {}", notice.master, notice.state, notice.term),
    }));
    if counts.after.0 != counts.before.0 {
        let of_writer = history.operations.iter().filter(|operation| operation.author == Author::Writer);
        let first = of_writer.filter(|operation| *operation.instance == *counts.after.0);
        if let Some(at) = first.filter_map(|operation| operation.acknowledged()).min() {
            events.push(Event {
                at,
                who: "client",
                what: format!("first write acknowledged by {}", counts.after.0),
            });
        }
    }
    events.sort_by_key(|event| event.at);
    events
}
