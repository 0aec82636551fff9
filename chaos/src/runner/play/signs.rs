//! How far a change of master has come, by what the coordinators write into their logs and by the record. A log says on its own
//! host, at once, what nobody could ask for in time.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::time::sleep;

use super::Play;
use super::set_of;
use crate::field::Field;
use crate::scenario::Sign;

/// How long a sign may take, in leases, on top of a busy machine's pauses.
const LEASES: u32 = 5;
const PAUSES: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// What a coordinator writes when its instance has severed, was told to lead, leads.
const SEVERED: &str = "severed: replication is stopped";
const DIRECTED: &str = "directed to lead";
const WRITABLE: &str = "master: the engine accepts writes";

/// How long each host's log was at a moment, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(BTreeMap<String, usize>);

impl Marks {
    /// At this one.
    pub(super) fn set(field: &Field) -> Self {
        let length = |log| fs::metadata(log).map_or(0, |meta| usize::try_from(meta.len()).unwrap_or(0));
        let of_host = |host: &crate::field::host::Host| (host.machine.name.clone(), length(host.log()));
        Self(field.hosts.iter().map(of_host).collect())
    }

    /// How many hosts have written this since.
    fn count(&self, field: &Field, words: &str) -> usize {
        let said = |host: &&crate::field::host::Host| {
            let log = fs::read(host.log()).unwrap_or_default();
            let from = self.0.get(&host.machine.name).copied().unwrap_or(0);
            says(log.get(from..).unwrap_or_default(), words)
        };
        field.hosts.iter().filter(said).count()
    }
}

fn says(log: &[u8], words: &str) -> bool {
    log.windows(words.len()).any(|window| window == words.as_bytes())
}

impl Play<'_> {
    /// Until the sign is seen.
    pub(super) async fn until(&self, sign: Sign) -> anyhow::Result<()> {
        let limit = PAUSES + self.field.plan.lease_ttl * LEASES;
        let deadline = Instant::now() + limit;
        while !self.seen(sign).await.unwrap_or(false) {
            anyhow::ensure!(Instant::now() < deadline, "{sign:?} was not seen within {limit:?}");
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// The change of master has not come so far; where it has, what struck last was late, and shows nothing.
    pub(super) async fn not_yet(&mut self, sign: Sign) -> anyhow::Result<()> {
        let seen = self.seen(sign).await.with_context(|| format!("look for {sign:?}"))?;
        let last = self.lasting.last_mut().context("nothing is struck that could be late")?;
        last.late = seen.then_some(sign);
        Ok(())
    }

    async fn seen(&self, sign: Sign) -> anyhow::Result<bool> {
        Ok(match sign {
            Sign::Severed(hosts) => self.marks.count(&self.field, SEVERED) >= hosts,
            Sign::Directed => self.marks.count(&self.field, DIRECTED) > 0,
            Sign::Writable => self.marks.count(&self.field, WRITABLE) > 0,
            Sign::Recorded => {
                let status = self.field.operator.status().await?;
                let record = set_of(&status).and_then(|set| set.record.as_ref());
                record.is_some_and(|record| record.term > self.before.term)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_wherever_they_stand_in_a_log() {
        let log =
            b"2026-11-22T20:00:00Z  INFO severed: replication is stopped instance=b1 replicaset=orders\n";
        assert!(says(log, SEVERED) && !says(log, DIRECTED) && !says(b"", SEVERED));
        assert!(says(&log[27..], SEVERED) && !says(&log[28..], SEVERED));
    }
}
