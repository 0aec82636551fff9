//! What a drill would lead to, and whether it may be dared: its forecast and its guard rails, from what is known at this moment. It
//! must not change anything.

use super::super::Arbiter;
use super::super::forecast::{Fate, Forecast};
use super::super::rails::{DrillAsked, Fault, Ground, Rail, rails_of};
use super::super::set::{Proposal, SetState};
use crate::ids::ReplicaSetName;
use crate::record::Record;
use crate::time::{Span, Time};
use crate::timing::FailureClass;

impl Arbiter {
    /// Every guard rail of a drill, and what the fault would lead to.
    ///
    /// # Errors
    /// There is no such set, or it never had a master; for people.
    pub fn forecast_drill(
        &self,
        now: Time,
        name: &ReplicaSetName,
        asked: DrillAsked,
    ) -> Result<Forecast, String> {
        let set = self.sets.get(name).ok_or_else(|| format!("there is no replica set {name}"))?;
        let record = set.record.as_ref().ok_or_else(|| format!("{name} has had no master yet"))?;
        let forecast = self.fate_of_drill(now, set, record, asked);
        let rails = self.rails(now, set, asked, &forecast);
        Ok(Forecast { rails, ..forecast })
    }

    pub(super) fn fate_of_drill(
        &self,
        now: Time,
        set: &SetState,
        record: &Record,
        asked: DrillAsked,
    ) -> Forecast {
        let mut forecast = Forecast::new(&set.name, record.master.clone());
        let class = match asked.fault {
            Fault::KillEngine => {
                forecast.lost = record.master.iter().cloned().collect();
                // What holds a set is a rail of its own.
                self.forecast_succession(now, set, record, None, &mut forecast);
                FailureClass::Crashed
            }
            Fault::Switchover => {
                match self.forecast_switchover_of(now, set, None) {
                    Ok(switchover) => forecast = switchover,
                    Err(why) => forecast.fate = Fate::NoSuccessor(why),
                }
                FailureClass::Switchover
            }
        };
        forecast.within = matches!(forecast.fate, Fate::Replaced(_)).then(|| self.timing.worst_outage(class));
        if asked.fault == Fault::KillEngine && record.ack_quorum == 0 {
            forecast.may_lose =
                Some("what the master acknowledged and no replica had received yet".to_owned());
        }
        forecast
    }

    pub(super) fn rails(
        &self,
        now: Time,
        set: &SetState,
        asked: DrillAsked,
        forecast: &Forecast,
    ) -> Vec<Rail> {
        let view = self.view_of(now, set);
        let successor = match &forecast.fate {
            Fate::Replaced(successor) => Ok(successor.clone()),
            Fate::NoSuccessor(why) | Fate::Stops(why) => Err(why.clone()),
            Fate::NoneNow | Fate::Stays | Fate::GoesOn => Err("the set has no active master".to_owned()),
        };
        let may_appoint = self.is_active(now) && self.may_appoint(now);
        rails_of(&Ground {
            view: &view,
            asked,
            unsettled: unsettled(set),
            task: set.task.is_some() || set.drill.is_some(),
            lock_left: if may_appoint { self.lock_left(now) } else { Span::ZERO },
            // A lock that is being renewed always covers a full lease.
            lock_needed: self.timing.lease_ttl,
            master_silence: self.timing.beat_master * 2,
            replica_silence: self.timing.beat_replica + self.timing.beat_master,
            moving: self.settings.moving.is_some(),
            drained: &self.settings.drained,
            policy: self.settings.of(&set.name),
            successor,
        })
    }
}

/// What a set is busy with, in a few words.
fn unsettled(set: &SetState) -> Option<&'static str> {
    match &set.proposal {
        _ if set.pending.is_some() => Some("a change of its record is being written"),
        _ if set.evidence.is_some() => Some("its master is being replaced"),
        _ if !set.confirmed => Some("its master has not confirmed yet that it accepts writes"),
        Some(Proposal::Grow(_) | Proposal::Shrink(_)) => Some("its in-sync set is being changed"),
        Some(Proposal::Quorum(_)) => Some("its ack_quorum is being raised"),
        Some(Proposal::Unpin) => Some("its pause is being ended"),
        None => None,
    }
}
