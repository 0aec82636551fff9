//! A client as a process of its own, so that it can stand in a network namespace of its own: `chaos client …`. It writes its operations
//! to a file of the evidence, and ends when it is told to, or when whoever started it is gone: a suite that dies takes its clients along.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustix::process::getppid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use super::appender::Appender;
use super::direct;
use super::follow::{Follower, Master, Tell};
use super::history::Instance;
use super::registers;
use super::router::{CLIENT_MAX, Pen, Router};
use crate::cli::{Client, ClientKind};
use crate::evidence::clock::Clock;
use crate::evidence::{Lines, Sighting, Source};

/// Between two appends, and between two direct writes to one instance.
const PACE: Duration = Duration::from_millis(5);
/// Between two requests of one hand at the registers: each costs two.
const REGISTER_PACE: Duration = Duration::from_millis(20);

/// How often it looks whether its parent is still there.
const LOOK_FOR_PARENT: Duration = Duration::from_millis(200);

/// Runs the client until SIGTERM or SIGINT, or until its parent is gone.
///
/// # Errors
/// An argument makes no sense, or a line of evidence cannot be written.
pub async fn run(arguments: &Client) -> anyhow::Result<()> {
    let (end, stop) = watch::channel(false);
    let working = work(arguments, stop);
    tokio::pin!(working);
    tokio::select! {
        ended = &mut working => return ended,
        told = told_to_end() => told?,
    }
    // What is on its way gets its line: an append that is found in the end and that nobody wrote down would look like one from nowhere.
    end.send_replace(true);
    working.await
}

/// The client itself, until `stop` says so.
///
/// # Errors
/// An argument makes no sense, or a line of evidence cannot be written.
pub async fn work(arguments: &Client, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let highest = registers::last_number(arguments.number);
    anyhow::ensure!(
        (1..=CLIENT_MAX).contains(&arguments.number) && highest <= CLIENT_MAX,
        "--number {} is not from 1 to {CLIENT_MAX}",
        arguments.number
    );
    let clock = Clock::of_origin(arguments.origin_us);
    let pen = Pen::new(&arguments.name, clock, Lines::open(&arguments.out)?);
    let pace = |usual: Duration| arguments.pace.unwrap_or(usual);
    if arguments.kind == ClientKind::Direct {
        let instances =
            arguments.instances.iter().map(|text| named(text)).collect::<anyhow::Result<Vec<_>>>()?;
        anyhow::ensure!(!instances.is_empty(), "a direct client needs --instances NAME=HOST:PORT,…");
        return direct::run(arguments.engine, &instances, &pen, pace(PACE), &stop).await;
    }
    anyhow::ensure!(!arguments.coordinators.is_empty(), "a client needs --coordinators HOST:PORT,…");
    let tell = match &arguments.masters {
        Some(path) => sightings(path, &arguments.set, clock)?,
        None => Arc::new(|_: &Master| {}),
    };
    let follower = Follower::start_telling(&arguments.coordinators, &arguments.set, tell)?;
    let router = Router { directory: follower.watch(), stop, engine: arguments.engine, sync: arguments.sync };
    match arguments.kind {
        ClientKind::Append => Appender::new(router, pen, arguments.number, pace(PACE)).run().await,
        ClientKind::Registers => {
            registers::run(router, pen, arguments.number, pace(REGISTER_PACE), arguments.seed).await
        }
        ClientKind::Direct => unreachable!("a direct client follows no directory; it was run above"),
    }
}

fn named(text: &str) -> anyhow::Result<(Instance, String)> {
    let (name, endpoint) = text.split_once('=').with_context(|| format!("{text:?} is not NAME=HOST:PORT"))?;
    Ok((name.into(), endpoint.to_owned()))
}

/// Writes each news of the directory as a sighting. A line that is lost here costs a verdict nothing: the record has it too.
fn sightings(path: &Path, set: &str, clock: Clock) -> anyhow::Result<Tell> {
    let lines = Mutex::new(Lines::<Sighting>::open(path)?);
    let set = set.to_owned();
    Ok(Arc::new(move |master: &Master| {
        let now = clock.now();
        let sighting = Sighting {
            set: set.clone(),
            instance: master.instance.to_string(),
            term: master.term,
            source: Source::Directory,
            seen_us: now,
            recorded_us: None,
            active_us: master.active.then_some(now),
            version: None,
            reason: None,
            decided_by: None,
        };
        let written = lines.lock().unwrap_or_else(PoisonError::into_inner).write(&sighting);
        if let Err(error) = written {
            eprintln!("cannot write a sighting: {error}");
        }
    }))
}

async fn told_to_end() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let parent = getppid();
    let orphaned = async {
        while getppid() == parent {
            sleep(LOOK_FOR_PARENT).await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = orphaned => {}
    }
    Ok(())
}
