//! The one inequality. [`Timing::new`] is the only way to get any timeout of the protocol; everything is derived from
//! `lease_ttl`, and what cannot be safe is refused with the rule that it breaks. `docs/timing.md` derives each line.

use crate::record::Settings;
use crate::time::Span;

/// Shortest lease that the derivation allows: below it, the budgets for fencing and killing are shorter than what an
/// ordinary kernel needs to schedule the deadman on a busy machine.
pub const LEASE_TTL_MIN: Span = Span::from_millis(300);
/// Longest lease: beyond it nobody would call it a failover.
pub const LEASE_TTL_MAX: Span = Span::from_secs(600);

/// All timings of the protocol. Spans; each side counts them on its own clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How long a grant lets its master accept writes, counted from the send of the beat that it answers.
    pub lease_ttl: Span,
    /// How long a guard that forgot what it promised leads nothing: the longest lease that ever was in force.
    pub hold: Span,
    /// What every holder of a time-bound right takes off, since two clocks may differ in rate.
    pub margin: Span,
    /// How long before the end of the right the guard fences the engine.
    pub fence_budget: Span,
    /// How long before the end of the right the deadman kills the engine (after the fence had its time).
    pub kill_budget: Span,
    /// A master's beat.
    pub beat_master: Span,
    /// A replica's beat.
    pub beat_replica: Span,
    /// How long the arbiter's lock lives without a renewal.
    pub lock_ttl: Span,
    /// How often the arbiter renews it.
    pub lock_renew: Span,
    /// What the arbiter takes off its lock (clock rates again).
    pub lock_margin: Span,
    /// How long a tiny write may take before the engine counts as stalled.
    pub stall_timeout: Span,
    /// How long a failover waits for the reports of members that are attached but do not answer.
    pub sever_wait: Span,
    /// How long an appointed master may take from the record to its first confirmation.
    pub promote_wait: Span,
    /// After how long without an answer a request to the provider has an unknown outcome.
    pub request_timeout: Span,
    /// How long whoever bids for the arbiter's lock waits for those that knock.
    pub bid_wait: Span,
}

/// Settings that are not safe together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTiming {
    /// Out of range.
    #[error("lease_ttl = {found} is outside {LEASE_TTL_MIN} to {LEASE_TTL_MAX}")]
    LeaseRange {
        /// What was asked for.
        found: Span,
    },
    /// The drift is absurd.
    #[error("clock_drift = {found_ppm} ppm is outside 1 to 100000 ppm (10 %)")]
    DriftRange {
        /// What was asked for, in millionths.
        found_ppm: u32,
    },
    /// Two beats must fit into what a grant leaves after its margins.
    #[error(
        "a lease of {lease_ttl} leaves {usable} for clients, less than two beats of {beat}: \
         margin {margin} + fence_budget {fence_budget} + kill_budget {kill_budget} take too much"
    )]
    BeatsDoNotFit {
        /// The lease.
        lease_ttl: Span,
        /// Lease less margins.
        usable: Span,
        /// A master's beat.
        beat: Span,
        /// See [`Timing::margin`].
        margin: Span,
        /// See [`Timing::fence_budget`].
        fence_budget: Span,
        /// See [`Timing::kill_budget`].
        kill_budget: Span,
    },
    /// Full grants must be the rule.
    #[error("a lock of {lock_ttl}, renewed every {lock_renew}, cannot cover full leases of {lease_ttl}")]
    LockTooShort {
        /// The lock.
        lock_ttl: Span,
        /// Its renewal.
        lock_renew: Span,
        /// The lease.
        lease_ttl: Span,
    },
    /// A stall must be seen within a lease of patience.
    #[error("stall_timeout = {stall_timeout} must be between a beat ({beat}) and ten leases ({most})")]
    StallRange {
        /// What was asked for.
        stall_timeout: Span,
        /// A master's beat.
        beat: Span,
        /// Ten leases.
        most: Span,
    },
}

/// What can fail, each with its own evidence and budget (design, *Failure classes*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureClass {
    /// The supervisor saw the engine end.
    Crashed,
    /// No heartbeat: the lease decides.
    Silent,
    /// Silent, and the host that went silent ran the active arbiter too.
    SilentWithArbiter,
    /// The active arbiter's host reaches the provider and no other host: whoever has lost the master, or the replicas that its
    /// commits wait for, needs another arbiter first.
    AloneWithArbiter,
    /// Alive, but a tiny write does not finish.
    Stalled,
    /// Planned by a person.
    Switchover,
}

impl FailureClass {
    /// All of them, in the order in which `timing` prints them.
    pub const ALL: [Self; 6] = [
        Self::Crashed,
        Self::Silent,
        Self::SilentWithArbiter,
        Self::AloneWithArbiter,
        Self::Stalled,
        Self::Switchover,
    ];

    /// The name that people and programs see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::Silent => "silent",
            Self::SilentWithArbiter => "silent-with-arbiter",
            Self::AloneWithArbiter => "alone-with-arbiter",
            Self::Stalled => "stalled",
            Self::Switchover => "switchover",
        }
    }
}

