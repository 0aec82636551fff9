//! A real deadman over real processes: what it kills, when, and what it survives.

use crate::support::{KillOnDrop, PATIENCE, gone, is_alive, signal, until};
use baton_engine::deadman::protocol::{Cause, Ended, EngineProcess, Event, Exit, Hold, Refusal};
use baton_engine::deadman::{Attached, Client, ClientError, Notice, Spawn, boottime_us, socket_path};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const PROGRAM: &str = env!("CARGO_BIN_EXE_baton-deadman");

struct Fixture {
    dir: TempDir,
    spawn: Spawn,
    attached: Attached,
    _deadman: KillOnDrop,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With further options of the deadman.
    async fn with(options: &[&str]) -> Self {
        let dir = TempDir::new().expect("a directory");
        let arguments = std::iter::once("deadman").chain(options.iter().copied()).map(str::to_owned);
        let spawn = Spawn {
            program: PathBuf::from(PROGRAM),
            arguments: arguments.collect(),
            exec_arguments: vec!["engine-exec".into()],
            instance: "a1".into(),
            dir: dir.path().to_owned(),
        };
        let attached = Client::attach_or_spawn(&spawn, PATIENCE).await.expect("a deadman");
        let deadman = KillOnDrop(attached.status.deadman_pid);
        Self { dir, spawn, attached, _deadman: deadman }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn process(&self, argv: &[&str]) -> EngineProcess {
        EngineProcess {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            log_file: self.path("engine.log").display().to_string(),
            ..EngineProcess::default()
        }
    }

    async fn start(&self, argv: &[&str]) -> (u32, u64) {
        self.attached.client.start(self.process(argv)).await.expect("started")
    }

    /// A shell as main process, with a child in a session of its own; answers both and the run.
    async fn start_family(&self) -> (u32, u32, u64) {
        let file = self.path("child");
        let script = format!("setsid sleep 1000 & echo $! > {0}.next; mv {0}.next {0}; wait", file.display());
        let (pid, run) = self.start(&["sh", "-c", &script]).await;
        let child = until("the child's number", || async { read_number(&file) }).await;
        assert!(is_alive(child));
        (pid, child, run)
    }

    async fn ended(&mut self) -> Ended {
        loop {
            match self.notice().await {
                Notice::Event(Event::EngineEnded { ended }) => return ended,
                Notice::Event(_) => {}
                Notice::Lost(why) => panic!("lost: {why}"),
            }
        }
    }

    async fn notice(&mut self) -> Notice {
        tokio::time::timeout(PATIENCE, self.attached.notices.recv())
            .await
            .expect("in time")
            .expect("a notice")
    }

    /// After the deadman was killed: the next one removes the engine's cgroup.
    async fn tidy(&self) {
        let next = Client::attach_or_spawn(&self.spawn, PATIENCE).await.expect("a new deadman");
        let _kill = KillOnDrop(next.status.deadman_pid);
        next.client.stop().await.expect("stopped");
        gone(next.status.deadman_pid).await;
    }

    async fn stop(mut self) {
        self.attached.client.stop().await.expect("stopped");
        while !matches!(self.notice().await, Notice::Lost(_)) {}
        gone(self.attached.status.deadman_pid).await;
    }
}

fn read_number(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Refusal {
    match result {
        Err(ClientError::Refused { reason, .. }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_deadline_kills_while_the_coordinator_is_stopped() {
    let fixture = Fixture::new().await;
    let mut coordinator = tokio::process::Command::new(PROGRAM)
        .args(["arm", &fixture.dir.path().display().to_string(), "500", "sleep", "1000"])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a coordinator");
    let mut line = String::new();
    let out = coordinator.stdout.take().expect("piped");
    BufReader::new(out).read_line(&mut line).await.expect("a line");
    signal(coordinator.id().expect("it runs"), Signal::STOP);
    let (engine, deadline) = line.trim().split_once(' ').expect("two numbers");
    let (engine, deadline): (u32, u64) = (engine.parse().expect("pid"), deadline.parse().expect("moment"));
    gone(engine).await;
    assert!(boottime_us() >= deadline);
    let next = Client::attach(fixture.dir.path(), PATIENCE).await.expect("a second coordinator");
    let ended = next.status.last_ended.expect("it ended");
    assert_eq!((ended.pid, ended.cause, ended.exit), (engine, Cause::Deadline, Exit::Signal(9)));
    assert!(ended.at_us >= deadline && ended.wholly);
    assert_eq!(next.status.armed_us, None);
}

#[tokio::test]
async fn arming_again_moves_the_deadline() {
    let mut fixture = Fixture::new().await;
    let (_, run) = fixture.start(&["sleep", "1000"]).await;
    let first = boottime_us() + 300_000;
    fixture.attached.client.arm(run, first).await.expect("armed");
    let second = first + 200_000;
    fixture.attached.client.arm(run, second).await.expect("armed again");
    assert_eq!(fixture.attached.client.status().await.expect("status").armed_us, Some(second));
    let ended = fixture.ended().await;
    assert_eq!(ended.cause, Cause::Deadline);
    assert!(ended.at_us >= second, "it ended {} us before the second deadline", second - ended.at_us);
    fixture.stop().await;
}

#[tokio::test]
async fn a_disarmed_engine_outlives_its_deadline() {
    let fixture = Fixture::new().await;
    let (pid, run) = fixture.start(&["sleep", "1000"]).await;
    let deadline = boottime_us() + 100_000;
    fixture.attached.client.arm(run, deadline).await.expect("armed");
    fixture.attached.client.disarm().await.expect("disarmed");
    until("the deadline", || async { (boottime_us() > deadline + 50_000).then_some(()) }).await;
    let status = fixture.attached.client.status().await.expect("status");
    assert_eq!(status.engine.expect("it runs").pid, pid);
    assert_eq!(status.armed_us, None);
    fixture.stop().await;
    gone(pid).await;
}

#[tokio::test]
async fn an_arming_that_makes_no_sense_changes_nothing() {
    let fixture = Fixture::new().await;
    let client = &fixture.attached.client;
    let later = boottime_us() + 60_000_000;
    assert_eq!(refusal(client.arm(1, later).await), Refusal::NoEngine);
    assert_eq!(refusal(client.kill().await), Refusal::NoEngine);
    let (_, run) = fixture.start(&["sleep", "1000"]).await;
    client.arm(run, later).await.expect("armed");
    assert_eq!(refusal(client.arm(run + 1, later + 1).await), Refusal::OtherRun);
    assert_eq!(refusal(client.arm(run, boottime_us() - 1).await), Refusal::DeadlinePassed);
    assert_eq!(client.status().await.expect("status").armed_us, Some(later));
    fixture.stop().await;
}

#[tokio::test]
async fn the_engine_dies_with_its_deadman() {
    let mut fixture = Fixture::new().await;
    let (pid, _) = fixture.start(&["sleep", "1000"]).await;
    // Only after it has become the engine: before, it would notice that its parent is gone.
    until("the engine", || async { comm(pid).filter(|name| name == "sleep") }).await;
    signal(fixture.attached.status.deadman_pid, Signal::KILL);
    while !matches!(fixture.notice().await, Notice::Lost(_)) {}
    gone(pid).await;
    assert!(matches!(fixture.attached.client.status().await, Err(ClientError::Lost(_))));
    fixture.tidy().await;
}

fn comm(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned())
}

#[tokio::test]
async fn what_a_dead_deadman_leaves_is_killed_by_the_next() {
    let mut fixture = Fixture::new().await;
    let (pid, child, _) = fixture.start_family().await;
    let status = fixture.attached.client.status().await.expect("status");
    assert!(matches!(status.engine.expect("held").hold, Hold::Cgroup { .. }), "this test needs cgroup v2");
    signal(fixture.attached.status.deadman_pid, Signal::KILL);
    while !matches!(fixture.notice().await, Notice::Lost(_)) {}
    gone(pid).await;
    assert!(is_alive(child), "the kernel ties only the main process to the deadman");
    let next = Client::attach_or_spawn(&fixture.spawn, PATIENCE).await.expect("a new deadman");
    let _kill = KillOnDrop(next.status.deadman_pid);
    assert!(next.status.clean);
    assert!(!is_alive(child));
    next.client.stop().await.expect("stopped");
    gone(next.status.deadman_pid).await;
}

#[tokio::test]
async fn without_a_cgroup_the_next_kills_the_rest_of_the_session() {
    let mut fixture = Fixture::with(&["--cgroup", "never"]).await;
    let file = fixture.path("child");
    let script = format!("sleep 1000 & echo $! > {0}.next; mv {0}.next {0}; wait", file.display());
    let (pid, _) = fixture.start(&["sh", "-c", &script]).await;
    let child = until("the child's number", || async { read_number(&file) }).await;
    signal(fixture.attached.status.deadman_pid, Signal::KILL);
    while !matches!(fixture.notice().await, Notice::Lost(_)) {}
    gone(pid).await;
    let next = Client::attach_or_spawn(&fixture.spawn, PATIENCE).await.expect("a new deadman");
    let _kill = KillOnDrop(next.status.deadman_pid);
    assert!(next.status.clean && !is_alive(child));
    next.client.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_log_that_hangs_does_not_delay_the_deadline() {
    let mut fixture = Fixture::new().await;
    // Whoever opens a pipe for writing waits for a reader, as for a disk that hangs.
    let log = fixture.path("engine.log");
    rustix::fs::mkfifoat(rustix::fs::CWD, &log, rustix::fs::Mode::RWXU).expect("a pipe");
    let (_, run) = fixture.start(&["sh", "-c", "while :; do echo much to say; done"]).await;
    let deadline = boottime_us() + 200_000;
    fixture.attached.client.arm(run, deadline).await.expect("armed");
    let ended = fixture.ended().await;
    assert_eq!((ended.cause, ended.wholly), (Cause::Deadline, true));
    fixture.stop().await;
}

#[tokio::test]
async fn the_engine_gets_its_own_environment_and_directory() {
    let mut fixture = Fixture::new().await;
    let script = "echo $COLOUR $PWD $(awk '/SigIgn|SigBlk/ {print $2}' /proc/self/status) $(nice)";
    let process = EngineProcess {
        env: vec![("COLOUR".into(), "green".into())],
        cwd: Some("/usr".into()),
        ..fixture.process(&["sh", "-c", script])
    };
    fixture.attached.client.start(process).await.expect("started");
    assert_eq!(fixture.ended().await.exit, Exit::Code(0));
    let log = fixture.path("engine.log");
    let line = || async { fs::read_to_string(&log).ok().filter(|text| text.ends_with('\n')) };
    let output = until("the output", line).await;
    let words: Vec<&str> = output.split_whitespace().collect();
    let [colour, directory, blocked, ignored, nice] = words[..] else { panic!("{output}") };
    assert_eq!((colour, directory, blocked), ("green", "/usr", "0000000000000000"));
    let ignored = u64::from_str_radix(ignored, 16).expect("a mask");
    assert_eq!(ignored & 0x7fff_ffff, 0, "the deadman's deaf ears were passed on: {ignored:x}");
    let own_nice = rustix::process::getpriority_process(None).expect("a priority");
    assert_eq!(nice, own_nice.to_string());
    fixture.stop().await;
}

#[tokio::test]
async fn the_end_of_the_main_process_ends_all_of_the_engine() {
    for options in [&[][..], &["--cgroup", "never"]] {
        let mut fixture = Fixture::with(options).await;
        let (pid, child, run) = fixture.start_family().await;
        assert!(fixture.attached.client.holds(child).await.expect("an answer"));
        assert!(!fixture.attached.client.holds(std::process::id()).await.expect("an answer"));
        signal(pid, Signal::KILL);
        let ended = fixture.ended().await;
        assert!(!is_alive(child), "{options:?}: a child was left");
        assert_eq!(
            (ended.run, ended.exit, ended.cause, ended.wholly),
            (run, Exit::Signal(9), Cause::Itself, true)
        );
        fixture.stop().await;
    }
}

#[tokio::test]
async fn the_deadline_kills_children_too() {
    for options in [&[][..], &["--cgroup", "never"]] {
        let mut fixture = Fixture::with(options).await;
        let (pid, child, run) = fixture.start_family().await;
        fixture.attached.client.arm(run, boottime_us() + 50_000).await.expect("armed");
        assert_eq!(fixture.ended().await.cause, Cause::Deadline);
        assert!(!is_alive(pid) && !is_alive(child));
        fixture.stop().await;
    }
}

#[tokio::test]
async fn a_new_coordinator_finds_everything_as_it_was() {
    let mut fixture = Fixture::new().await;
    let (pid, run) = fixture.start(&["sleep", "1000"]).await;
    let deadline = boottime_us() + 60_000_000;
    fixture.attached.client.arm(run, deadline).await.expect("armed");
    let next = Client::attach_or_spawn(&fixture.spawn, PATIENCE).await.expect("the same deadman");
    assert_eq!(next.status.deadman_pid, fixture.attached.status.deadman_pid);
    assert_eq!(next.status.armed_us, Some(deadline));
    let held = next.status.engine.expect("it runs");
    assert_eq!((held.pid, held.run, held.killing), (pid, run, false));
    assert!(matches!(fixture.notice().await, Notice::Event(Event::EngineStarted { .. })));
    assert_eq!(fixture.notice().await, Notice::Event(Event::Superseded));
    assert!(matches!(fixture.notice().await, Notice::Lost(_)));
    next.client.disarm().await.expect("it serves the new one");
    next.client.stop().await.expect("stopped");
    gone(pid).await;
}

#[tokio::test]
async fn an_engine_is_started_again_only_after_it_has_ended() {
    let mut fixture = Fixture::new().await;
    let (first_pid, first_run) = fixture.start(&["sleep", "1000"]).await;
    let again = fixture.attached.client.start(fixture.process(&["sleep", "1000"])).await;
    assert_eq!(refusal(again), Refusal::EngineHeld);
    fixture.attached.client.kill().await.expect("killed");
    let ended = fixture.ended().await;
    assert_eq!((ended.pid, ended.cause), (first_pid, Cause::Asked));
    let (_, second_run) = fixture.start(&["sh", "-c", "exit 7"]).await;
    assert_eq!(second_run, first_run + 1);
    let ended = fixture.ended().await;
    assert_eq!((ended.run, ended.exit, ended.cause), (second_run, Exit::Code(7), Cause::Itself));
    fixture.stop().await;
}

#[tokio::test]
async fn a_command_that_cannot_be_executed_is_named_in_the_log() {
    let mut fixture = Fixture::new().await;
    fixture.start(&["/no/such/engine"]).await;
    assert_eq!(fixture.ended().await.exit, Exit::Code(126));
    let log = fixture.path("engine.log");
    let line = || async { fs::read_to_string(&log).ok().filter(|text| text.contains("/no/such/engine")) };
    until("a line in the log", line).await;
    fixture.stop().await;
}

#[tokio::test]
async fn the_log_is_kept_small() {
    let mut fixture = Fixture::new().await;
    let script = "i=0; while [ $i -lt 4000 ]; do echo this is line number $i of the log; i=$((i+1)); done";
    let process = EngineProcess { log_bytes_max: 40_000, ..fixture.process(&["sh", "-c", script]) };
    fixture.attached.client.start(process).await.expect("started");
    assert_eq!(fixture.ended().await.exit, Exit::Code(0));
    let size = |name: &str| fs::metadata(fixture.path(name)).map_or(0, |file| file.len());
    until("the second old log", || async { (size("engine.log.2") > 0).then_some(()) }).await;
    let log = fixture.path("engine.log");
    let last = || async { fs::read_to_string(&log).ok().filter(|text| text.contains("number 3999 ")) };
    until("the last line", last).await;
    for name in ["engine.log", "engine.log.1", "engine.log.2"] {
        assert!(size(name) < 40_000 + 16_384 + 1, "{name} has {} bytes", size(name));
    }
    assert!(!fixture.path("engine.log.3").exists());
    fixture.stop().await;
}

#[tokio::test]
async fn an_adopted_engine_is_killed_at_its_deadline_and_outlives_the_deadman() {
    let mut fixture = Fixture::new().await;
    let mut command = tokio::process::Command::new("sleep");
    let mut engines = [0, 1].map(|_| command.arg("1000").kill_on_drop(true).spawn().expect("an engine"));
    let pids = engines.each_ref().map(|engine| engine.id().expect("it runs"));
    let (pid, run) = fixture.attached.client.adopt(pids[0]).await.expect("adopted");
    assert_eq!(pid, pids[0]);
    fixture.attached.client.arm(run, boottime_us() + 50_000).await.expect("armed");
    let ended = fixture.ended().await;
    assert_eq!((ended.cause, ended.exit, ended.wholly), (Cause::Deadline, Exit::Unknown, false));
    engines[0].wait().await.expect("reaped");
    fixture.attached.client.adopt(pids[1]).await.expect("adopted");
    signal(fixture.attached.status.deadman_pid, Signal::KILL);
    while !matches!(fixture.notice().await, Notice::Lost(_)) {}
    assert!(is_alive(pids[1]));
    fixture.tidy().await;
}

#[tokio::test]
async fn it_is_deaf_to_the_signals_of_a_terminal_and_ends_when_nobody_needs_it() {
    let fixture = Fixture::with(&["--linger-ms", "50"]).await;
    let deadman = fixture.attached.status.deadman_pid;
    for deaf in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        signal(deadman, deaf);
        fixture.attached.client.status().await.expect("it is still there");
    }
    drop(fixture.attached);
    gone(deadman).await;
    assert!(!socket_path(fixture.dir.path()).exists());
}

#[tokio::test]
async fn nonsense_is_refused_and_harms_nobody() {
    let fixture = Fixture::new().await;
    for line in [
        "{}\n",
        "nonsense\n",
        "{\"id\":1,\"ask\":\"status\"}\n",
        "{\"id\":1,\"ask\":\"hello\",\"protocol\":99}\n",
    ] {
        let stream =
            tokio::net::UnixStream::connect(socket_path(fixture.dir.path())).await.expect("connected");
        let mut stream = BufReader::new(stream);
        stream.write_all(line.as_bytes()).await.expect("written");
        let mut answer = String::new();
        stream.read_line(&mut answer).await.expect("an answer");
        assert!(answer.contains("refused"), "{line:?} was answered with {answer:?}");
    }
    fixture.attached.client.status().await.expect("the coordinator is still served");
    fixture.stop().await;
}
