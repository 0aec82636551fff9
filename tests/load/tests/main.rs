//! A small cluster of acted hosts under the real daemon. What is right is asserted, never how long it takes.

mod masters_that_die_at_once;
