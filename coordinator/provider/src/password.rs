//! The password that a state provider may ask of its clients, and what a stateboard compares it with. Neither can be
//! printed by mistake.

use crate::files::Followed;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use subtle::{Choice, ConstantTimeEq};

/// Longest password in bytes: it travels in a header.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// One password, and the file that it was read from, if it was.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    text: Arc<str>,
    file: Option<PathBuf>,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// Takes a text, without the white space around it.
    ///
    /// # Errors
    /// The rule, which does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("is empty: put a line of random characters into it".to_owned());
        }
        if text.len() > PASSWORD_BYTES_MAX || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(format!("must have 1 to {PASSWORD_BYTES_MAX} printable ASCII characters"));
        }
        Ok(Self { text: Arc::from(text), file: None })
    }

    /// The first line of a file.
    ///
    /// # Errors
    /// The rule.
    pub fn read(path: &Path) -> Result<Self, String> {
        read_all(path).map(|mut all| Self { file: Some(path.to_owned()), ..all.remove(0) })
    }

    /// The text itself, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The file that it was read from, if it was.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The same, read again when its file has changed.
    pub(crate) fn follow(&self) -> Result<Followed<Self>, String> {
        match self.file.clone() {
            Some(file) => Followed::new(vec![file.clone()], move || {
                Self::read(&file).map_err(|rule| format!("{}: {rule}", file.display()))
            }),
            None => {
                let own = self.clone();
                Followed::new(Vec::new(), move || Ok(own.clone()))
            }
        }
    }
}

/// All lines of a file; at least one.
fn read_all(path: &Path) -> Result<Vec<Password>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let passwords: Vec<Password> = lines.map(Password::parse).collect::<Result<_, _>>()?;
    if passwords.is_empty() {
        return Err("is empty: put a line of random characters into it".to_owned());
    }
    Ok(passwords)
}

/// What a stateboard accepts: one password, or several while it is being changed. Holds their hashes only.
#[derive(Clone, PartialEq, Eq)]
pub struct Accepted {
    hashes: Vec<[u8; 32]>,
    file: Option<PathBuf>,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Accepted({} passwords)", self.hashes.len())
    }
}

impl Accepted {
    /// One.
    #[must_use]
    pub fn one(password: &Password) -> Self {
        Self { hashes: vec![hash(password.reveal())], file: None }
    }

    /// Every line of a file.
    ///
    /// # Errors
    /// The rule.
    pub fn read(path: &Path) -> Result<Self, String> {
        let hashes = read_all(path)?.iter().map(|password| hash(password.reveal())).collect();
        Ok(Self { hashes, file: Some(path.to_owned()) })
    }

    /// The same, read again when its file has changed.
    ///
    /// # Errors
    /// What is wrong with the file at the first reading.
    pub fn follow(self) -> Result<Followed<Arc<Self>>, String> {
        match self.file.clone() {
            Some(file) => Followed::new(vec![file.clone()], move || {
                Self::read(&file).map(Arc::new).map_err(|rule| format!("{}: {rule}", file.display()))
            }),
            None => {
                let own = Arc::new(self);
                Followed::new(Vec::new(), move || Ok(Arc::clone(&own)))
            }
        }
    }

    /// Whether it is one of them. Takes as long for a near miss as for a far one: hashes are compared, each wholly.
    #[must_use]
    pub fn contains(&self, presented: &str) -> bool {
        let presented = hash(presented);
        let found =
            self.hashes.iter().fold(Choice::from(0), |found, ours| found | ours.as_slice().ct_eq(&presented));
        found.into()
    }
}

fn hash(password: &str) -> [u8; 32] {
    Sha256::digest(password.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_hold_the_next_password_before_it_is_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("password");
        std::fs::write(&path, "open sesame\n\n next one \n").expect("writable");
        assert_eq!(Password::read(&path).expect("a line").reveal(), "open sesame");
        let accepted = Accepted::read(&path).expect("two lines");
        assert!(accepted.contains("open sesame") && accepted.contains("next one"));
        for wrong in ["", "open", "open sesame ", "OPEN SESAME", "open sesame\nnext one"] {
            assert!(!accepted.contains(wrong), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_bad_file_is_told_without_what_is_in_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("password");
        assert!(Accepted::read(&path).expect_err("no file").contains("cannot be read"));
        for (text, rule) in [(" \n", "is empty"), ("sé\n", "printable ASCII"), (&"x".repeat(257), "1 to 256")]
        {
            std::fs::write(&path, text).expect("writable");
            let said = Password::read(&path).expect_err(rule);
            assert!(said.contains(rule) && !said.contains(text.trim()) || text.trim().is_empty(), "{said}");
        }
    }

    #[test]
    fn nothing_prints_a_password() {
        let password = Password::parse("open sesame").expect("good");
        assert_eq!(format!("{password:?} {:?}", Accepted::one(&password)), "Password Accepted(1 passwords)");
    }
}