/// One part of a worst case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What the time goes to.
    pub what: &'static str,
    /// At most.
    pub span: Span,
}

impl Timing {
    /// Derives and checks.
    ///
    /// # Errors
    /// [`BadTiming`] names the rule that the settings break.
    pub fn new(settings: &Settings) -> Result<Self, BadTiming> {
        let lease_ttl = settings.lease_ttl;
        if lease_ttl < LEASE_TTL_MIN || lease_ttl > LEASE_TTL_MAX {
            return Err(BadTiming::LeaseRange { found: lease_ttl });
        }
        let timing = Self::derive(lease_ttl, settings.stall_timeout, settings.clock_drift_ppm)?;
        Ok(Self { hold: settings.longest(), ..timing })
    }

    /// The derivation without the range of `lease_ttl`: for worlds whose clock ticks in units of their own (models).
    ///
    /// # Errors
    /// As [`Timing::new`].
    pub fn derive(lease_ttl: Span, stall_timeout: Option<Span>, drift_ppm: u32) -> Result<Self, BadTiming> {
        if !(1..=100_000).contains(&drift_ppm) {
            return Err(BadTiming::DriftRange { found_ppm: drift_ppm });
        }
        let lock_ttl = lease_ttl * 5 / 4;
        let timing = Self {
            lease_ttl,
            hold: lease_ttl,
            margin: drift_margin(lease_ttl, drift_ppm),
            fence_budget: lease_ttl / 12,
            kill_budget: lease_ttl / 12,
            beat_master: lease_ttl / 6,
            beat_replica: lease_ttl / 2,
            lock_ttl,
            lock_renew: lease_ttl / 8,
            lock_margin: drift_margin(lock_ttl, drift_ppm),
            stall_timeout: stall_timeout.unwrap_or(lease_ttl),
            sever_wait: lease_ttl / 12,
            promote_wait: lease_ttl / 2,
            request_timeout: lease_ttl / 4,
            bid_wait: lease_ttl / 12,
        };
        timing.check()?;
        Ok(timing)
    }

    /// The inequality (design, *The lease* and *The lock*). Public for timings that were put together by hand.
    ///
    /// # Errors
    /// As [`Timing::new`].
    pub fn check(&self) -> Result<(), BadTiming> {
        let usable = self.usable();
        if usable < self.beat_master * 2 {
            return Err(BadTiming::BeatsDoNotFit {
                lease_ttl: self.lease_ttl,
                usable,
                beat: self.beat_master,
                margin: self.margin,
                fence_budget: self.fence_budget,
                kill_budget: self.kill_budget,
            });
        }
        if self.lock_ttl.less(self.lock_margin).less(self.lock_renew) < self.lease_ttl {
            return Err(BadTiming::LockTooShort {
                lock_ttl: self.lock_ttl,
                lock_renew: self.lock_renew,
                lease_ttl: self.lease_ttl,
            });
        }
        let most = self.lease_ttl * 10;
        if self.stall_timeout < self.beat_master || self.stall_timeout > most {
            return Err(BadTiming::StallRange {
                stall_timeout: self.stall_timeout,
                beat: self.beat_master,
                most,
            });
        }
        Ok(())
    }

    /// What is taken off a right of this length: in proportion where it is longer than our own lease, and never less than
    /// what is taken off that.
    #[must_use]
    pub fn margin_of(&self, ttl: Span) -> Span {
        if ttl <= self.lease_ttl {
            return self.margin;
        }
        Span(self.margin.0.saturating_mul(ttl.0).div_ceil(self.lease_ttl.0.max(1)))
    }

    /// A span of this timing as it is by another lease: shortened with it where that is shorter than our own, and never
    /// nothing.
    #[must_use]
    pub fn within(&self, span: Span, lease: Span) -> Span {
        if lease >= self.lease_ttl {
            return span;
        }
        Span((span.0.saturating_mul(lease.0) / self.lease_ttl.0.max(1)).max(1))
    }

    /// How long after its beat a master that hears nothing more still serves clients.
    #[must_use]
    pub fn usable(&self) -> Span {
        self.lease_ttl.less(self.margin).less(self.kill_budget).less(self.fence_budget)
    }

    /// The parts that the worst outage of a class adds up to, from the fault to a writable master, where the engine's
    /// own promotion is within `promote_wait` and the network's round trips within `request_timeout`.
    #[must_use]
    pub fn worst_case(&self, class: FailureClass) -> Vec<Part> {
        let part = |what, span| Part { what, span };
        let tail = [
            part("sever: final positions of the replicas", self.sever_wait),
            part("record: one durable write", self.request_timeout),
            part("promote: directive, lease and the engine's own promotion", self.promote_wait),
        ];
        let head = match class {
            FailureClass::Crashed => {
                vec![part("notice: the deadman saw the engine end", self.beat_master / 4)]
            }
            FailureClass::Silent => vec![part("outer bound: the last grant runs out", self.lease_ttl)],
            FailureClass::SilentWithArbiter => vec![
                part("predecessor bound: the dead arbiter's lock runs out", self.lock_ttl),
                part("takeover: campaign, read, attach", self.request_timeout),
            ],
            FailureClass::AloneWithArbiter => vec![
                part("silence: neither side hears the other", self.lease_ttl),
                part("patience: who is back at once changes nothing", self.beat_replica),
                part("bids: the others count who hears whom", self.bid_wait + self.request_timeout),
                part("predecessor bound: the last grant runs out", self.lease_ttl),
            ],
            FailureClass::Stalled => vec![
                part("stall timeout: a tiny write does not finish", self.stall_timeout),
                part("next write-path check", self.beat_master),
                part(
                    "fence: without the engine's help, by the deadman",
                    self.fence_budget + self.kill_budget,
                ),
            ],
            FailureClass::Switchover => vec![part("fence and final position", self.fence_budget)],
        };
        head.into_iter().chain(tail).collect()
    }

