//! Timelines: where a server's history branched off from another's. Pure.
//!
//! A promotion begins a new timeline, and a history file says where each earlier one ended. Numbers are not unique: of two servers
//! that were promoted without having heard of each other both may have begun "2". So the terms that the data holds are compared, too.

use std::collections::BTreeSet;

/// The history of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// The timeline that it writes.
    pub(super) current: u32,
    /// Earlier ones, each with the offset at which it ended.
    pub(super) ended: Vec<(u32, u64)>,
}

impl History {
    /// Reads a history file, which begins each line with a timeline and where it ended (`1`, a tab, `0/3000148`).
    pub(super) fn read(current: u32, file: &str) -> Self {
        let ended = file.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.parse().ok()?, offset_of(words.next()?)?))
        });
        Self { current, ended: ended.collect() }
    }

    /// Up to where this history has what is on a timeline; `None`: nothing of it. The current one has no end.
    fn end_of(&self, timeline: u32) -> Option<u64> {
        if timeline == self.current {
            return Some(u64::MAX);
        }
        self.ended.iter().find(|(ended, _)| *ended == timeline).map(|(_, end)| *end)
    }

    /// The timeline of the byte before `offset`, where a file of `timeline` holds it; of one that is not in this history nothing is known.
    fn at(&self, timeline: u32, offset: u64) -> u32 {
        if self.end_of(timeline).is_none() {
            return timeline;
        }
        let earlier = self.ended.iter().filter(|(ended, _)| *ended < timeline);
        earlier.filter(|(_, end)| offset <= *end).map(|(ended, _)| *ended).min().unwrap_or(timeline)
    }
}

/// `0/3000148`.
pub(super) fn offset_of(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some((u64::from_str_radix(high, 16).ok()? << 32) | u64::from_str_radix(low, 16).ok()?)
}

/// As PostgreSQL writes it.
pub(super) fn text_of(offset: u64) -> String {
    format!("{:X}/{:X}", offset >> 32, offset & 0xffff_ffff)
}

/// The name of the file that holds the byte before `offset` on a timeline.
pub(super) fn segment_name(timeline: u32, offset: u64, segment: u64) -> String {
    let number = offset.saturating_sub(1) / segment;
    let per_log = (1 << 32) / segment;
    format!("{timeline:08X}{:08X}{:08X}", number / per_log, number % per_log)
}

/// On which timeline data lies that ends at `offset`: the latest of which there is such a file among `names`.
pub(super) fn timeline_at(names: &BTreeSet<String>, offset: u64, segment: u64) -> Option<u32> {
    let wanted = segment_name(0, offset, segment);
    let tail = wanted.get(8..)?;
    let fitting = names.iter().filter(|name| name.len() == 24 && name.get(8..) == Some(tail));
    fitting.filter_map(|name| u32::from_str_radix(name.get(..8)?, 16).ok()).max()
}

/// What one of two servers holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    /// Which system it was made as.
    pub(super) system: String,
    /// On which timeline it ends; `None` where no file says it.
    pub(super) timeline: Option<u32>,
    /// Where it ends.
    pub(super) end: u64,
    /// The highest term that it is marked with, 0 for none.
    pub(super) term: u64,
    /// The timeline that this term began.
    pub(super) begun: Option<u32>,
    /// Everything that it received is replayed, so that the mark is the last one in there.
    pub(super) replayed: bool,
    /// Nobody has written into it yet.
    pub(super) empty: bool,
}

/// What the other has, which is to be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Master {
    pub(super) system: String,
    pub(super) history: History,
    /// The terms that its data went through.
    pub(super) terms: BTreeSet<u64>,
}

