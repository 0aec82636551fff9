//! The one clock of a run. Network namespaces share the machine's monotonic clock, so moments of different processes may be
//! compared: "sent after" and "received before" mean something across clients.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::Micros;
use crate::workload::history::micros;

/// Counts from a run's begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    origin_us: u64,
}

impl Clock {
    /// A run that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin_us: monotonic_us() }
    }

    /// The clock of a run that another process began: what its [`Clock::origin_us`] said.
    #[must_use]
    pub fn of_origin(origin_us: u64) -> Self {
        Self { origin_us }
    }

    /// What a client's process is told, in microseconds of the machine's monotonic clock.
    #[must_use]
    pub fn origin_us(self) -> u64 {
        self.origin_us
    }

    /// Microseconds since the run's begin.
    #[must_use]
    pub fn now(self) -> Micros {
        monotonic_us().saturating_sub(self.origin_us)
    }

    /// A wall clock's milliseconds since 1970 as a moment of this run, as far as that clock was not set. `None`: before its begin.
    #[must_use]
    pub fn of_unix_ms(self, unix_ms: u64) -> Option<Micros> {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let begin = micros(wall).checked_sub(self.now())?;
        micros(Duration::from_millis(unix_ms)).checked_sub(begin)
    }
}

fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds * 1_000_000 + nanos / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_counts_from_the_same_begin() {
        let clock = Clock::start();
        let other = Clock::of_origin(clock.origin_us());
        let (first, second, third) = (clock.now(), other.now(), clock.now());
        assert!(first <= second && second <= third);
    }

    #[test]
    fn wall_clock_times_before_the_begin_are_none() {
        let clock = Clock::start();
        assert_eq!(clock.of_unix_ms(1_000), None);
        let later = SystemTime::now() + Duration::from_secs(60);
        let later = later.duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let moment = clock.of_unix_ms(u64::try_from(later).expect("short")).expect("after the begin");
        assert!((59_000_000..=61_000_000).contains(&moment), "{moment}");
    }
}
