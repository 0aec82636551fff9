//! The arbiter's lock: who holds it, who is next, and until when anybody before could believe in it.

use crate::board::Board;
use crate::message::{Action, Resume, SessionId, SessionMessage, Write};
use crate::outcome::{Refusal, RefusalReason, WriteOutcome};
use crate::rules;
use crate::state::DurableLock;
use crate::watch::Item;
use baton_core::contender::Bid;
use baton_core::ids::{CoordinatorName, Endpoint, Epoch};
use baton_core::record::MovePhase;
use baton_core::rules::Rule;
use baton_core::time::{Span, Time};
use baton_core::timing::Timing;
use std::collections::VecDeque;
use std::fmt;

/// Who wants the lock, and where the guards and routers find it once it has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Candidate {
    /// Its name.
    pub coordinator: CoordinatorName,
    /// Where it is reached.
    pub address: Endpoint,
}

/// By which a holder is known again. Drawn by the shell for each hand-over.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LockSecret(pub u128);

impl fmt::Debug for LockSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockSecret")
    }
}

/// What the holder of a lock shows with every change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LockToken {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its secret.
    pub secret: LockSecret,
}

/// The lock as everybody may see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockView {
    /// The epoch that was given last.
    pub epoch: Epoch,
    /// Who took it and has not resigned. It may have expired or lost its connection meanwhile.
    pub holder: Option<Candidate>,
    /// Who hears how many guards in this epoch: the holder's call, or the bid that answers it. A hint, by which nobody gets
    /// a right: it is not durable.
    pub bid: Option<Bid>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiter {
    session: SessionId,
    candidate: Candidate,
    secret: LockSecret,
}

/// How the holder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Hold {
    /// Nobody holds it, or the holder's connection is gone: the next in line takes it, or the same holder resumes.
    Free,
    /// The board was restarted: kept for the recorded holder until this moment.
    Reserved(Time),
    /// Held over this connection, until this moment unless it renews.
    Held(SessionId, Time),
}

/// The lock and its line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lock {
    pub(crate) durable: DurableLock,
    hold: Hold,
    /// Until when the recorded holder could believe in its lock.
    believed_until: Time,
    /// Until when any holder before it could, or a grant of one that resigned lives: the latest over all of them.
    bound: Time,
    waiting: VecDeque<Waiter>,
    /// Of the current epoch.
    bid: Option<Bid>,
}

impl Lock {
    /// The lock after a start at `now`. No renewal survives a restart, so the longest ttl ever given counts from now,
    /// for the recorded holder and for all before it.
    pub(crate) fn restarted(durable: DurableLock, now: Time) -> Self {
        let never_taken = durable.epoch.number == 0;
        let until = if never_taken { now } else { now + durable.longest_ttl };
        let hold = if durable.holder.is_some() { Hold::Reserved(until) } else { Hold::Free };
        Self { durable, hold, believed_until: until, bound: until, waiting: VecDeque::new(), bid: None }
    }