    /// The sum of [`Timing::worst_case`].
    #[must_use]
    pub fn worst_outage(&self, class: FailureClass) -> Span {
        self.worst_case(class).into_iter().map(|part| part.span).sum()
    }
}

/// `2 · drift · span`, rounded up, and never nothing: two clocks that each may be off by `drift`.
fn drift_margin(span: Span, drift_ppm: u32) -> Span {
    Span((span.0.saturating_mul(2 * u64::from(drift_ppm))).div_ceil(1_000_000).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_millis(millis: u64) -> Result<Timing, BadTiming> {
        Timing::new(&Settings { lease_ttl: Span::from_millis(millis), ..Settings::default() })
    }

    #[test]
    fn the_defaults_are_the_designs() {
        let timing = of_millis(3_000).expect("the default is safe");
        assert_eq!(timing.margin, Span::from_millis(30));
        assert_eq!(timing.beat_master, Span::from_millis(500));
        assert_eq!(timing.lock_ttl, Span::from_millis(3_750));
        assert_eq!(timing.lock_renew, Span::from_millis(375));
        assert_eq!(timing.usable(), Span::from_millis(2_470));
    }

    #[test]
    fn every_lease_of_the_range_is_safe_and_nothing_outside_is_taken() {
        for millis in [300, 301, 333, 1_000, 2_999, 600_000] {
            of_millis(millis).expect("inside the range");
        }
        for millis in [0, 299, 600_001] {
            assert!(matches!(of_millis(millis), Err(BadTiming::LeaseRange { .. })));
        }
    }

    #[test]
    fn unsafe_combinations_are_refused_with_their_rule() {
        let good = of_millis(3_000).expect("safe");
        let slow_beat = Timing { beat_master: Span::from_millis(1_300), ..good.clone() };
        assert!(matches!(slow_beat.check(), Err(BadTiming::BeatsDoNotFit { .. })));
        let short_lock = Timing { lock_ttl: Span::from_millis(3_000), ..good.clone() };
        assert!(matches!(short_lock.check(), Err(BadTiming::LockTooShort { .. })));
        let no_patience = Timing { stall_timeout: Span::from_millis(100), ..good };
        assert!(matches!(no_patience.check(), Err(BadTiming::StallRange { .. })));
        let drift = Settings { clock_drift_ppm: 0, ..Settings::default() };
        assert!(matches!(Timing::new(&drift), Err(BadTiming::DriftRange { .. })));
    }

    #[test]
    fn a_margin_is_never_nothing() {
        assert_eq!(drift_margin(Span(10), 5_000), Span(1));
        assert_eq!(drift_margin(Span::from_secs(3), 5_000), Span::from_millis(30));
    }

    #[test]
    fn a_longer_right_has_a_longer_margin_and_a_shorter_lease_shorter_budgets() {
        let timing = of_millis(3_000).expect("safe");
        assert_eq!(timing.margin_of(Span::from_millis(600)), timing.margin);
        assert_eq!(timing.margin_of(Span::from_secs(6)), timing.margin * 2);
        let longer = of_millis(6_000).expect("safe");
        assert!(timing.margin_of(longer.lease_ttl) >= longer.margin);
        assert_eq!(timing.within(timing.kill_budget, Span::from_secs(6)), timing.kill_budget);
        let shorter = of_millis(600).expect("safe");
        assert_eq!(timing.within(timing.kill_budget, shorter.lease_ttl), shorter.kill_budget);
        assert_eq!(timing.within(timing.beat_master, Span(1)), Span(1).max(timing.beat_master / 3_000_000));
    }

    #[test]
    fn a_worst_case_is_the_sum_of_its_parts() {
        let timing = of_millis(3_000).expect("safe");
        assert_eq!(timing.worst_outage(FailureClass::Silent), Span::from_millis(3_000 + 250 + 750 + 1_500));
        let longer = timing.worst_outage(FailureClass::SilentWithArbiter);
        assert!(longer > timing.worst_outage(FailureClass::Silent));
        let alone = timing.worst_outage(FailureClass::AloneWithArbiter);
        assert_eq!(alone, Span::from_millis(3_000 + 1_500 + 1_000 + 3_000 + 250 + 750 + 1_500));
    }
}
