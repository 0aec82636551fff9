//! What struck whom, when, how long service may pause for it, and whether it bit.

use serde::{Deserialize, Serialize};

use super::Micros;

/// How long clients may go without an acknowledgement for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Allowed {
    /// Nothing may be interrupted: the master is not touched.
    Nothing,
    /// Nothing may be interrupted, but everything is late: so much more than where it is not.
    Late {
        /// How much more.
        by_us: Micros,
    },
    /// As long as `timing` names for this failure class.
    Class {
        /// The class, a key of [`super::Run::budgets_us`].
        class: String,
    },
    /// Nobody can be master while it lasts; healed, as long as `timing` names for this class.
    UntilHealed {
        /// The class, a key of [`super::Run::budgets_us`].
        class: String,
    },
    /// No bound is promised.
    Unbounded {
        /// Why not.
        why: String,
    },
}

/// Whether a fault did what it was meant to do: a cut that drops nothing proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bite {
    /// Whether it was seen.
    pub bit: bool,
    /// By what it was seen, or what was looked for in vain.
    pub how: String,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Its number in the run. A later line with the same number replaces an earlier one: it is written when it strikes and again
    /// when it is healed.
    pub id: u64,
    /// What it is (`kill-host`, `cut-one-way`, …).
    pub name: String,
    /// What struck, in words for people, with the victims that were drawn.
    pub what: String,
    /// Instances and hosts that it struck.
    pub targets: Vec<String>,
    /// How long clients may wait for it.
    pub allowed: Allowed,
    /// When it struck.
    pub injected_us: Micros,
    /// When it had been healed; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healed_us: Option<Micros>,
    /// Instances whose engine stood still from `injected_us` to `healed_us`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub froze: Vec<String>,
    /// Instances that a person opened for writing behind the coordinator's back: what they take from `injected_us` to `healed_us`
    /// is nobody's but that person's; afterwards they have to be fenced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opened: Vec<String>,
    /// Whether it bit; absent until that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bite: Option<Bite>,
    /// Whether a person accepted a loss by it: what the decision that it led to says may be lost, and no more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub may_lose: bool,
}

impl Fault {
    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        if self.healed_us.is_some_and(|healed| healed < self.injected_us) {
            Some(("healed_us", "a fault cannot be healed before it strikes"))
        } else {
            None
        }
    }
}

// Serde hands a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !*flag
}
