//! A coordinator that is not the arbiter while the arbiter hears too few: it makes itself heard, or stands back for one that
//! is heard by more (design, *Operators*: the arbiter that hears too few).
//!
//! The arbiter calls, in the provider; whoever cannot reach it answers there with a bid; the others that cannot reach it knock
//! at the bidder, which counts them and bids again. The arbiter gives its lock up for a bid that hears more than itself, and
//! until that has had its chance nobody else wants the lock. Nothing of this touches safety: a lock that is given up is given
//! up as ever, and a bid gives no right.
//!
//! It must not know how a knock travels, or where bids are kept.

use crate::ids::{CoordinatorName, Endpoint, Epoch};
use crate::time::{Span, Time};
use crate::timing::Timing;
use std::collections::{BTreeMap, VecDeque};

/// Who hears how many guards, in an epoch of the lock. That of the lock's holder is its call: it hears too few.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bid {
    /// Who says so.
    pub by: CoordinatorName,
    /// Where it is reached.
    pub address: Endpoint,
    /// How many guards it hears.
    pub hears: u32,
    /// Set by the provider: one above that of the bid before it, 1 for the first.
    pub number: u64,
}

/// The lock as the provider tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SeenLock {
    /// The epoch that was given last.
    pub epoch: Epoch,
    /// Who took it and has not resigned.
    pub holder: Option<CoordinatorName>,
    /// The call or the bid that stands.
    pub bid: Option<Bid>,
}

/// Everything that a contender can be told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A deadline has come.
    Tick,
    /// The lock, or what stands beside it, has changed.
    Lock(SeenLock),
    /// Whether this host is attached to the active arbiter.
    Attached(bool),
    /// A coordinator that cannot reach the arbiter reaches us, with so many guards.
    Knocked {
        /// Who.
        by: CoordinatorName,
        /// How many guards it has.
        guards: u32,
    },
    /// Whether our knock was heard.
    Answered(bool),
}

/// Everything that a contender can ask of its driver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Put a bid in the provider, in this epoch, in place of the one with this number (0: none). It need not be answered:
    /// what stands is seen.
    Bid {
        /// In which epoch.
        epoch: Epoch,
        /// What must stand there now.
        expected: u64,
        /// How many guards are heard.
        hears: u32,
    },
    /// Knock; answer with [`Input::Answered`].
    Knock {
        /// Where.
        address: Endpoint,
    },
}

/// Who knocked is forgotten beyond so many hosts: the largest clusters have fewer.
const KNOCKS_MAX: usize = 16_384;

/// The machine. Drive it as the crate's contract says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contender {
    me: CoordinatorName,
    /// How many guards this host has.
    guards: u32,
    /// Whether it may be the arbiter at all; if not, it only knocks.
    contends: bool,
    /// A lease. Who is detached for half of it is cut off: the stream was silent for up to another before that.
    patience: Span,
    /// How long a bid waits for those that knock.
    bid_wait: Span,
    /// How long others stand back for a bid: the lock and a lease.
    stand_back: Span,
    lock: Option<SeenLock>,
    /// Since when the holder is the one that it is.
    held_since: Time,
    /// Since when the bid is the one that it is.
    bid_since: Time,
    detached_since: Option<Time>,
    knocks: BTreeMap<CoordinatorName, (u32, Time)>,
    /// Since when the bidder hears none of our knocks.
    unheard_since: Option<Time>,
    knock_at: Time,
    bid_at: Time,
    actions: VecDeque<Action>,
}

impl Contender {
    /// One that has seen nothing yet. `guards` is how many this host has.
    #[must_use]
    pub fn new(now: Time, me: CoordinatorName, guards: u32, contends: bool, timing: &Timing) -> Self {
        let mut contender = Self {
            me,
            guards,
            contends,
            patience: Span::ZERO,
            bid_wait: Span::ZERO,
            stand_back: Span::ZERO,
            lock: None,
            held_since: now,
            bid_since: now,
            detached_since: Some(now),
            knocks: BTreeMap::new(),
            unheard_since: None,
            knock_at: now,
            bid_at: now,
            actions: VecDeque::new(),
        };
        contender.take_timing(timing);
        contender
    }

    /// The settings have changed.
    pub fn take_timing(&mut self, timing: &Timing) {
        (self.patience, self.bid_wait) = (timing.lease_ttl, timing.bid_wait);
        self.stand_back = stand_back(timing);
    }

    /// Takes one input in.
    pub fn step(&mut self, now: Time, input: Input) {
        match input {
            Input::Tick => {}
            Input::Lock(lock) => self.lock_seen(now, lock),
            Input::Attached(true) => self.detached_since = None,
            Input::Attached(false) => self.detached_since = self.detached_since.or(Some(now)),
            Input::Knocked { by, guards } => {
                if self.knocks.len() < KNOCKS_MAX || self.knocks.contains_key(&by) {
                    self.knocks.insert(by, (guards, now));
                }
            }
            Input::Answered(heard) => {
                self.unheard_since = if heard { None } else { self.unheard_since.or(Some(now)) };
            }
        }
        self.look(now);
    }

