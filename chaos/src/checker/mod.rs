//! Verdicts: pure functions of a recorded history. They know neither processes nor clocks, and each is tested with a
//! history that it must fail.

pub mod gap;
pub mod lost;
pub mod stale;

#[cfg(test)]
pub(crate) mod samples {
    //! Hand-made operations for the tests of the checkers.

    use crate::workload::history::{Author, Moment, Operation, Outcome, Reign};

    /// A write of the writer, acknowledged.
    pub(crate) fn acknowledged(instance: &str, sent: u64, at: u64) -> Operation {
        Operation {
            author: Author::Writer,
            sequence: sent,
            instance: instance.into(),
            sent: Moment(sent),
            outcome: Outcome::Acknowledged(Moment(at)),
        }
    }

    /// The same of a prober.
    pub(crate) fn probed(instance: &str, sent: u64, at: u64) -> Operation {
        Operation { author: Author::Prober, ..acknowledged(instance, sent, at) }
    }

    /// A write that was refused.
    pub(crate) fn refused(instance: &str, sent: u64, at: u64) -> Operation {
        Operation { outcome: Outcome::Refused(Moment(at)), ..acknowledged(instance, sent, at) }
    }

    /// A write that nobody answered.
    pub(crate) fn unknown(instance: &str, sent: u64, at: u64) -> Operation {
        Operation { outcome: Outcome::Unknown(Moment(at)), ..acknowledged(instance, sent, at) }
    }

    /// A term.
    pub(crate) fn reign(term: u64, master: &str, from: u64) -> Reign {
        Reign { term, master: master.into(), known_from: Moment(from) }
    }
}
