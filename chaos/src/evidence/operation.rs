//! What a client asked and what it was told: a line of its history.

use serde::{Deserialize, Serialize};

use super::Micros;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// The value at the end of the key's list.
    Append,
    /// Not a request of its own: the engine said that all appends of this `session` up to `value` have reached a replica.
    Confirm,
    /// The value as the key's register.
    Write,
    /// What the key's register holds.
    Read,
    /// A write to one instance, whatever the directory says.
    DirectWrite,
}

/// How it ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The engine said yes. Of a register in synchronous mode: and a replica has it.
    Ok,
    /// The engine said no, or the request never left: it has not happened and will not.
    Failed,
    /// It left, and nobody said what became of it: it may have happened, or not, or will.
    Unknown,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Who asked; its file is named after it.
    pub client: String,
    /// What was asked.
    pub op: Asked,
    /// Of what.
    pub key: String,
    /// What was to be written. No value is used twice in a run, but by direct writers, which count for each instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// What a read that is `ok` gave; absent where nothing was ever written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Who was asked.
    pub instance: String,
    /// The term at which the directory had named it; absent for a direct write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    /// One connection to one run of one engine, never taken up again; rises for each client.
    pub session: u64,
    /// Taken before the request was handed to the kernel.
    pub sent_us: Micros,
    /// When the answer was here; absent where it was given up or the connection broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_us: Option<Micros>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not succeed, in the engine's or the system's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many refusals in a row with the same error this line stands for, the first at `sent_us`, the last at `done_us`.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub times: u64,
}

impl Operation {
    /// When the acknowledgement was received, if there was one.
    #[must_use]
    pub fn acknowledged(&self) -> Option<Micros> {
        self.done_us.filter(|_| self.outcome == Outcome::Ok)
    }

    /// Whether it was asked of whom the directory named, as a router asks.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        !matches!(self.op, Asked::DirectWrite | Asked::Confirm)
    }

    /// The last moment that the line speaks of.
    #[must_use]
    pub fn end(&self) -> Micros {
        self.done_us.unwrap_or(self.sent_us).max(self.sent_us)
    }

    /// Why a line that can be parsed makes no sense.
    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let writes = matches!(self.op, Asked::Append | Asked::Confirm | Asked::Write | Asked::DirectWrite);
        if self.done_us.is_some_and(|done| done < self.sent_us) {
            Some(("done_us", "an answer cannot come before its request"))
        } else if self.outcome == Outcome::Ok && self.done_us.is_none() {
            Some(("done_us", "an acknowledged operation has the moment of its answer"))
        } else if writes && self.value.is_none() {
            Some(("value", "a write has a value"))
        } else if self.read.is_some() && (self.op != Asked::Read || self.outcome != Outcome::Ok) {
            Some(("read", "only a read that was answered has read something"))
        } else if self.times == 0 || (self.times > 1 && self.outcome != Outcome::Failed) {
            Some(("times", "only refusals are counted together, and there is at least one"))
        } else {
            None
        }
    }
}

fn one() -> u64 {
    1
}

// Serde hands a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_one(times: &u64) -> bool {
    *times == 1
}
