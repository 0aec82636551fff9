//! What the service answers about the file itself: backup, restore, and what of it stands in the status. Who may ask was
//! checked before.

use crate::fault::{error, foreign, malformed};
use crate::service::{Out, rejected};
use crate::shell::Shell;
use crate::storage::{
    Archive, ArchiveError, Backup, FILE_FORMAT, Piece, RestoreError, file_bytes, free_bytes,
};
use crate::storage::{RESERVE, Restoration};
use baton_board::{Identity, Limits};
use baton_proto::v1;
use baton_provider::backup::{BackupError, Reader};
use baton_provider::wire::{self, Malformed};
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use v1::restore_request::Message as FromRestorer;

/// Pieces that are read ahead of whoever takes a backup.
const AHEAD: usize = 4;
/// How long a piece waits to be taken. A backup that nobody takes keeps the file growing.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a piece of a backup that is to be restored may take to come.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// Backups and restores at a time.
const AT_A_TIME: usize = 2;

/// The file, as the service sees it.
#[derive(Clone)]
pub(crate) struct Keeping {
    shell: Shell,
    archive: Archive,
    file: PathBuf,
    limits: Limits,
    started: Instant,
    places: Arc<Semaphore>,
}

/// The first message of a restore.
pub(crate) async fn begin(inbound: &mut Streaming<v1::RestoreRequest>) -> Result<v1::RestoreBegin, Status> {
    match next(inbound).await? {
        Some(FromRestorer::Begin(begin)) => Ok(begin),
        Some(FromRestorer::Chunk(_)) | None => {
            Err(malformed(Malformed::Missing("the begin as first message")))
        }
    }
}

async fn next(inbound: &mut Streaming<v1::RestoreRequest>) -> Result<Option<FromRestorer>, Status> {
    let message = tokio::time::timeout(CHUNK_TIMEOUT, inbound.message()).await;
    let message =
        message.map_err(|_| Status::deadline_exceeded("the next piece of the backup did not come"))??;
    match message {
        None => Ok(None),
        Some(request) => match request.message {
            Some(message) => Ok(Some(message)),
            None => Err(malformed(Malformed::Missing("the message"))),
        },
    }
}

impl Keeping {
    pub(crate) fn new(shell: Shell, archive: Archive, file: PathBuf, limits: Limits) -> Self {
        let places = Arc::new(Semaphore::new(AT_A_TIME));
        Self { shell, archive, file, limits, started: Instant::now(), places }
    }

    /// Adds what is about the file and the process.
    pub(crate) fn status(&self, status: v1::StatusResponse) -> v1::StatusResponse {
        let free_bytes = free_bytes(&self.file).unwrap_or(0);
        v1::StatusResponse {
            format: FILE_FORMAT,
            uptime_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            file_bytes: file_bytes(&self.file).unwrap_or(0),
            free_bytes,
            full: free_bytes < RESERVE,
            ..status
        }
    }

