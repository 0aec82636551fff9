//! One contender, a provider and others that are acted.

use super::{Action, Bid, Contender, Input, SeenLock, stand_back};
use crate::ids::{CoordinatorName, Endpoint, Epoch};
use crate::record::Settings;
use crate::time::{Span, Time};
use crate::timing::Timing;

const EPOCH: Epoch = Epoch { generation: 1, number: 7 };

fn name(name: &str) -> CoordinatorName {
    CoordinatorName::parse(name).expect("a good name")
}

fn timing() -> Timing {
    Timing::new(&Settings::default()).expect("safe")
}

fn lease() -> Span {
    timing().lease_ttl
}

/// What stands beside the lock of `arbiter`.
fn lock(bid: Option<(&str, u32, u64)>) -> Input {
    let bid = bid.map(|(by, hears, number)| Bid {
        by: name(by),
        address: Endpoint(format!("{by}:1").into()),
        hears,
        number,
    });
    Input::Lock(SeenLock { epoch: EPOCH, holder: Some(name("arbiter")), bid })
}

struct World {
    contender: Contender,
    now: Time,
}

impl World {
    /// Cut off for long, with two guards.
    fn cut_off(contends: bool) -> Self {
        let contender = Contender::new(Time(0), name("b"), 2, contends, &timing());
        let mut world = Self { contender, now: Time(0) };
        assert_eq!(world.step(lock(None)), []);
        assert_eq!(world.run(lease() * 10), [], "nobody has called");
        world
    }

    fn step(&mut self, input: Input) -> Vec<Action> {
        self.contender.step(self.now, input);
        std::iter::from_fn(|| self.contender.pop_action()).collect()
    }

    fn run(&mut self, span: Span) -> Vec<Action> {
        let end = self.now + span;
        let mut asked = Vec::new();
        while let Some(at) = self.contender.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            asked.extend(self.step(Input::Tick));
        }
        self.now = end;
        asked
    }
}

fn bid(expected: u64, hears: u32) -> Action {
    Action::Bid { epoch: EPOCH, expected, hears }
}

fn knock(at: &str) -> Action {
    Action::Knock { address: Endpoint(format!("{at}:1").into()) }
}

#[test]
fn a_call_is_answered_by_whoever_is_cut_off_and_may_be_the_arbiter() {
    let mut world = World::cut_off(true);
    world.step(lock(Some(("arbiter", 1, 1))));
    assert_eq!(world.run(lease() / 2)[0], bid(1, 2));
    let mut attached = World::cut_off(true);
    attached.step(Input::Attached(true));
    attached.step(lock(Some(("arbiter", 1, 1))));
    assert_eq!(attached.run(lease() * 10), [], "it hears the arbiter");
    let mut other = World::cut_off(false);
    other.step(lock(Some(("arbiter", 1, 1))));
    assert_eq!(other.run(lease() * 10), [], "it is never the arbiter");
}

#[test]
fn whoever_lost_the_arbiter_a_moment_ago_waits_for_half_a_lease() {
    let mut world = World::cut_off(true);
    world.step(Input::Attached(true));
    world.step(lock(Some(("arbiter", 1, 1))));
    world.step(Input::Attached(false));
    assert_eq!(world.run((lease() / 2).less(Span::from_millis(10))), []);
    assert_eq!(world.run(lease())[0], bid(1, 2));
}

#[test]
fn a_bidder_counts_who_knocks_and_bids_again() {
    let mut world = World::cut_off(true);
    world.step(lock(Some(("arbiter", 1, 1))));
    world.run(lease() / 2);
    world.step(lock(Some(("b", 2, 2))));
    world.step(Input::Knocked { by: name("c"), guards: 3 });
    world.step(Input::Knocked { by: name("c"), guards: 3 });
    assert_eq!(world.run(lease())[0], bid(2, 5), "twice from one host is once");
    world.step(lock(Some(("b", 5, 3))));
    assert_eq!(world.run(lease() * 3)[0], bid(3, 2), "who does not knock any more is not counted");
}

#[test]
fn others_knock_and_stand_back_while_the_bid_is_fresh() {
    let mut world = World::cut_off(true);
    assert_eq!(world.step(lock(Some(("c", 3, 2)))), [knock("c")]);
    assert!(!world.contender.may_campaign(world.now));
    let asked = world.run(stand_back(&timing()));
    assert!(asked.iter().all(|it| *it == knock("c")), "fewer than it hears: {asked:?}");
    assert!(asked.len() > 3, "again and again");
    assert!(world.contender.may_campaign(world.now), "it had its chance");
    world.step(Input::Lock(SeenLock {
        epoch: Epoch { number: 8, ..EPOCH },
        holder: Some(name("c")),
        bid: None,
    }));
    assert!(world.contender.may_campaign(world.now));
}

#[test]
fn a_bidder_that_hears_no_knocks_is_replaced_by_one_that_hears_as_many() {
    for (theirs, replaced) in [(2, true), (3, false)] {
        let mut world = World::cut_off(true);
        world.step(lock(Some(("c", theirs, 2))));
        world.step(Input::Answered(false));
        let asked = world.run(lease() * 2);
        assert_eq!(asked.contains(&bid(2, 2)), replaced, "{theirs}: {asked:?}");
    }
    let mut world = World::cut_off(true);
    world.step(lock(Some(("c", 2, 2))));
    world.step(Input::Answered(true));
    assert!(!world.run(lease() * 2).contains(&bid(2, 2)), "it hears us");
}

#[test]
fn a_call_keeps_nobody_from_the_lock() {
    let mut world = World::cut_off(true);
    world.step(lock(Some(("arbiter", 1, 1))));
    assert!(world.contender.may_campaign(world.now));
}
