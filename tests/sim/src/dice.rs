//! The numbers of one run: a counter through the core's own mixing function, so that a seed means the same on every machine.

use baton_core::rng::split_mix;

/// A source of numbers.
#[derive(Clone, Debug, Default)]
pub struct Dice(u64);

impl Dice {
    /// Numbers of a seed, for one purpose: each purpose has numbers of its own, so that leaving one fault out of a run does not
    /// change what anything else draws.
    #[must_use]
    pub fn of(seed: u64, purpose: u64) -> Self {
        Self(split_mix(split_mix(seed) ^ split_mix(purpose)))
    }

    /// A number below `most`, which is not nothing.
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        split_mix(self.0) % most
    }

    /// From `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// Whether something that happens so often in a thousand times happens now.
    pub fn chance(&mut self, in_thousand: u64) -> bool {
        in_thousand > 0 && self.below(1_000) < in_thousand
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap_or(0)]
    }
}