/// How one comes to follow the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It holds a beginning of what the master has.
    Follow,
    /// From `fork` on it holds something else, which has to be taken back first.
    Rewind { fork: u64 },
    /// A copy is needed, for this reason.
    Clone(&'static str),
    /// A person has to look, for this reason.
    Refuse(&'static str),
}

/// See [`Way`].
pub(super) fn way(own: &Own, master: &Master) -> Way {
    if own.system != master.system {
        return if own.empty {
            Way::Clone("it is new and empty")
        } else {
            Way::Refuse(
                "its data was made by another initdb than the master's, and is not empty: move data_dir away to have it cloned",
            )
        };
    }
    let Some(timeline) = own.timeline else {
        return Way::Clone("its log has no file for the end of its data");
    };
    // The file that a timeline begins in holds the end of the one before, too.
    let timeline = master.history.at(timeline, own.end);
    let reach = master.history.end_of(timeline);
    if own.begun.is_some_and(|begun| begun != timeline) && reach.is_some() {
        // It holds a promotion without its term: that may be another one than the master went through, whatever its number.
        return if own.replayed {
            Way::Clone("it goes on behind a promotion whose term it does not hold")
        } else {
            Way::Refuse("it has not replayed yet what it received")
        };
    }
    if own.term != 0 && !master.terms.contains(&own.term) {
        // It was promoted, or followed one that was, and the master never heard of that.
        return match reach {
            // By the numbers nothing would have to be taken back.
            Some(_) => Way::Clone("its timeline has the number of another one"),
            None => Way::Rewind { fork: fork_of(own, &master.history) },
        };
    }
    match reach {
        Some(reach) if own.end <= reach => Way::Follow,
        Some(reach) => Way::Rewind { fork: reach },
        None => Way::Rewind { fork: fork_of(own, &master.history) },
    }
}

/// Where a timeline that the master does not have can have begun at the earliest: the end of the last that began before it.
fn fork_of(own: &Own, master: &History) -> u64 {
    let before = |(timeline, _): &&(u32, u64)| own.timeline.is_some_and(|own| *timeline < own);
    let last = master.ended.iter().rfind(before).map_or(own.end, |(_, end)| *end);
    last.min(own.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(timeline: u32, end: u64, term: u64) -> Own {
        let begun = (term != 0).then_some(timeline);
        Own { system: "7".into(), timeline: Some(timeline), end, term, begun, replayed: true, empty: false }
    }

    fn master(current: u32, ended: &[(u32, u64)], terms: &[u64]) -> Master {
        let history = History { current, ended: ended.to_vec() };
        Master { system: "7".into(), history, terms: terms.iter().copied().collect() }
    }

    #[test]
    fn a_history_is_read_as_the_server_writes_it() {
        let file = "1\t0/3000148\tno recovery target specified\n\n2\t1/A0\tno recovery target specified\n";
        let history = History::read(3, file);
        assert_eq!(history.ended, [(1, 0x300_0148), (2, 0x1_0000_00a0)]);
        assert_eq!(text_of(0x1_0000_00a0), "1/A0");
        for damaged in ["", "x", "1", "1 0", "1 0/z"] {
            assert_eq!(History::read(3, damaged).ended, [], "{damaged}");
        }
    }

    #[test]
    fn the_latest_timeline_with_a_file_for_the_end_counts() {
        const SEGMENT: u64 = 16 << 20;
        let names: BTreeSet<String> = [
            "000000010000000000000003",
            "000000020000000000000003",
            "000000010000000000000004",
            "00000002.history",
        ]
        .map(str::to_owned)
        .into();
        assert_eq!(timeline_at(&names, 0x300_0148, SEGMENT), Some(2));
        assert_eq!(timeline_at(&names, 0x400_0000, SEGMENT), Some(2), "the last byte of the third file");
        assert_eq!(timeline_at(&names, 0x400_0001, SEGMENT), Some(1));
        assert_eq!(timeline_at(&names, 0x500_0001, SEGMENT), None);
        assert_eq!(segment_name(1, (1 << 32) + 1, SEGMENT), "000000010000000100000000");
    }

    #[test]
    fn a_beginning_of_the_masters_history_follows() {
        assert_eq!(way(&own(1, 100, 1), &master(1, &[], &[1])), Way::Follow);
        assert_eq!(way(&own(1, 100, 1), &master(2, &[(1, 100)], &[1, 2])), Way::Follow);
        assert_eq!(way(&own(2, 150, 2), &master(2, &[(1, 100)], &[1, 2])), Way::Follow);
        assert_eq!(way(&own(1, 90, 0), &master(2, &[(1, 100)], &[2])), Way::Follow, "never marked");
    }

    #[test]
    fn what_was_written_after_the_fork_is_taken_back() {
        assert_eq!(way(&own(1, 101, 1), &master(2, &[(1, 100)], &[1, 2])), Way::Rewind { fork: 100 });
        // Promoted to 2, and the master to 3 from 1.
        assert_eq!(way(&own(2, 150, 2), &master(3, &[(1, 120)], &[1, 3])), Way::Rewind { fork: 120 });
        assert_eq!(way(&own(2, 110, 2), &master(3, &[(1, 120)], &[1, 3])), Way::Rewind { fork: 110 });
    }

    #[test]
    fn the_same_number_is_not_the_same_timeline() {
        let found = way(&own(2, 150, 2), &master(2, &[(1, 100)], &[1, 3]));
        assert!(matches!(found, Way::Clone(_)), "{found:?}");
    }

    /// Two were promoted at the same point. One died before its first write; who had received that promotion, and nothing of its term,
    /// is told to follow the other.
    #[test]
    fn a_promotion_without_its_term_is_nobodys() {
        let behind = Own { begun: Some(1), ..own(2, 130, 1) };
        let found = way(&behind, &master(2, &[(1, 100)], &[1, 3]));
        assert!(matches!(found, Way::Clone(_)), "{found:?}");
        let found = way(&Own { replayed: false, ..behind.clone() }, &master(2, &[(1, 100)], &[1, 3]));
        assert!(matches!(found, Way::Refuse(_)), "{found:?}");
        // The file of the new timeline is there, and its first byte is not.
        assert_eq!(way(&Own { end: 100, ..behind }, &master(2, &[(1, 100)], &[1, 3])), Way::Follow);
    }

    #[test]
    fn only_what_is_empty_is_replaced_by_another_system() {
        let strange = Own { system: "8".into(), ..own(1, 100, 0) };
        let empty = Own { empty: true, ..strange.clone() };
        assert!(matches!(way(&strange, &master(1, &[], &[])), Way::Refuse(_)));
        assert!(matches!(way(&empty, &master(1, &[], &[])), Way::Clone(_)));
    }
}
