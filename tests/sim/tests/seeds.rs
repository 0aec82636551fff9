//! Seeds that a gate has time for: no property is broken, the runs are what they ought to be, and one seed is one run.

use sim::run::{Plan, run};

/// `BATON_SEEDS` asks for more of them, `BATON_FROM` for those from a number on.
fn seeds() -> std::ops::Range<u64> {
    let asked = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let from = asked("BATON_FROM").unwrap_or(0);
    from..from + asked("BATON_SEEDS").unwrap_or(100)
}

#[test]
fn no_seed_breaks_a_property() {
    for seed in seeds() {
        let outcome = run(&Plan::of(seed));
        let at = outcome.simulated;
        assert!(outcome.violation.is_none(), "seed {seed}, after {at}: {:?}", outcome.violation);
    }
}

#[test]
fn the_same_seed_is_told_in_the_same_words() {
    for seed in [1, 2, 3] {
        let told = || run(&Plan { journal: true, ..Plan::of(seed) }).journal;
        assert_eq!(told(), told(), "seed {seed}");
    }
}
