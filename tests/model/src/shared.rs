//! A part of a state that the next state shares until it changes it. Most steps change one host or one arbiter: what is
//! waiting to be searched then costs a fraction of the whole, and so does the copy.
//!
//! It must not know what it holds.

use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

/// See the module. Equal as what it holds.
#[derive(Clone, Debug)]
pub struct Shared<T>(Arc<Part<T>>);

#[derive(Clone, Debug)]
struct Part<T> {
    value: T,
    /// What it is hashed as, once somebody has asked. Most of a state is hashed again and again otherwise.
    number: OnceLock<u64>,
}

impl<T> Shared<T> {
    /// Not shared yet.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Part { value, number: OnceLock::new() }))
    }

    /// Whether it is the very same part, unchanged.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    /// From here on it is nobody else's: whoever only looks must not come this way.
    fn deref_mut(&mut self) -> &mut T {
        let part = Arc::make_mut(&mut self.0);
        part.number = OnceLock::new();
        &mut part.value
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is(other) || self.0.value == other.0.value
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: Hash> Hash for Shared<T> {
    /// By hand, since the number of a part that did not change is known.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(*self.0.number.get_or_init(|| number(&self.0.value)));
    }
}

/// The same in every run, so that a search can be repeated.
#[must_use]
pub fn number<T: Hash>(value: &T) -> u64 {
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_the_other_as_it_was() {
        let one = Shared::new(vec![1]);
        let mut other = one.clone();
        assert!(one.is(&other));
        other.push(2);
        assert_eq!((one.len(), other.len(), one.is(&other)), (1, 2, false));
    }

    #[test]
    fn what_has_changed_has_another_number_and_what_is_equal_the_same() {
        let one = Shared::new(vec![1]);
        let mut other = one.clone();
        let before = number(&other);
        assert_eq!(before, number(&one));
        other.push(2);
        assert_ne!(before, number(&other));
        assert_eq!(number(&other), number(&Shared::new(vec![1, 2])));
        assert_ne!(one, other);
    }
}
