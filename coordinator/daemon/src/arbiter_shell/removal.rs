//! The removal of a replica set: the machine's word and the tombstone first, then its members are taken out of the list.

use super::commands::not_active;
use super::{Shell, writes};
use crate::clock;
use crate::operator::{Refused, RefusedKind, Reply};
use baton_core::arbiter::Input;
use baton_core::ids::{InstanceName, ReplicaSetName, Term};
use std::sync::Arc;
use tokio::sync::oneshot;

impl Shell {
    pub(super) fn removal_asked(&mut self, replicaset: ReplicaSetName, dry_run: bool, reply: Reply<()>) {
        if self.token.is_none() {
            let _ = reply.send(Err(not_active()));
            return;
        }
        if dry_run {
            let against = self.arbiter.against_removal(clock::now(), &replicaset);
            let _ = reply.send(if against.is_empty() { Ok(()) } else { Err(refused(&replicaset, &against)) });
            return;
        }
        if self.removals.contains_key(&replicaset) {
            let text = format!("{replicaset} is being removed already");
            let _ = reply.send(Err(Refused::new(RefusedKind::Busy, text, "ask again in a moment")));
            return;
        }
        self.removals.insert(replicaset.clone(), reply);
        self.step(Input::RemoveSet { replicaset });
    }

    pub(super) fn removal_answered(
        &mut self,
        replicaset: &ReplicaSetName,
        answer: Result<Option<Term>, Vec<String>>,
    ) {
        let Some(reply) = self.removals.remove(replicaset) else { return };
        let term = match answer {
            Ok(term) => term,
            Err(against) => {
                let _ = reply.send(Err(refused(replicaset, &against)));
                return;
            }
        };
        tracing::warn!(%replicaset, tombstone = term.map(|term| term.0), "the replica set is removed");
        let Some(token) = self.token else { return };
        let view = self.arbiter.set_view(clock::now(), replicaset);
        let members: Vec<InstanceName> =
            view.into_iter().flat_map(|view| view.members).map(|member| member.listed.instance).collect();
        let (provider, events) = (Arc::clone(&self.parts.provider), self.events.clone());
        let replicaset = replicaset.clone();
        tokio::spawn(async move {
            for instance in members {
                let removal = writes::Removal { token, replicaset: replicaset.clone(), instance };
                let (answer, removed) = oneshot::channel();
                writes::remove_member(Arc::clone(&provider), removal, answer, events.clone()).await;
                if let Ok(Err(refused)) = removed.await {
                    let _ = reply.send(Err(refused));
                    return;
                }
            }
            let _ = reply.send(Ok(()));
        });
    }
}

fn refused(replicaset: &ReplicaSetName, against: &[String]) -> Refused {
    let text = format!("{replicaset} cannot be removed now: {}", against.join("; "));
    Refused::new(RefusedKind::NotPossible, text, "stop the coordinators of all its members, and ask again")
}
