//! The write gap: the longest time between consecutive acknowledged writes of the writer around a fault.

use std::time::Duration;

use crate::workload::history::{Author, Moment, Operation};

/// The gap and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How long.
    pub length: Duration,
    /// The last acknowledgement before it.
    pub from: Moment,
    /// The first one after it, or the end of what was watched.
    pub to: Moment,
}

/// The longest stretch without an acknowledgement that ends after `fault`, in a window that ends at `end`. What was
/// still silent at the end counts up to there, so that a writer that never came back has a gap, not none. `None` where
/// nothing was acknowledged before the fault: then there was nothing to interrupt.
#[must_use]
pub fn write_gap(operations: &[Operation], fault: Moment, end: Moment) -> Option<Gap> {
    let mut moments: Vec<Moment> = operations
        .iter()
        .filter(|operation| operation.author == Author::Writer)
        .filter_map(Operation::acknowledged)
        .filter(|at| *at <= end)
        .collect();
    moments.sort_unstable();
    if moments.first().is_none_or(|first| *first > fault) {
        return None;
    }
    moments.push(end);
    moments
        .windows(2)
        .map(|pair| Gap { length: pair[1].since(pair[0]), from: pair[0], to: pair[1] })
        .filter(|gap| gap.to > fault)
        .max_by_key(|gap| (gap.length, std::cmp::Reverse(gap.from)))
}

/// How many writes of the writer were acknowledged.
#[must_use]
pub fn acknowledged_writes(operations: &[Operation]) -> u64 {
    let of_writer = operations.iter().filter(|operation| operation.author == Author::Writer);
    of_writer.filter(|operation| operation.acknowledged().is_some()).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::samples::{acknowledged, probed, refused, unknown};

    fn millis(gap: Option<Gap>) -> Option<u64> {
        gap.map(|gap| u64::try_from(gap.length.as_micros()).expect("short"))
    }

    #[test]
    fn the_longest_silence_after_the_fault_is_found() {
        let history = [
            acknowledged("a", 0, 10),
            acknowledged("a", 20, 30),
            unknown("a", 40, 90),
            refused("b", 95, 96),
            acknowledged("b", 128, 130),
            acknowledged("b", 138, 140),
        ];
        let gap = write_gap(&history, Moment(35), Moment(145)).expect("there is one");
        assert_eq!((gap.from, gap.to), (Moment(30), Moment(130)));
        assert_eq!(acknowledged_writes(&history), 4);
    }

    #[test]
    fn a_silence_before_the_fault_does_not_count() {
        let history = [acknowledged("a", 0, 10), acknowledged("a", 500, 510), acknowledged("a", 518, 520)];
        assert_eq!(millis(write_gap(&history, Moment(515), Moment(521))), Some(10));
    }

    #[test]
    fn a_writer_that_never_came_back_has_a_gap_to_the_end() {
        let history = [acknowledged("a", 0, 10), unknown("a", 20, 90)];
        assert_eq!(millis(write_gap(&history, Moment(15), Moment(1_000))), Some(990));
    }

    #[test]
    fn a_probers_acknowledgement_does_not_shorten_it() {
        let history = [acknowledged("a", 0, 10), probed("b", 20, 50), acknowledged("b", 80, 90)];
        assert_eq!(millis(write_gap(&history, Moment(15), Moment(91))), Some(80));
    }

    #[test]
    fn order_of_recording_does_not_matter() {
        let history = [acknowledged("b", 80, 90), acknowledged("a", 0, 10)];
        assert_eq!(millis(write_gap(&history, Moment(15), Moment(91))), Some(80));
    }

    #[test]
    fn without_a_write_before_the_fault_there_is_no_gap_to_speak_of() {
        assert_eq!(write_gap(&[], Moment(5), Moment(10)), None);
        assert_eq!(write_gap(&[acknowledged("a", 6, 7)], Moment(5), Moment(10)), None);
    }
}