    /// The next action, in order.
    pub fn pop_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Contender::step`] must be called again, at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let cut_off = self.cut_off_at()?;
        let bid = self.bid()?;
        if self.is_mine(bid) {
            return self.contends.then_some(cut_off.max(self.bid_at));
        }
        let knock = self.is_bid(bid).then_some(self.knock_at);
        let bid = self.contends.then_some(self.bid_at);
        knock.into_iter().chain(bid).min().map(|at| at.max(cut_off))
    }

    /// Whether the lock may be campaigned for now: not while another's bid has its chance.
    #[must_use]
    pub fn may_campaign(&self, now: Time) -> bool {
        self.campaign_from().is_none_or(|from| now >= from)
    }

    /// From when on it may be, where it may not now or was not a moment ago.
    #[must_use]
    pub fn campaign_from(&self) -> Option<Time> {
        let bid = self.bid().filter(|bid| self.is_bid(bid) && !self.is_mine(bid))?;
        (bid.hears > 0).then_some(self.bid_since + self.stand_back)
    }

    fn bid(&self) -> Option<&Bid> {
        self.lock.as_ref()?.bid.as_ref()
    }

    fn is_mine(&self, bid: &Bid) -> bool {
        bid.by == self.me
    }

    /// A contender's, not the holder's call.
    fn is_bid(&self, bid: &Bid) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.holder.as_ref() != Some(&bid.by))
    }

    fn lock_seen(&mut self, now: Time, lock: SeenLock) {
        let before = self.lock.replace(lock);
        let lock = self.lock.as_ref();
        let holder = |lock: &SeenLock| (lock.epoch, lock.holder.clone());
        if before.as_ref().map(holder) != lock.map(holder) {
            self.held_since = now;
            self.knocks.clear();
        }
        let bid = |lock: &SeenLock| lock.bid.clone();
        let (before, after) = (before.as_ref().and_then(bid), lock.and_then(bid));
        if before != after {
            self.bid_since = now;
            let mine = after.as_ref().is_some_and(|bid| self.is_mine(bid));
            // The hosts of a large cluster do not all answer one call in one moment; whoever has bid waits for those that knock.
            self.bid_at = now + if mine { self.bid_wait } else { self.spread() };
            let same = before.map(|bid| bid.by) == after.map(|bid| bid.by);
            if !same {
                (self.unheard_since, self.knock_at) = (None, now);
            }
        }
    }

    /// From when on it counts as cut off from an arbiter that holds the lock; `None`: it is attached, or there is none.
    fn cut_off_at(&self) -> Option<Time> {
        let holder = self.lock.as_ref()?.holder.as_ref()?;
        let since = self.detached_since?.max(self.held_since);
        (*holder != self.me).then_some(since + self.patience / 2)
    }

    fn look(&mut self, now: Time) {
        let is_cut_off = self.cut_off_at().is_some_and(|at| now >= at);
        let (Some(lock), true) = (self.lock.clone(), is_cut_off) else { return };
        let Some(bid) = &lock.bid else { return };
        if self.is_bid(bid) && !self.is_mine(bid) && now >= self.knock_at {
            self.knock_at = now + self.patience / 2;
            self.actions.push_back(Action::Knock { address: bid.address.clone() });
        }
        if !self.contends || now < self.bid_at {
            return;
        }
        let hears = self.hears(now);
        let wanted = if self.is_mine(bid) {
            hears != bid.hears || now >= self.bid_since + self.stand_back
        } else if self.is_bid(bid) {
            let unheard = self.unheard_since.is_some_and(|since| now >= since + self.patience);
            hears > bid.hears || unheard && hears == bid.hears
        } else {
            // A call: somebody has to begin, or there is nobody to knock at.
            true
        };
        self.bid_at = now + self.patience / 2;
        if wanted {
            self.actions.push_back(Action::Bid { epoch: lock.epoch, expected: bid.number, hears });
        }
    }

    /// How many guards are heard: our own, and those of whoever knocked lately.
    fn hears(&mut self, now: Time) -> u32 {
        let lately = self.patience * 2;
        self.knocks.retain(|_, (_, at)| now.since(*at) <= lately);
        let knocked = self.knocks.values().map(|(guards, _)| *guards);
        knocked.fold(self.guards, u32::saturating_add)
    }

    /// A part of the patience that is another for each name.
    fn spread(&self) -> Span {
        let hash = self.me.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Span((hash >> 32) % (self.patience.0 / 8).max(1))
    }
}

/// For how long a bid keeps others from the lock, and between two calls: the lock and a lease.
#[must_use]
pub fn stand_back(timing: &Timing) -> Span {
    timing.lock_ttl + timing.lease_ttl
}

#[cfg(test)]
mod tests;
