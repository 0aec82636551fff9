//! This node's clock: CLOCK_BOOTTIME, which counts suspension too. The only place of the daemon that reads it.

use crate::surroundings;
use baton_core::time::Time;
use tokio::time::Instant;

/// Now, for every step of a machine.
#[must_use]
pub fn now() -> Time {
    surroundings::now()
}

/// The runtime's moment at which `time` will have come. After a suspension it comes late, which is safe: whatever must
/// not be late is the deadman's, whose timer counts suspension.
#[must_use]
pub fn instant_of(time: Time) -> Instant {
    Instant::now() + time.since(now()).as_duration()
}

/// The wall clock, in milliseconds since 1970, for people only.
#[must_use]
pub fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
