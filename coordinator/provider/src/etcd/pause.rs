//! How long to wait before the next attempt after one that failed.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
/// A lock lives two seconds at least, so an attempt that comes so late loses none.
const LONGEST: Duration = Duration::from_millis(300);

/// 20 ms, growing to 300 ms, each spread by up to a half so that many coordinators do not come back in one moment.
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }

    pub(super) async fn wait(&mut self) {
        let spread: f64 = rand::random();
        let pause = self.0.mul_f64(1.0 - spread / 2.0);
        self.0 = (self.0 * 2).min(LONGEST);
        tokio::time::sleep(pause).await;
    }
}
