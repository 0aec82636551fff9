//! `batonctl provider migrate`: opens both ends, asks the arbiter how its hosts are, and shows each step. What a move is,
//! is in `baton_provider::moving`.

mod end;

use crate::args::{MigrateArgs, ProviderArgs, ProviderCommand};
use crate::{Exit, Io};
use async_trait::async_trait;
use baton_client::OperatorClient;
use baton_core::ids::{BadName, ClusterName};
use baton_provider::moving::{Company, Done, MoveError, Mover, Plan, Step};
use baton_provider::{FatalError, ProviderError, identity_of};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// Longer than this a freeze must not last: coordinators thaw it by themselves after 15 s.
const FROZEN_MAX: Duration = Duration::from_secs(10);

/// Why it did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderFailure {
    #[error("which cluster? --cluster NAME or BATON_CLUSTER__NAME says it")]
    NoCluster,
    #[error("--cluster: {0}")]
    Cluster(#[from] BadName),
    #[error("--{flag} {value}: {rule}")]
    Flag { flag: &'static str, value: String, rule: String },
    #[error("--secret-file {path}: {error}")]
    Secret {
        path: PathBuf,
        #[source]
        error: std::io::Error,
    },
    #[error(transparent)]
    Move(#[from] MoveError),
    #[error(transparent)]
    Output(#[from] std::io::Error),
}

impl ProviderFailure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::NoCluster | Self::Cluster(_) | Self::Flag { .. } | Self::Secret { .. } => Exit::Usage,
            Self::Move(MoveError::End { error: ProviderError::Fatal(FatalError::Config(_)), .. }) => {
                Exit::Usage
            }
            Self::Move(MoveError::End { error: ProviderError::Fatal(_), .. }) => Exit::Failed,
            Self::Move(MoveError::End { .. }) => Exit::Unreachable,
            Self::Move(_) | Self::Output(_) => Exit::Failed,
        }
    }

    /// For programs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoCluster | Self::Cluster(_) | Self::Flag { .. } | Self::Secret { .. } => "bad_request",
            Self::Move(MoveError::Refused(_)) => "refused",
            Self::Move(MoveError::TakenBack(_)) => "taken_back",
            Self::Move(MoveError::Unknown(_)) => "outcome_unknown",
            Self::Move(MoveError::End { error, .. }) => match error {
                ProviderError::NotApplied(_) | ProviderError::Unknown(_) => "unreachable",
                ProviderError::Fatal(FatalError::ForeignCluster(_)) => "foreign_cluster",
                ProviderError::Fatal(FatalError::Unauthenticated(_)) => "unauthenticated",
                ProviderError::Fatal(FatalError::Protocol(_)) => "bad_answer",
                ProviderError::Fatal(FatalError::Config(_)) => "bad_request",
            },
            Self::Output(_) => "file",
        }
    }
}

pub(crate) async fn run(
    args: &ProviderArgs,
    client: &OperatorClient,
    request_timeout: Duration,
    json: bool,
    io: &mut Io<'_>,
) -> Result<(), ProviderFailure> {
    let ProviderCommand::Migrate(args) = &args.command;
    let identity = identity(args)?;
    if args.frozen_at_most > FROZEN_MAX {
        let (flag, value) = ("frozen-at-most", format!("{:?}", args.frozen_at_most));
        return Err(ProviderFailure::Flag { flag, value, rule: format!("is at most {FROZEN_MAX:?}") });
    }
    let bad = |flag: &'static str, value: &str| {
        let value = value.to_owned();
        move |rule: String| ProviderFailure::Flag { flag, value, rule }
    };
    let from = end::open(&args.from, &identity, request_timeout).map_err(bad("from", &args.from))?;
    let to = end::open(&args.to, &identity, request_timeout).map_err(bad("to", &args.to))?;
    if from.name == to.name {
        return Err(bad("to", &args.to)("is where the state is already".to_owned()));
    }
    let plan = Plan {
        from: from.name,
        to: to.name,
        ready_within: args.ready_within,
        frozen_at_most: args.frozen_at_most,
        dry_run: args.dry_run,
    };
    let (title, dry_run) = (format!("{} to {}", plan.from, plan.to), plan.dry_run);
    let mut company = Shown { client, io, json, steps: Vec::new(), failed: None };
    let done = Mover::new(&*from.end, &*to.end, plan, &mut company).run().await?;
    let Shown { steps, failed, .. } = company;
    if let Some(error) = failed {
        return Err(error.into());
    }
    show(io, json, &title, dry_run, &done, &steps)?;
    Ok(())
}

fn identity(args: &MigrateArgs) -> Result<baton_provider::Identity, ProviderFailure> {
    let cluster = ClusterName::parse(args.cluster.as_ref().ok_or(ProviderFailure::NoCluster)?)?;
    let secret = match &args.secret_file {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| ProviderFailure::Secret { path: path.clone(), error })?,
    };
    Ok(identity_of(cluster, &secret))
}

/// Shows each step when it is done, and asks the arbiter.
struct Shown<'a, 'b> {
    client: &'a OperatorClient,
    io: &'a mut Io<'b>,
    json: bool,
    steps: Vec<(Step, Duration)>,
    failed: Option<std::io::Error>,
}

#[async_trait(?Send)]
impl Company for Shown<'_, '_> {
    async fn not_ready(&mut self, id: u64) -> Result<Vec<String>, String> {
        let status = self.client.status().await.map_err(|error| error.to_string())?;
        if !status.arbiter.active_here {
            return Err("there is no active arbiter that could say it".to_owned());
        }
        let id = format!("{id:016x}");
        let Some(moving) = status.moving.filter(|moving| moving.id == id) else {
            return Err("the arbiter has not heard of this move yet".to_owned());
        };
        let lacking = moving.hosts.into_iter().filter_map(|host| {
            let problem = host.problem?;
            Some(format!("{}: {problem}", host.coordinator))
        });
        Ok(lacking.collect())
    }

    fn done(&mut self, step: Step, took: Duration) {
        self.steps.push((step, took));
        if !self.json {
            let line = writeln!(self.io.err, "{:<13} {:>8.1} ms", step.name(), took.as_secs_f64() * 1_000.0);
            self.failed = self.failed.take().or(line.err());
        }
    }
}

fn show(
    io: &mut Io<'_>,
    json: bool,
    title: &str,
    dry_run: bool,
    done: &Done,
    steps: &[(Step, Duration)],
) -> std::io::Result<()> {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let outcome = if dry_run {
        "possible"
    } else if done.nothing_to_do {
        "nothing_to_do"
    } else if done.completed_earlier {
        "completed_earlier_move"
    } else {
        "moved"
    };
    if json {
        let steps: Vec<_> =
            steps.iter().map(|(step, took)| json!({"step": step.name(), "took_us": micros(*took)})).collect();
        let value = json!({
            "outcome": outcome, "move": title, "records": done.records, "members": done.members,
            "history": done.history, "frozen_us": micros(done.frozen_for), "steps": steps,
        });
        return crate::write_json(io, &value);
    }
    match outcome {
        "possible" => writeln!(io.out, "{title}: possible as far as both ends go; nothing was changed"),
        "nothing_to_do" => writeln!(io.out, "{title}: was done before"),
        "completed_earlier_move" => writeln!(io.out, "{title}: an earlier run had committed it; completed"),
        _ => writeln!(
            io.out,
            "{title}: moved {} records, {} members, {} lines of history; frozen for {:.1} ms. Now name the new provider \
             in [provider] of every coordinator\'s file",
            done.records,
            done.members,
            done.history,
            done.frozen_for.as_secs_f64() * 1_000.0
        ),
    }
}
