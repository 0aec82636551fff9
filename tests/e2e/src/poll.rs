//! Waiting for something to become true, always with a deadline.

use std::time::{Duration, Instant};

/// How long anything may take that takes no lease: generous, since a busy machine is not what is tested.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `look` finds something.
///
/// # Panics
/// When it is not there within [`PATIENCE`]; says what `look` said last.
pub fn until<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    within(PATIENCE, what, look)
}

/// Looks until `look` finds something, for at most `limit`.
///
/// # Panics
/// When it is not there by then; says what `look` said last.
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(found) => return found,
            Err(missing) => {
                assert!(Instant::now() < deadline, "{what}: not within {limit:?}; last seen: {missing}")
            }
        }
        std::thread::sleep(PAUSE); // tidy: waits because the poll looks every 20 ms, with a deadline
    }
}
