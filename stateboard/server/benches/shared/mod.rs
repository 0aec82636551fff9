//! What the measurements have in common: an appointment as a failover makes it, and a process that holds the lock until it
//! is killed.

use anyhow::{Context as _, ensure};
use baton_core::ids::{CoordinatorName, Endpoint, InstanceName, ReplicaSetName, Term, Version};
use baton_core::position::Position;
use baton_core::record::{Change, Record};
use baton_provider::{AppointOutcome, Candidate, LockSession, LockToken, StateProvider};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Set in the process that only holds the lock and waits to be killed.
pub(crate) const HOLDER: &str = "BATON_BENCH_HOLDER";

pub(crate) fn candidate(name: &str) -> anyhow::Result<Candidate> {
    Ok(Candidate {
        coordinator: CoordinatorName::parse(name)?,
        address: Endpoint(Arc::from("127.0.0.1:4402")),
    })
}

/// A change as a failover makes it, its decision included.
pub(crate) fn change(set: &str, term: u64, token: LockToken) -> anyhow::Result<Change> {
    let member = |name: &str| InstanceName::parse(name);
    let record = Record {
        replicaset: ReplicaSetName::parse(set)?,
        term: Term(term),
        version: Version(term),
        master: Some(member("a1")?),
        endpoint: Some(Endpoint(Arc::from("10.0.0.1:6379"))),
        incarnation: None,
        start: Position::at(term, 5_120),
        in_sync: [member("a1")?, member("a2")?, member("a3")?].into(),
        stragglers: Default::default(),
        failovers: Vec::new(),
        over_budget: false,
        ack_quorum: 1,
        data_id: None,
        pinned: None,
        forced: false,
        reason: "crashed".into(),
        decided_by: CoordinatorName::parse("host-a")?,
        epoch: token.epoch,
        term_generation: 1,
        at_unix_millis: 1_795_287_791_123,
    };
    let expected = (term > 1).then(|| Version(term - 1));
    Ok(Change { expected, record, decision: "{\"rule\":\"the engine ended\",\"chosen\":\"a1\"}".into() })
}

pub(crate) async fn appoint(
    client: &dyn StateProvider,
    token: LockToken,
    set: &str,
    term: u64,
) -> anyhow::Result<()> {
    let outcome = client.appoint(token, vec![change(set, term, token)?]).await?;
    ensure!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
    Ok(())
}

pub(crate) fn percentile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort_unstable();
    samples
        .get((samples.len() * percent / 100).min(samples.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Keeps the lock alive while others are measured.
pub(crate) fn keep(mut session: Box<dyn LockSession>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while session.renew().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(37)).await;
        }
    })
}

/// The process that is killed: takes the lock, renews it, says each time on standard output.
pub(crate) async fn hold_for_ever(provider: &dyn StateProvider) -> anyhow::Result<()> {
    let mut session = provider.campaign(&candidate("holder")?, None).await?;
    loop {
        session.renew().await?;
        println!("held");
        tokio::time::sleep(Duration::from_millis(37)).await;
    }
}

/// A process of this program that holds the lock until it is killed.
pub(crate) struct Holder(Child, BufReader<ChildStdout>);

impl Holder {
    pub(crate) fn start(provider: &str) -> anyhow::Result<Self> {
        let mut process =
            Command::new(std::env::current_exe()?).env(HOLDER, provider).stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().context("its output is a pipe")?;
        Ok(Self(process, BufReader::new(output)))
    }

    pub(crate) fn kill(&mut self) -> std::io::Result<()> {
        self.0.kill()
    }

    pub(crate) fn wait_until_it_holds(&mut self) -> anyhow::Result<()> {
        let mut line = String::new();
        for _ in 0..3 {
            ensure!(self.1.read_line(&mut line)? > 0, "the holder ended");
        }
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
