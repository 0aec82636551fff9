//! What a host tells beside its beats, to protobuf and back. No decision reads it, so nothing of it can make a message
//! malformed: what is too much or no word is left out.

use crate::notes::{NOTES_MAX, Note, TEXT_BYTES_MAX, WORD_BYTES_MAX};
use baton_proto::v1;

/// All notes of a host.
#[must_use]
pub fn notes_to_wire(notes: &[Note]) -> v1::HostNotes {
    let note = |note: &Note| v1::HostNote {
        code: note.code.clone(),
        about: note.about.clone(),
        text: note.text.clone(),
    };
    v1::HostNotes { notes: notes.iter().map(note).collect() }
}

/// The same from the wire.
#[must_use]
pub fn notes_from_wire(notes: v1::HostNotes) -> Vec<Note> {
    let is_word = |code: &str| {
        !code.is_empty()
            && code.len() <= WORD_BYTES_MAX
            && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    // What a terminal would take for a command has no place in a text for people.
    let is_plain = |text: &str| !text.chars().any(char::is_control);
    let good = notes.notes.into_iter().filter(|note| {
        is_word(&note.code)
            && note.about.len() <= TEXT_BYTES_MAX
            && note.text.len() <= TEXT_BYTES_MAX
            && is_plain(&note.about)
            && is_plain(&note.text)
    });
    good.take(NOTES_MAX).map(|v1::HostNote { code, about, text }| Note { code, about, text }).collect()
}

/// How far a sender's wall clock is ahead, in milliseconds; `None` where it tells none (an older build).
#[must_use]
pub fn clock_ahead(sent_unix_millis: u64, now_unix_millis: u64) -> Option<i64> {
    (sent_unix_millis > 0)
        .then(|| sent_unix_millis.cast_signed().saturating_sub(now_unix_millis.cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(code: &str, text: &str) -> Note {
        Note { code: code.into(), about: "a1".into(), text: text.into() }
    }

    #[test]
    fn notes_go_both_ways() {
        let notes = vec![note("stale_router", "r1 is behind"), note("configuration", "insecure")];
        assert_eq!(notes_from_wire(notes_to_wire(&notes)), notes);
    }

    #[test]
    fn what_is_too_much_or_no_word_is_left_out() {
        let odd = [
            note("", "no word"),
            note("Shouting", "no word"),
            note(&"x".repeat(WORD_BYTES_MAX + 1), "too long"),
            note("long", &"x".repeat(TEXT_BYTES_MAX + 1)),
            note("escape", "\u{1b}[2J"),
            note("good", "fine"),
        ];
        let read = notes_from_wire(notes_to_wire(&odd));
        assert_eq!(read.iter().map(|note| note.code.as_str()).collect::<Vec<_>>(), ["good"]);
        let many = vec![note("good", "fine"); NOTES_MAX + 1];
        assert_eq!(notes_from_wire(notes_to_wire(&many)).len(), NOTES_MAX);
    }

    #[test]
    fn a_clock_is_ahead_behind_or_not_told() {
        assert_eq!(clock_ahead(0, 5_000), None);
        assert_eq!(clock_ahead(5_000, 4_000), Some(1_000));
        assert_eq!(clock_ahead(4_000, 5_000), Some(-1_000));
        assert_eq!(clock_ahead(u64::MAX, 5_000), Some(-5_001), "absurd, and no panic");
    }
}
