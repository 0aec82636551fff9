//! Faults: each knows whether it can be made here, how to strike, how to heal, and whether it bit. A fault that cannot show
//! that it bit proves nothing, and the verdict says so.
//!
//! [`kind`] has their names, [`target`] the words for whom they strike. What they strike is a [`crate::field::Field`]; they
//! do not know who judges.

mod cut;
mod disk;
mod hand;
pub mod kind;
mod load;
mod process;
mod slow;
mod state;
pub mod target;
mod twin;

use std::fmt::Debug;

use self::target::{Part, Victims};
use crate::evidence::{Allowed, Bite};
use crate::field::Field;

/// A fault. It is made for one strike, and healed once.
pub trait Fault: Debug + Send {
    /// Whether it can be made here; if not, why.
    ///
    /// # Errors
    /// The reason, for people.
    fn available(&self, _field: &Field) -> Result<(), String> {
        Ok(())
    }

    /// Strikes. What it did is said in words.
    ///
    /// # Errors
    /// It could not strike; nothing is to be concluded then.
    fn inject(&mut self, field: &mut Field, victims: &Victims) -> anyhow::Result<String>;

    /// Whether it did what it was meant to do. Asked right before it is healed.
    ///
    /// # Errors
    /// It cannot be seen.
    fn bite(&mut self, field: &Field) -> anyhow::Result<Bite>;

    /// Ends it: what it struck is as before, or starts again.
    ///
    /// # Errors
    /// It would not end.
    fn heal(&mut self, field: &mut Field) -> anyhow::Result<()>;

    /// How long clients may go without an acknowledgement for it.
    fn allowed(&self, victims: &Victims) -> Allowed;

    /// Whether the engines that it strikes stand still until it is healed, their queues kept.
    fn freezes(&self) -> bool {
        false
    }

    /// Whether a person opens the engines that it strikes, so that they take writes until they are fenced.
    fn opens(&self) -> bool {
        false
    }
}

/// How long clients may wait where something silences these parts of these hosts: by the class that `timing` has for it.
fn allowed_for_silence(victims: &Victims, part: Part) -> Allowed {
    allowed_for_silence_as(victims, part, "silent-with-arbiter")
}

/// The same, with the class that counts where the active arbiter's host is among them.
fn allowed_for_silence_as(victims: &Victims, part: Part, with_arbiter: &str) -> Allowed {
    let struck = |host: &str| victims.machines.iter().any(|victim| victim == host);
    let hosts = victims.standing.members.iter().filter(|member| struck(&member.host)).count();
    let master = struck(&victims.standing.master_host);
    let arbiter = struck(&victims.standing.arbiter) && part != Part::Engine;
    let class = if arbiter { with_arbiter } else { "silent" };
    if hosts * 2 > victims.standing.members.len() {
        // Too few are left to be told from those who are cut off, or nobody to be appointed.
        Allowed::UntilHealed { class: with_arbiter.to_owned() }
    } else if master || arbiter {
        // An arbiter that is silenced beside a replica takes that one's promise along: the master may have to stop until
        // another arbiter holds the lock.
        Allowed::Class { class: class.to_owned() }
    } else {
        Allowed::Nothing
    }
}

fn bite(bit: bool, how: String) -> anyhow::Result<Bite> {
    Ok(Bite { bit, how })
}
