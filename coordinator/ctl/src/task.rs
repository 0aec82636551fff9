//! Tasks: a switchover from the asking to its end, and coming back to one later. What cannot be reached now is asked again
//! until the time is over: the arbiter may change while a task is under way, and the next one goes on with it.

use super::{Exit, Failure, Io, json, render, show_forecasts, write_json};
use crate::args::{Cli, DrillArgs, FailoverArgs, SwitchoverArgs, TaskArgs};
use baton_client::decision::DecisionRecord;
use baton_client::drill::DrillAsked;
use baton_client::{OperatorClient, OperatorError, SwitchoverAsked, refusal};
use baton_core::arbiter::Forcing;
use baton_proto::v1::OperatorTask;
use baton_proto::v1::operator_task::State;
use std::future::Future;
use std::io::Write as _;
use std::time::Duration;
use tokio::time::Instant;

/// What a switchover needs beyond the wait for its target.
const SLACK: Duration = Duration::from_secs(30);
/// How long one request waits; the server would not wait longer than a minute.
const ONE_WAIT: Duration = Duration::from_secs(20);
/// Between two requests that nobody answered.
const AGAIN: Duration = Duration::from_millis(250);

pub(crate) async fn switchover(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    args: &SwitchoverArgs,
) -> Result<Exit, Failure> {
    if args.dry_run {
        let forecasts = client.what_if_switchover(&args.replicaset, args.to.as_deref()).await?;
        show_forecasts(cli, io, &forecasts)?;
        let possible = forecasts.iter().all(|forecast| forecast.fate == "replaced");
        return Ok(if possible { Exit::Done } else { Exit::Failed });
    }
    let asked = SwitchoverAsked {
        replicaset: args.replicaset.clone(),
        to: args.to.clone(),
        timeout: args.timeout,
        start_at_unix_millis: args.at.map(|at| at.0),
        by: user(),
    };
    let patience = match args.wait {
        // Nobody waits for what is planned unless that is asked for.
        None if args.at.is_some() => Some(Duration::ZERO),
        None => Some(args.timeout + SLACK),
        Some(wait) => wait,
    };
    let until = patience.map(|patience| Instant::now() + patience);
    // The first answer at once: whoever is interrupted is to know the number.
    let task = client.switchover(&asked, Duration::ZERO).await?;
    let task = follow(io, client, task, until).await?;
    show(cli, io, &task, false)?;
    Ok(exit_of(&task, args.at.is_some()))
}

/// Without `--force` it only says what would happen and what may be lost.
pub(crate) async fn failover(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    args: &FailoverArgs,
) -> Result<Exit, Failure> {
    if !args.force {
        let forecasts = client.what_if_failover(&args.replicaset, args.to.as_deref()).await?;
        show_forecasts(cli, io, &forecasts)?;
        if !cli.json {
            writeln!(io.err, "nothing was changed; to do it, and accept what may be lost: --force")?;
        }
        let possible = forecasts.iter().all(|forecast| forecast.fate == "replaced");
        return Ok(if possible { Exit::Done } else { Exit::Failed });
    }
    let asked = SwitchoverAsked {
        replicaset: args.replicaset.clone(),
        to: args.to.clone(),
        timeout: args.timeout,
        start_at_unix_millis: None,
        by: user(),
    };
    let until = Some(Instant::now() + args.timeout + SLACK);
    let forcing = Forcing { fence: args.fence, others_off: args.others_off };
    let task = client.failover(&asked, forcing, Duration::ZERO).await?;
    let task = follow(io, client, task, until).await?;
    show(cli, io, &task, false)?;
    Ok(exit_of(&task, false))
}

/// With `--dry-run` it says every guard rail, and what would happen.
pub(crate) async fn drill(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    args: &DrillArgs,
) -> Result<Exit, Failure> {
    let asked = DrillAsked {
        replicaset: args.replicaset.clone(),
        fault: args.fault.name().to_owned(),
        spares: args.spares,
        accept_loss: args.accept_loss,
        back: args.back,
        timeout: args.timeout,
        start_at_unix_millis: args.at.map(|at| at.0),
        by: user(),
    };
    if args.dry_run {
        let forecasts = client.what_if_drill(&asked).await?;
        show_forecasts(cli, io, &forecasts)?;
        let dared = forecasts.iter().all(|forecast| forecast.rails.iter().all(|rail| rail.holds));
        return Ok(if dared { Exit::Done } else { Exit::Failed });
    }
    let patience = match args.wait {
        None if args.at.is_some() => Some(Duration::ZERO),
        None => Some(args.timeout * 2 + SLACK),
        Some(wait) => wait,
    };
    let until = patience.map(|patience| Instant::now() + patience);
    let task = client.drill(&asked, Duration::ZERO).await?;
    let task = follow(io, client, task, until).await?;
    show(cli, io, &task, false)?;
    Ok(exit_of(&task, args.at.is_some()))
}

