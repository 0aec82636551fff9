//! Each row of the table has a case that breaks it and no other, and a healthy set keeps all of them.

use super::*;
use crate::arbiter::issues::tests::healthy;
use crate::fixture::name;
use crate::ids::{CoordinatorName, Endpoint, Incarnation};
use crate::message::Hello;
use crate::record::{Pin, Settings};
use std::collections::BTreeMap;

const KILL: DrillAsked = DrillAsked { fault: Fault::KillEngine, spares: 1, accept_loss: false, back: false };

/// What a case may change.
struct Case {
    view: SetView,
    asked: DrillAsked,
    unsettled: Option<&'static str>,
    task: bool,
    lock_left: Span,
    moving: bool,
    drained: BTreeSet<Zone>,
    settings: Settings,
    successor: Result<InstanceName, String>,
}

impl Case {
    /// Everything holds: `a1` leads and is supervised, `a2` and `a3` follow.
    fn good() -> Self {
        let mut view = healthy();
        let member = &mut view.members[0];
        member.hello = Some(Hello {
            instance: name("a1"),
            replicaset: view.name.clone(),
            incarnation: Incarnation::default(),
            coordinator: CoordinatorName::parse("host-a").expect("a good name"),
            endpoint: Endpoint("a1:1".into()),
            zone: None,
            priority: 100,
            electable: true,
            bootstrap_members: 1,
            supervised: true,
        });
        Self {
            view,
            asked: KILL,
            unsettled: None,
            task: false,
            lock_left: Span::from_secs(4),
            moving: false,
            drained: BTreeSet::new(),
            settings: Settings::default(),
            successor: Ok(name("a2")),
        }
    }

    fn rails(&self) -> Vec<Rail> {
        rails_of(&Ground {
            view: &self.view,
            asked: self.asked,
            unsettled: self.unsettled,
            task: self.task,
            lock_left: self.lock_left,
            lock_needed: Span::from_secs(3),
            master_silence: Span::from_secs(1),
            replica_silence: Span::from_secs(2),
            moving: self.moving,
            drained: &self.drained,
            policy: self.settings.of(&self.view.name),
            successor: self.successor.clone(),
        })
    }

    fn broken(&self) -> BTreeMap<&'static str, String> {
        let rails = self.rails().into_iter().filter(|rail| !rail.holds);
        rails.map(|rail| (rail.name, rail.seen)).collect()
    }

    fn both(&mut self, change: impl Fn(&mut MemberView)) {
        self.view.members.iter_mut().skip(1).for_each(change);
    }
}

type Change = fn(&mut Case);
type Spoil = fn(&mut MemberView);

/// What is changed, and what is seen then.
fn case(rail: &str) -> (Change, &'static str) {
    match rail {
        "provider" => (
            |it| it.lock_left = Span::from_secs(1),
            "the arbiter's lock is good for 1s more, less than 3s: it is not being renewed",
        ),
        "moving" => (|it| it.moving = true, "the state is being moved to another provider"),
        "active" => (|it| it.view.state = MasterState::None, "the set has no active master (none)"),
        "settled" => {
            (|it| it.unsettled = Some("its master is being replaced"), "its master is being replaced")
        }
        "task" => (|it| it.task = true, "a change of master, or another drill, is under way"),
        "paused" => (
            |it| {
                let record = it.view.record.as_mut().expect("it has one");
                record.pinned = Some(Pin { span: Pin::FOR_GOOD, until_unix_millis: 0 });
            },
            "the master still holds the right of a pause",
        ),
        "suppressed" => (|it| it.view.hold = Some(Hold::Suppressed), Hold::Suppressed.text()),
        "budget" => (|it| it.view.hold = Some(Hold::Budget), Hold::Budget.text()),
        "drained" => (
            |it| {
                let zone = Zone::parse("dc2").expect("a good name");
                it.view.members[2].listed.zone = Some(zone.clone());
                it.drained.insert(zone);
            },
            "dc2 is drained",
        ),
        "maintenance" => {
            (|it| it.view.members[2].maintenance = Some(Span::from_secs(60)), "a3 is in maintenance")
        }
        "master" => (
            |it| it.view.members[0].beat_age = Some(Span::from_secs(2)),
            "a1 is not heard in time (heard 2s ago)",
        ),
        "spares" => (|it| it.asked.spares = 3, "2 of 3 could take over at once"),
        "zone" => (
            |it| {
                it.settings.zone_policy = ZonePolicy::Same;
                it.view.members[0].listed.zone = Zone::parse("dc1").ok();
            },
            "zone_policy = same, and nobody in the master's zone could take over",
        ),
        "commits" => (
            |it| it.view.record.as_mut().expect("it has one").ack_quorum = 2,
            "commits wait for 2, and 1 would be left: writes would wait",
        ),
        "successor" => (
            |it| it.successor = Err("no member could be appointed".to_owned()),
            "nobody would take over: no member could be appointed",
        ),
        "loss" => (
            |it| it.view.record.as_mut().expect("it has one").ack_quorum = 0,
            "commits wait for no replica (ack_quorum = 0): what none had received yet may be lost; accept it with \
             --accept-loss",
        ),
        other => panic!("no case for the rail {other}"),
    }
}

