//! The operator's command line: asks, shows, and ends with a code that scripts can rely on. All that is shown to people
//! is made in [`render`]; nothing here decides anything about a replica set.

pub mod args;
pub mod doctor;
mod drain;
mod explain;
mod json;
mod manual;
mod members;
mod pause;
mod provider;
pub mod render;
mod settings;
mod stateboard;
mod task;
mod top;
mod wait;
mod watch;

use args::{Cli, ColorChoice, Command};
use baton_client::decision::DecisionRecord;
use baton_client::forecast::ForecastStatus;
use baton_client::{OperatorClient, OperatorError, wire};
use baton_core::record::Settings;
use baton_core::time::Span;
use baton_core::timing::Timing;
use render::Palette;
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// Refused or failed; the reason was printed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// No coordinator could be reached.
    Unreachable = 3,
    /// Still running when the waiting was over.
    Running = 4,
}

/// Where to write, and how.
pub struct Io<'a> {
    /// Answers.
    pub out: Box<dyn Write + 'a>,
    /// Everything else.
    pub err: Box<dyn Write + 'a>,
    /// Colours.
    pub palette: Palette,
}

impl Io<'_> {
    /// The process's own.
    #[must_use]
    pub fn of_process(color: ColorChoice) -> Self {
        let color = match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        let (out, err) = (Box::new(std::io::stdout()), Box::new(std::io::stderr()));
        Self { out, err, palette: Palette { color } }
    }
}

