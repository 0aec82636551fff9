//! A client that never asks who the master is: it writes to one engine every millisecond, and keeps when each write that
//! was acknowledged had been sent. So it sees what a master accepts that should not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::net::{self, Node};
use crate::store;

/// What is written.
pub const KEY: &str = "e2e:load";
/// Between two writes.
const PACE: Duration = Duration::from_millis(1);
/// How long a write is waited for.
const WAIT_MILLIS: u64 = 500;

/// The clock on which leases are counted: it goes on while the machine sleeps.
#[must_use]
pub fn boot_clock() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// A thread that writes until this is dropped.
#[derive(Debug)]
pub struct Writer {
    accepted: Arc<Mutex<Vec<(Duration, u64)>>>,
    refused: Arc<Mutex<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Writes to the engine on `port`, reconnecting for ever.
    #[must_use]
    pub fn start(port: u16) -> Self {
        Self::start_on(None, port)
    }

    /// The same; a write is acknowledged once a replica has confirmed it (`WAIT 1`).
    #[must_use]
    pub fn start_waiting(port: u16) -> Self {
        Self::begin(None, port, Some(WAIT_MILLIS))
    }

    /// The same, from a node of the network to the engine there.
    #[must_use]
    pub fn start_on(node: Option<Node>, port: u16) -> Self {
        Self::begin(node, port, None)
    }

    fn begin(node: Option<Node>, port: u16, wait: Option<u64>) -> Self {
        let (accepted, refused) =
            (Arc::<Mutex<Vec<(Duration, u64)>>>::default(), Arc::<Mutex<Vec<Duration>>>::default());
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (accepted, refused, stop) = (Arc::clone(&accepted), Arc::clone(&refused), Arc::clone(&stop));
            let write = move || {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    write_until_broken(port, wait, &mut count, &accepted, &refused, &stop);
                    std::thread::sleep(PACE); // tidy: waits because the load has a pace
                }
            };
            std::thread::spawn(move || net::on(node.as_ref(), write))
        };
        Self { accepted, refused, stop, thread: Some(thread) }
    }

    /// When, on the [`boot_clock`], each acknowledged write had been sent, in order.
    #[must_use]
    pub fn accepted(&self) -> Vec<Duration> {
        self.numbered().into_iter().map(|(sent, _)| sent).collect()
    }

    /// The same, with what each wrote: numbers that only rise, all into [`KEY`].
    #[must_use]
    pub fn numbered(&self) -> Vec<(Duration, u64)> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many acknowledged writes had been sent after `moment`.
    #[must_use]
    pub fn accepted_after(&self, moment: Duration) -> usize {
        self.accepted().iter().filter(|sent| **sent > moment).count()
    }

    /// How many writes that the engine refused had been sent after `moment`.
    #[must_use]
    pub fn refused_after(&self, moment: Duration) -> usize {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.iter().filter(|sent| **sent > moment).count()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_until_broken(
    port: u16,
    wait: Option<u64>,
    count: &mut u64,
    accepted: &Mutex<Vec<(Duration, u64)>>,
    refused: &Mutex<Vec<Duration>>,
    stop: &AtomicBool,
) {
    let Ok(mut connection) = store::connect(port, None) else { return };
    while !stop.load(Ordering::Relaxed) {
        *count += 1;
        let sent = boot_clock();
        let answered: redis::RedisResult<String> =
            redis::cmd("SET").arg(KEY).arg(*count).query(&mut connection);
        let confirmed = answered.and_then(|_| match wait {
            Some(millis) => redis::cmd("WAIT").arg(1).arg(millis).query::<u64>(&mut connection),
            None => Ok(1),
        });
        match confirmed {
            // Nobody has confirmed it in time: it is unknown.
            Ok(0) => {}
            Ok(_) => accepted.lock().unwrap_or_else(PoisonError::into_inner).push((sent, *count)),
            // The engine itself says no; everything else is the end of this connection.
            Err(error) if error.code().is_some() => {
                refused.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
            }
            Err(_) => return,
        }
        std::thread::sleep(PACE); // tidy: waits because the load has a pace
    }
}
