//! How long to wait before the next attempt to reach a stateboard that is away.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
/// A lock may be as short as 375 ms, and an outage that is shorter must lose nothing: the attempt after it must not come late.
const LONGEST: Duration = Duration::from_millis(50);

/// 10 ms, growing to 50 ms, each spread by up to a quarter so that many clients do not come back in one moment.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }

    fn next(&mut self, spread: f64) -> Duration {
        let pause = self.0.mul_f64(1.0 - spread / 4.0);
        self.0 = (self.0 * 2).min(LONGEST);
        pause
    }

    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(self.next(rand::random())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_start_again() {
        let mut backoff = Backoff::new();
        let pauses: Vec<u128> = (0..7).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 50, 50, 50, 50]);
        assert!(backoff.next(1.0) < LONGEST);
        backoff.reset();
        assert_eq!(backoff.next(0.0), FIRST);
    }
}
