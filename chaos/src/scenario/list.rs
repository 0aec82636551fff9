//! Single faults, one scenario each, in the order in which people read them: what every engine has to survive first.

use super::Scenario;
use super::Step::{self, Calm, Heal, Healthy, Hold, Place, Replaced, Strike, Switchover};
use crate::nemesis::kind::Kind;
use crate::nemesis::target::{Target, Whom, engine_of, host_of, sidecar_of};

/// All of them.
#[must_use]
pub fn single_faults() -> Vec<Scenario> {
    let mut all = of_the_masters_host();
    all.extend(of_the_engine());
    all.extend(of_others());
    all
}

/// The master's host fails in some way; another leads; the host comes back some leases later.
fn failover(
    name: &'static str,
    story: &'static str,
    with_arbiter: bool,
    fault: Kind,
    leases: f64,
) -> Scenario {
    let strike = Strike { fault, target: host_of(Whom::Master) };
    let steps = vec![Place { with_arbiter }, Calm, strike, Replaced, Hold { leases }, Heal, Healthy];
    Scenario { name, story, expected_changes: 1, provider: None, steps }
}

/// Something fails for some leases, and the master goes on.
fn unnoticed(name: &'static str, story: &'static str, fault: Kind, target: Target, leases: f64) -> Scenario {
    let strike = Strike { fault, target };
    let steps = vec![Place { with_arbiter: false }, Calm, strike, Hold { leases }, Heal, Healthy, Calm];
    Scenario { name, story, expected_changes: 0, provider: None, steps }
}

fn of_the_masters_host() -> Vec<Scenario> {
    vec![
        failover(
            "master-host-killed",
            "All processes on the master's host are killed at one moment. Another instance leads; the host comes \
             back as a replica.",
            false,
            Kind::Kill,
            0.5,
        ),
        failover(
            "power-cut-with-arbiter",
            "The host of master and active arbiter vanishes without a last packet: no connection is closed, nobody \
             is told.",
            true,
            Kind::PowerOff,
            0.5,
        ),
        failover(
            "host-frozen-and-thawed",
            "The master's host stands still, as in a live migration that takes too long, and goes on when another \
             leads. What was queued at the old master must not count as new writes.",
            false,
            Kind::Freeze,
            1.0,
        ),
        failover(
            "cable-pulled",
            "The master's host loses its carrier, and gets it back when another leads.",
            false,
            Kind::LinkDown,
            1.0,
        ),
        failover(
            "alone-with-its-clients",
            "The master is cut off from all hosts and from the provider, but not from its clients, which go on \
             writing to it. It has to stop by itself before another leads.",
            false,
            Kind::IsolateButClients,
            2.0,
        ),
        failover(
            "heard-but-deaf",
            "The master's host still sends, and receives nothing: its beats arrive, and no grant does.",
            false,
            Kind::LoseIncoming,
            1.0,
        ),
    ]
}

fn of_the_engine() -> Vec<Scenario> {
    let strike = |fault| Strike { fault, target: engine_of(Whom::Master) };
    let crash: [Step; 5] = [Calm, strike(Kind::Kill), Replaced, Heal, Healthy];
    vec![
        Scenario {
            name: "engine-crashes",
            story: "The master's engine is killed, and later that of the next master. The coordinator beside it \
                    sees it at once and does not wait for a lease.",
            expected_changes: 2,
            provider: None,
            steps: [crash, crash].concat(),
        },
        Scenario {
            name: "engine-stands-still",
            story: "The master's engine is stopped and nothing ends: every connection stays open and no answer \
                    comes. The coordinator beside it sees that a tiny write does not finish.",
            expected_changes: 1,
            provider: None,
            steps: vec![Calm, strike(Kind::Stop), Replaced, Heal, Healthy],
        },
    ]
}

fn of_others() -> Vec<Scenario> {
    vec![
        unnoticed(
            "arbiter-killed",
            "The active arbiter's coordinator is killed while the master is elsewhere. Another arbiter takes the \
             lock; the same instance leads, after a pause at most, since the killed one's instance can promise nothing.",
            Kind::Kill,
            sidecar_of(Whom::Arbiter),
            3.0,
        ),
        unnoticed(
            "arbiter-not-heard",
            "The master and the arbiter's host do not hear each other, and everybody else hears both. A replica \
             passes the beats on, and nobody is replaced.",
            Kind::CutFromArbiter,
            host_of(Whom::Master),
            4.0,
        ),
        unnoticed(
            "provider-away",
            "All machines of the state provider are killed for several leases and come back with their data. The \
             master goes on by the promises of its in-sync members.",
            Kind::Kill,
            host_of(Whom::Provider),
            4.0,
        ),
        Scenario {
            name: "planned-changes",
            story: "A person moves the master to another instance, and later to yet another, under load.",
            expected_changes: 2,
            provider: None,
            steps: vec![Calm, Switchover, Healthy, Calm, Switchover, Healthy, Calm],
        },
    ]
}
