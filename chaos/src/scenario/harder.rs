//! What the machines below give out, and what people do: disks, clocks, processor time, lost state, mistakes, restarts.

use super::Scenario;
use super::Step::{
    Backup, Calm, Heal, Healthy, Hold, Place, Replaced, RollingRestart, RollingUpgrade, Strike, Switchover,
};
use crate::nemesis::kind::Kind;
use crate::nemesis::target::{Target, Whom, engine_of, host_of, sidecar_of};

/// All of them.
#[must_use]
pub fn machines_and_people() -> Vec<Scenario> {
    let mut all = of_disks();
    all.extend(of_machines());
    all.extend(of_people());
    all.extend(of_plans());
    all
}

/// Something gives out under the master for some leases; another leads.
fn replaced(name: &'static str, story: &'static str, fault: Kind, target: Target) -> Scenario {
    let strike = Strike { fault, target };
    let hold = Hold { leases: 1.0 };
    let steps = vec![Place { with_arbiter: false }, Calm, strike, Replaced, hold, Heal, Healthy, Calm];
    Scenario { name, story, expected_changes: 1, provider: None, steps }
}

/// Something gives out for some leases; whether the master is replaced for it is not what it is about.
fn endured(name: &'static str, story: &'static str, fault: Kind, target: Target, leases: f64) -> Scenario {
    let strike = Strike { fault, target };
    let steps = vec![Place { with_arbiter: false }, Calm, strike, Hold { leases }, Heal, Healthy, Calm];
    Scenario { name, story, expected_changes: 0, provider: None, steps }
}

fn of_disks() -> Vec<Scenario> {
    vec![
        replaced(
            "disk-hangs-under-master",
            "A write to the disk of the master's engine does not come back, and who waits for it cannot even be \
             killed. Another instance leads all the same.",
            Kind::DiskHung,
            engine_of(Whom::Master),
        ),
        replaced(
            "disk-full-under-master",
            "The disk of the master's engine is full to the last byte.",
            Kind::DiskFull,
            engine_of(Whom::Master),
        ),
        replaced(
            "disk-fails-under-master",
            "The disk of the master's engine refuses every write from one moment on.",
            Kind::DiskFailing,
            engine_of(Whom::Master),
        ),
        endured(
            "disk-slow-under-replica",
            "The disk of a replica's engine takes few bytes a second.",
            Kind::DiskSlow,
            engine_of(Whom::Replica),
            3.0,
        ),
        endured(
            "disk-hangs-under-replicas-sidecar",
            "A replica's coordinator cannot keep anything: its disk hangs.",
            Kind::DiskHung,
            sidecar_of(Whom::Replica),
            3.0,
        ),
        endured(
            "disk-full-under-provider",
            "The disk of the state provider is full to the last byte. Masters go on.",
            Kind::DiskFull,
            host_of(Whom::ProviderLeader),
            3.0,
        ),
    ]
}

fn of_machines() -> Vec<Scenario> {
    vec![
        endured(
            "master-starved",
            "Everything on the master's host shares a sliver of a processor, as beside a noisy neighbour.",
            Kind::Starved,
            host_of(Whom::Master),
            3.0,
        ),
        endured(
            "arbiters-clock-jumps-ahead",
            "The wall clock of the arbiter's host jumps an hour ahead, for its engine too. No lease depends on it.",
            Kind::ClockAhead,
            host_of(Whom::Arbiter),
            3.0,
        ),
        endured(
            "masters-clock-jumps-back",
            "The wall clock of the master's host jumps an hour back, for its engine too. No lease depends on it.",
            Kind::ClockBack,
            host_of(Whom::Master),
            3.0,
        ),
        endured(
            "engines-clock-jumps-ahead",
            "The wall clock of the master's engine jumps an hour ahead, and back again: every replica seems to have been \
             silent for an hour. Nobody is replaced for it, and nothing is lost.",
            Kind::ClockAhead,
            engine_of(Whom::Master),
            3.0,
        ),
        endured(
            "replica-engines-clock-jumps-back",
            "The wall clock of a replica's engine jumps an hour back, and ahead again. Nobody notices.",
            Kind::ClockBack,
            engine_of(Whom::Replica),
            3.0,
        ),
        endured(
            "line-to-replica-narrow",
            "The line to a replica's host carries less than the master sends.",
            Kind::Narrow,
            host_of(Whom::Replica),
            3.0,
        ),
        endured(
            "line-to-replica-lossy",
            "Every fifth packet to and from a replica's host is lost.",
            Kind::Lossy,
            host_of(Whom::Replica),
            3.0,
        ),
    ]
}

fn of_people() -> Vec<Scenario> {
    vec![
        endured(
            "provider-wiped",
            "The state provider comes back and has lost everything. Whoever has seen its state changes nothing, \
             until what it had is put back.",
            Kind::Wiped,
            host_of(Whom::Provider),
            2.0,
        ),
        endured(
            "replica-emptied",
            "A replica's host is set up anew under its old name: its engine begins with nothing.",
            Kind::Emptied,
            host_of(Whom::Replica),
            1.0,
        ),
        endured(
            "replica-made-writable-by-hand",
            "A person makes a replica a master, behind the coordinator's back. It is fenced at the next look.",
            Kind::MadeWritable,
            host_of(Whom::Replica),
            2.0,
        ),
        endured(
            "wrong-file-on-replica",
            "A replica's coordinator is restarted with the secret of another cluster, and is turned away.",
            Kind::WrongFile,
            host_of(Whom::Replica),
            2.0,
        ),
        endured(
            "same-name-as-master",
            "Somebody sets up another machine by the file of the master's host and starts it: the same name twice, one of \
             them with an empty engine. Never do both lead, and nobody copies the emptiness.",
            Kind::SameName,
            host_of(Whom::Master),
            3.0,
        ),
    ]
}

/// What people do by plan.
fn of_plans() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "provider-restored",
            story: "A backup of the provider is taken, the master moves twice, and then a person restores the backup: \
                    what was recorded since is forgotten. Terms go on above all that anybody has seen, and the master leads on.",
            expected_changes: 1,
            provider: None,
            steps: vec![
                Calm,
                Backup,
                Switchover,
                Healthy,
                Switchover,
                Healthy,
                Calm,
                Strike { fault: Kind::Restored, target: host_of(Whom::Provider) },
                Hold { leases: 4.0 },
                Heal,
                Healthy,
                Calm,
            ],
        },
        Scenario {
            name: "rolling-upgrade",
            story: "Every coordinator is replaced by this build's, one host after another, and the stateboard at last, \
                    under load. In between, old and new ones decide and follow together.",
            expected_changes: 1,
            provider: None,
            steps: vec![Calm, RollingUpgrade, Healthy, Calm],
        },
        Scenario {
            name: "rolling-restart",
            story: "Every coordinator is restarted in good order, one host after another, under load.",
            expected_changes: 1,
            provider: None,
            steps: vec![Calm, RollingRestart, Healthy, Calm],
        },
    ]
}