    pub(crate) fn view(&self) -> LockView {
        LockView {
            epoch: self.durable.epoch,
            holder: self.durable.holder.as_ref().map(|(candidate, _)| candidate.clone()),
            bid: self.bid.clone(),
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a request with this token comes from the holder of the current epoch. An expired lock that nobody took
    /// is still the current one: the write is safe, since whoever takes over reads after it.
    pub(crate) fn is_current(&self, token: LockToken) -> bool {
        token.epoch == self.durable.epoch
            && self.durable.holder.as_ref().is_some_and(|(_, secret)| *secret == token.secret)
    }

    fn is_free(&self, now: Time) -> bool {
        match self.hold {
            Hold::Free => true,
            Hold::Reserved(until) | Hold::Held(_, until) => until <= now,
        }
    }

    /// Somebody whom this board does not know may believe in a lock for so long.
    pub(crate) fn wait_for_others(&mut self, now: Time, span: Span) {
        self.bound = self.bound.max(now + span);
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        if self.waiting.is_empty() {
            return None;
        }
        match self.hold {
            Hold::Free => None,
            Hold::Reserved(until) | Hold::Held(_, until) => Some(until),
        }
    }
}

impl Board {
    /// The lock's ttl by the settings. They were checked when they were put; where they cannot be derived (a file of
    /// another version), the longest ttl ever given is the safe answer.
    pub(crate) fn lock_ttl(&self) -> Span {
        Timing::derive(self.settings.lease_ttl, self.settings.stall_timeout, self.settings.clock_drift_ppm)
            .map_or(self.lock.durable.longest_ttl, |timing| timing.lock_ttl)
    }

    pub(crate) fn campaign(
        &mut self,
        session: SessionId,
        candidate: Candidate,
        resume: Option<Resume>,
        secret: LockSecret,
    ) {
        if self.settings.phase() == Some(MovePhase::Moved)
            && let Some(refusal) = self.standstill()
        {
            let current = self.lock.durable.epoch;
            let lost = resume.is_some_and(|resume| resume.only);
            let message =
                if lost { SessionMessage::Lost { current } } else { SessionMessage::Refused(refusal) };
            return self.tell(session, message);
        }
        if let Some(resume) = resume {
            if self.lock.is_current(resume.token) {
                return self.resume(session, resume);
            }
            if resume.only {
                return self.tell(session, SessionMessage::Lost { current: self.lock.durable.epoch });
            }
        }
        if self.lock.waiting.len() >= self.limits.waiting {
            let detail = format!("{} candidates wait in line already", self.lock.waiting.len());
            let refusal = Refusal::new(RefusalReason::Limit, None, detail);
            return self.tell(session, SessionMessage::Refused(refusal));
        }
        if candidate.address.0.len() > self.limits.text_bytes {
            let refusal = Refusal::new(RefusalReason::Limit, None, "the candidate's address is too long");
            return self.tell(session, SessionMessage::Refused(refusal));
        }
        self.lock.waiting.push_back(Waiter { session, candidate, secret });
    }

    /// The holder is back, on another connection: its epoch was taken by nobody, so it goes on.
    fn resume(&mut self, session: SessionId, resume: Resume) {
        if let Hold::Held(old, _) = self.lock.hold
            && old != session
        {
            self.tell(old, SessionMessage::Lost { current: self.lock.durable.epoch });
        }
        let ttl = self.extend(session);
        let predecessor_bound = self.lock.bound.since(self.now);
        self.tell(
            session,
            SessionMessage::Granted { token: resume.token, ttl, predecessor_bound, resumed: true },
        );
    }

    /// Counts a full ttl from now.
    fn extend(&mut self, session: SessionId) -> Span {
        let ttl = self.lock_ttl();
        // `put_settings` made the longest ttl durable before this one could be given.
        assert!(ttl <= self.lock.durable.longest_ttl, "a ttl is durable before it is given");
        // Later renewals may carry a shorter ttl (the settings changed); the earlier belief stands until it is over.
        self.lock.believed_until = self.lock.believed_until.max(self.now + ttl);
        self.lock.hold = Hold::Held(session, self.lock.believed_until);
        ttl
    }

    pub(crate) fn renew(&mut self, session: SessionId) {
        let held_here = matches!(self.lock.hold, Hold::Held(holder, _) if holder == session);
        if !held_here {
            return self.tell(session, SessionMessage::Lost { current: self.lock.durable.epoch });
        }
        let ttl = self.extend(session);
        self.tell(session, SessionMessage::Renewed { ttl });
    }

    pub(crate) fn resign(&mut self, session: SessionId, last_grant_remaining: Span) {
        self.lock.waiting.retain(|waiter| waiter.session != session);
        if matches!(self.lock.hold, Hold::Held(holder, _) if holder == session) {
            // No grant outlives the granter's lock, so what is told is cut to what can be; less than told would be
            // unsafe, and the longest ttl is never less.
            let grant = last_grant_remaining.min(self.lock.durable.longest_ttl);
            let earlier = if self.keep(Rule::KeepEarlierBounds) { self.lock.bound } else { self.now };
            self.lock.bound = earlier.max(self.now + grant);
            self.lock.believed_until = self.now;
            self.lock.hold = Hold::Free;
            self.lock.durable.holder = None;
            self.commit_lock();
        }
        self.tell(session, SessionMessage::Resigned);
    }

    pub(crate) fn closed(&mut self, session: SessionId) {
        self.lock.waiting.retain(|waiter| waiter.session != session);
        if matches!(self.lock.hold, Hold::Held(holder, _) if holder == session) {
            self.lock.hold = Hold::Free;
        }
    }

    /// Gives a free lock to the first in line.
    pub(crate) fn hand_over(&mut self) {
        // A copy that is being made knows nothing of an epoch that is given meanwhile.
        if self.standstill().is_some() || !self.lock.is_free(self.now) {
            return;
        }
        let Some(waiter) = self.lock.waiting.pop_front() else { return };
        let before = self.lock.hold;
        self.lock.bound = self.lock.bound.max(self.lock.believed_until);
        if !self.keep(Rule::TellPredecessorBound) {
            self.lock.bound = self.now;
        }
        self.lock.durable.epoch.number += 1;
        self.lock.durable.holder = Some((waiter.candidate, waiter.secret));
        self.lock.bid = None;
        let ttl = self.lock_ttl();
        self.lock.durable.longest_ttl = self.lock.durable.longest_ttl.max(ttl);
        self.commit_lock();
        if let Hold::Held(old, _) = before {
            self.tell(old, SessionMessage::Lost { current: self.lock.durable.epoch });
        }
        self.lock.believed_until = self.now + ttl;
        self.lock.hold = Hold::Held(waiter.session, self.lock.believed_until);
        let token = LockToken { epoch: self.lock.durable.epoch, secret: waiter.secret };
        let predecessor_bound = self.lock.bound.since(self.now);
        self.tell(waiter.session, SessionMessage::Granted { token, ttl, predecessor_bound, resumed: false });
    }

    /// The state was moved away: whoever holds the lock or waits for it is told so.
    pub(crate) fn end_all_candidates(&mut self) {
        if let Hold::Held(holder, _) = self.lock.hold {
            self.tell(holder, SessionMessage::Lost { current: self.lock.durable.epoch });
        }
        self.lock.hold = Hold::Free;
        let Some(refusal) = self.standstill() else { return };
        for waiter in std::mem::take(&mut self.lock.waiting) {
            self.tell(waiter.session, SessionMessage::Refused(refusal.clone()));
        }
    }

    /// Puts a call or a bid beside the lock, or takes away what stands there. Asked for under the epoch alone: whoever bids does
    /// not hold the lock.
    pub(crate) fn put_bid(&mut self, epoch: Epoch, expected: u64, bid: Option<Bid>) -> WriteOutcome {
        if let Some(refusal) = self.standstill() {
            return WriteOutcome::Refused(refusal);
        }
        if epoch != self.lock.durable.epoch {
            return WriteOutcome::StaleEpoch(self.lock.durable.epoch);
        }
        if let Err(refusal) = rules::check_bid(&self.limits, self.lock.bid.as_ref(), expected, bid.as_ref()) {
            return WriteOutcome::Refused(refusal);
        }
        self.lock.bid = bid.map(|bid| Bid { number: expected.saturating_add(1), ..bid });
        self.commit_lock();
        WriteOutcome::Applied(self.revision)
    }

    fn commit_lock(&mut self) {
        let view = self.lock.view();
        self.commit(vec![Write::Lock(self.lock.durable.clone())], vec![Item::Lock(view)]);
    }

    fn tell(&mut self, session: SessionId, message: SessionMessage) {
        self.emit(Action::Session { session, message });
    }
}