/// Why a command ended otherwise than done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Operator(#[from] OperatorError),
    #[error(transparent)]
    Endpoint(#[from] baton_client::endpoint::BadEndpoint),
    #[error(transparent)]
    Timing(#[from] baton_core::timing::BadTiming),
    #[error(transparent)]
    Decision(#[from] baton_client::decision::BadDecision),
    #[error(transparent)]
    Stateboard(#[from] stateboard::StateboardFailure),
    #[error(transparent)]
    Provider(#[from] provider::ProviderFailure),
    #[error(transparent)]
    Settings(#[from] settings::SettingsFailure),
    #[error(transparent)]
    Task(#[from] task::TaskLost),
    #[error(transparent)]
    Replay(#[from] baton_client::replay::BadReplay),
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Operator(OperatorError::Unreachable { .. }) => Exit::Unreachable,
            Self::Stateboard(failure) => failure.exit(),
            Self::Provider(failure) => failure.exit(),
            Self::Settings(failure) => failure.exit(),
            Self::Endpoint(_) | Self::Timing(_) => Exit::Usage,
            Self::Operator(_) | Self::Decision(_) | Self::Task(_) | Self::Replay(_) | Self::Output(_) => {
                Exit::Failed
            }
        }
    }
}

/// Carries out one command.
pub async fn run(cli: &Cli, io: &mut Io<'_>) -> Exit {
    match dispatch(cli, io).await {
        Ok(exit) => exit,
        // A reader that has seen enough (`| head`) is no failure to shout about.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Done,
        Err(failure) => {
            let exit = failure.exit();
            // Where even this cannot be written, the code is all that is left.
            let _ = report(cli, io, &failure);
            exit
        }
    }
}

fn report(cli: &Cli, io: &mut Io<'_>, failure: &Failure) -> std::io::Result<()> {
    if cli.json {
        let value = match failure {
            Failure::Stateboard(failure) => json::board_failure(failure.reason(), &failure.to_string()),
            Failure::Provider(failure) => json::board_failure(failure.reason(), &failure.to_string()),
            Failure::Settings(failure) => json::board_failure(failure.reason(), &failure.to_string()),
            Failure::Task(lost) => json::board_failure(lost.reason(), &lost.to_string()),
            _ => json::failure(&failure.to_string(), operator_error(failure)),
        };
        write_json(io, &value)?;
    }
    write!(io.err, "{}", render::failure(&failure.to_string(), operator_error(failure), io.palette))
}

fn operator_error(failure: &Failure) -> Option<&OperatorError> {
    match failure {
        Failure::Operator(error) => Some(error),
        _ => None,
    }
}

async fn dispatch(cli: &Cli, io: &mut Io<'_>) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::whole(), "batonctl", &mut io.out);
            Ok(Exit::Done)
        }
        Command::Man { dir } => {
            manual::run(dir.as_deref(), io)?;
            Ok(Exit::Done)
        }
        Command::Timing { lease_ttl: Some(lease_ttl), stall_timeout } => {
            offline_timing(cli, io, *lease_ttl, *stall_timeout)
        }
        Command::Top(args) => top::run(cli, args, io).await,
        Command::Doctor(args) => Ok(doctor::run(args, cli.request_timeout, cli.json, io).await?),
        Command::Stateboard(args) => {
            stateboard::run(args, cli.request_timeout, cli.json, io).await?;
            Ok(Exit::Done)
        }
        Command::Watch { replicaset, span } => {
            let watching = watch::run(cli, io, replicaset.as_deref());
            match span {
                None => watching.await?,
                // It writes whole lines between two waits; where it is cut, nothing is half written.
                Some(span) => tokio::time::timeout(*span, watching).await.unwrap_or(Ok(()))?,
            }
            Ok(Exit::Done)
        }
        Command::Provider(args) => {
            let client = OperatorClient::new(cli.endpoint.iter().map(String::as_str), cli.request_timeout)?;
            provider::run(args, &client, cli.request_timeout, cli.json, io).await?;
            Ok(Exit::Done)
        }
        asking => ask(cli, io, asking).await,
    }
}

async fn ask(cli: &Cli, io: &mut Io<'_>, command: &Command) -> Result<Exit, Failure> {
    let client = OperatorClient::new(cli.endpoint.iter().map(String::as_str), cli.request_timeout)?;
    match command {
        Command::Status { watch: false } => show_status(cli, io, &client).await?,
        Command::Status { watch: true } => watch_status(cli, io, &client).await?,
        Command::Masters => {
            let masters = client.masters().await?;
            if cli.json {
                write_json(io, &json::masters(&masters))?;
            } else {
                write!(io.out, "{}", render::masters(&masters, io.palette))?;
            }
        }
        Command::Issues { replicaset } => {
            let mut issues = client.issues().await?;
            if let Some(wanted) = replicaset {
                issues.retain(|issue| issue.replicaset.as_ref().is_none_or(|name| name == wanted));
            }
            if cli.json {
                write_json(io, &serde_json::json!({"issues": issues}))?;
            } else {
                write!(io.out, "{}", render::issues(&issues, io.palette))?;
            }
        }
        Command::WhatIf { lose, replicaset } => {
            what_if(cli, io, &client, lose, replicaset.as_deref()).await?
        }
        Command::Wait(args) => return wait::run(cli, io, &client, args).await,
        Command::Settings(args) => return settings::run(cli, io, &client, args).await,
        Command::Member(args) => return members::run(cli, io, &client, args).await,
        Command::Pause(args) => return pause::pause(cli, io, &client, args).await,
        Command::Resume(args) => return pause::resume(cli, io, &client, args).await,
        Command::Drain(args) => return drain::run(cli, io, &client, args, drain::Way::Out).await,
        Command::Undrain(args) => return drain::run(cli, io, &client, args, drain::Way::Back).await,
        Command::Switchover(args) => return task::switchover(cli, io, &client, args).await,
        Command::Drill(args) => return task::drill(cli, io, &client, args).await,
        Command::Failover(args) => return task::failover(cli, io, &client, args).await,
        Command::Task(args) => return task::run(cli, io, &client, args).await,
        Command::History { replicaset, limit } => {
            let history = client.history(replicaset, *limit).await?;
            if cli.json {
                write_json(io, &json::history(&history))?;
            } else {
                write!(io.out, "{}", render::history(&history, io.palette))?;
            }
        }
        Command::Explain { replicaset, term, replay } => {
            let decision = DecisionRecord::from_json(&client.explain(replicaset, *term).await?)?;
            return explain::shown(cli, io, &decision, *replay);
        }
        Command::Timing { .. } => {
            let timing = client.timing().await?;
            show_timing(cli, io, &timing)?;
        }
        Command::Stateboard(_)
        | Command::Doctor(_)
        | Command::Top(_)
        | Command::Provider(_)
        | Command::Watch { .. }
        | Command::Completions { .. }
        | Command::Man { .. } => {
            unreachable!("dispatch has done them")
        }
    }
    Ok(Exit::Done)
}

async fn show_status(cli: &Cli, io: &mut Io<'_>, client: &OperatorClient) -> Result<(), Failure> {
    let status = client.status().await?;
    if cli.json {
        write_json(io, &status)?;
    } else {
        write!(io.out, "{}", render::status(&status, io.palette))?;
    }
    Ok(())
}

async fn what_if(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    lose: &[String],
    replicaset: Option<&str>,
) -> Result<(), Failure> {
    let (mut instances, mut zones, mut provider) = (Vec::new(), Vec::new(), false);
    for what in lose {
        match what.strip_prefix("zone:") {
            Some(zone) => zones.push(zone.to_owned()),
            None if what == "provider" => provider = true,
            None => instances.push(what.clone()),
        }
    }
    let mut forecasts = client.what_if(&instances, &zones, provider).await?;
    forecasts.retain(|forecast| replicaset.is_none_or(|name| name == forecast.replicaset));
    show_forecasts(cli, io, &forecasts)
}

fn show_forecasts(cli: &Cli, io: &mut Io<'_>, forecasts: &[ForecastStatus]) -> Result<(), Failure> {
    if cli.json {
        write_json(io, &serde_json::json!({"forecasts": forecasts}))?;
    } else {
        write!(io.out, "{}", render::forecasts(forecasts, io.palette))?;
    }
    Ok(())
}

/// Until interrupted. What cannot be reached now is shown and asked again: this is looked at while things are broken.
async fn watch_status(cli: &Cli, io: &mut Io<'_>, client: &OperatorClient) -> Result<(), Failure> {
    /// How often.
    const EVERY: Duration = Duration::from_secs(1);
    /// Clears the terminal and goes to its first line.
    const CLEAR: &str = "\x1b[2J\x1b[H";
    loop {
        if !cli.json && io.palette.color {
            write!(io.out, "{CLEAR}")?;
        }
        match show_status(cli, io, client).await {
            Err(failure @ Failure::Operator(_)) => report(cli, io, &failure)?,
            other => other?,
        }
        io.out.flush()?;
        tokio::time::sleep(EVERY).await;
    }
}

fn offline_timing(
    cli: &Cli,
    io: &mut Io<'_>,
    lease_ttl: Duration,
    stall_timeout: Option<Duration>,
) -> Result<Exit, Failure> {
    let settings = Settings {
        lease_ttl: Span::from_duration(lease_ttl),
        stall_timeout: stall_timeout.map(Span::from_duration),
        ..Settings::default()
    };
    let timing = wire::timing_to_wire(&Timing::new(&settings)?, settings.clock_drift_ppm);
    show_timing(cli, io, &timing)?;
    Ok(Exit::Done)
}

fn show_timing(cli: &Cli, io: &mut Io<'_>, timing: &baton_proto::v1::TimingResponse) -> Result<(), Failure> {
    if cli.json {
        write_json(io, &json::timing(timing))?;
    } else {
        write!(io.out, "{}", render::timing(timing, io.palette))?;
    }
    Ok(())
}

/// One value, one line: so that the lines of `--watch` can be read one by one.
fn write_json(io: &mut Io<'_>, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut io.out, value)?;
    writeln!(io.out)
}
