//! A node's clock: it starts anywhere, and runs faster or slower than true time, or not at all.
//!
//! It must not know what is timed by it.

use baton_core::time::{Span, Time};

/// The clock of one node. True time in microseconds of the world.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base_true: u64,
    base_local: u64,
    /// How much faster than true time, in millionths; -1,000,000 stands still.
    ppm: i64,
}

impl Clock {
    /// A clock that shows `local` at true time 0 and runs true.
    #[must_use]
    pub fn new(local: u64) -> Self {
        Self { base_true: 0, base_local: local, ppm: 0 }
    }

    /// The same after its machine booted anew: it shows `local` now.
    #[must_use]
    pub fn booted(&self, now: u64, local: u64) -> Self {
        Self { base_true: now, base_local: local, ppm: self.ppm }
    }

    /// What it shows.
    #[must_use]
    pub fn read(&self, now: u64) -> Time {
        // Some hundred years fit; a run is minutes.
        let passed = i64::try_from(now.saturating_sub(self.base_true)).unwrap_or(i64::MAX / 2_000_000);
        let shown = passed + passed * self.ppm / 1_000_000;
        Time(self.base_local + u64::try_from(shown).unwrap_or(0))
    }

    /// Runs at another rate from now on.
    pub fn set_rate(&mut self, now: u64, ppm: i64) {
        *self = Self { base_true: now, base_local: self.read(now).0, ppm };
    }

    /// The first moment of true time at which it shows `local` or later; `None` if it stands still.
    #[must_use]
    pub fn when(&self, now: u64, local: Time) -> Option<u64> {
        if self.read(now) >= local {
            return Some(now);
        }
        let rate = u64::try_from(1_000_000 + self.ppm).ok().filter(|rate| *rate > 0)?;
        // What lies beyond all time is never reached.
        let passed = (local.0 - self.base_local).checked_mul(1_000_000)? / rate;
        let mut at = (self.base_true + passed).max(now);
        while self.read(at) < local {
            at += 1;
        }
        Some(at)
    }

    /// Until when `when` says the same for a moment of which it says `at` now: close to it, it may find an earlier one.
    #[must_use]
    pub(super) fn sure_until(&self, at: u64) -> u64 {
        let rate = u64::try_from(1_000_000 + self.ppm).unwrap_or(0).max(1);
        at.saturating_sub(2 + 1_000_000 / rate)
    }
}

/// A span of true time as people read it.
#[must_use]
pub fn text(micros: u64) -> String {
    Span(micros).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_and_a_slow_clock_reach_a_moment_when_they_show_it() {
        for ppm in [-5_000, 0, 5_000, 30_000] {
            let mut clock = Clock::new(1_000);
            clock.set_rate(500, ppm);
            let wanted = Time(2_000_000);
            let at = clock.when(600, wanted).expect("it runs");
            assert!(clock.read(at) >= wanted && clock.read(at - 1) < wanted, "{ppm} ppm");
        }
    }

    #[test]
    fn a_clock_that_stands_still_never_gets_there() {
        let mut clock = Clock::new(0);
        clock.set_rate(10, -1_000_000);
        assert_eq!(clock.when(20, Time(11)), None);
        assert_eq!(clock.read(1_000), Time(10));
    }
}
