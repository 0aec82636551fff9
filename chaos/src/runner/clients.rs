//! The clients of a run: processes of their own on the client machine, each with a file of the evidence. Starts and ends
//! them; what they do is theirs.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::time::sleep;

use crate::cluster::config::REPLICASET;
use crate::cluster::process::Process;
use crate::evidence::clock::Clock;
use crate::evidence::{Folder, Mode, file};
use crate::field::Field;

/// The clients with their numbers, which are part of the values that they write: registers use three.
const CLIENTS: [(&str, &str, u64); 3] =
    [("append", "append", 1), ("registers", "registers", 10), ("direct", "direct", 20)];
/// How long they may take to write down what was on its way.
const END: Duration = Duration::from_secs(20);

/// The running clients; those that still run are killed with this value.
#[derive(Debug)]
pub struct Clients {
    running: Vec<(&'static str, Process)>,
}

impl Clients {
    /// Starts all of them.
    ///
    /// # Errors
    /// This very program cannot be started again.
    pub fn start(field: &Field, evidence: &Folder, clock: Clock, seed: u64) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("find this very program")?;
        let coordinators: Vec<String> = field.hosts.iter().map(|host| host.address().to_string()).collect();
        let instances: Vec<String> =
            field.hosts.iter().map(|host| format!("{}={}", host.instance, host.endpoint())).collect();
        let mut running = Vec::new();
        for (name, kind, number) in CLIENTS {
            let mut command = Command::new(&own);
            command.args(["client", kind, "--name", name, "--number", &number.to_string()]);
            command.args(["--set", REPLICASET, "--engine", field.plan.engine.name()]);
            command.args(["--coordinators", &coordinators.join(","), "--instances", &instances.join(",")]);
            command.args(["--origin-us", &clock.origin_us().to_string(), "--seed", &seed.to_string()]);
            command.arg("--out").arg(evidence.history_of(name));
            if kind == "append" {
                command.arg("--masters").arg(evidence.path().join(file::MASTERS));
            }
            if field.plan.mode == Mode::Sync {
                command.arg("--sync");
            }
            running.push((name, field.client.start(command, &format!("client-{name}.log"))?));
        }
        Ok(Self { running })
    }

    /// Who ended without being told to.
    #[must_use]
    pub fn who_ended(&self) -> Option<String> {
        let ended = self.running.iter().find(|(_, process)| !process.alive());
        ended.map(|(name, process)| {
            format!("the client {name} ended with {}", process.how_it_ended().unwrap_or_default())
        })
    }

    /// Tells all of them to end, and waits until their last line is written.
    ///
    /// # Errors
    /// One does not end, or ended before.
    pub async fn end(self) -> anyhow::Result<()> {
        if let Some(ended) = self.who_ended() {
            anyhow::bail!("{ended} before it was told to");
        }
        self.running.iter().for_each(|(_, process)| process.terminate());
        let deadline = Instant::now() + END;
        while let Some((name, _)) = self.running.iter().find(|(_, process)| process.alive()) {
            anyhow::ensure!(Instant::now() < deadline, "the client {name} does not end");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.running.iter().for_each(|(_, process)| process.kill());
    }
}
