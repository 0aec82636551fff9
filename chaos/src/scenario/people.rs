//! What only a person can help: nothing that Baton may do by itself would be right.

use std::time::Duration;

use super::Scenario;
use super::Step::{Calm, Force, HealAll, HealOf, Healthy, Hold, Place, Replaced, Strike, Wait, Waits};
use crate::nemesis::kind::Kind;
use crate::nemesis::target::{Whom, host_of};

/// How long it takes at least to set a machine up. A stranger under a name whose last stream was not seen to end yet is turned away.
const SET_UP: Duration = Duration::from_secs(40);

/// All of them.
pub(super) fn who_help() -> Vec<Scenario> {
    vec![Scenario {
        name: "forced-when-most-are-gone",
        story: "A replica does not hear the other hosts for a moment, and while the master and the other replica go on \
                confirming writes, both are lost for good. The one that is left may lack what was confirmed: nobody is \
                appointed, until a person accepts the loss. It is no more than what came in that moment, and the record \
                says so. Two new machines take the lost ones' places and begin with nothing.",
        expected_changes: 1,
        provider: None,
        steps: vec![
            Place { with_arbiter: false },
            Calm,
            Strike { fault: Kind::CutFromHosts, target: host_of(Whom::Arbiter) },
            Hold { leases: 0.25 },
            Strike { fault: Kind::Gone, target: host_of(Whom::Rest) },
            HealOf(Kind::CutFromHosts),
            Hold { leases: 2.0 },
            Waits,
            Force,
            Replaced,
            Wait(SET_UP),
            HealAll,
            Healthy,
            Calm,
        ],
    }]
}