pub(crate) async fn run(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    args: &TaskArgs,
) -> Result<Exit, Failure> {
    let Some(id) = args.id else {
        let tasks = client.tasks(args.set.as_deref()).await?;
        if cli.json {
            // A decision that cannot be read must not hide the others.
            let one = |task: &OperatorTask| json::task(task, decision_of(task).ok().flatten());
            let tasks: Vec<_> = tasks.iter().map(one).collect();
            write_json(io, &serde_json::json!({ "tasks": tasks }))?;
        } else {
            write!(io.out, "{}", render::tasks(&tasks, io.palette))?;
        }
        return Ok(Exit::Done);
    };
    let patience = match args.wait {
        None if args.abort => Some(SLACK),
        None => Some(Duration::ZERO),
        Some(wait) => wait,
    };
    let until = patience.map(|patience| Instant::now() + patience);
    let task = loop {
        let answer = match args.abort {
            true => client.abort_task(id, Duration::ZERO).await,
            false => client.task(id, Duration::ZERO).await,
        };
        match answer {
            Ok(task) => break task,
            Err(error) if passes(&error) && until.is_none_or(|until| Instant::now() < until) => {
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    let task = follow(io, client, task, until).await?;
    show(cli, io, &task, true)?;
    Ok(match task.state() {
        State::Aborted if args.abort => Exit::Done,
        State::Done if args.abort => Exit::Failed,
        // To look at one is done, however it stands.
        _ if args.wait.is_none() && !args.abort => Exit::Done,
        _ => exit_of(&task, false),
    })
}

fn exit_of(task: &OperatorTask, planned: bool) -> Exit {
    match task.state() {
        State::Done => Exit::Done,
        State::Failed | State::Aborted | State::NotUnderstood => Exit::Failed,
        State::Planned if planned => Exit::Done,
        State::Planned | State::Running => Exit::Running,
    }
}

/// Waits for the end of a task, or until then (`None`: for as long as it takes), or until interrupted.
async fn follow(
    io: &mut Io<'_>,
    client: &OperatorClient,
    mut task: OperatorTask,
    until: Option<Instant>,
) -> Result<OperatorTask, Failure> {
    let left =
        || until.map_or(ONE_WAIT, |until| until.saturating_duration_since(Instant::now()).min(ONE_WAIT));
    let mut told = false;
    while matches!(task.state(), State::Planned | State::Running) && !left().is_zero() {
        let answer = match or_interrupted(client.task(task.id, left())).await {
            Some(answer) => answer,
            None => break,
        };
        match answer {
            Ok(answer) if is_anothers(&answer, &task) => return Err(TaskLost::of(&task).into()),
            Ok(answer) => {
                told = false;
                task = answer;
            }
            Err(OperatorError::Refused { refusal: Some(detail), .. }) if detail.reason == "not_found" => {
                return Err(TaskLost::of(&task).into());
            }
            Err(error) if passes(&error) => {
                if !std::mem::replace(&mut told, true) {
                    let id = task.id;
                    writeln!(io.err, "task {id}: no arbiter answers ({error}); it is asked again")?;
                }
                if or_interrupted(tokio::time::sleep(AGAIN)).await.is_none() {
                    break;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(task)
}

/// Whether the number was given again: an arbiter that never knew of the first task counts from those that are kept.
fn is_anothers(answer: &OperatorTask, own: &OperatorTask) -> bool {
    answer.state() != State::NotUnderstood && answer.created_at_unix_millis != own.created_at_unix_millis
}

/// A task that an arbiter took in and no arbiter knows any more. Nothing is done for a task before it is kept, so whoever has not
/// seen a step of it knows that nothing was done; a step that was seen must not be denied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskLost {
    #[error(
        "task {id}, a {kind} of {set}, was not kept: the arbiter that took it in lost its lock first. Nothing was done for it: ask \
         again (if the provider was restored meanwhile, first look at: batonctl history {set})"
    )]
    NotKept { id: u64, kind: String, set: String },
    #[error(
        "task {id}, a {kind} of {set}, had begun, and no arbiter knows of it any more: see what became of it with: batonctl \
         history {set}"
    )]
    Begun { id: u64, kind: String, set: String },
}

impl TaskLost {
    fn of(task: &OperatorTask) -> Self {
        let (id, kind, set) = (task.id, task.kind.clone(), task.replicaset.clone());
        let step = |name: &str| !matches!(name, "planned" | "accepted");
        match task.phases.iter().any(|phase| step(&phase.name)) {
            true => Self::Begun { id, kind, set },
            false => Self::NotKept { id, kind, set },
        }
    }

    /// As JSON names it.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NotKept { .. } => "not_kept",
            Self::Begun { .. } => "task_lost",
        }
    }
}

/// `None` where the person at the terminal wants no more of it: the task goes on all the same.
async fn or_interrupted<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = future => Some(done),
        Ok(()) = tokio::signal::ctrl_c() => None,
    }
}

/// Whether the next arbiter may answer what this error left open.
fn passes(error: &OperatorError) -> bool {
    match error {
        OperatorError::Unreachable { .. } | OperatorError::OutcomeUnknown { .. } => true,
        OperatorError::Refused { refusal: Some(detail), .. } => {
            detail.reason == refusal::NOT_ACTIVE_ARBITER || detail.reason == "busy"
        }
        OperatorError::Refused { refusal: None, .. } | OperatorError::BadAnswer(_) => false,
    }
}

fn decision_of(task: &OperatorTask) -> Result<Option<DecisionRecord>, Failure> {
    match task.decision.as_str() {
        "" => Ok(None),
        text => Ok(Some(DecisionRecord::from_json(text)?)),
    }
}

fn show(cli: &Cli, io: &mut Io<'_>, task: &OperatorTask, whole: bool) -> Result<(), Failure> {
    if cli.json {
        write_json(io, &json::task(task, decision_of(task)?))?;
    } else {
        let decision = decision_of(task)?;
        write!(io.out, "{}", render::task(task, decision.as_ref(), whole, io.palette))?;
    }
    Ok(())
}

/// Who asks, as the environment says it.
fn user() -> String {
    ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default()
}
