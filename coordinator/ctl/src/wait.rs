//! Waiting for a state of the cluster: what scripts put between two steps.
//!
//! What cannot be reached now is asked again until the time is over: the step before may have restarted it.

use super::{Exit, Failure, Io, write_json};
use crate::args::{Cli, Until, WaitArgs};
use baton_client::OperatorClient;
use baton_client::status::{ClusterStatus, IssueStatus, ReplicaSetStatus};
use std::time::Duration;
use tokio::time::Instant;

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(250);

/// Returns [`Exit::Running`] where the time is over, [`Exit::Unreachable`] where nobody ever answered.
pub(crate) async fn run(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    args: &WaitArgs,
) -> Result<Exit, Failure> {
    let began = Instant::now();
    let mut told = None;
    loop {
        let (missing, unreachable) = match look(client, args).await {
            Ok(missing) => (missing, false),
            Err(failure) if failure.exit() == Exit::Unreachable => (Some(failure.to_string()), true),
            Err(failure) => return Err(failure),
        };
        let waited = began.elapsed();
        let over = waited >= args.timeout;
        if missing.is_none() || over {
            let exit = match (&missing, unreachable) {
                (None, _) => Exit::Done,
                (Some(_), true) => Exit::Unreachable,
                (Some(_), false) => Exit::Running,
            };
            if cli.json {
                let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                let met = missing.is_none();
                write_json(io, &serde_json::json!({"met": met, "missing": missing, "waited_ms": waited}))?;
            } else if let Some(missing) = missing {
                writeln!(io.err, "not reached in {}: {missing}", humantime::format_duration(args.timeout))?;
            }
            return Ok(exit);
        }
        if missing != told && !cli.json {
            let text = missing.as_deref().unwrap_or_default();
            writeln!(io.err, "waiting: {text}")?;
            told = missing;
        }
        tokio::time::sleep(EVERY.min(args.timeout.saturating_sub(waited))).await;
    }
}

/// What is still missing; `None`: nothing.
async fn look(client: &OperatorClient, args: &WaitArgs) -> Result<Option<String>, Failure> {
    let status = client.status().await?;
    let issues = if args.until == Until::Healthy { client.issues().await? } else { Vec::new() };
    Ok(missing(&status, &issues, args.until, args.name.as_deref()))
}

pub(crate) fn missing(
    status: &ClusterStatus,
    issues: &[IssueStatus],
    until: Until,
    name: Option<&str>,
) -> Option<String> {
    if !status.arbiter.active_here {
        return Some("no active arbiter answers".to_owned());
    }
    if until == Until::Replica {
        return name.and_then(|instance| not_replica(status, instance));
    }
    let wanted = |set: &&ReplicaSetStatus| name.is_none_or(|name| name == set.replicaset);
    let mut sets = status.replicasets.iter().filter(wanted).peekable();
    if sets.peek().is_none() {
        return Some(name.map_or("there is no replica set yet".to_owned(), |name| {
            format!("there is no replica set {name}")
        }));
    }
    let of_set = |set: &ReplicaSetStatus| {
        let no_master = (set.state != "active").then(|| format!("{} has no active master", set.replicaset));
        no_master.or_else(|| unhealthy(set, issues).filter(|_| until == Until::Healthy))
    };
    sets.find_map(of_set)
}

fn unhealthy(set: &ReplicaSetStatus, issues: &[IssueStatus]) -> Option<String> {
    let counts = |issue: &&IssueStatus| {
        let here = issue.replicaset.as_ref().is_none_or(|name| *name == set.replicaset);
        // What the configuration allows is for good; nobody could wait for its end.
        here && issue.severity != "notice" && issue.code != "configuration"
    };
    let issue = issues.iter().find(counts).map(|issue| issue.text.clone());
    let late = set.members.iter().find(|member| !member.in_sync);
    issue
        .or_else(|| late.map(|member| format!("{} is not in the in-sync set", member.instance)))
        .or_else(|| (!matches!(set.phase.as_str(), "steady" | "paused")).then(|| set.phase.clone()))
        .map(|text| format!("{}: {text}", set.replicaset))
}

