//! The way home of data that cannot follow as it is: what the master does not have is taken back by pg_rewind, or a copy of the
//! master's data takes its place.

use super::log::Receiver;
use super::tools::{Tools, output, run};
use super::{at, receipt, say, settle};
use crate::postgres::place::{Order, OrderedWay, Place};
use crate::postgres::text::Upstream;
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
    let mut command = command();
    command.arg("--progress");
    if let Err(why) = run(command).and_then(|()| receiver.finish()) {
        // The order stays as it is: the next start puts this data aside.
        return Err(format!("{why}; this data is of no use now, and is put aside at the next start"));
    }
    place.forget_order().map_err(at("the order cannot be forgotten"))?;
    Ok(true)
}

fn clone(place: &Place, tools: &Tools, order: &Order) -> Result<(), String> {
    place.drop_copy().map_err(at("an unfinished copy cannot be removed"))?;
    let mut command = tools.command("pg_basebackup");
    command.arg("--dbname").arg(upstream(order)).arg("--pgdata").arg(place.copy());
    command.args(["--wal-method=stream", "--checkpoint=fast", "--progress", "--no-password"]);
    run(with_passfile(command, place))?;
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
