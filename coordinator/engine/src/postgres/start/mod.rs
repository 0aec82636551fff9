//! The step between deadman and server, as a program of its own that becomes the server: it makes what is not there, fetches what
//! an order of the last run asks for, and sees to it that the server comes up as a standby of nowhere. However long that takes, for
//! the guard the engine is starting; what it does it says in the engine's log.
//!
//! Whatever it fails at leaves the data as it was, and then either the server starts with it, or nothing starts.

mod controldata;
mod first;
mod home;
mod log;
mod receipt;
mod settle;
mod tools;

use super::place::{OrderedWay, Place};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use tools::Tools;

/// What it exits with where the server was never started.
const EXIT_FAILED: u8 = 126;

/// What it is told.
#[derive(Debug, Default)]
struct Start {
    data: PathBuf,
    user: String,
    password_file: Option<PathBuf>,
    command: Vec<String>,
}

/// Runs `--data-dir DIR --user NAME [--password-file FILE] -- PROGRAM ARGUMENT…`; returns only if it failed.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words = arguments.into_iter().map(|word| word.to_string_lossy().into_owned());
    let why = match Start::read(words).and_then(|start| start.prepare().map(|()| start)) {
        Ok(start) => start.become_server(),
        Err(why) => why,
    };
    say(&format!("the server was not started: {why}"));
    ExitCode::from(EXIT_FAILED)
}

/// Standard error is the engine's log.
fn say(what: &str) {
    eprintln!("baton: {what}");
}

/// An error in words.
fn at(doing: &str) -> impl Fn(io::Error) -> String + '_ {
    move |error| format!("{doing}: {error}")
}

impl Start {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut start = Self::default();
        while let Some(word) = words.next() {
            if word == "--" {
                start.command = words.collect();
                return Ok(start);
            }
            let value = words.next().ok_or_else(|| format!("{word} has no value"))?;
            match word.as_str() {
                "--data-dir" => start.data = value.into(),
                "--user" => start.user = value,
                "--password-file" => start.password_file = Some(value.into()),
                _ => return Err(format!("{word} is no option of this step")),
            }
        }
        Err("the server's command is missing".to_owned())
    }

    fn prepare(&self) -> Result<(), String> {
        let place = Place::of(&self.data);
        place.say_doing(None);
        let prepared = self.prepare_in(&place);
        place.say_doing(None);
        prepared
    }

    fn prepare_in(&self, place: &Place) -> Result<(), String> {
        let tools = Tools::of(&self.command);
        if place.copy_is_whole() {
            place.take_copy().map_err(at("a copy that was made cannot take the data's place"))?;
        }
        if let Some(order) = place.order().map_err(at("the order of the last run cannot be read"))? {
            if order.way == OrderedWay::Rewinding {
                say("a pg_rewind of this data did not end: it is put aside, and a copy will be made");
                place.put_aside().map_err(at("the data cannot be put aside"))?;
                place.forget_order().map_err(at("the order cannot be forgotten"))?;
            } else {
                home::carry_out(place, &tools, &order)?;
            }
        }
        if !self.data.join("PG_VERSION").exists() {
            first::make(self, place, &tools)?;
        }
        place.make().map_err(at("the folder beside the data cannot be made"))?;
        fence(&self.data).map_err(at("it cannot be made a standby of nowhere"))
    }

    fn become_server(&self) -> String {
        let Some((program, rest)) = self.command.split_first() else {
            return "its command is empty".to_owned();
        };
        let error = Command::new(program).args(rest).exec();
        format!("cannot execute {program}: {error}")
    }
}

/// What a standby of nowhere has; the files belong to whom the data does, also where root starts the server by another program that
/// gives its rights up.
pub(super) fn fence(data: &Path) -> io::Result<()> {
    const NOWHERE: &str = "primary_conninfo = ''\n";
    let owner = fs::metadata(data)?;
    let own = |file: &Path| std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid()));
    let signal = data.join("standby.signal");
    fs::write(&signal, "")?;
    own(&signal)?;
    match fs::remove_file(data.join("recovery.signal")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let settings = data.join("postgresql.auto.conf");
    let already = match fs::read_to_string(&settings) {
        Ok(text) => text.ends_with(NOWHERE),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if !already {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&settings)?;
        // A line of its own, whatever the last one ended with; the last such line counts.
        write!(file, "\n{NOWHERE}")?;
        own(&settings)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_up_to_the_command() {
        let words = ["--data-dir", "/d", "--user", "baton", "--", "postgres", "-D", "/d"].map(str::to_owned);
        let start = Start::read(words.into_iter()).expect("well-formed");
        assert_eq!((start.data.as_path(), start.user.as_str()), (Path::new("/d"), "baton"));
        assert_eq!(start.command, ["postgres", "-D", "/d"]);
        for wrong in [vec!["--data-dir", "/d"], vec!["--data-dir"], vec!["--what", "x", "--", "postgres"]] {
            assert!(Start::read(wrong.iter().map(|word| (*word).to_owned())).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn whatever_its_files_say_it_follows_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        fs::write(data.join("recovery.signal"), "").expect("writable");
        fs::write(data.join("postgresql.auto.conf"), "primary_conninfo = 'host=a'").expect("writable");
        for _ in 0..2 {
            fence(data).expect("writable");
            let settings = fs::read_to_string(data.join("postgresql.auto.conf")).expect("readable");
            assert_eq!(settings, "primary_conninfo = 'host=a'\nprimary_conninfo = ''\n");
            assert!(data.join("standby.signal").exists() && !data.join("recovery.signal").exists());
        }
    }
}
