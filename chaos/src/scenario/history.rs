//! Scenarios that made history: what happened to others, and must not happen here.

use std::time::Duration;

use super::Scenario;
use super::Step::{Calm, Heal, HealAll, Healthy, Hold, Place, Replaced, Strike, StrikeSoon, Wait};
use crate::cli::ProviderKind;
use crate::nemesis::kind::Kind;
use crate::nemesis::target::{Whom, engine_of, host_of, sidecar_of};

const SECOND: Duration = Duration::from_secs(1);

/// Cuts between machines that all live.
pub(super) fn of_cuts() -> Vec<Scenario> {
    let strike = |fault, target| Strike { fault, target };
    vec![
        Scenario {
            name: "two-sites-cut",
            story: "GitHub, October 2018: for 43 seconds two sites did not hear each other. Each had writes that the \
                    other never got, and a day went by until they were one again. The master's zone is cut off with \
                    its own clients for as long.",
            expected_changes: 1,
            provider: None,
            steps: vec![
                Place { with_arbiter: false },
                Calm,
                strike(Kind::IsolateButClients, host_of(Whom::Zone)),
                Wait(SECOND.saturating_mul(43)),
                Heal,
                Healthy,
            ],
        },
        Scenario {
            name: "sentinel-partition",
            story: "Redis Sentinel in 2013: a master alone with its clients went on, another was promoted, and when \
                    they met again 56 of a hundred acknowledged writes were gone.",
            expected_changes: 1,
            provider: None,
            steps: vec![
                Calm,
                strike(Kind::IsolateButClients, host_of(Whom::Master)),
                Replaced,
                Hold { leases: 3.0 },
                Heal,
                Healthy,
                Calm,
            ],
        },
        Scenario {
            name: "fencing-that-hangs",
            story: "Tarantool Cartridge: the check by which a master fences itself asked a provider that no longer \
                    answered, and hung. A master that was cut off in silence went on for 44 seconds. Here it is cut off \
                    for as long.",
            expected_changes: 1,
            provider: None,
            steps: vec![
                Place { with_arbiter: false },
                Calm,
                strike(Kind::Isolate, host_of(Whom::Master)),
                Wait(SECOND.saturating_mul(44)),
                Heal,
                Healthy,
            ],
        },
    ]
}

/// Cuts behind which some go on with one another.
pub(super) fn of_halves() -> Vec<Scenario> {
    let strike = |fault, target| Strike { fault, target };
    vec![
        Scenario {
            name: "arbiter-and-master-alone",
            story: "The host that has both the master and the active arbiter is cut off from all other hosts and the \
                    provider, but not from the clients. An arbiter that no longer has the lock grants nothing, to its \
                    own master either.",
            expected_changes: 1,
            provider: None,
            steps: vec![
                Place { with_arbiter: true },
                Calm,
                strike(Kind::IsolateButClients, host_of(Whom::Master)),
                Replaced,
                Hold { leases: 3.0 },
                Heal,
                Healthy,
                Calm,
            ],
        },
        Scenario {
            name: "alone-with-the-provider",
            story: "The host that has both the master and the active arbiter is cut off from all other hosts, and not from the \
                    provider: nobody takes its lock away. It gives it up for one that hears more. Where commits wait for a \
                    replica another leads then; where none does, the master goes on alone.",
            expected_changes: 0,
            provider: None,
            steps: vec![
                Place { with_arbiter: true },
                Calm,
                strike(Kind::CutFromHosts, host_of(Whom::Master)),
                Hold { leases: 5.0 },
                Heal,
                Healthy,
                Calm,
            ],
        },
        Scenario {
            name: "confirmed-by-the-lost-half",
            story: "The master and most of its replicas are cut off from the provider and the last replica, together. For \
                    a moment they go on confirming writes to each other, which the last one never gets: it leads nothing, \
                    however long that lasts.",
            expected_changes: 0,
            provider: None,
            steps: vec![
                Calm,
                strike(Kind::IsolateButClients, host_of(Whom::MastersSide)),
                Hold { leases: 4.0 },
                Heal,
                Healthy,
                Calm,
            ],
        },
    ]
}

/// Cuts that look like something else.
pub(super) fn of_doubtful_cuts() -> Vec<Scenario> {
    let strike = |fault, target| Strike { fault, target };
    vec![
        Scenario {
            name: "readers-at-a-minority",
            story: "Tarantool Cartridge, issue 2342: routers that read from an etcd member in the minority kept an old \
                    master. The leader of etcd loses its peers and keeps everybody else; then the master's host dies.",
            expected_changes: 1,
            provider: Some(ProviderKind::Etcd),
            steps: vec![
                Calm,
                strike(Kind::CutFromPeers, host_of(Whom::ProviderLeader)),
                Hold { leases: 2.0 },
                strike(Kind::Kill, host_of(Whom::Master)),
                Replaced,
                Calm,
                HealAll,
                Healthy,
            ],
        },
        Scenario {
            name: "flapping-link",
            story: "The cable of the master's host is out and in again, six times, each time for less than a lease. \
                    Whether the master is replaced or not, at no moment are there two.",
            expected_changes: 0,
            provider: None,
            steps: flapping(),
        },
    ]
}

