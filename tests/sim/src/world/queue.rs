//! What waits for its moment, in the order of the moments; what is put in later for the same moment comes later.
//!
//! It must not know what waits.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue in true time. The order is kept beside what waits, which is large and stays where it was put.
#[derive(Clone, Debug)]
pub(super) struct Queue<T> {
    /// When, which in the order of putting in, and where it lies.
    order: BinaryHeap<Reverse<(u64, u32, u32)>>,
    places: Vec<Option<T>>,
    free: Vec<u32>,
    last: u32,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { order: BinaryHeap::new(), places: Vec::new(), free: Vec::new(), last: 0 }
    }

    /// The earliest moment.
    pub(super) fn moment(&self) -> Option<u64> {
        self.order.peek().map(|Reverse((at, ..))| *at)
    }

    /// What comes first.
    pub(super) fn first(&self) -> Option<&T> {
        let Reverse((_, _, place)) = self.order.peek()?;
        self.places.get(*place as usize)?.as_ref()
    }

    /// Puts something in for a moment.
    pub(super) fn put(&mut self, at: u64, it: T) {
        self.last += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).expect("a world has far fewer things to do")
        });
        self.places[place as usize] = Some(it);
        self.order.push(Reverse((at, self.last, place)));
    }

    /// Takes what comes first out, if its moment has come.
    pub(super) fn take(&mut self, now: u64) -> Option<T> {
        let Reverse((_, _, place)) = *self.order.peek().filter(|Reverse((at, ..))| *at <= now)?;
        self.order.pop();
        self.free.push(place);
        self.places[place as usize].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_comes_out_by_moment_and_then_as_it_was_put_in() {
        let mut queue = Queue::new();
        for (at, it) in [(5, "c"), (3, "a"), (5, "d"), (3, "b")] {
            queue.put(at, it);
        }
        assert_eq!((queue.moment(), queue.first()), (Some(3), Some(&"a")));
        assert_eq!(queue.take(2), None, "its moment has not come");
        assert_eq!([queue.take(3), queue.take(3), queue.take(3)], [Some("a"), Some("b"), None]);
        queue.put(4, "e");
        queue.put(5, "f");
        let rest: Vec<_> = std::iter::from_fn(|| queue.take(9)).collect();
        assert_eq!(rest, ["e", "c", "d", "f"]);
        assert_eq!(queue.moment(), None);
    }
}
