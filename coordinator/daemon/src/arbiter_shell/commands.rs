//! What operators ask of the arbiter, and what is imagined for them.

use super::tasks::Asked;
use super::{Shell, writes};
use crate::clock;
use crate::operator::{Imagined, OperatorCommand, Refused, RefusedKind};
use baton_core::arbiter::{Forcing, Forecast, Input};
use std::sync::Arc;

impl Shell {
    pub(super) fn command(&mut self, command: OperatorCommand) {
        match command {
            OperatorCommand::Switchover { replicaset, to, timeout, asked_by, start_at, how, reply } => {
                self.task_asked(Asked { replicaset, to, timeout, asked_by, start_at, how }, reply);
            }
            OperatorCommand::AbortTask { task, reply } => self.abort_asked(task, reply),
            OperatorCommand::WhatIf { imagined, reply } => {
                let active = self.token.is_some();
                let _ = reply.send(if active { self.forecasts(&imagined) } else { Err(not_active()) });
            }
            OperatorCommand::Pause { replicasets, pin, reply } => {
                if self.token.is_none() {
                    let _ = reply.send(Err(not_active()));
                    return;
                }
                for replicaset in replicasets {
                    self.step(Input::Pause { replicaset, pin });
                }
                let _ = reply.send(Ok(()));
            }
            OperatorCommand::Resume { replicasets, reply } => {
                if self.token.is_none() {
                    let _ = reply.send(Err(not_active()));
                    return;
                }
                match replicasets {
                    None => self.step(Input::Resume { replicaset: None }),
                    Some(replicasets) => {
                        for replicaset in replicasets {
                            self.step(Input::Resume { replicaset: Some(replicaset) });
                        }
                    }
                }
                let _ = reply.send(Ok(()));
            }
            OperatorCommand::RemoveMember { replicaset, instance, reply } => {
                let Some(token) = self.token else {
                    let _ = reply.send(Err(not_active()));
                    return;
                };
                let provider = Arc::clone(&self.parts.provider);
                let events = self.events.clone();
                let removal = writes::Removal { token, replicaset, instance };
                tokio::spawn(writes::remove_member(provider, removal, reply, events));
            }
            OperatorCommand::RemoveSet { replicaset, dry_run, reply } => {
                self.removal_asked(replicaset, dry_run, reply);
            }
            OperatorCommand::History { replicaset, limit, reply } => {
                tokio::spawn(writes::history(Arc::clone(&self.parts.provider), replicaset, limit, reply));
            }
        }
    }

    fn forecasts(&self, imagined: &Imagined) -> Result<Vec<Forecast>, Refused> {
        let now = clock::now();
        let refused =
            |why| Refused::new(RefusedKind::NotPossible, why, "look at the members with: batonctl status");
        match imagined {
            Imagined::Loss(loss) => Ok(self
                .arbiter
                .set_names()
                .filter_map(|name| self.arbiter.forecast(now, name, loss))
                .collect()),
            Imagined::Switchover { replicaset, to } => {
                let forecast = self.arbiter.forecast_switchover(now, replicaset, to.as_ref());
                forecast.map(|forecast| vec![forecast]).map_err(refused)
            }
            Imagined::Drill { replicaset, asked } => {
                let forecast = self.arbiter.forecast_drill(now, replicaset, *asked);
                forecast.map(|forecast| vec![forecast]).map_err(refused)
            }
            Imagined::Failover { replicaset, to } => {
                let forecast =
                    self.arbiter.forecast_failover(now, replicaset, to.as_ref(), Forcing::default());
                forecast.map(|forecast| vec![forecast]).map_err(refused)
            }
        }
    }
}

pub(super) fn not_active() -> Refused {
    Refused::new(RefusedKind::NotActiveArbiter, "this coordinator is not the active arbiter", "")
}
