//! How long the steps of a failover take that are the engine's and the deadman's: from the kill of a Redis to the event
//! at the coordinator, a promotion, a fence, a probe, a write check; and what a deadman costs. Medians and worst of 20.

use baton_core::engine::{EngineCommand, EngineOutcome};
use baton_core::ids::{DataId, Term};
use baton_engine::deadman::protocol::{EngineProcess, Event};
use baton_engine::deadman::{Attached, Client, Notice, Spawn, boottime_us};
use baton_engine::redis::Redis;
use baton_engine::{EngineConnection, EngineKind};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROUNDS: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(10);
const PORT: u16 = 20_977;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut attached = attach(dir.path()).await;
    println!("weaknesses of the deadman: {:?}", attached.status.weaknesses);
    let kind = Redis::new(format!("127.0.0.1:{PORT}"), None);
    let mut times: Vec<(&str, Vec<Duration>)> =
        ["start to first answer", "probe", "promote", "write check", "fence", "arm", "kill to event"]
            .map(|what| (what, Vec::new()))
            .into();
    for round in 1..=ROUNDS {
        let start = Instant::now();
        let (pid, run) = attached.client.start(process(dir.path(), &kind)).await.expect("started");
        let mut connection = connect(&kind).await;
        let mut took = vec![start.elapsed()];
        took.push(timed(&mut connection, &EngineCommand::Probe).await);
        let promote =
            EngineCommand::Promote { term: Term(round), data_id: DataId("bench".into()), ack_quorum: 0 };
        took.push(timed(&mut connection, &promote).await);
        let start = Instant::now();
        connection.check_write(PATIENCE).await;
        took.push(start.elapsed());
        took.push(timed(&mut connection, &EngineCommand::Fence).await);
        let start = Instant::now();
        attached.client.arm(run, boottime_us() + 60_000_000).await.expect("armed");
        took.push(start.elapsed());
        if round == ROUNDS {
            memory(attached.status.deadman_pid);
        }
        let start = Instant::now();
        let raw = i32::try_from(pid).expect("a process number");
        kill_process(Pid::from_raw(raw).expect("not zero"), Signal::KILL).expect("killed");
        while !matches!(attached.notices.recv().await, Some(Notice::Event(Event::EngineEnded { .. }))) {}
        took.push(start.elapsed());
        for ((_, times), took) in times.iter_mut().zip(took) {
            times.push(took);
        }
    }
    for (what, mut times) in times {
        times.sort();
        println!("{what}: median {:?}, worst {:?}", times[times.len() / 2], times[times.len() - 1]);
    }
    deadlines(dir.path(), &mut attached).await;
    attached.client.stop().await.expect("stopped");
}

/// How late an armed engine is gone.
async fn deadlines(dir: &Path, attached: &mut Attached) {
    let mut late = Vec::new();
    for _ in 0..ROUNDS {
        let process = EngineProcess {
            argv: vec!["sleep".into(), "1000".into()],
            log_file: dir.join("engine.log").display().to_string(),
            ..EngineProcess::default()
        };
        let (_, run) = attached.client.start(process).await.expect("started");
        let deadline = boottime_us() + 30_000;
        attached.client.arm(run, deadline).await.expect("armed");
        loop {
            if let Some(Notice::Event(Event::EngineEnded { ended })) = attached.notices.recv().await {
                late.push(Duration::from_micros(ended.at_us - deadline));
                break;
            }
        }
    }
    late.sort();
    println!("deadline to end: median {:?}, worst {:?}", late[late.len() / 2], late[late.len() - 1]);
}

async fn attach(dir: &Path) -> Attached {
    let spawn = Spawn {
        program: PathBuf::from(env!("CARGO_BIN_EXE_baton-deadman")),
        arguments: vec!["deadman".into()],
        exec_arguments: vec!["engine-exec".into()],
        instance: "bench".into(),
        dir: dir.to_owned(),
    };
    Client::attach_or_spawn(&spawn, PATIENCE).await.expect("a deadman")
}

fn process(dir: &Path, kind: &Redis) -> EngineProcess {
    let command = ["redis-server", "--port", &PORT.to_string(), "--save", ""].map(str::to_owned);
    EngineProcess {
        argv: kind.fenced_command(&command),
        cwd: Some(dir.display().to_string()),
        log_file: dir.join("engine.log").display().to_string(),
        ..EngineProcess::default()
    }
}

async fn connect(kind: &Redis) -> Box<dyn EngineConnection> {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    loop {
        ticks.tick().await;
        if let Ok(connection) = kind.connect(PATIENCE).await {
            return connection;
        }
    }
}

async fn timed(connection: &mut Box<dyn EngineConnection>, command: &EngineCommand) -> Duration {
    let start = Instant::now();
    let outcome = connection.execute(command, PATIENCE).await;
    assert!(matches!(outcome, EngineOutcome::Done(_)), "{command:?}: {outcome:?}");
    start.elapsed()
}

fn memory(deadman: u32) {
    let status = std::fs::read_to_string(format!("/proc/{deadman}/status")).expect("it runs");
    for line in status.lines().filter(|line| line.starts_with("Rss") || line.starts_with("VmLck")) {
        println!("deadman {line}");
    }
}
