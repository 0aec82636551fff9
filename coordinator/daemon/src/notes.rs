//! What this host wants people to know of it, kept until it is over: its beats carry it to the arbiter, which lists it among the
//! issues. Nothing is decided from it, here or there.

pub mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Most notes of one host.
pub const NOTES_MAX: usize = 64;
/// Longest text of a note, in bytes.
pub const TEXT_BYTES_MAX: usize = 512;
/// Longest word, in bytes.
pub const WORD_BYTES_MAX: usize = 64;
/// How long something that happened once is told.
pub const FOR_ONCE: Duration = Duration::from_secs(600);

/// The engine was found writable without a right, and was fenced.
pub const WRITABLE_BY_HAND: &str = "writable_by_hand";
/// The engine answers, and the guard cannot use it.
pub const ENGINE_UNUSABLE: &str = "engine_unusable";
/// The engine is being prepared, and does not answer yet.
pub const ENGINE_PREPARES: &str = "engine_prepares";
/// The engine, or what its adapter asked elsewhere, refuses an order of the guard's.
pub const ORDER_REFUSED: &str = "order_refused";
/// Somebody else chooses the engine's masters too.
pub const OTHER_MANAGER: &str = "other_manager";
/// What the configuration allows and should not be forgotten.
pub const CONFIGURATION: &str = "configuration";
/// A file of TLS runs out soon.
pub const CERTIFICATE_EXPIRES: &str = "certificate_expires";
/// A router does not acknowledge the changes of masters.
pub const STALE_ROUTER: &str = "stale_router";

/// One note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// A stable word for programs.
    pub code: String,
    /// The instance, the key or the router that it is about; empty where it is the host.
    pub about: String,
    /// What is wrong, with the evidence.
    pub text: String,
}

#[derive(Debug)]
struct Kept {
    text: String,
    until: Option<Instant>,
}

/// The notes of a host. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<BTreeMap<(&'static str, String), Kept>>>);

impl Notes {
    /// Tells something, until `until` or until it is taken back; again, it replaces what was told of the same. One too
    /// many is not told: a person who has that many to read is not helped by another.
    pub fn put(&self, code: &'static str, about: &str, text: impl Into<String>, until: Option<Instant>) {
        let mut text: String = text.into();
        while text.len() > TEXT_BYTES_MAX {
            text.pop();
        }
        let mut kept = self.lock();
        let key = (code, about.to_owned());
        if kept.len() < NOTES_MAX || kept.contains_key(&key) {
            kept.insert(key, Kept { text, until });
        }
    }

    /// It is over.
    pub fn take_back(&self, code: &'static str, about: &str) {
        self.lock().remove(&(code, about.to_owned()));
    }

    /// What is to be told now.
    #[must_use]
    pub fn current(&self, now: Instant) -> Vec<Note> {
        let mut kept = self.lock();
        kept.retain(|_, note| note.until.is_none_or(|until| now < until));
        let told = kept.iter().map(|((code, about), note)| Note {
            code: (*code).to_owned(),
            about: about.clone(),
            text: note.text.clone(),
        });
        told.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_lasts_until_it_is_over() {
        let (notes, now) = (Notes::default(), Instant::now());
        notes.put(WRITABLE_BY_HAND, "a1", "it was", Some(now + FOR_ONCE));
        notes.put(ENGINE_UNUSABLE, "a2", "no password", None);
        notes.put(ENGINE_UNUSABLE, "a2", "a wrong password", None);
        let texts = |at| notes.current(at).into_iter().map(|note| note.text).collect::<Vec<_>>();
        assert_eq!(texts(now), ["a wrong password", "it was"]);
        assert_eq!(texts(now + FOR_ONCE), ["a wrong password"]);
        notes.take_back(ENGINE_UNUSABLE, "a2");
        assert_eq!(texts(now), [""; 0]);
    }

    #[test]
    fn there_is_a_limit_to_all_of_it() {
        let notes = Notes::default();
        for number in 0..=NOTES_MAX {
            notes.put(STALE_ROUTER, &number.to_string(), "ä".repeat(TEXT_BYTES_MAX), None);
        }
        let told = notes.current(Instant::now());
        assert_eq!(told.len(), NOTES_MAX);
        assert!(told.iter().all(|note| note.text.len() <= TEXT_BYTES_MAX));
    }
}
