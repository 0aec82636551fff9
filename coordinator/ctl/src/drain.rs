//! `batonctl drain` and `undrain`: says in the settings which zones should have no master, and follows what comes of it. The
//! moves themselves are the arbiter's, one after another within its budget; whoever follows may leave and come back.

use crate::args::{Cli, DrainArgs, Until};
use crate::{Exit, Failure, Io, settings, wait, write_json};
use baton_client::status::{ClusterStatus, IssueStatus, ReplicaSetStatus};
use baton_client::{OperatorClient, OperatorError};
use baton_core::ids::Zone;
use baton_proto::v1::SettingsChange;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Duration;
use tokio::time::Instant;

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);
/// After so long without a move it is asked why a set stays.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the list of zones is put where others change the settings at the same time.
const ATTEMPTS: usize = 5;
/// Most sets that are named in a line.
const NAMED_MAX: usize = 5;

/// Which way masters go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Out,
    Back,
}

pub(crate) async fn run(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    args: &DrainArgs,
    way: Way,
) -> Result<Exit, Failure> {
    let drained = put(cli, io, client, &args.zones, way).await?;
    if args.wait {
        return Follow { args, way, told: BTreeSet::new(), reasons: BTreeMap::new() }
            .run(cli, io, client)
            .await;
    }
    if cli.json {
        write_json(io, &json!({"drained": drained, "done": null}))?;
    } else if way == Way::Out {
        let zones = args.zones.join(",");
        writeln!(
            io.out,
            "masters leave {zones} from now on; to see how it goes: batonctl drain --zone {zones} --wait"
        )?;
    } else {
        writeln!(
            io.out,
            "masters may be in {} again; with autoreturn they go back by themselves",
            args.zones.join(", ")
        )?;
    }
    Ok(Exit::Done)
}

/// Adds the zones to those that are drained, or takes them out; all that are drained then.
async fn put(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    zones: &[String],
    way: Way,
) -> Result<Vec<String>, Failure> {
    let parsed: Result<BTreeSet<Zone>, _> = zones.iter().map(|zone| Zone::parse(zone)).collect();
    let zones = parsed.map_err(|error| settings::SettingsFailure::Usage(error.to_string()))?;
    let mut overtaken = None;
    for _ in 0..ATTEMPTS {
        let answer = client.settings(None).await?;
        let drained = settings::settings_of(&answer)?.drained;
        let wanted: BTreeSet<Zone> = match way {
            Way::Out => drained.union(&zones).cloned().collect(),
            Way::Back => drained.difference(&zones).cloned().collect(),
        };
        let names: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        if wanted == drained {
            return Ok(names);
        }
        let changes = vec![format!("drained={}", names.join(","))];
        let expected = Some(answer.version);
        let change = SettingsChange { expected, changes, ..SettingsChange::default() };
        match client.settings(Some(change)).await {
            Ok(done) => {
                for remark in done.remarks.iter().filter(|_| !cli.json) {
                    writeln!(io.err, "! {remark}")?;
                }
                return Ok(names);
            }
            Err(error) if is_overtaken(&error) => overtaken = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(overtaken.unwrap_or_else(|| OperatorError::BadAnswer("no answer".to_owned())).into())
}

fn is_overtaken(error: &OperatorError) -> bool {
    matches!(error, OperatorError::Refused { refusal: Some(refusal), .. } if refusal.reason == "settings_overtaken")
}

/// One look after another until it is done.
struct Follow<'a> {
    args: &'a DrainArgs,
    way: Way,
    /// Lines that were printed: each once.
    told: BTreeSet<String>,
    /// Why sets stay, as the arbiter said when it was asked.
    reasons: BTreeMap<String, String>,
}

/// How it stands.
struct Look {
    /// Sets whose master is still there, with that master.
    left: Vec<(String, String)>,
    /// What is missing beside.
    missing: Option<String>,
}

impl Follow<'_> {
    async fn run(mut self, cli: &Cli, io: &mut Io<'_>, client: &OperatorClient) -> Result<Exit, Failure> {
        let began = Instant::now();
        let mut moved = (usize::MAX, began);
        loop {
            let look = match self.look(client).await {
                Ok(look) => look,
                Err(failure) if failure.exit() == Exit::Unreachable => {
                    Look { left: Vec::new(), missing: Some(failure.to_string()) }
                }
                Err(failure) => return Err(failure),
            };
            let done = look.left.is_empty() && look.missing.is_none();
            if look.left.len() != moved.0 {
                moved = (look.left.len(), Instant::now());
            } else if moved.1.elapsed() >= PATIENCE {
                self.ask_why(client, &look).await?;
            }
            let over = began.elapsed() >= self.args.timeout;
            if !cli.json {
                self.tell(io, &look, done)?;
            }
            if done || over {
                return self.end(cli, io, &look, done);
            }
            tokio::time::sleep(EVERY.min(self.args.timeout.saturating_sub(began.elapsed()))).await;
        }
    }

    async fn look(&self, client: &OperatorClient) -> Result<Look, Failure> {
        let status = client.status().await?;
        let issues = client.issues().await?;
        Ok(look(&status, &issues, &self.args.zones, self.way))
    }

    /// Why the first of those that are left stay where they are.
    async fn ask_why(&mut self, client: &OperatorClient, look: &Look) -> Result<(), Failure> {
        let unasked = |(set, _): &&(String, String)| !self.reasons.contains_key(set);
        let unasked: Vec<_> = look.left.iter().filter(unasked).take(NAMED_MAX).cloned().collect();
        for (set, _) in unasked {
            let why = match client.what_if_switchover(&set, None).await {
                Ok(forecasts) => forecasts.first().map(why_it_stays).unwrap_or_default(),
                Err(OperatorError::Refused { message, .. }) => message,
                // Asked again with the next look.
                Err(_) => continue,
            };
            self.reasons.insert(set, why);
        }
        Ok(())
    }

    fn tell(&mut self, io: &mut Io<'_>, look: &Look, done: bool) -> std::io::Result<()> {
        let mut lines = Vec::new();
        if !look.left.is_empty() {
            let named: Vec<_> =
                look.left.iter().take(NAMED_MAX).map(|(set, master)| format!("{set} ({master})")).collect();
            let more = if look.left.len() > NAMED_MAX { ", …" } else { "" };
            let count = look.left.len();
            lines.push(format!("masters still there: {count}: {}{more}", named.join(", ")));
        } else if let Some(missing) = look.missing.as_ref().filter(|_| !done) {
            lines.push(format!("waiting: {missing}"));
        }
        for (set, why) in
            self.reasons.iter().filter(|(set, _)| look.left.iter().any(|(left, _)| left == *set))
        {
            lines.push(format!("  {set} stays: {why}"));
        }
        for line in lines {
            if self.told.insert(line.clone()) {
                writeln!(io.err, "{line}")?;
            }
        }
        Ok(())
    }

    fn end(&self, cli: &Cli, io: &mut Io<'_>, look: &Look, done: bool) -> Result<Exit, Failure> {
        let exit = if done { Exit::Done } else { Exit::Running };
        if cli.json {
            let left = |(set, master): &(String, String)| json!({"replicaset": set, "master": master, "why": self.reasons.get(set)});
            let left: Vec<_> = look.left.iter().map(left).collect();
            write_json(io, &json!({"done": done, "left": left, "missing": look.missing}))?;
            return Ok(exit);
        }
        let zones = self.args.zones.join(", ");
        match (done, self.way) {
            (true, Way::Out) => {
                writeln!(io.out, "no master is left in {zones}, and every replica set is healthy")?
            }
            (true, Way::Back) => {
                writeln!(io.out, "{zones} may have masters again, and every replica set is healthy")?
            }
            (false, _) => {
                let timeout = humantime::format_duration(self.args.timeout);
                let missing = look.missing.as_deref().unwrap_or("masters are still there");
                writeln!(io.err, "not done in {timeout} (it goes on): {missing}")?;
            }
        }
        Ok(exit)
    }
}

