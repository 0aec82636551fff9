//! The lease changes while a cluster is at work, and each host learns of it when it does: nothing else may happen. Then the
//! master falls silent, and is replaced within the new lease.

use baton_core::time::Span;
use baton_core::timing::{FailureClass, Timing};
use scenario::fixtures::{at_rest, name, setup};
use scenario::world::{Answer, BOARD, World};

const HOSTS: [&str; 5] = ["a1", "a2", "a3", "b1", "b2"];

/// Lets time pass in short steps, with a write to the master in each: none may be refused.
fn goes_on(world: &mut World, span: Span, why: &str) {
    let until = world.now + span.0;
    while world.now < until {
        world.millis(20);
        let (_, answer) = world.client_write(&name("a1"));
        assert_eq!(answer, Answer::Acknowledged, "{why}, at {}us", world.now);
    }
    assert!(world.violation().is_none(), "{why}: {:?}", world.violation());
}

fn version(world: &World) -> u64 {
    world.provider.record().expect("somebody leads").version.0
}

/// Which hosts hear of a change late: everybody at once, one alone, and everybody but one.
fn late() -> Vec<Vec<&'static str>> {
    let one = HOSTS.iter().map(|host| vec![*host]);
    let others = HOSTS.iter().map(|host| HOSTS.iter().filter(|it| *it != host).copied().collect());
    one.chain(others).chain([Vec::new(), vec!["a1", "a2", "a3"], vec!["b1", "b2"]]).collect()
}

#[test]
fn a_change_in_any_order_costs_neither_the_master_nor_a_member_of_its_set() {
    for lease in [300, 600, 1_500, 6_000, 30_000].map(Span::from_millis) {
        for late in late() {
            let why = format!("to {lease}, {late:?} late");
            let mut world = at_rest(setup());
            let before = version(&world);
            for host in &late {
                world.net().hold(BOARD, host, "settings");
            }
            world.change_lease(lease);
            // A replica that does not hear of a much shorter lease for longer than that is late indeed.
            goes_on(&mut world, Span::from_millis(250), &why);
            for host in &late {
                world.release(BOARD, host);
            }
            goes_on(&mut world, Span::from_secs(10), &why);
            assert_eq!(version(&world), before, "{why}: nothing was written");
        }
    }
}

#[test]
fn a_master_that_never_hears_of_it_goes_on_by_what_the_arbiter_grants() {
    for lease in [300, 30_000].map(Span::from_millis) {
        let mut world = at_rest(setup());
        let before = version(&world);
        world.net().hold(BOARD, "a1", "settings");
        world.change_lease(lease);
        goes_on(&mut world, Span::from_secs(90), &format!("to {lease}"));
        assert_eq!(version(&world), before, "to {lease}");
    }
}

#[test]
fn a_silent_master_is_replaced_within_the_new_lease() {
    for lease in [300, 600, 6_000].map(Span::from_millis) {
        let mut world = at_rest(setup());
        world.change_lease(lease);
        // One old lease, for the grants that were given by it.
        goes_on(&mut world, Span::from_secs(4), "before");
        world.freeze(&name("a1"));
        let settings = world.settings.clone();
        let worst = Timing::new(&settings).expect("it is safe").worst_outage(FailureClass::Silent);
        world.advance(worst);
        let answers = ["a2", "a3"].map(|host| world.client_write(&name(host)).1);
        assert!(answers.contains(&Answer::Acknowledged), "{lease}: nobody leads after {worst}");
    }
}
