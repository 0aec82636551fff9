//! One direction of a bad line: which frames leave it when, and how often. It has neither clock nor socket: moments are told
//! to it, so that one seed is one line's weather.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Frames that may wait in a lane; what comes then is lost, as in a router whose queue is full.
const MOST: usize = 4_096;

/// What a line does to what it carries, in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Every frame is so late.
    pub delay: Duration,
    /// And up to so much more, by chance; the order stays.
    pub jitter: Duration,
    /// So many of a hundred overtake those before them.
    pub overtaking: u8,
    /// So many of a hundred come twice.
    pub doubled: u8,
}

/// One direction.
#[derive(Debug)]
pub struct Lane {
    weather: Weather,
    random: StdRng,
    /// By when they leave, then by when they came.
    waiting: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    came: u64,
    last: Option<Instant>,
}

impl Lane {
    /// An empty one; the seed decides every chance.
    #[must_use]
    pub fn new(weather: Weather, seed: u64) -> Self {
        Self { weather, random: StdRng::seed_from_u64(seed), waiting: BinaryHeap::new(), came: 0, last: None }
    }

    /// A frame comes.
    pub fn take(&mut self, now: Instant, frame: &[u8]) {
        let Weather { delay, jitter, overtaking, doubled } = self.weather;
        let late = now + delay + jitter.mul_f64(self.random.random_range(0.0..=1.0));
        let due = if self.chance(overtaking) {
            // Before whatever still waits, and not counted as the last: nothing waits for it.
            now
        } else {
            let in_order = self.last.map_or(late, |last| last.max(late));
            self.last = Some(in_order);
            in_order
        };
        let copies = if self.chance(doubled) { 2 } else { 1 };
        for _ in 0..copies {
            if self.waiting.len() < MOST {
                self.came += 1;
                self.waiting.push(Reverse((due, self.came, frame.to_vec())));
            }
        }
    }

    /// When the next one leaves.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((due, ..))| *due)
    }

    /// A frame that leaves by now.
    pub fn leave(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.next().filter(|due| *due <= now)?;
        self.waiting.pop().map(|Reverse((_, _, frame))| frame)
    }

    fn chance(&mut self, percent: u8) -> bool {
        percent > 0 && self.random.random_range(0..100) < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// When each of a hundred frames left, in milliseconds, one having come in each.
    fn carried(weather: Weather, seed: u64) -> Vec<(u64, u8)> {
        let begin = Instant::now();
        let mut lane = Lane::new(weather, seed);
        let mut left = Vec::new();
        for number in 0..1_000_u32 {
            let now = begin + MILLI * number;
            if let Ok(number @ ..100) = u8::try_from(number) {
                lane.take(now, &[number]);
            }
            while let Some(frame) = lane.leave(now) {
                left.push((u64::from(number), frame[0]));
            }
        }
        assert_eq!(lane.next(), None, "all have left");
        left
    }

    #[test]
    fn a_delay_keeps_the_order_and_loses_nothing() {
        let left = carried(Weather { delay: 50 * MILLI, ..Weather::default() }, 1);
        let expected: Vec<_> = (0..100).map(|number| (50 + u64::from(number), number)).collect();
        assert_eq!(left, expected);
    }

    #[test]
    fn jitter_makes_them_late_by_chance_and_keeps_the_order() {
        let weather = Weather { delay: 10 * MILLI, jitter: 40 * MILLI, ..Weather::default() };
        let left = carried(weather, 2);
        assert!(left.is_sorted_by_key(|(_, frame)| *frame) && left.len() == 100);
        let late: Vec<u64> = left.iter().map(|(at, frame)| at - u64::from(*frame)).collect();
        assert!(late.iter().all(|late| (10..=51).contains(late)), "{late:?}");
        assert!(late.iter().max() > late.iter().min());
    }

    #[test]
    fn some_overtake_and_some_come_twice_as_the_seed_says() {
        let overtaking = Weather { delay: 5 * MILLI, overtaking: 25, ..Weather::default() };
        let left = carried(overtaking, 3);
        assert!(!left.is_sorted_by_key(|(_, frame)| *frame) && left.len() == 100);
        assert_eq!(left, carried(overtaking, 3), "one seed, one line");
        assert_ne!(left, carried(overtaking, 4));
        let doubled = carried(Weather { doubled: 30, ..Weather::default() }, 5);
        assert!((110..160).contains(&doubled.len()), "{}", doubled.len());
    }

    #[test]
    fn a_full_lane_loses_what_comes() {
        let now = Instant::now();
        let mut lane = Lane::new(Weather { delay: MILLI, ..Weather::default() }, 1);
        for _ in 0..=MOST {
            lane.take(now, &[0]);
        }
        let left = std::iter::from_fn(|| lane.leave(now + MILLI)).count();
        assert_eq!(left, MOST);
    }
}
