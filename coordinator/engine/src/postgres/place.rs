//! What lies beside a data directory: the folder `DATA.baton` with the order for the next start, the password file for the server,
//! a copy that is being made, data that was put aside, and the receipts of what was taken back.

use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file of each data directory.
const VERSION_FILE: &str = "PG_VERSION";

/// What the next start has to do before the server runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) way: OrderedWay,
    pub(super) host: String,
    pub(super) port: String,
    pub(super) user: String,
    pub(super) database: String,
    /// On which timeline the own data ends, and where.
    pub(super) timeline: u32,
    pub(super) end: u64,
    /// From where on it is not the master's.
    pub(super) fork: u64,
    /// In words.
    pub(super) why: String,
}

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OrderedWay {
    /// Take back what the master does not have.
    Rewind,
    /// Make a copy of the master's data and use that.
    Clone,
    /// A rewind has begun, and nobody knows how far it came.
    Rewinding,
}

/// The paths.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) data: PathBuf,
    pub(super) folder: PathBuf,
}

impl Place {
    pub(super) fn of(data: &Path) -> Self {
        let mut folder = data.as_os_str().to_owned();
        folder.push(".baton");
        Self { data: data.to_owned(), folder: folder.into() }
    }

    pub(super) fn passfile(&self) -> PathBuf {
        self.folder.join("passfile")
    }

    /// Where a copy is made.
    pub(super) fn copy(&self) -> PathBuf {
        self.folder.join("copy")
    }

    /// Lies there once the copy is whole.
    fn whole(&self) -> PathBuf {
        self.folder.join("copy-is-whole")
    }

    fn order_file(&self) -> PathBuf {
        self.folder.join("order.json")
    }

    fn doing_file(&self) -> PathBuf {
        self.folder.join("doing")
    }

    /// What the step before the server is at, if anything that takes long.
    pub(super) fn doing(&self) -> Option<String> {
        fs::read_to_string(self.doing_file())
            .ok()
            .map(|text| text.trim_end().to_owned())
            .filter(|text| !text.is_empty())
    }

    /// Says so; `None`: nothing any more. People read it, and nothing else rests on it: where it cannot be written, it is not said.
    pub(super) fn say_doing(&self, what: Option<&str>) {
        let file = self.doing_file();
        let _ = match what {
            Some(what) => fs::write(&file, format!("{what}\n")),
            None => fs::remove_file(&file),
        };
    }

    /// Where receipts are.
    pub(super) fn lost(&self) -> PathBuf {
        self.folder.join("lost")
    }

