//! The log that rewound data needs before a server with it answers anybody. pg_rewind leaves data that is whole only at the end of what
//! the master had written meanwhile, and a server that follows nobody would wait for that for ever. To let it follow somebody at boot
//! would be no fence; a receiver that is no standby never counts for a commit (it reports nothing as flushed).

use super::controldata::ControlData;
use super::home::{upstream, with_passfile};
use super::tools::{Tools, output, run};
use super::{at, say};
use crate::postgres::place::{Order, Place};
use crate::postgres::timelines::{offset_of, text_of};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long the receiver may take until it has its first file.
const BEGIN: Duration = Duration::from_secs(10);
/// Between two looks.
const AGAIN: Duration = Duration::from_millis(5);

/// A receiver that runs beside pg_rewind.
pub(super) struct Receiver<'a> {
    place: &'a Place,
    tools: &'a Tools,
    order: &'a Order,
    child: Child,
}

impl<'a> Receiver<'a> {
    /// Begins, and waits until the segment that the master writes now is being received.
    pub(super) fn begin(place: &'a Place, tools: &'a Tools, order: &'a Order) -> Result<Self, String> {
        let folder = folder(place);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(at("an earlier log cannot be removed"))?;
        }
        let mut mkdir = tools.plain("mkdir".as_ref());
        mkdir.args(["-m", "700"]).arg(&folder);
        output(mkdir)?;
        let child = command(place, tools, order).spawn().map_err(at("cannot run pg_receivewal"))?;
        let mut receiver = Self { place, tools, order, child };
        let deadline = Instant::now() + BEGIN;
        while fs::read_dir(&folder).map_err(at("the log"))?.next().is_none() {
            let ended = receiver.child.try_wait().map_err(at("pg_receivewal"))?;
            if ended.is_some() || Instant::now() > deadline {
                return Err("pg_receivewal receives nothing".to_owned());
            }
            std::thread::sleep(AGAIN);
        }
        Ok(receiver)
    }

    /// Receives up to where the rewound data is whole, and gives it to the data.
    pub(super) fn finish(mut self) -> Result<(), String> {
        let (place, tools, order) = (self.place, self.tools, self.order);
        self.end();
        let control = ControlData::read(place, tools)?;
        let end = control.whole_from()?;
        say(&format!("the log is fetched up to {end}"));
        let mut rest = command(place, tools, order);
        rest.arg(format!("--endpos={}", last_byte(end)?));
        run(rest)?;
        for entry in fs::read_dir(folder(place)).map_err(at("the log"))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let to = place.data.join("pg_wal").join(name.trim_end_matches(".partial"));
            let mut copy = tools.plain("cp".as_ref());
            copy.arg("--force").arg(entry.path()).arg(to);
            output(copy)?;
        }
        fs::remove_dir_all(folder(place)).map_err(at("the log cannot be removed"))
    }

    fn end(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // One that has ended is waited for all the same.
        let _ = pid.map(|pid| kill_process(pid, Signal::INT));
        let _ = self.child.wait();
    }
}

impl Drop for Receiver<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Of a log up to `end`. The receiver ends once it has more than it is told: told the end itself, it would wait for the master's next write.
fn last_byte(end: &str) -> Result<String, String> {
    let end = offset_of(end).ok_or_else(|| format!("{end} is no place in the log"))?;
    Ok(text_of(end.saturating_sub(1)))
}

fn folder(place: &Place) -> PathBuf {
    place.folder.join("log")
}

fn command(place: &Place, tools: &Tools, order: &Order) -> Command {
    let mut command = tools.command("pg_receivewal");
    command.arg("--dbname").arg(upstream(order)).arg("--directory").arg(folder(place));
    command.args(["--no-loop", "--no-password"]);
    with_passfile(command, place)
}

#[cfg(test)]
mod tests {
    use super::last_byte;

    #[test]
    fn the_receiver_is_told_the_last_byte_that_is_needed() {
        assert_eq!(last_byte("1/17B4690"), Ok("1/17B468F".to_owned()));
        assert_eq!(last_byte("0/0"), Ok("0/0".to_owned()));
        assert!(last_byte("nowhere").is_err());
    }
}
