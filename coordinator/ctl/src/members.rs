//! `batonctl member`: the list, and what people say of single members, which is a part of the settings. A removal is asked
//! for until the member has left the in-sync set, if the caller has the patience.

use crate::args::{Cli, Electable, MemberArgs, MemberCommand};
use crate::{Exit, Failure, Io, render, settings, write_json};
use baton_client::{OperatorClient, OperatorError};
use baton_proto::v1::{ListedMember, MemberRemoval, SettingsChange};
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// How often a removal is asked for.
const EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn run(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    args: &MemberArgs,
) -> Result<Exit, Failure> {
    let say = |instance: &str, key: &str, value: String| vec![format!("member.{instance}.{key}={value}")];
    let changes = match &args.command {
        MemberCommand::List { replicaset } => {
            list(cli, io, client, replicaset.as_deref()).await?;
            return Ok(Exit::Done);
        }
        MemberCommand::Remove { instance, expel, timeout } => {
            return remove(cli, io, client, instance, *expel, *timeout).await;
        }
        MemberCommand::RemoveSet { replicaset, dry_run, timeout } => {
            return remove_set(cli, io, client, replicaset, *dry_run, *timeout).await;
        }
        MemberCommand::SetElectable { instance, electable } => {
            let value = match electable {
                Electable::On => "true",
                Electable::Off => "false",
                Electable::Default => "",
            };
            say(instance, "electable", value.to_owned())
        }
        MemberCommand::SetPriority { instance, priority } => {
            let value = priority.0.map(|priority| priority.to_string()).unwrap_or_default();
            say(instance, "priority", value)
        }
        MemberCommand::Maintain { instance, span, .. } => {
            let until =
                span.map(|span| humantime::format_rfc3339_seconds(SystemTime::now() + span).to_string());
            say(instance, "maintenance_until", until.unwrap_or_default())
        }
        MemberCommand::Admit { instance } => say(instance, "expelled", String::new()),
    };
    settings::put(cli, io, client, SettingsChange { changes, ..SettingsChange::default() }).await?;
    Ok(Exit::Done)
}

async fn list(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    replicaset: Option<&str>,
) -> Result<(), Failure> {
    let mut members = client.members(None).await?;
    members.retain(|member| replicaset.is_none_or(|name| name == member.replicaset));
    if cli.json {
        let members: Vec<_> = members.iter().map(to_json).collect();
        write_json(io, &json!({"members": members}))?;
    } else {
        write!(io.out, "{}", render::members(&members, unix_millis(), io.palette))?;
    }
    Ok(())
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn to_json(member: &ListedMember) -> Value {
    let filled = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    json!({
        "instance": member.instance, "replicaset": filled(&member.replicaset),
        "coordinator": filled(&member.coordinator), "endpoint": filled(&member.endpoint),
        "zone": filled(&member.zone), "listed": member.listed, "master": member.master,
        "in_sync": member.in_sync, "priority": member.priority, "electable": member.electable,
        "said": {
            "priority": member.said_priority, "electable": member.said_electable,
            "maintenance_until_unix_millis": member.maintenance_until_unix_millis,
            "expelled": member.expelled,
        },
    })
}

async fn remove(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    instance: &str,
    expel: bool,
    timeout: Duration,
) -> Result<Exit, Failure> {
    let removal = MemberRemoval { instance: instance.to_owned(), expel };
    let ask = async || client.members(Some(removal.clone())).await.map(|_| ());
    if let Some(exit) = until_done(cli, io, timeout, "still_counts", ask).await? {
        return Ok(exit);
    }
    if cli.json {
        write_json(io, &json!({"instance": instance, "removed": true, "expelled": expel}))?;
    } else {
        let more = if expel { "; whoever comes under its name is turned away" } else { "" };
        writeln!(io.out, "{instance} is removed{more}")?;
    }
    Ok(Exit::Done)
}

async fn remove_set(
    cli: &Cli,
    io: &mut Io<'_>,
    client: &OperatorClient,
    replicaset: &str,
    dry_run: bool,
    timeout: Duration,
) -> Result<Exit, Failure> {
    let ask = async || client.remove_set(replicaset, dry_run).await;
    if let Some(exit) = until_done(cli, io, timeout, "not_possible", ask).await? {
        return Ok(exit);
    }
    if cli.json {
        write_json(io, &json!({"replicaset": replicaset, "removed": !dry_run, "removable": true}))?;
    } else if dry_run {
        writeln!(io.out, "{replicaset} can be removed now")?;
    } else {
        writeln!(io.out, "{replicaset} is removed; its history stays (batonctl history {replicaset})")?;
    }
    Ok(Exit::Done)
}

/// Asks until it is done, as long as the refusal is of this kind and the caller has the patience; `None`: it is done.
async fn until_done(
    cli: &Cli,
    io: &mut Io<'_>,
    timeout: Duration,
    kind: &str,
    ask: impl AsyncFn() -> Result<(), OperatorError>,
) -> Result<Option<Exit>, Failure> {
    let began = Instant::now();
    let mut told = false;
    loop {
        let Err(refused) = ask().await else { return Ok(None) };
        let passes = matches!(
            &refused,
            OperatorError::Refused { refusal: Some(refusal), .. } if refusal.reason == kind
        );
        if !passes || timeout.is_zero() {
            return Err(refused.into());
        }
        if began.elapsed() >= timeout {
            writeln!(io.err, "not removed in {}: {refused}", humantime::format_duration(timeout))?;
            return Ok(Some(Exit::Running));
        }
        if !told && !cli.json {
            writeln!(io.err, "waiting: {refused}")?;
            told = true;
        }
        tokio::time::sleep(EVERY.min(timeout.saturating_sub(began.elapsed()))).await;
    }
}
