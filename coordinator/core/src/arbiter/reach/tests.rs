//! An arbiter of four listed guards, of which some leave.

use crate::arbiter::{Action, Arbiter, Config, Input, SessionId};
use crate::contender::{Bid, stand_back};
use crate::ids::{CoordinatorName, Endpoint, Epoch, Incarnation, InstanceName, ReplicaSetName};
use crate::message::Hello;
use crate::record::Settings;
use crate::rules::Rules;
use crate::time::{Span, Time};

const EPOCH: Epoch = Epoch { generation: 1, number: 2 };
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn coordinator(name: &str) -> CoordinatorName {
    CoordinatorName::parse(name).expect("a good name")
}

fn hello(name: &str) -> Hello {
    Hello {
        instance: InstanceName::parse(name).expect("a good name"),
        replicaset: ReplicaSetName::parse("r").expect("a good name"),
        incarnation: Incarnation { home: 1, boot: 1, run: 1 },
        coordinator: coordinator(name),
        endpoint: Endpoint(format!("{name}:1").into()),
        zone: None,
        priority: 100,
        electable: true,
        bootstrap_members: 4,
        supervised: true,
    }
}

fn bid(by: &str, hears: u32, number: u64) -> Option<Bid> {
    Some(Bid { by: coordinator(by), address: Endpoint(format!("{by}:2").into()), hears, number })
}

/// On the host of `a`, with everybody attached, and a lock that lasts for the whole test.
struct World {
    arbiter: Arbiter,
    now: Time,
}

impl World {
    fn new() -> Self {
        let config = Config { coordinator: coordinator("a"), seed: 1, rules: Rules::default() };
        let arbiter = Arbiter::new(config, Settings::default()).expect("the defaults are safe");
        let mut world = Self { arbiter, now: Time(0) };
        let valid_until = Time(0) + Span::from_secs(600);
        world.step(Input::LockAcquired { epoch: EPOCH, valid_until, predecessor_bound: Time(0) });
        let settings = Box::default();
        world.step(Input::Loaded {
            records: Vec::new(),
            members: Vec::new(),
            settings,
            tasks: Vec::new(),
            unix_millis: 0,
        });
        for (session, name) in (1..).zip(NAMES) {
            world.step(Input::Attached { session: SessionId(session), guards: vec![hello(name)] });
        }
        let asked = world.run(stand_back(world.arbiter.timing()) * 2);
        assert_eq!(asked, [], "nobody is missing");
        world
    }

    fn step(&mut self, input: Input) -> Vec<Action> {
        self.arbiter.step(self.now, input);
        let actions = std::iter::from_fn(|| self.arbiter.pop_action());
        actions.filter(|it| matches!(it, Action::Bid { .. } | Action::GiveUp { .. })).collect()
    }

    /// Lets time pass; what was asked for.
    fn run(&mut self, span: Span) -> Vec<Action> {
        let end = self.now + span;
        let mut asked = Vec::new();
        while let Some(at) = self.arbiter.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            asked.extend(self.step(Input::Tick));
        }
        self.now = end;
        asked
    }

    fn leave(&mut self, session: u64) {
        assert_eq!(self.step(Input::Detached { session: SessionId(session) }), []);
    }
}

const CALL: Action = Action::Bid { expected: 0, hears: Some(1) };

#[test]
fn an_arbiter_that_hears_half_of_the_guards_does_not_call() {
    let mut world = World::new();
    world.leave(4);
    world.leave(3);
    assert_eq!(world.run(Span::from_secs(60)), [], "two of four are half");
}

#[test]
fn it_calls_once_and_takes_its_call_back_when_it_is_heard_again() {
    let mut world = World::new();
    (2..=4).for_each(|session| world.leave(session));
    assert_eq!(world.run(Span::from_secs(60))[0], CALL);
    assert_eq!(world.step(Input::Bid(bid("a", 1, 1))), []);
    assert_eq!(world.run(Span::from_secs(60)), [], "it stands");
    world.step(Input::Attached { session: SessionId(9), guards: vec![hello("b")] });
    assert_eq!(world.run(Span::from_secs(10))[0], Action::Bid { expected: 1, hears: None });
}

#[test]
fn it_gives_up_only_for_one_that_hears_more_and_only_while_the_bid_is_fresh() {
    for (hears, gives_up) in [(1, false), (2, true)] {
        let mut world = World::new();
        (2..=4).for_each(|session| world.leave(session));
        assert_eq!(world.run(Span::from_secs(60))[0], CALL);
        world.step(Input::Bid(bid("a", 1, 1)));
        let asked = world.step(Input::Bid(bid("b", hears, 2)));
        let expected = Action::GiveUp { to: coordinator("b"), hears, heard: 1, listed: 4 };
        assert_eq!(asked.first() == Some(&expected), gives_up, "{hears}: {asked:?}");
        if !gives_up {
            let again = Action::Bid { expected: 2, hears: Some(1) };
            let span = stand_back(world.arbiter.timing()) + Span::from_secs(10);
            assert_eq!(world.run(span)[0], again, "a bid that is not repeated is replaced by a call");
        }
    }
}

#[test]
fn it_does_not_give_up_again_before_it_has_rested() {
    let mut world = World::new();
    (2..=4).for_each(|session| world.leave(session));
    world.run(Span::from_secs(60));
    let gives_up = |actions: &[Action]| actions.iter().any(|it| matches!(it, Action::GiveUp { .. }));
    assert!(gives_up(&world.step(Input::Bid(bid("b", 2, 2)))));
    world.step(Input::LockLost);
    // The other died before it had the lock, and this one has it again, at once.
    let epoch = Epoch { number: 3, ..EPOCH };
    let valid_until = world.now + Span::from_secs(600);
    world.step(Input::LockAcquired { epoch, valid_until, predecessor_bound: world.now });
    let members = NAMES.map(|name| member(&hello(name))).to_vec();
    let settings = Box::default();
    let (records, tasks) = (Vec::new(), Vec::new());
    world.step(Input::Loaded { records, members, settings, tasks, unix_millis: 0 });
    let back = stand_back(world.arbiter.timing());
    let lease = world.arbiter.timing().lease_ttl;
    world.run(back);
    assert!(!gives_up(&world.step(Input::Bid(bid("b", 2, 1)))), "not again so soon");
    world.run(back.less(lease));
    assert!(!gives_up(&world.step(Input::Bid(bid("b", 2, 2)))), "still not");
    let later = world.run(lease * 3);
    assert!(gives_up(&later), "the bid is fresh, and it has rested: {later:?}");
}

fn member(hello: &Hello) -> crate::record::Member {
    crate::record::Member {
        instance: hello.instance.clone(),
        replicaset: hello.replicaset.clone(),
        coordinator: hello.coordinator.clone(),
        endpoint: hello.endpoint.clone(),
        zone: None,
        priority: 100,
        electable: true,
        bootstrap_members: 4,
        version: crate::ids::Version(1),
    }
}

#[test]
fn whose_lock_has_run_out_wants_no_tick_before_it_is_renewed() {
    let mut world = World::new();
    world.leave(4);
    world.now = Time(0) + Span::from_secs(601);
    world.step(Input::Tick);
    let next = world.arbiter.next_deadline();
    assert!(next.is_none_or(|at| at > world.now), "it would be woken again and again: {next:?}");
    let valid_until = world.now + Span::from_secs(600);
    world.step(Input::LockRenewed { valid_until });
    assert!(world.arbiter.next_deadline().is_some(), "everything is looked at again");
}