fn not_replica(status: &ClusterStatus, instance: &str) -> Option<String> {
    let mut members = status.replicasets.iter().flat_map(|set| &set.members);
    let Some(member) = members.find(|member| member.instance == instance) else {
        return Some(format!("there is no instance {instance}"));
    };
    match (member.role.as_str(), member.in_sync) {
        ("replica", true) => None,
        ("replica", false) => Some(format!("{instance} is not in the in-sync set")),
        (role, _) => Some(format!("{instance} is {role}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_client::status::{ArbiterStatus, MemberStatus};

    fn member(instance: &str, role: &str, in_sync: bool) -> MemberStatus {
        MemberStatus { instance: instance.into(), role: role.into(), in_sync, ..MemberStatus::default() }
    }

    fn set(name: &str, state: &str, members: Vec<MemberStatus>) -> ReplicaSetStatus {
        ReplicaSetStatus {
            replicaset: name.into(),
            state: state.into(),
            phase: "steady".into(),
            members,
            ..ReplicaSetStatus::default()
        }
    }

    /// `good` is well; `late` has a replica that is not in sync; `dead` has no master.
    fn cluster() -> ClusterStatus {
        let well = vec![member("a1", "master", true), member("a2", "replica", true)];
        let late = vec![member("b1", "master", true), member("b2", "replica", false)];
        ClusterStatus {
            arbiter: ArbiterStatus { active_here: true, ..ArbiterStatus::default() },
            replicasets: vec![
                set("good", "active", well),
                set("late", "active", late),
                set("dead", "none", Vec::new()),
            ],
            ..ClusterStatus::default()
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let cases = [
            (Until::Healthy, Some("good"), None),
            (Until::Healthy, Some("late"), Some("late: b2 is not in the in-sync set")),
            (Until::Healthy, Some("dead"), Some("dead has no active master")),
            (Until::Healthy, None, Some("late: b2 is not in the in-sync set")),
            (Until::Master, Some("late"), None),
            (Until::Master, None, Some("dead has no active master")),
            (Until::Master, Some("none"), Some("there is no replica set none")),
            (Until::Replica, Some("a2"), None),
            (Until::Replica, Some("a1"), Some("a1 is master")),
            (Until::Replica, Some("b2"), Some("b2 is not in the in-sync set")),
            (Until::Replica, Some("c1"), Some("there is no instance c1")),
        ];
        for (until, name, expected) in cases {
            let found = missing(&cluster(), &[], until, name);
            assert_eq!(found.as_deref(), expected, "{until:?} of {name:?}");
        }
    }

    #[test]
    fn a_warning_of_the_set_is_waited_for_and_what_is_configured_is_not() {
        let issue = |code: &str, severity: &str, set: &str| IssueStatus {
            code: code.into(),
            severity: severity.into(),
            replicaset: Some(set.to_owned()).filter(|set| !set.is_empty()),
            text: "it is so".into(),
            ..IssueStatus::default()
        };
        let cases = [
            (issue("lagging", "warning", "good"), Some("good: it is so")),
            (issue("lagging", "warning", "late"), None),
            (issue("store_blind", "critical", ""), Some("good: it is so")),
            (issue("configuration", "warning", ""), None),
            (issue("first_appointment", "notice", "good"), None),
        ];
        for (issue, expected) in cases {
            let found = missing(&cluster(), std::slice::from_ref(&issue), Until::Healthy, Some("good"));
            assert_eq!(found.as_deref(), expected, "{issue:?}");
        }
    }

    #[test]
    fn without_an_arbiter_nothing_is_as_wanted() {
        let status = ClusterStatus { arbiter: ArbiterStatus::default(), ..cluster() };
        let found = missing(&status, &[], Until::Master, Some("good"));
        assert_eq!(found.as_deref(), Some("no active arbiter answers"));
    }
}