fn flapping() -> Vec<super::Step> {
    let mut steps = vec![Place { with_arbiter: false }, Calm];
    for out in [0.2, 0.6, 0.4, 0.9, 0.7, 0.5] {
        steps.push(Strike { fault: Kind::LinkDown, target: host_of(Whom::Master) });
        steps.push(Hold { leases: out });
        steps.push(Heal);
        steps.push(Hold { leases: 0.3 });
    }
    steps.push(Healthy);
    steps
}

/// Several things fail, one after the other or together.
pub(super) fn of_losses() -> Vec<Scenario> {
    let strike = |fault, target| Strike { fault, target };
    vec![
        Scenario {
            name: "store-outage",
            story: "Patroni: when the store was away, healthy primaries demoted themselves, everywhere at once. The \
                    provider stands still here, and then its machines are cut off: nobody may notice.",
            expected_changes: 0,
            provider: None,
            steps: vec![
                Calm,
                strike(Kind::Stop, host_of(Whom::Provider)),
                Hold { leases: 5.0 },
                Heal,
                Healthy,
                Calm,
                strike(Kind::Isolate, host_of(Whom::Provider)),
                Hold { leases: 5.0 },
                Heal,
                Healthy,
            ],
        },
        Scenario {
            name: "empty-master",
            story: "Redis without persistence: a master crashes and is back in a moment, empty, under its old name. Its replicas \
                    copy the emptiness, and everything is gone. Here nobody follows an empty instance, and a replica leads.",
            expected_changes: 1,
            provider: None,
            steps: vec![
                Place { with_arbiter: false },
                Calm,
                strike(Kind::Emptied, host_of(Whom::Master)),
                Replaced,
                Hold { leases: 1.0 },
                Heal,
                Healthy,
                Calm,
            ],
        },
        Scenario {
            name: "rack-lost",
            story: "A rack loses power: the hosts of all replicas, more than half of the set, vanish at one moment, \
                    without a last packet. The master stays, and where commits wait for a replica they wait until \
                    one is back.",
            expected_changes: 0,
            provider: None,
            steps: vec![
                Calm,
                strike(Kind::PowerOff, host_of(Whom::Replicas)),
                Hold { leases: 3.0 },
                Heal,
                Healthy,
                Calm,
            ],
        },
    ]
}

/// Two things fail within moments.
pub(super) fn of_pairs() -> Vec<Scenario> {
    let strike = |fault, target| Strike { fault, target };
    vec![
        Scenario {
            name: "arbiter-dies-in-a-failover",
            story: "The master's engine dies, and while a successor is looked for, written down or promoted the \
                    arbiter on its host dies too, three times, each time at another moment.",
            expected_changes: 3,
            provider: None,
            steps: dying_arbiters(),
        },
        Scenario {
            name: "two-at-once",
            story: "The master's engine dies, and in the same moment the active arbiter, on another host, loses the \
                    provider.",
            expected_changes: 1,
            provider: None,
            steps: vec![
                Place { with_arbiter: false },
                Calm,
                strike(Kind::Kill, engine_of(Whom::Master)),
                StrikeSoon {
                    fault: Kind::CutFromProvider,
                    target: host_of(Whom::Arbiter),
                    most: Duration::ZERO,
                },
                Replaced,
                HealAll,
                Healthy,
            ],
        },
        Scenario {
            name: "master-and-provider-leader",
            story: "The machine of the provider that leads and the master's host lose power, one right after the other.",
            expected_changes: 1,
            provider: Some(ProviderKind::Etcd),
            steps: vec![
                Place { with_arbiter: false },
                Calm,
                strike(Kind::PowerOff, host_of(Whom::ProviderLeader)),
                StrikeSoon { fault: Kind::PowerOff, target: host_of(Whom::Master), most: SECOND },
                Replaced,
                HealAll,
                Healthy,
            ],
        },
    ]
}

fn dying_arbiters() -> Vec<super::Step> {
    let mut steps = Vec::new();
    for most in [20, 100, 400] {
        steps.extend([
            Place { with_arbiter: true },
            Calm,
            Strike { fault: Kind::Kill, target: engine_of(Whom::Master) },
            StrikeSoon {
                fault: Kind::Kill,
                target: sidecar_of(Whom::Arbiter),
                most: Duration::from_millis(most),
            },
            Replaced,
            HealAll,
            Healthy,
        ]);
    }
    steps
}

/// Lines that carry everything, badly.
pub(super) fn of_bad_lines() -> Vec<Scenario> {
    let line = |name, story, fault| Scenario {
        name,
        story,
        expected_changes: 0,
        provider: None,
        steps: vec![
            Calm,
            Strike { fault, target: host_of(Whom::Master) },
            Hold { leases: 3.0 },
            Calm,
            Heal,
            Healthy,
        ],
    };
    vec![
        line(
            "another-continent",
            "The master's host is suddenly a tenth of a second away from everybody. Nobody is replaced for it.",
            Kind::Far,
        ),
        line(
            "uneven-line",
            "The line to the master's host is now quick and now slow. Nobody is replaced for it.",
            Kind::Uneven,
        ),
        line(
            "out-of-order",
            "Packets to and from the master's host overtake each other. Nobody is replaced for it.",
            Kind::Disordered,
        ),
        line(
            "everything-twice",
            "A third of the packets to and from the master's host come twice. Nobody is replaced for it.",
            Kind::Doubled,
        ),
    ]
}