    /// Makes the folder, as a folder of whom the data belongs to.
    pub(super) fn make(&self) -> io::Result<()> {
        let made = fs::DirBuilder::new().mode(0o700).create(&self.folder);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Err(_) => Ok(()),
            Ok(()) => {
                let owner = fs::metadata(&self.data)?;
                std::os::unix::fs::chown(&self.folder, Some(owner.uid()), Some(owner.gid()))
            }
        }
    }

    /// Writes a file that is there as a whole or not at all, for the owner of the folder alone.
    pub(super) fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        let owner = fs::metadata(&self.folder)?;
        let next = file.with_extension("next");
        let mut opened =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        opened.write_all(text.as_bytes())?;
        // Of no effect where it is ours anyway.
        std::os::unix::fs::fchown(&opened, Some(owner.uid()), Some(owner.gid()))?;
        opened.sync_all()?;
        fs::rename(&next, file)?;
        sync(file.parent().unwrap_or(&self.folder))
    }

    pub(super) fn give_order(&self, order: &Order) -> io::Result<()> {
        let text = serde_json::to_string_pretty(order).map_err(io::Error::other)?;
        self.write(&self.order_file(), &text)
    }

    /// The order for this start.
    pub(super) fn order(&self) -> io::Result<Option<Order>> {
        match fs::read_to_string(self.order_file()) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| {
                io::Error::other(format!("{} is not understood: {error}", self.order_file().display()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn forget_order(&self) -> io::Result<()> {
        remove(&self.order_file())?;
        sync(&self.folder)
    }

    /// The copy is whole from now on.
    pub(super) fn vouch_for_copy(&self) -> io::Result<()> {
        self.write(&self.whole(), "")
    }

    pub(super) fn copy_is_whole(&self) -> bool {
        self.whole().exists()
    }

    /// Removes a copy that is not whole.
    pub(super) fn drop_copy(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.copy()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts what lies in the data directory aside, and nothing in its place.
    pub(super) fn put_aside(&self) -> io::Result<()> {
        // A folder without anything in it is not worth it.
        if !self.data.exists() || fs::remove_dir(&self.data).is_ok() {
            return Ok(());
        }
        let mut aside = self.folder.join("old");
        for number in 2.. {
            if !aside.exists() {
                break;
            }
            aside = self.folder.join(format!("old-{number}"));
        }
        fs::rename(&self.data, aside)?;
        self.data.parent().map_or(Ok(()), sync)
    }

    /// Puts the whole copy in the place of the data, and the data aside. Interrupted anywhere, it goes on where it was.
    pub(super) fn take_copy(&self) -> io::Result<()> {
        if self.copy().exists() {
            self.put_aside()?;
            fs::rename(self.copy(), &self.data)?;
            self.data.parent().map_or(Ok(()), sync)?;
        }
        remove(&self.whole())?;
        self.forget_order()
    }

    /// Removes what was put aside, once the data that came in its place has proved to be good.
    pub(super) fn drop_old(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("old") {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Which life of its data this is: another one after a copy, a rewind ([`begin_life`]) or a restored backup. No server writes this file.
pub(super) fn life(data: &Path) -> io::Result<String> {
    let file = fs::metadata(data.join(VERSION_FILE))?;
    Ok(format!("{}.{}.{}", file.ino(), file.ctime(), file.ctime_nsec()))
}

/// What is known of this data is known no more.
pub(super) fn begin_life(data: &Path) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(data.join(VERSION_FILE))?;
    file.set_modified(SystemTime::now())?;
    file.sync_all()
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("writable");
        fs::write(data.join("PG_VERSION"), "15\n").expect("writable");
        let place = Place::of(&data);
        place.make().expect("writable");
        (folder, place)
    }

    fn make_copy(place: &Place) {
        fs::create_dir(place.copy()).expect("writable");
        fs::write(place.copy().join("PG_VERSION"), "16\n").expect("writable");
        place.vouch_for_copy().expect("writable");
    }

    fn version(place: &Place) -> String {
        fs::read_to_string(place.data.join("PG_VERSION")).expect("there")
    }

    #[test]
    fn an_order_is_read_as_it_was_given_and_damage_is_named() {
        let (_folder, place) = place();
        assert_eq!(place.order().expect("readable"), None);
        let order = Order {
            way: OrderedWay::Rewind,
            host: "10.0.0.2".into(),
            port: "5432".into(),
            user: "baton".into(),
            database: "postgres".into(),
            timeline: 1,
            end: 200,
            fork: 100,
            why: "it holds more".into(),
        };
        place.give_order(&order).expect("writable");
        assert_eq!(place.order().expect("readable"), Some(order));
        fs::write(place.order_file(), "{\"way\":").expect("writable");
        let error = place.order().expect_err("damaged").to_string();
        assert!(error.contains("order.json is not understood"), "{error}");
    }

    #[test]
    fn data_that_is_changed_or_replaced_is_of_another_life() {
        let (_folder, place) = place();
        let first = life(&place.data).expect("readable");
        assert_eq!(life(&place.data).expect("readable"), first);
        begin_life(&place.data).expect("writable");
        let second = life(&place.data).expect("readable");
        assert_ne!(second, first);
        make_copy(&place);
        place.take_copy().expect("taken");
        assert_ne!(life(&place.data).expect("readable"), second);
    }

    #[test]
    fn a_copy_takes_the_datas_place_and_nothing_is_gone() {
        let (_folder, place) = place();
        make_copy(&place);
        place.take_copy().expect("taken");
        assert_eq!(version(&place), "16\n");
        assert_eq!(fs::read_to_string(place.folder.join("old/PG_VERSION")).expect("kept"), "15\n");
        assert!(!place.copy_is_whole());
        make_copy(&place);
        place.take_copy().expect("taken again");
        assert!(place.folder.join("old-2").exists(), "one that was kept is never overwritten");
        place.drop_old().expect("removed");
        assert!(!place.folder.join("old").exists() && !place.folder.join("old-2").exists());
    }

    #[test]
    fn an_interrupted_change_goes_on_where_it_was() {
        let (_folder, place) = place();
        make_copy(&place);
        place.put_aside().expect("aside");
        place.take_copy().expect("the rest");
        assert_eq!(version(&place), "16\n");
        // And after the very last step but the file's removal.
        place.vouch_for_copy().expect("writable");
        place.take_copy().expect("nothing is left to do");
        assert_eq!(version(&place), "16\n");
    }
}
