//! The arbiter dies at each step of a failover: not at drawn moments, but where the step is held open by something else and
//! was seen to have been reached. Each kill is followed by a look that the next step has not begun.

use std::time::Duration;

use super::Step::{Calm, HealAll, HealOf, Healthy, Hold, NotYet, Place, Replaced, Strike, Until, Wait};
use super::{Scenario, Sign, Step};
use crate::nemesis::kind::Kind;
use crate::nemesis::target::{Whom, engine_of, host_of, sidecar_of};

/// How long an arbiter may need to send off what it has decided.
const SENT: Duration = Duration::from_millis(50);
/// So long after one failover its budgets reach no more into the next one.
const APART: Step = Hold { leases: 2.0 };
/// How many instances there are besides the master.
const REPLICAS: usize = 2;

/// One scenario, one failover for each step.
pub(super) fn of_a_failover() -> Vec<Scenario> {
    let failovers = [suspects(), severs(), chose(), recorded(), directed()];
    vec![Scenario {
        name: "arbiter-dies-at-each-step",
        story: "Five masters are lost, and each time the arbiter dies at another step of the failover: while it suspects, \
                while one member has severed and another has not, while what it chose is on its way to the provider, when \
                that is recorded and nobody was told, and when the next master was told and does not lead yet. What holds \
                each step open makes sure of it.",
        expected_changes: u64::try_from(failovers.len()).unwrap_or(u64::MAX),
        provider: None,
        steps: failovers.concat(),
    }]
}

fn arbiter_dies() -> Step {
    Strike { fault: Kind::Kill, target: sidecar_of(Whom::Arbiter) }
}

/// Another leads, and all is as before.
fn over() -> Vec<Step> {
    vec![Replaced, HealAll, Healthy, APART]
}

/// The provider stands still, and the next master is chosen.
fn until_chosen() -> Vec<Step> {
    vec![
        Place { with_arbiter: true },
        Calm,
        Strike { fault: Kind::Freeze, target: host_of(Whom::Provider) },
        Strike { fault: Kind::Kill, target: engine_of(Whom::Master) },
        Until(Sign::Severed(REPLICAS)),
    ]
}

/// The master's host is silent, and its lease has not run out yet.
fn suspects() -> Vec<Step> {
    let steps = vec![
        Place { with_arbiter: false },
        Calm,
        Strike { fault: Kind::PowerOff, target: host_of(Whom::Master) },
        Hold { leases: 0.4 },
        arbiter_dies(),
        NotYet(Sign::Severed(1)),
        Hold { leases: 0.3 },
        // Without this one too few would be left to report.
        HealOf(Kind::Kill),
    ];
    [steps, over()].concat()
}

/// Of two members whose reports are needed one cannot stop replicating: its engine stands still.
fn severs() -> Vec<Step> {
    let steps = vec![
        Place { with_arbiter: true },
        Calm,
        Strike { fault: Kind::Stop, target: engine_of(Whom::Replica) },
        Strike { fault: Kind::Kill, target: engine_of(Whom::Master) },
        Until(Sign::Severed(1)),
        arbiter_dies(),
        NotYet(Sign::Severed(REPLICAS)),
        HealOf(Kind::Stop),
    ];
    [steps, over()].concat()
}

/// The provider stands still, so that nothing can be recorded.
fn chose() -> Vec<Step> {
    let steps = vec![Wait(SENT), NotYet(Sign::Directed), arbiter_dies(), HealOf(Kind::Freeze)];
    [until_chosen(), steps, over()].concat()
}

/// The arbiter is cut off from all other hosts before the provider goes on: it records, and nobody hears of it.
fn recorded() -> Vec<Step> {
    let steps = vec![
        Strike { fault: Kind::CutFromHosts, target: host_of(Whom::Arbiter) },
        HealOf(Kind::Freeze),
        Until(Sign::Recorded),
        arbiter_dies(),
        NotYet(Sign::Directed),
        HealOf(Kind::CutFromHosts),
    ];
    [until_chosen(), steps, over()].concat()
}

/// The engines of all who can be next stand still before the provider goes on: who is told to lead cannot begin.
fn directed() -> Vec<Step> {
    let steps = vec![
        Strike { fault: Kind::Stop, target: engine_of(Whom::Replicas) },
        HealOf(Kind::Freeze),
        Until(Sign::Directed),
        arbiter_dies(),
        NotYet(Sign::Writable),
        HealOf(Kind::Stop),
    ];
    [until_chosen(), steps, over()].concat()
}
