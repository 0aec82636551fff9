//! What the tests share: polling with a deadline, and processes that do not outlive their test.

use rustix::process::{Pid, Signal};
use std::fs;
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long anything may take before a test fails; a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again until there is an answer.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let give_up = Instant::now() + PATIENCE;
    let mut ticks = interval(Duration::from_millis(2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < give_up, "{what}: not within {PATIENCE:?}");
    }
}

/// Whether the process runs (a zombie does not: whoever reaps it may be late).
pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|text| text.rsplit_once(") ").map(|(_, rest)| !rest.starts_with(['Z', 'X'])))
        .unwrap_or(false)
}

/// Waits until the process is gone.
pub async fn gone(pid: u32) {
    until("the end of a process", || async { (!is_alive(pid)).then_some(()) }).await;
}

/// Sends a signal; a process that is gone is no error.
pub fn signal(pid: u32, signal: Signal) {
    let raw = i32::try_from(pid).expect("a process number");
    let _ = rustix::process::kill_process(Pid::from_raw(raw).expect("not zero"), signal);
}

/// Kills a process when the test ends, however it ends.
pub struct KillOnDrop(pub u32);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        signal(self.0, Signal::CONT);
        signal(self.0, Signal::KILL);
    }
}
