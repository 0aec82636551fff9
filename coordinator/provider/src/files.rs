//! Something that was read from files and is read again when they have changed, so that a certificate or a password can be
//! replaced without a restart. What cannot be used is told once, and what was read before stays in use.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// When each file was written last, and how long it was; `None` where it is not there.
type Stamp = Vec<Option<(SystemTime, u64)>>;

/// A value with the files that it comes from.
pub struct Followed<T> {
    files: Vec<PathBuf>,
    load: Box<dyn Fn() -> Result<T, String> + Send + Sync>,
    state: Mutex<(Stamp, T)>,
}

impl<T> fmt::Debug for Followed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Followed").field(&self.files).finish()
    }
}

impl<T: Clone> Followed<T> {
    /// Reads for the first time. Without files it is never read again.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn new(
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        // Looked at before they are read: a change in between is then seen at the next look.
        let stamp = stamp(&files);
        let value = load()?;
        Ok(Self { files, load: Box::new(load), state: Mutex::new((stamp, value)) })
    }

    /// The value now.
    #[must_use]
    pub fn current(&self) -> T {
        let stamp = stamp(&self.files);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 != stamp {
            match (self.load)() {
                Ok(value) => {
                    tracing::info!(files = ?self.files, "read again");
                    state.1 = value;
                }
                Err(error) => {
                    tracing::warn!(%error, "a changed file cannot be used; what was read before stays in use");
                }
            }
            state.0 = stamp;
        }
        state.1.clone()
    }
}

fn stamp(files: &[PathBuf]) -> Stamp {
    let of = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_a_bad_one_is_not_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("number");
        std::fs::write(&file, "1").expect("writable");
        let path = file.clone();
        let load = move || {
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            text.parse::<u32>().map_err(|error| error.to_string())
        };
        let followed = Followed::new(vec![file.clone()], load).expect("a number");
        assert_eq!(followed.current(), 1);
        // The length differs each time, so that a clock of whole seconds does not hide it.
        for (text, number) in [("22", 22), ("none", 22), ("333", 333)] {
            std::fs::write(&file, text).expect("writable");
            assert_eq!(followed.current(), number);
        }
        std::fs::remove_file(&file).expect("there");
        assert_eq!(followed.current(), 333);
    }
}