    fn place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Status> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let message = format!("{AT_A_TIME} backups or restores are under way, which is the limit");
            error(Code::ResourceExhausted, "limit", message, "try again when one of them is done", &[])
        })
    }

    /// Everything that is committed now, piece by piece.
    pub(crate) fn backup(&self) -> Result<Out<v1::BackupChunk>, Status> {
        let place = self.place()?;
        let (pieces, taken) = mpsc::channel(AHEAD);
        let archive = self.archive.clone();
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let _place = place;
            let send = |message| {
                let sent = async { tokio::time::timeout(TAKE_TIMEOUT, pieces.send(message)).await };
                matches!(runtime.block_on(sent), Ok(Ok(())))
            };
            match archive.export(|piece| send(Ok(chunk(piece)))) {
                Ok(()) => {}
                // The stream ends without its last piece, which makes what there is of it no backup.
                Err(error @ ArchiveError::Stopped) => tracing::warn!(%error, "a backup was given up"),
                Err(failed) => {
                    tracing::error!(error = %failed, "a backup failed");
                    send(Err(Status::internal(failed.to_string())));
                }
            }
        });
        Ok(Box::pin(ReceiverStream::new(taken)))
    }

    /// Reads a backup to its end, checks it, and only then asks for it to be put in the place of everything.
    pub(crate) async fn restore(
        &self,
        identity: &Identity,
        begin: &v1::RestoreBegin,
        mut inbound: Streaming<v1::RestoreRequest>,
    ) -> Result<v1::RestoreResponse, Status> {
        let _place = self.place()?;
        let mut reader = Reader::new(identity.clone(), self.limits.clone());
        let mut offset = 0_u64;
        while let Some(message) = next(&mut inbound).await? {
            let FromRestorer::Chunk(chunk) = message else {
                return Err(malformed(Malformed::Twice("the begin".into())));
            };
            if chunk.offset != offset {
                let what = format!("the piece at byte {} came where byte {offset} was due", chunk.offset);
                return Err(bad_backup(&BackupError::Damaged(what)));
            }
            if Sha256::digest(&chunk.data).as_slice() != chunk.sha256 {
                return Err(bad_backup(&BackupError::Checksum));
            }
            reader.feed(&chunk.data).map_err(|error| bad_backup(&error))?;
            offset += u64::try_from(chunk.data.len()).unwrap_or(u64::MAX);
        }
        let (header, durable) = reader.finish().map_err(|error| bad_backup(&error))?;
        let generation_at_least = begin.generation_at_least;
        let arriving = begin.arriving.clone().map(wire::move_from_wire).transpose().map_err(malformed)?;
        let force = begin.force;
        let backup = Backup { header, durable, bytes: offset, force, generation_at_least, arriving };
        let answer = self.shell.restore(backup).await.map_err(rejected)?;
        answer.map(|restoration| response(&restoration)).map_err(|error| refused(&error))
    }
}

fn chunk(piece: Piece) -> v1::BackupChunk {
    let sha256 = Sha256::digest(&piece.bytes).to_vec();
    let Piece { offset, bytes, items_done, items_total } = piece;
    v1::BackupChunk { offset, data: bytes, sha256, items_done, items_total }
}

fn response(restoration: &Restoration) -> v1::RestoreResponse {
    let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    v1::RestoreResponse {
        revision: restoration.revision.0,
        generation: restoration.generation,
        records: count(restoration.records),
        members: count(restoration.members),
        restored: Some(wire::restored_to_wire(restoration.restored)),
        kept_as: restoration.kept_as.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
    }
}

fn bad_backup(fault: &BackupError) -> Status {
    if let BackupError::Foreign(fault) = fault {
        return foreign(fault);
    }
    let message = format!("the backup is refused, and nothing was changed: {fault}");
    let what_to_do = "use a whole backup of this cluster, taken by this version or an older one";
    error(Code::InvalidArgument, "bad_backup", message, what_to_do, &[])
}

fn refused(fault: &RestoreError) -> Status {
    match fault {
        RestoreError::NotEmpty { .. } => {
            let what_to_do = "restore into an empty stateboard, or say that this one is to be replaced";
            error(Code::FailedPrecondition, "not_empty", fault.to_string(), what_to_do, &[])
        }
        RestoreError::InUse { .. } => {
            let what_to_do =
                "move to a provider that holds no cluster, or to one that this cluster was moved away from";
            error(Code::FailedPrecondition, "not_empty", fault.to_string(), what_to_do, &[])
        }
        RestoreError::Backup { error, .. } => bad_backup(error),
        RestoreError::NoRoom { .. } => {
            let what_to_do = "make room on its disk, and restore again";
            error(Code::ResourceExhausted, "disk_full", fault.to_string(), what_to_do, &[])
        }
        RestoreError::Open(_) => {
            let message = format!("nothing was restored, and nothing was changed: {fault}");
            error(Code::Internal, "storage", message, "look at the stateboard's data directory", &[])
        }
    }
}
