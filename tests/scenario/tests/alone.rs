//! The host of master and active arbiter reaches the provider and no other host: however the cut meets beats and renewals,
//! another leads within the worst outage that `timing` has for it, where commits wait for a replica. Where none does, the master
//! goes on alone.

use baton_core::time::{Span, Time};
use baton_core::timing::{FailureClass, Timing};
use scenario::fixtures::{at_rest, name, setup, synchronous};
use scenario::world::{Answer, Setup, World};

const LOOK: u64 = 20;

/// The world at rest, so long after its first appointment, cut in two.
fn alone(after: Span) -> World {
    let arbiters = ["b1", "b2", "b3"].map(str::to_owned).to_vec();
    let mut world = at_rest(Setup { arbiters, ..synchronous(1) });
    world.advance(Span::from_secs(20) + after);
    for here in ["a1", "b1"] {
        for there in ["a2", "a3", "b2", "b3"] {
            world.cut(here, there);
        }
    }
    world
}

/// When one of the others takes writes.
fn served(world: &mut World, until: Time) -> Option<Time> {
    while Time(world.now) < until {
        world.millis(LOOK);
        let answers = ["a2", "a3"].map(|host| world.client_write(&name(host)).1);
        if answers.iter().any(|answer| matches!(answer, Answer::Acknowledged | Answer::Waits)) {
            return Some(Time(world.now));
        }
    }
    None
}

#[test]
fn another_leads_in_time_where_the_arbiter_is_alone_with_the_master() {
    let worst = Timing::new(&setup().settings).expect("safe").worst_outage(FailureClass::AloneWithArbiter);
    let mut longest = Span::ZERO;
    for millis in (0..3_000).step_by(70) {
        let mut world = alone(Span::from_millis(millis));
        let cut = Time(world.now);
        let served = served(&mut world, cut + worst * 2);
        assert!(world.violation().is_none(), "{millis}: {:?}", world.violation());
        let took = served.expect("somebody leads in the end").since(cut);
        assert!(took <= worst, "{millis}: {took} of {worst}");
        longest = longest.max(took);
    }
    // What is promised is no more than what it takes: the rest is for slow promotions, disks and networks.
    let slack = Span::from_millis(250 + 750 + 1_500 + 750);
    assert!(longest + slack + Span::from_secs(1) > worst, "{longest} of {worst}");
}

#[test]
fn a_short_cut_changes_neither_arbiter_nor_master() {
    for millis in (0..3_000).step_by(210) {
        let mut world = alone(Span::from_millis(millis));
        let (epoch, term) = (world.provider.epoch(), world.provider.record().map(|record| record.term));
        world.millis(1_400);
        world.heal();
        world.advance(Span::from_secs(20));
        assert_eq!(world.provider.epoch(), epoch, "{millis}");
        assert_eq!(world.provider.record().map(|record| record.term), term, "{millis}");
    }
}