#[test]
fn every_rail_has_a_case_that_breaks_it_and_no_other() {
    assert_eq!(Case::good().broken(), BTreeMap::new());
    assert_eq!(broken(&Case::good().rails()), None);
    for row in &TABLE {
        let (change, seen) = case(row.name);
        let mut changed = Case::good();
        change(&mut changed);
        assert_eq!(changed.broken(), BTreeMap::from([(row.name, seen.to_owned())]));
        assert_eq!(broken(&changed.rails()), Some(format!("{}: {seen}", row.name)));
        assert_eq!(changed.rails().len(), TABLE.len(), "those that hold are told too");
    }
}

#[test]
fn every_reason_why_a_member_is_no_spare_is_told() {
    let cases: [(&str, Spoil); 9] = [
        ("not electable", |it| it.electable = false),
        ("not in the in-sync set", |it| it.in_sync = false),
        ("not heard in time", |it| it.attached_by = None),
        ("not heard in time", |it| it.beat_age = Some(Span::from_secs(3))),
        ("its engine is not up", |it| it.beat.as_mut().expect("heard").engine.health = Health::Down),
        ("not connected to the master", |it| it.beat.as_mut().expect("heard").engine.follows = None),
        ("not caught up since its engine started", |it| {
            it.beat.as_mut().expect("heard").engine.whole = false
        }),
        ("lags 7 bytes", |it| it.behind = Some(7)),
        ("how far it has come is not known yet", |it| it.behind = None),
    ];
    for (why, change) in cases {
        let mut one = Case::good();
        change(&mut one.view.members[1]);
        let seen = one.rails().into_iter().find(|rail| rail.name == "spares").expect("it is a rail");
        assert_eq!(seen.seen, format!("a3 could take over, in sync and without lag, 1 wanted (a2: {why})"));
        let mut none = Case::good();
        none.both(change);
        let broken = none.broken();
        assert_eq!(broken["spares"], format!("0 of 1 could take over at once (a2: {why}, a3: {why})"));
    }
}

#[test]
fn an_adopted_engine_is_not_killed_and_may_be_moved() {
    let mut adopted = Case::good();
    adopted.view.members[0].hello.as_mut().expect("attached").supervised = false;
    assert_eq!(
        adopted.broken()["master"],
        "the engine of a1 is adopted: nobody of ours would start it again"
    );
    adopted.asked.fault = Fault::Switchover;
    assert_eq!(adopted.broken(), BTreeMap::new());
}

#[test]
fn what_a_crash_may_lose_is_accepted_by_name_and_a_switchover_loses_nothing() {
    let mut unsure = Case::good();
    unsure.view.record.as_mut().expect("it has one").ack_quorum = 0;
    unsure.asked.accept_loss = true;
    assert_eq!(unsure.broken(), BTreeMap::new());
    unsure.settings.loss_policy = LossPolicy::None;
    assert_eq!(unsure.broken()["successor"], "after a crash nobody would be appointed (loss_policy = none)");
    let switchover = DrillAsked { fault: Fault::Switchover, ..KILL };
    let planned = Case { asked: switchover, ..unsure };
    assert_eq!(planned.broken(), BTreeMap::new());
}
