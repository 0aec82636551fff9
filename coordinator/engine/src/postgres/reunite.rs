//! What has to be known of a server and of the master that it is to follow, before it follows: whether its data is a beginning of the
//! master's. Asked, not decided: that is `timelines`.

use super::connection::Session;
use super::orders::Failure;
use super::probe::Look;
use super::timelines::{History, Master, Own, segment_name, text_of, timeline_at};
use std::collections::BTreeSet;
use std::path::Path;
use tokio_postgres::SimpleQueryMessage;

const MASTER: &str = "SELECT pg_is_in_recovery() AS standby, \
    (SELECT system_identifier FROM pg_control_system()) AS system, \
    CASE WHEN pg_is_in_recovery() THEN '' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS timeline, \
    (SELECT timeline_id FROM pg_control_checkpoint()) AS checkpointed, \
    to_regclass('baton.terms') IS NOT NULL AS has_terms";

/// A master, and whether its control file names its timeline yet: pg_rewind believes that file.
pub(super) struct Asked {
    pub(super) master: Master,
    pub(super) is_checkpointed: bool,
}

/// Asks a master.
pub(super) async fn master(session: &Session) -> Result<Asked, Failure> {
    let strange = || Failure::Refused("the master answers in another way than PostgreSQL".to_owned());
    let rows = session.run(MASTER).await?;
    let row = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or_else(strange)?;
    let column = |name: &str| row.try_get(name).ok().flatten();
    if column("standby") != Some("f") {
        return Err(Failure::Refused("the master is no primary yet".to_owned()));
    }
    let (system, hex) = column("system").zip(column("timeline")).ok_or_else(strange)?;
    let current = u32::from_str_radix(hex, 16).map_err(|_| strange())?;
    let mut terms = BTreeSet::new();
    if column("has_terms") == Some("t") {
        let found = session.run("SELECT term FROM baton.terms").await?;
        terms = firsts(&found).filter_map(|term| term.parse().ok()).collect();
    }
    let mut history = History { current, ended: Vec::new() };
    if current > 1 {
        let file =
            format!("SELECT encode(pg_read_binary_file('pg_wal/{hex}.history', 0, 1048576, true), 'escape')");
        let text = session.run(&file).await?;
        history = History::read(current, firsts(&text).next().ok_or_else(strange)?);
    }
    let is_checkpointed = column("checkpointed") == Some(current.to_string().as_str());
    Ok(Asked { master: Master { system: system.to_owned(), history, terms }, is_checkpointed })
}

/// Whether a master still has its log from `offset` on.
pub(super) async fn log_reaches(session: &Session, offset: u64, segment: u64) -> Result<bool, Failure> {
    let file = segment_name(0, offset + 1, segment);
    let asked = format!(
        "SELECT FROM pg_ls_waldir() WHERE length(name) = 24 AND substr(name, 9) = '{}' \
         UNION ALL SELECT WHERE pg_current_wal_flush_lsn() <= '{}'",
        file.get(8..).unwrap_or_default(),
        text_of(offset)
    );
    Ok(session.run(&asked).await?.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))))
}

/// The first columns.
fn firsts(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &str> {
    messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}

/// What a standby is itself. `term`: of its mark, 0 without one.
pub(super) async fn own(session: &Session, look: &Look, term: u64, data: &Path) -> Result<Own, Failure> {
    let mut begun = None;
    if term != 0 {
        let asked = session.run(&format!("SELECT timeline FROM baton.terms WHERE term = {term}")).await?;
        begun = firsts(&asked).next().and_then(|hex| u32::from_str_radix(hex, 16).ok());
    }
    let log = data.join("pg_wal");
    // On a thread that may block: the disk may.
    let names = tokio::task::spawn_blocking(move || {
        let entries = std::fs::read_dir(log)?;
        Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    });
    let names: std::io::Result<BTreeSet<String>> =
        names.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    let names = names.map_err(|error| Failure::system("the log cannot be looked at", &error))?;
    Ok(Own {
        system: look.system().to_owned(),
        timeline: timeline_at(&names, look.offset(), look.segment),
        end: look.offset(),
        term,
        begun,
        replayed: look.has_replayed(),
        empty: !look.used && term == 0,
    })
}
