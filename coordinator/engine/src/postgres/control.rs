//! The control file of a data directory that no server runs on: how it ended, and where its log ends. Pure but for one read.

use std::io;
use std::path::Path;

/// `DB_SHUTDOWNED` of PostgreSQL's `pg_control.h`: a primary that was shut down cleanly.
const SHUT_DOWN: u32 = 1;
/// The same of a standby.
const SHUT_DOWN_IN_RECOVERY: u32 = 2;
/// The layout of the first fields has been the same since version 11 (`PG_CONTROL_VERSION` 1100); no later one than 18 was looked at.
const KNOWN: std::ops::RangeInclusive<u32> = 1100..=1800;

/// What is read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Control {
    /// Whether it ended by an order, with everything on disk.
    pub(super) clean: bool,
    /// Where its last checkpoint is: after a clean shutdown, the last record of the log.
    pub(super) checkpoint: u64,
}

impl Control {
    /// Reads the file of this data directory.
    pub(super) fn read(data_dir: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(data_dir.join("global").join("pg_control"))?;
        Self::parse(&bytes).ok_or_else(|| io::Error::other("pg_control has another layout"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let (version, state, checkpoint) = (number(8)?, number(16)?, long(32)?);
        let clean = matches!(state, SHUT_DOWN | SHUT_DOWN_IN_RECOVERY);
        KNOWN.contains(&version).then_some(Self { clean, checkpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u32, state: u32) -> Vec<u8> {
        let mut bytes = vec![0; 40];
        bytes[8..12].copy_from_slice(&version.to_ne_bytes());
        bytes[16..20].copy_from_slice(&state.to_ne_bytes());
        bytes[32..40].copy_from_slice(&0x277_a6b0_u64.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_clean_end_is_told_from_a_crash() {
        for (state, clean) in [(1, true), (2, true), (6, false)] {
            let control = Control::parse(&file(1300, state));
            assert_eq!(control, Some(Control { clean, checkpoint: 0x277_a6b0 }));
        }
    }

    #[test]
    fn what_is_unknown_is_not_guessed_at() {
        assert_eq!(Control::parse(&file(942, 1)), None, "a layout of before");
        assert_eq!(Control::parse(&file(1300, 1)[..39]), None, "cut off");
        assert_eq!(Control::parse(&[]), None);
    }
}
