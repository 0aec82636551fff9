//! A lease that becomes longer or shorter while a right is in force, in each order in which guard, arbiter and members learn
//! of it.

use super::*;

const DEFAULT: u64 = 3_000;

fn of(lease_ms: u64) -> Timing {
    let lease_ttl = Span::from_millis(lease_ms);
    // Both leases of every test were in force at some time.
    let longest_lease = Span::from_secs(60);
    Timing::new(&Settings { lease_ttl, longest_lease, ..Settings::default() }).expect("it is safe")
}

fn at(millis: u64) -> Time {
    Time(millis * 1_000)
}

impl Hand {
    fn learns(&mut self, now: Time, lease_ms: u64) {
        self.step(now, Input::Settings { timing: Box::new(of(lease_ms)), failsafe: true });
    }

    fn granted_by(&mut self, now: Time, beat: Time, lease_ms: u64) {
        let (ttl, lease) = (Span::from_millis(lease_ms), Span::from_millis(lease_ms));
        let grant =
            Grant { beat, incarnation: incarnation(), epoch: EPOCH, term: Term(1), ttl, lease, pinned: None };
        self.step(now, Input::FromArbiter(ToGuard::Grant(grant)));
    }

    fn leads(&self) -> bool {
        self.guard.writable_at().is_some()
    }

    fn deadline(&self) -> Time {
        let armed = self.actions.iter().rev().find_map(|action| match action {
            Action::Arm { deadline, .. } => Some(*deadline),
            _ => None,
        });
        armed.expect("it was armed")
    }

    /// Beats whenever it wants to until then, each beat granted by an arbiter that reckons with this lease; whether it still
    /// leads.
    fn goes_on(&mut self, mut now: Time, until: Time, lease_ms: u64) -> bool {
        while now < until {
            let beats = |hand: &Self| hand.actions.iter().filter(|it| matches!(it, Action::Beat(_))).count();
            let before = beats(self);
            self.step(now, Input::Tick);
            if beats(self) > before {
                self.granted_by(now + Span(1_000), now, lease_ms);
            }
            let next = self.guard.next_deadline().expect("it runs");
            now = next.max(now + Span(2_000));
        }
        self.leads()
    }
}

#[test]
fn a_change_moves_neither_the_fence_nor_the_kill_of_a_right_in_force() {
    for lease in [300, 600, 30_000] {
        let mut hand = master(Time(0));
        let before = (hand.guard.usable_until(), hand.right(), hand.deadline());
        hand.learns(at(100), lease);
        assert_eq!((hand.guard.usable_until(), hand.right(), hand.deadline()), before, "{lease}");
        let fence = before.0.expect("it has a right");
        hand.step(Time(fence.0 - 1), Input::Tick);
        assert!(hand.leads(), "{lease}: not before its time");
        hand.step(fence, Input::Tick);
        assert!(!hand.leads(), "{lease}: and not after it");
    }
}

#[test]
fn a_longer_grant_counts_wholly_before_the_guard_knows_of_the_longer_lease() {
    let mut hand = master(Time(0));
    hand.granted_by(at(600), at(500), 30_000);
    let (own, theirs) = (of(DEFAULT), of(30_000));
    let end = (at(500) + theirs.lease_ttl).back(theirs.margin);
    assert_eq!(hand.right(), Some(end), "with the margin of its own length");
    assert_eq!(hand.deadline(), end.back(own.kill_budget));
}

#[test]
fn a_longer_grant_counts_wholly_after_the_guard_knows_of_the_shorter_lease() {
    let mut hand = master(Time(0));
    hand.learns(at(400), 600);
    hand.granted_by(at(600), at(500), DEFAULT);
    let end = (at(500) + of(DEFAULT).lease_ttl).back(of(600).margin_of(of(DEFAULT).lease_ttl));
    assert!(of(600).margin_of(of(DEFAULT).lease_ttl) >= of(DEFAULT).margin);
    assert_eq!(hand.right(), Some(end));
}

#[test]
fn a_master_goes_on_whoever_learns_first_of_a_shorter_lease_or_a_longer_one() {
    for (first, then) in [(DEFAULT, 600), (DEFAULT, 300), (DEFAULT, 10_000), (DEFAULT, 60_000)] {
        // The arbiter alone knows, for long.
        let mut hand = master(Time(0));
        assert!(hand.goes_on(at(100), at(70_000), then), "{first} to {then}: the arbiter first");
        hand.learns(at(70_000), then);
        assert!(hand.goes_on(at(70_000), at(140_000), then), "{first} to {then}: and then the guard");
        // The guard alone knows.
        let mut hand = master(Time(0));
        hand.learns(at(100), then);
        assert!(hand.goes_on(at(100), at(70_000), first), "{first} to {then}: the guard first");
        assert!(hand.goes_on(at(70_000), at(140_000), then), "{first} to {then}: and then the arbiter");
    }
}

