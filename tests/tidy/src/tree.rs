//! The repository's text files as one value, so that every rule is a plain function that a test can feed a made-up tree.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// What is not part of the repository: build output and git's own (a file in a second working tree).
const SKIPPED: [&str; 4] = [".git", ".cache", "target", "node_modules"];

/// One text file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// From the repository's root, with `/` between its parts.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

impl File {
    /// Whether its name ends in `.extension`.
    #[must_use]
    pub fn has_extension(&self, extension: &str) -> bool {
        self.path.strip_suffix(extension).is_some_and(|stem| stem.ends_with('.'))
    }

    /// The folder it lies in; empty at the root.
    #[must_use]
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// All text files, ordered by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The files.
    pub files: Vec<File>,
}

impl Tree {
    /// Reads everything below `root` that is UTF-8 text; links are not followed.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                self.read_folder(&entry.path(), &format!("{prefix}{name}/"))?;
            } else if kind.is_file() && !SKIPPED.contains(&name.as_str()) {
                match std::fs::read_to_string(entry.path()) {
                    Ok(text) => self.files.push(File { path: format!("{prefix}{name}"), text }),
                    // Not text (a picture), or gone since the listing (an editor's temporary file): no rule is about it.
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// A tree made by hand, for the tests of the rules.
    #[must_use]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let mut files: Vec<File> = files
            .iter()
            .map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// The text of one file.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// The files whose name ends in `.extension`.
    pub fn with_extension(&self, extension: &str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.has_extension(extension))
    }

    /// Every path that exists, folders included, without a slash at the end.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<&str> {
        let mut paths = BTreeSet::from([""]);
        for file in &self.files {
            let mut path = file.path.as_str();
            while paths.insert(path) {
                path = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            }
        }
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_holds_this_very_file_and_no_build_output() {
        let tree = Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .expect("the repository is readable");
        assert!(tree.text("tests/tidy/src/tree.rs").is_some_and(|text| text.contains("this_very_file")));
        assert!(
            !tree.files.iter().any(|file| file.path.starts_with("target/") || file.path.starts_with(".git/"))
        );
        assert!(tree.paths().contains("tests/tidy"));
    }

    #[test]
    fn an_extension_is_what_follows_the_last_point() {
        let file = File { path: "a/b.rs".to_owned(), text: String::new() };
        assert!(file.has_extension("rs") && !file.has_extension("s"));
        assert_eq!(file.folder(), "a");
    }
}
