//! The receipt of what is taken back: written before anything is, with the log that holds it, so that a person can look at every
//! transaction later (`pg_waldump`).

use super::tools::{Tools, output};
use super::{at, say};
use crate::postgres::place::{Order, Place};
use crate::postgres::timelines::text_of;
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What was taken back.
#[derive(Debug, Serialize)]
struct Receipt {
    /// Seconds since 1970.
    at: u64,
    timeline: u32,
    /// The first byte that the master does not have.
    from: String,
    /// Behind the last.
    to: String,
    bytes: u64,
    /// Commits in there; `null` where they could not be counted.
    transactions: Option<usize>,
    master: String,
    why: String,
    /// Files of the log in this folder.
    files: Vec<String>,
}

/// Writes it, and copies the log's files. Where the disk is too full for that nothing may be taken back.
pub(super) fn write(place: &Place, tools: &Tools, order: &Order) -> Result<(), String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let folder = place.lost().join(format!("{now}-{:X}", order.fork));
    fs::create_dir_all(&folder).map_err(at("a folder for the receipt cannot be made"))?;
    let log = place.data.join("pg_wal");
    let files = copy_log(&log, &folder, order).map_err(at("the log cannot be copied"))?;
    let transactions = commits(&log, tools, order);
    if let Err(why) = &transactions {
        say(&format!("the transactions could not be counted: {why}"));
    }
    let receipt = Receipt {
        at: now,
        timeline: order.timeline,
        from: text_of(order.fork),
        to: text_of(order.end),
        bytes: order.end.saturating_sub(order.fork),
        transactions: transactions.ok(),
        master: format!("{}:{}", order.host, order.port),
        why: order.why.clone(),
        files,
    };
    let text = serde_json::to_string_pretty(&receipt).map_err(|error| error.to_string())?;
    let file = folder.join("receipt.json");
    place.write(&file, &text).map_err(at("the receipt cannot be written"))?;
    let count = receipt.transactions.map_or_else(|| "uncounted".to_owned(), |count| count.to_string());
    say(&format!(
        "taken back: {} bytes from {} to {} of timeline {}, {count} transactions; the receipt is {}",
        receipt.bytes,
        receipt.from,
        receipt.to,
        receipt.timeline,
        file.display()
    ));
    Ok(())
}

/// The files of that timeline from the fork on.
fn copy_log(log: &Path, folder: &Path, order: &Order) -> std::io::Result<Vec<String>> {
    let own = format!("{:08X}", order.timeline);
    let mut copied = Vec::new();
    for entry in fs::read_dir(log)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let segment = entry.metadata()?.len();
        if name.len() != 24 || !name.starts_with(&own) || segment == 0 {
            continue;
        }
        let first = crate::postgres::timelines::segment_name(order.timeline, order.fork + 1, segment);
        let last = crate::postgres::timelines::segment_name(order.timeline, order.end, segment);
        if (first..=last).contains(&name) {
            fs::copy(entry.path(), folder.join(&name))?;
            copied.push(name);
        }
    }
    copied.sort();
    Ok(copied)
}

/// How many transactions were committed there.
fn commits(log: &Path, tools: &Tools, order: &Order) -> Result<usize, String> {
    let mut dump = tools.command("pg_waldump");
    dump.arg("--path").arg(log).arg(format!("--timeline={}", order.timeline));
    dump.arg(format!("--start={}", text_of(order.fork))).arg(format!("--end={}", text_of(order.end)));
    dump.arg("--rmgr=Transaction");
    Ok(output(dump)?.lines().filter(|line| line.contains("desc: COMMIT")).count())
}
