//! The stateboard itself as text: how it stands, what a backup holds, what a restore did.

use super::status::bytes;
use super::{Palette, line};
use baton_client::status::rfc3339;
use baton_core::time::Span;
use baton_proto::v1::{Restored, StatusResponse};
use baton_provider::backup::Header;
use baton_provider::stateboard::RestoreDone;
use std::path::Path;

/// How it stands.
#[must_use]
pub fn board_status(address: &str, cluster: &str, status: &StatusResponse, palette: Palette) -> String {
    let mut text = String::new();
    let lock = status.lock.as_ref();
    let epoch = lock.and_then(|lock| lock.epoch).unwrap_or_default();
    line(
        &mut text,
        format_args!(
            "{} of cluster {cluster} at {address}, version {}, up for {}",
            palette.strong("stateboard"),
            status.version,
            Span(status.uptime_us)
        ),
    );
    line(
        &mut text,
        format_args!(
            "revision {}, {} records, {} members; epoch {}.{}, generation {}",
            status.revision, status.records, status.members, epoch.generation, epoch.number, epoch.generation
        ),
    );
    match lock.and_then(|lock| lock.holder.as_ref()) {
        Some(holder) => line(
            &mut text,
            format_args!(
                "lock held by {} at {}, {} in line behind it",
                holder.coordinator, holder.address, status.waiting
            ),
        ),
        None => line(&mut text, format_args!("lock held by nobody, {} in line", status.waiting)),
    }
    line(
        &mut text,
        format_args!(
            "file of format {}, {} on the disk, {} free",
            status.format,
            bytes(status.file_bytes),
            bytes(status.free_bytes)
        ),
    );
    if let Some(restored) = status.restored {
        let told = restored_text(&restored, epoch.generation);
        let at = rfc3339(restored.at_unix_millis);
        line(&mut text, format_args!("  {} {told}, at {at}", palette.doubtful("!")));
    }
    if status.full {
        let full = "the disk is full: changes are refused until there is room on it";
        line(&mut text, format_args!("  {} {full}", palette.bad("!")));
    }
    text
}

fn restored_text(restored: &Restored, generation: u64) -> String {
    let taken = rfc3339(restored.backup_at_unix_millis);
    format!(
        "restored from a backup of {taken} at revision {}; generation {generation}",
        restored.backup_revision
    )
}

/// What was written.
#[must_use]
pub fn board_backup(file: &Path, length: u64, header: &Header) -> String {
    format!(
        "backup of cluster {} at revision {}, epoch {}: {} items, {} in {}\n",
        header.identity.cluster,
        header.revision,
        header.epoch,
        header.items,
        bytes(length),
        file.display()
    )
}

/// What is there now.
#[must_use]
pub fn board_restored(done: &RestoreDone) -> String {
    let mut text = String::new();
    let restored = Restored {
        backup_at_unix_millis: done.restored.backup_at_unix_millis,
        backup_revision: done.restored.backup_revision.0,
        at_unix_millis: done.restored.at_unix_millis,
    };
    line(&mut text, restored_text(&restored, done.generation));
    line(
        &mut text,
        format_args!("{} records, {} members; revision {} now", done.records, done.members, done.revision),
    );
    if !done.kept_as.is_empty() {
        line(&mut text, format_args!("what was there before is kept as {} on its host", done.kept_as));
    }
    text
}
