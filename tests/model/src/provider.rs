//! The provider as the model has it: one record under compare-and-set, the lock with its epoch, everything on a clock of
//! its own. It decides what the stateboard decides and nothing more; whether a term may follow another is left to the
//! arbiter, so that I1 is checked and not enforced here.
//!
//! It must not know what an arbiter does with an answer.

use baton_core::arbiter::WriteOutcome;
use baton_core::ids::{Epoch, InstanceName, Term, Version};
use baton_core::record::Record;
use baton_core::rules::{Rule, Rules};
use baton_core::time::{Span, Time};
use baton_oracle::{i1, i6};

/// A write that an arbiter asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Under which epoch.
    pub epoch: Epoch,
    /// The version that must be there.
    pub expected: Option<Version>,
    /// What shall be there.
    pub record: Record,
}

/// The lock's answer to a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The new epoch, or the old one where its holder came back.
    pub epoch: Epoch,
    /// How long an earlier holder, or a grant of one, could still be believed.
    pub predecessor_bound: Span,
}

/// One run of an arbiter: what it knew is gone with it, so that a later run is another contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The arbiter, by its index.
    pub arbiter: usize,
    /// Counts its runs.
    pub run: u64,
}

/// The state provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Provider {
    /// The record.
    pub record: Option<Record>,
    /// Every appointment that was ever durable.
    pub appointed: Vec<(Term, InstanceName)>,
    /// The epoch that was given last.
    pub epoch: Epoch,
    /// Who holds the lock.
    pub holder: Option<Holder>,
    /// The holder's connection closed: whoever asks next has the lock.
    pub closed: bool,
    /// It is down, and answers nobody.
    pub down: bool,
    /// An applied change broke I1.
    pub broke_i1: bool,
    /// An applied change broke I6.
    pub broke_i6: bool,
    believed_until: Time,
    bound: Time,
    rules: Rules,
    /// A lock may be taken for expired at any moment.
    pub timeless: bool,
}

impl Provider {
    /// A provider that nobody used. It keeps these rules. `timeless`: a lock may be
    /// taken for expired at any moment, and nobody is waited for.
    #[must_use]
    pub fn new(rules: Rules, timeless: bool) -> Self {
        Self {
            record: None,
            appointed: Vec::new(),
            epoch: Epoch { generation: 1, number: 0 },
            holder: None,
            closed: false,
            down: false,
            broke_i1: false,
            broke_i6: false,
            believed_until: Time(0),
            bound: Time(0),
            rules,
            timeless,
        }
    }

    /// Whether the next contender would get the lock.
    #[must_use]
    pub fn is_free(&self, now: Time) -> bool {
        self.holder.is_none() || self.closed || self.believed_until <= now || self.timeless
    }

    /// The arbiter that holds the lock.
    #[must_use]
    pub fn holding(&self) -> Option<usize> {
        self.holder.map(|holder| holder.arbiter)
    }

    /// Its holder gives the lock up, and says for how long its last grant lives.
    pub fn resign(&mut self, now: Time, holder: Holder, last_grant: Span) {
        if self.holder == Some(holder) {
            let earlier = if self.rules.keep(Rule::KeepEarlierBounds) { self.bound } else { now };
            self.bound = earlier.max(now + last_grant);
            self.believed_until = now;
            self.holder = None;
            self.closed = false;
        }
    }

    /// It comes back with what is durable: the holder, its epoch and the longest ttl, from which everything is counted anew.
    pub fn restart(&mut self, now: Time, ttl: Span) {
        self.down = false;
        if self.holder.is_some() {
            self.closed = false;
            self.believed_until = now + ttl;
        }
        self.bound = self.bound.max(now + ttl);
    }

    /// Gives a free lock to `arbiter`, or back to the holder of the current epoch.
    pub fn campaign(&mut self, now: Time, arbiter: Holder, ttl: Span) -> Option<Granted> {
        if self.holder != Some(arbiter) {
            if !self.is_free(now) {
                return None;
            }
            // The latest over all earlier holders, not only the last.
            self.bound = self.bound.max(self.believed_until);
            self.epoch.number += 1;
            self.holder = Some(arbiter);
        }
        self.closed = false;
        self.believed_until = now + ttl;
        let tells = !self.timeless && self.rules.keep(Rule::TellPredecessorBound);
        let bound = if tells { self.bound.since(now) } else { Span::ZERO };
        Some(Granted { epoch: self.epoch, predecessor_bound: bound })
    }

    /// Extends the holder's lock; `false` where it is another's, or must be asked for anew.
    pub fn renew(&mut self, now: Time, arbiter: Holder, ttl: Span) -> bool {
        let held = self.holder == Some(arbiter) && !self.closed;
        if held {
            self.believed_until = now + ttl;
        }
        held
    }

    /// Applies a write on `(epoch is current) and (version is as expected)`.
    pub fn write(&mut self, request: Request) -> WriteOutcome {
        if request.epoch != self.epoch && self.rules.keep(Rule::WriteUnderEpoch) {
            return WriteOutcome::StaleEpoch;
        }
        let stands = self.record.as_ref().map(|record| record.version) == request.expected;
        if !stands && self.rules.keep(Rule::WriteFromVersion) {
            return WriteOutcome::Conflict(self.record.clone().map(Box::new));
        }
        let record = request.record;
        self.broke_i6 |= i6::check_write(self.epoch, record.epoch).is_err();
        self.broke_i1 |= self.record.as_ref().is_some_and(|before| i1::check_step(before, &record).is_err());
        if let Some(master) = &record.master {
            let appointment = (record.term, master.clone());
            if self.appointed.last() != Some(&appointment) {
                self.appointed.push(appointment);
            }
        }
        self.record = Some(record);
        WriteOutcome::Applied
    }

    /// Moves every time back.
    pub fn rebase(&mut self, by: Span) {
        self.believed_until = self.believed_until.folded(by);
        self.bound = self.bound.folded(by);
    }
}