fn look(status: &ClusterStatus, issues: &[IssueStatus], zones: &[String], way: Way) -> Look {
    let there = |set: &&ReplicaSetStatus| {
        let master = set.members.iter().find(|member| Some(&member.instance) == set.master.as_ref());
        let zone = master.and_then(|member| member.zone.as_ref());
        way == Way::Out && zone.is_some_and(|zone| zones.contains(zone))
    };
    let named = |set: &ReplicaSetStatus| (set.replicaset.clone(), set.master.clone().unwrap_or_default());
    let left = status.replicasets.iter().filter(there).map(named).collect();
    Look { left, missing: wait::missing(status, issues, Until::Healthy, None) }
}

fn why_it_stays(forecast: &baton_client::forecast::ForecastStatus) -> String {
    if forecast.fate == "replaced" {
        let to = forecast.successor.as_deref().unwrap_or("another");
        return format!("nothing is against {to}; it waits for its turn");
    }
    let refused = forecast.ranking.iter().map(|rank| format!("{}: {}", rank.instance, rank.verdict));
    let reasons: Vec<_> = forecast.why.iter().cloned().chain(refused).collect();
    if reasons.is_empty() { "nobody could lead it".to_owned() } else { reasons.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_client::forecast::{ForecastRank, ForecastStatus};
    use baton_client::status::{ArbiterStatus, MemberStatus};

    fn cluster(master: &str) -> ClusterStatus {
        let member = |instance: &str, zone: &str| MemberStatus {
            instance: instance.into(),
            zone: Some(zone.into()),
            in_sync: true,
            ..MemberStatus::default()
        };
        let set = ReplicaSetStatus {
            replicaset: "orders-1".into(),
            master: Some(master.into()),
            state: "active".into(),
            phase: "steady".into(),
            members: vec![member("a1", "dc1"), member("a2", "dc2")],
            ..ReplicaSetStatus::default()
        };
        let arbiter = ArbiterStatus { active_here: true, ..ArbiterStatus::default() };
        ClusterStatus { arbiter, replicasets: vec![set], ..ClusterStatus::default() }
    }

    #[test]
    fn a_master_in_the_zone_is_left_until_it_is_elsewhere() {
        let zones = ["dc2".to_owned()];
        let there = look(&cluster("a2"), &[], &zones, Way::Out);
        assert_eq!(there.left, [("orders-1".to_owned(), "a2".to_owned())]);
        for (master, way) in [("a1", Way::Out), ("a2", Way::Back)] {
            let gone = look(&cluster(master), &[], &zones, way);
            assert!(gone.left.is_empty() && gone.missing.is_none(), "{master}");
        }
    }

    #[test]
    fn a_set_that_stays_says_who_is_refused_and_why() {
        let rank = ForecastRank { instance: "a1".into(), verdict: "it is not electable".into() };
        let none = ForecastStatus { fate: "no_successor".into(), ranking: vec![rank], ..Default::default() };
        assert_eq!(why_it_stays(&none), "a1: it is not electable");
        let other = ForecastStatus { fate: "replaced".into(), successor: Some("a3".into()), ..none };
        assert_eq!(why_it_stays(&other), "nothing is against a3; it waits for its turn");
    }
}
