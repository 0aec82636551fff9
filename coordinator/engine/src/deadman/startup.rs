//! What makes a deadman hard to stop: its signals, memory, priority. All of it is tried; what could not be had is told,
//! since a weaker deadman is better than none.

use rustix::mm::MlockAllFlags;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use thread_priority::{
    NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

/// Above ordinary processes, not above the kernel's threads.
const NICE: i32 = -10;
/// Never chosen when memory runs out.
const OOM: &str = "-1000";

/// What was there before, to be given back to the engine, and what is missing.
#[derive(Debug)]
pub(super) struct Protection {
    pub(super) nice: i32,
    pub(super) oom: Option<i32>,
    pub(super) weaknesses: Vec<String>,
}

/// Raises this process above others.
pub(super) fn protect() -> Protection {
    let mut weaknesses = Vec::new();
    let nice = rustix::process::getpriority_process(None).unwrap_or(0);
    if nice > NICE
        && let Err(error) = rustix::process::setpriority_process(None, NICE)
    {
        weaknesses.push(format!("its scheduling priority could not be raised: {error}"));
    }
    // The lowest of the real-time priorities is enough to run before every ordinary process, the engine first of all:
    // after a whole host was frozen and thawed, the engine must not get a turn before its deadman.
    let realtime = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, realtime).is_err() {
        weaknesses.push("it is not scheduled before ordinary processes (no real-time priority)".to_owned());
    }
    let score = "/proc/self/oom_score_adj";
    let oom = fs::read_to_string(score).ok().and_then(|text| text.trim().parse().ok());
    if let Err(error) = fs::write(score, OOM) {
        weaknesses.push(format!("it may be chosen when memory runs out: {error}"));
    }
    // Without ONFAULT the whole binary would be read in, for each instance of the host.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    if let Err(error) = rustix::mm::mlockall(flags) {
        weaknesses.push(format!("its memory is not locked: {error}"));
    }
    // What the engine leaves behind becomes this process's child, so that it can be seen to end.
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        weaknesses.push(format!("orphans of the engine are not seen: {error}"));
    }
    Protection { nice, oom, weaknesses }
}

/// Gives back what [`protect`] took of the processor: an engine is an ordinary process.
///
/// # Errors
/// The system's, in words. An engine at real-time priority could starve its host, so it must not be started then.
pub(super) fn schedule_as_ordinary(nice: i32) -> Result<(), String> {
    let failed = |error| format!("cannot leave the real-time priority: {error:?}");
    if matches!(thread_schedule_policy().map_err(failed)?, ThreadSchedulePolicy::Realtime(_)) {
        let ordinary = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
        // The library sets a niceness too, in the middle; the real one follows.
        let middle = ThreadPriority::Crossplatform(50.try_into().map_err(|_| "no priority".to_owned())?);
        set_thread_priority_and_policy(thread_native_id(), middle, ordinary).map_err(failed)?;
    }
    // The rest only takes a privilege back; an engine that keeps it is no danger.
    let _ = rustix::process::setpriority_process(None, nice);
    Ok(())
}

/// Leaves the terminal, turns a deaf ear to the signals that end other daemons, and answers the end of a pipe that
/// becomes readable when a child has ended. Handlers, unlike ignored signals, are not passed on to the engine.
///
/// # Errors
/// The system's.
pub(super) fn signals() -> io::Result<UnixStream> {
    // It fails where this process leads a session already.
    let _ = rustix::process::setsid();
    for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    write.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGCHLD, write)?;
    Ok(read)
}
