//! The fence command: a person's own means of turning a host off. It counts only when it ends with 0, which says that the
//! host *is* off, not that somebody was asked to turn it off.

use super::Event;
use baton_core::ids::Term;
use baton_core::record::Member;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::mpsc;

/// After so long it is killed, and has confirmed nothing.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs it. It is told in its environment whom it is about; the words of the setting are its program and arguments.
pub(super) async fn run(command: String, member: Member, term: Term, events: mpsc::Sender<Event>) {
    let (instance, replicaset) = (member.instance.clone(), member.replicaset.clone());
    let confirmed = match carry_out(&command, &member, term).await {
        Ok(()) => {
            tracing::warn!(%instance, %replicaset, %term, "the fence command confirmed that its host is off");
            true
        }
        Err(why) => {
            tracing::error!(%instance, %replicaset, %term, why, "the fence command confirmed nothing");
            false
        }
    };
    let _ = events.send(Event::Fenced { replicaset, term, confirmed }).await;
}

async fn carry_out(command: &str, member: &Member, term: Term) -> Result<(), String> {
    let mut words = command.split_whitespace();
    let program = words.next().ok_or("fence_command names no program")?;
    let mut child = Command::new(program)
        .args(words)
        .env("BATON_INSTANCE", member.instance.as_str())
        .env("BATON_REPLICASET", member.replicaset.as_str())
        .env("BATON_COORDINATOR", member.coordinator.as_str())
        .env("BATON_ENDPOINT", member.endpoint.to_string())
        .env("BATON_ZONE", member.zone.as_ref().map(ToString::to_string).unwrap_or_default())
        .env("BATON_TERM", term.0.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    match tokio::time::timeout(TIMEOUT, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("it ended with {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it did not end within {TIMEOUT:?}")),
    }
}