#[test]
fn a_grant_that_the_lock_cut_short_shortens_no_budget() {
    let mut hand = master(Time(0));
    let (ttl, lease) = (Span::from_millis(2_600), of(DEFAULT).lease_ttl);
    let grant = Grant {
        beat: at(500),
        incarnation: incarnation(),
        epoch: EPOCH,
        term: Term(1),
        ttl,
        lease,
        pinned: None,
    };
    hand.step(at(600), Input::FromArbiter(ToGuard::Grant(grant)));
    let end = (at(500) + ttl).back(of(DEFAULT).margin);
    assert_eq!(
        hand.guard.usable_until(),
        Some(end.back(of(DEFAULT).kill_budget).back(of(DEFAULT).fence_budget))
    );
}

#[test]
fn a_pin_is_given_up_for_a_lease_that_an_arbiter_knows() {
    let mut hand = master(Time(0));
    let (ttl, lease) = (Span::from_secs(3_600), of(DEFAULT).lease_ttl);
    let (beat, incarnation, pinned) = (at(500), incarnation(), Some(Version(1)));
    let grant = Grant { beat, incarnation, epoch: EPOCH, term: Term(1), ttl, lease, pinned };
    hand.step(at(600), Input::FromArbiter(ToGuard::Grant(grant)));
    // The arbiter waits for the longest lease that it knows of, which need not be this one yet.
    hand.learns(at(700), 60_000);
    let order = Order::Unpin;
    let directive = Directive { incarnation, epoch: EPOCH, version: Version(2), term: Term(1), order };
    hand.step(at(10_000), Input::FromArbiter(ToGuard::Directive(directive)));
    assert!(hand.right() <= Some(at(10_000) + lease), "{:?}", hand.right());
    // A grant that was under way for the pin counts for its arbiter's lease alone.
    hand.step(at(10_100), Input::FromArbiter(ToGuard::Grant(Grant { beat: at(9_900), ..grant })));
    assert!(hand.right() <= Some(at(10_000) + lease), "{:?}", hand.right());
}

#[test]
fn a_promise_that_was_asked_for_by_a_longer_lease_keeps_the_margin_of_its_length() {
    let mut hand = master(Time(0));
    hand.learns(at(1_000), 600);
    for from in ["a2", "a3"] {
        hand.promise(at(1_100), from, at(900));
    }
    let ttl = of(DEFAULT).lease_ttl;
    let end = (at(900) + ttl).back(of(600).margin_of(ttl));
    assert_eq!(hand.right(), Some(end), "{:?}", hand.guard.rests_on_promises());
}

#[test]
fn a_member_with_a_shorter_lease_is_asked_at_its_pace() {
    let mut hand = master(Time(0));
    hand.step(at(100), Input::Detached);
    let short =
        |asked_at| Promise { incarnation: incarnation(), asked_at, term: Term(1), ttl: of(600).lease_ttl };
    let mut now = at(1_000);
    while now < at(20_000) {
        hand.step(now, Input::Tick);
        let asked: Vec<_> = std::mem::take(&mut hand.actions)
            .into_iter()
            .filter_map(|action| match action {
                Action::Ask { to, ask } => Some((to, ask.beat.sent_at)),
                _ => None,
            })
            .collect();
        for (from, asked_at) in asked {
            let answer = Box::new(PeerAnswer::Promise(short(asked_at)));
            hand.step(now + Span(1_000), Input::Answered { from, answer });
        }
        now = hand.guard.next_deadline().expect("it runs").max(now + Span(2_000));
    }
    assert!(hand.leads() && hand.guard.rests_on_promises());
}

#[test]
fn a_promise_is_for_the_shorter_of_what_is_asked_and_the_own_lease() {
    for (own, asked, given) in [(600, DEFAULT, 600), (30_000, DEFAULT, DEFAULT)] {
        let mut hand = directed(probe(false), Order::Relinquish);
        hand.persisted(Time(0));
        hand.persisted(Time(0));
        hand.learns(at(1), own);
        hand.step(at(1), Input::Detached);
        hand.is_asked_for(at(2), 2, Span::from_millis(asked));
        // A beat of the shorter of the two: the master cannot wait for longer.
        let silent = at(1) + of(given).beat_master;
        hand.step(silent, Input::Tick);
        hand.persisted(silent);
        let promised = Span::from_millis(given);
        assert!(
            matches!(hand.answers()[..], [PeerAnswer::Promise(Promise { ttl, .. })] if *ttl == promised),
            "{own} {asked}: {:?}",
            hand.answers()
        );
        assert_eq!(hand.guard.held_until(), silent + promised);
    }
}

#[test]
fn the_new_pace_holds_from_the_moment_of_the_change() {
    let mut hand = directed(probe(false), Order::Relinquish);
    hand.learns(at(100), 300);
    let beats = hand.actions.iter().filter(|action| matches!(action, Action::Beat(_))).count();
    assert!(beats > 0);
    assert!(hand.guard.next_deadline() <= Some(at(100) + of(300).beat_replica));
}
