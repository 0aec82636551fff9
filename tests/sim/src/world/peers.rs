//! What guards say to each other while no arbiter answers a master, and what one of them passes on to the arbiter.
//!
//! It must not know what is promised, or why.

use super::World;
use super::net::Body;
use baton_core::arbiter::{Input as ArbiterInput, RelayId};
use baton_core::guard::{Action, Input};
use baton_core::ids::{Epoch, InstanceName};
use baton_core::message::{Beat, Grant, Hello};

impl World {
    /// Carries one of the guard's actions towards others out.
    pub(super) fn guard_speaks(&mut self, instance: &InstanceName, action: Action) {
        match action {
            Action::Ask { to, ask } => {
                let Some(hello) = self.hello_of(instance) else { return };
                self.send(instance.as_str(), to.as_str(), Body::Ask(Box::new(hello), ask));
            }
            Action::Answer { to, answer } => {
                self.send(instance.as_str(), to.as_str(), Body::Promised(answer));
            }
            Action::Relay { of, beat } => self.relay(instance, &of, beat),
            _ => {}
        }
    }

    fn relay(&mut self, by: &InstanceName, of: &InstanceName, beat: Box<Beat>) {
        let Some(node) = self.nodes.get(by) else { return };
        let Some((arbiter, _)) = node.stream.clone().filter(|_| node.welcome) else { return };
        let Some(hello) = node.askers.get(of).cloned() else { return };
        self.send(by.as_str(), &arbiter, Body::Relay(Box::new(hello), beat));
    }

    /// A master asks this host's guard.
    pub(super) fn node_is_asked(&mut self, instance: &InstanceName, body: Body) {
        let Some(node) = self.nodes.get_mut(instance) else { return };
        let run = node.run;
        if let Body::Ask(hello, ask) = body {
            let from = hello.instance.clone();
            node.askers.insert(from.clone(), *hello);
            self.guard_hears(instance, run, Input::Asked { from, ask });
        }
    }

    pub(super) fn arbiter_is_relayed(&mut self, name: &str, by: &str, hello: Box<Hello>, beat: Box<Beat>) {
        let Ok(by) = InstanceName::parse(by) else { return };
        self.last_relay += 1;
        let relay = RelayId(self.last_relay);
        self.relays.insert(relay, (by.clone(), hello.instance.clone()));
        self.arbiter_step(name, ArbiterInput::Relayed { relay, by, hello, beat });
        self.relays.remove(&relay);
    }

    pub(super) fn arbiter_answers_relay(
        &mut self,
        name: &str,
        relay: RelayId,
        epoch: Epoch,
        well: bool,
        grant: Option<Grant>,
    ) {
        if let Some((by, of)) = self.relays.get(&relay).cloned() {
            let text = format!("hears {of} through {by}");
            let key = (name.to_owned(), format!("{of} through {by}"));
            if grant.is_some() && self.told.insert(key, text.clone()).as_ref() != Some(&text) {
                self.say(name, &text);
            }
            self.send(name, by.as_str(), Body::Relayed { of, epoch, well, grant });
        }
    }
}
