//! What an engine said before it ended by itself: the last line of its log, for people who read why it does not come up.
//!
//! It must not know what any engine's lines mean.

use baton_engine::deadman::protocol::{Cause, Ended, Exit};
use rustix::process::Signal;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The deadman copies an engine's output by a thread of its own, which may be behind the end for a moment.
const WRITTEN: Duration = Duration::from_millis(100);
/// Of the log's end so much is looked at, in bytes.
const LOOKED_AT: u64 = 4_096;
/// Of the line so much is told, in characters.
const TOLD: usize = 400;

/// Whether its last line may say why: whoever is killed has no time to say anything.
pub(super) fn say_why(ended: &Ended) -> bool {
    let failed = match ended.exit {
        Exit::Code(code) => code != 0,
        Exit::Signal(signal) => {
            let of_its_own = [Signal::ABORT, Signal::BUS, Signal::FPE, Signal::ILL, Signal::SEGV];
            of_its_own.iter().any(|own| own.as_raw() == signal)
        }
        Exit::Unknown => false,
    };
    failed && ended.cause == Cause::Itself
}

/// Tells the last line where there is one. It waits for nothing and holds up nothing: the disk of the log may hang.
pub(super) fn tell(instance: String, pid: u32, log: PathBuf) {
    tokio::spawn(async move {
        tokio::time::sleep(WRITTEN).await;
        let read = tokio::task::spawn_blocking(move || last_line(&log)).await;
        if let Ok(Some(said)) = read {
            tracing::warn!(instance, pid, said, "what the engine said last");
        }
    });
}

/// The last line that is not empty; of a very long one its end.
fn last_line(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOOKED_AT))).ok()?;
    let mut bytes = Vec::new();
    file.take(LOOKED_AT).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let surplus = line.chars().count().saturating_sub(TOLD);
    Some(line.chars().skip(surplus).filter(|sign| !sign.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_of(bytes: &[u8]) -> Option<String> {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("engine.log");
        std::fs::write(&log, bytes).expect("it can be written");
        last_line(&log)
    }

    #[test]
    fn whoever_ends_by_itself_and_in_trouble_may_say_why() {
        let ended = |exit, cause| Ended { run: 1, pid: 2, exit, cause, at_us: 0, wholly: true };
        let cases = [
            (Exit::Code(1), Cause::Itself, true),
            (Exit::Signal(11), Cause::Itself, true),
            (Exit::Code(0), Cause::Itself, false),
            (Exit::Signal(9), Cause::Itself, false),
            (Exit::Unknown, Cause::Itself, false),
            (Exit::Code(1), Cause::Asked, false),
        ];
        for (exit, cause, told) in cases {
            assert_eq!(say_why(&ended(exit, cause)), told, "{exit:?} {cause:?}");
        }
    }

    #[test]
    fn the_last_line_that_says_something_is_told() {
        assert_eq!(last_of(b"first\nBad file format\r\n\n  \n").as_deref(), Some("Bad file format"));
        assert_eq!(last_of(b"").as_deref(), None);
        assert_eq!(last_line(Path::new("/there/is/none")), None);
    }

    #[test]
    fn what_is_long_or_no_text_is_told_by_its_end() {
        let long = format!("{}end", "x".repeat(10_000));
        let told = last_of(long.as_bytes()).expect("there is a line");
        assert_eq!((told.len(), told.ends_with("xend")), (TOLD, true));
        assert_eq!(last_of(b"\xff\xfe\x1b[31mred").as_deref(), Some("\u{fffd}\u{fffd}[31mred"));
    }
}
