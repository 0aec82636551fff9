//! The way home of data that cannot follow as it is: what the master does not have is taken back by pg_rewind, or a copy of the
//! master's data takes its place.

use super::log::Receiver;
use super::tools::{Tools, output, run_with_progress};
use super::{at, receipt, say, settle};
use crate::postgres::place::{Order, OrderedWay, Place, begin_life};
use crate::postgres::text::Upstream;
use std::fs;
use std::process::Command;

/// Does what the last run ordered. `Err` where the server must not be started; where nothing could be done, the data is as it was,
/// and the server starts with it.
pub(super) fn carry_out(place: &Place, tools: &Tools, order: &Order) -> Result<(), String> {
    say(&format!("to follow {}:{}: {}", order.host, order.port, order.why));
    if order.fork < order.end
        && let Err(why) = receipt::write(place, tools, order)
    {
        say(&format!("nothing is taken back: {why}"));
        return place.forget_order().map_err(at("the order cannot be forgotten"));
    }
    if order.way == OrderedWay::Rewind && rewind(place, tools, order)? {
        return Ok(());
    }
    if let Err(why) = clone(place, tools, order) {
        say(&format!("no copy could be made, the server starts with what it has: {why}"));
        place.drop_copy().map_err(at("an unfinished copy cannot be removed"))?;
        return place.forget_order().map_err(at("the order cannot be forgotten"));
    }
    place.take_copy().map_err(at("the copy cannot take the data's place"))
}

/// Whether it could be done. Tried without changing anything first, since one that fails halfway leaves data that is of no use.
fn rewind(place: &Place, tools: &Tools, order: &Order) -> Result<bool, String> {
    let command = || {
        let mut command = tools.command("pg_rewind");
        command.arg("--target-pgdata").arg(&place.data);
        command.arg(format!("--source-server={} dbname='{}'", upstream(order), order.database));
        with_passfile(command, place)
    };
    let trial = || {
        let mut trial = command();
        trial.arg("--dry-run");
        output(trial).map(drop)
    };
    let tried = trial().or_else(|why| match settle::make_checkpoint(place, tools, order)? {
        true => trial(),
        false => Err(why),
    });
    if let Err(why) = tried {
        say(&format!("pg_rewind cannot help: {why}"));
        return Ok(false);
    }
    let receiver = match Receiver::begin(place, tools, order) {
        Ok(receiver) => receiver,
        Err(why) => {
            say(&format!("pg_rewind cannot help: {why}"));
            return Ok(false);
        }
    };
    let begun = Order { way: OrderedWay::Rewinding, ..order.clone() };
    place.give_order(&begun).map_err(at("it cannot be written down that pg_rewind begins"))?;
    begin_life(&place.data).map_err(at("it cannot be written down that the data will be another"))?;
    let mut command = command();
    command.arg("--progress");
    let rewound = run_with_progress(command, |share| {
        place.say_doing(Some(&format!(
            "rewinding the data to that of {}:{}: {share}",
            order.host, order.port
        )));
    });
    if let Err(why) = rewound.and_then(|()| receiver.finish()).and_then(|()| is_whole(place)) {
        // The order stays as it is: the next start puts this data aside.
        return Err(format!("{why}; this data is of no use now, and is put aside at the next start"));
    }
    place.forget_order().map_err(at("the order cannot be forgotten"))?;
    Ok(true)
}

/// Whether the log is there from where the rewound data begins to recover. The master may not have had it any more.
fn is_whole(place: &Place) -> Result<(), String> {
    let label = fs::read_to_string(place.data.join("backup_label")).map_err(at("backup_label"))?;
    let file = first_file(&label).ok_or("backup_label does not say where the log begins")?;
    let names = fs::read_dir(place.data.join("pg_wal")).map_err(at("the log"))?;
    let is_there = |name: &str| name.len() == 24 && name.get(8..) == file.get(8..);
    let found = names.flatten().any(|entry| is_there(&entry.file_name().to_string_lossy()));
    if found {
        Ok(())
    } else {
        Err(format!("the master has no {file} any more, which the rewound data needs"))
    }
}

/// `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)`.
fn first_file(label: &str) -> Option<&str> {
    let line = label.lines().find_map(|line| line.strip_prefix("START WAL LOCATION: "))?;
    line.split_once("(file ")?.1.strip_suffix(')')
}

fn clone(place: &Place, tools: &Tools, order: &Order) -> Result<(), String> {
    place.drop_copy().map_err(at("an unfinished copy cannot be removed"))?;
    let mut command = tools.command("pg_basebackup");
    command.arg("--dbname").arg(upstream(order)).arg("--pgdata").arg(place.copy());
    command.args(["--wal-method=stream", "--checkpoint=fast", "--progress", "--no-password"]);
    let from = format!("{}:{}", order.host, order.port);
    run_with_progress(with_passfile(command, place), |share| {
        place.say_doing(Some(&format!("copying the data of {from}: {share}")));
    })?;
    place.vouch_for_copy().map_err(at("the copy cannot be called whole"))
}

pub(super) fn upstream(order: &Order) -> String {
    let Order { host, port, user, .. } = order;
    Upstream { host, port, user, passfile: None, name: "baton copy" }.to_conninfo()
}

pub(super) fn with_passfile(mut command: Command, place: &Place) -> Command {
    command.env("PGPASSFILE", place.passfile());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewound_data_needs_its_log_from_where_it_recovers() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::of(&folder.path().join("data"));
        fs::create_dir_all(place.data.join("pg_wal")).expect("writable");
        let label =
            "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n";
        fs::write(place.data.join("backup_label"), label).expect("writable");
        assert!(is_whole(&place).expect_err("it is not there").contains("000000010000000000000002"));
        // On whatever timeline: the master copied it as its own began.
        fs::write(place.data.join("pg_wal/000000020000000000000002"), "").expect("writable");
        assert_eq!(is_whole(&place), Ok(()));
        fs::write(place.data.join("backup_label"), "LABEL: x\n").expect("writable");
        assert!(is_whole(&place).is_err());
    }
}
