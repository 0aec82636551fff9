//! What only a stateboard can do: give a backup of everything, take one back, and say how it stands.

use super::StateboardProvider;
use super::outcome::{malformed, of_status};
use crate::backup::{BackupError, Header, Reader};
use crate::error::{FatalError, ProviderError};
use crate::wire::{self, Malformed};
use baton_board::{Durable, Limits, Restored};
use baton_core::ids::Revision;
use baton_core::record::Move;
use baton_proto::v1;
use sha2::{Digest as _, Sha256};
use v1::restore_request::Message as ToStateboard;

/// How far a backup has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Items so far.
    pub items_done: u64,
    /// Items in all.
    pub items_total: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The stateboard.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// What came is no whole backup: the connection may have ended in the middle.
    #[error("the backup did not arrive whole: {0}")]
    Backup(#[from] BackupError),
    /// Whoever keeps it.
    #[error("the backup cannot be kept: {0}")]
    Keep(#[from] std::io::Error),
}

/// How a restore is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Also where the stateboard is not empty.
    pub force: bool,
    /// The new generation is at least this.
    pub generation_at_least: u64,
    /// It is the state of a cluster that moves here.
    pub arriving: Option<Move>,
}

/// What a restore made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreDone {
    /// The revision now.
    pub revision: Revision,
    /// The generation of the next epoch.
    pub generation: u64,
    /// Records that are there now.
    pub records: u64,
    /// Members that are there now.
    pub members: u64,
    /// From what and when.
    pub restored: Restored,
    /// Where the stateboard keeps what was there before; empty where there was nothing.
    pub kept_as: String,
}

/// No board of this version: whoever takes a backup only wants to know that it is whole.
fn no_limits() -> Limits {
    Limits {
        records: usize::MAX,
        members: usize::MAX,
        tasks: usize::MAX,
        history_per_set: usize::MAX,
        ..Limits::default()
    }
}

impl StateboardProvider {
    /// Takes a backup, and gives its bytes to `keep` as they come. They are a backup only if this ends well: then every
    /// piece, the checksum over all and every item were checked.
    ///
    /// # Errors
    /// [`TakeError`]; what was kept so far is to be thrown away.
    pub async fn backup(
        &self,
        mut keep: impl FnMut(&[u8], Progress) -> std::io::Result<()>,
    ) -> Result<Header, TakeError> {
        let mut reader = Reader::new(self.options.identity.clone(), no_limits());
        self.take_backup(&mut reader, &mut keep).await?;
        Ok(reader.finish()?.0)
    }

    /// The whole state, as a backup holds it.
    ///
    /// # Errors
    /// [`TakeError`].
    pub async fn export(&self) -> Result<Durable, TakeError> {
        let mut reader = Reader::new(self.options.identity.clone(), no_limits());
        self.take_backup(&mut reader, &mut |_, _| Ok(())).await?;
        Ok(reader.finish()?.1)
    }

    async fn take_backup(
        &self,
        reader: &mut Reader,
        keep: &mut impl FnMut(&[u8], Progress) -> std::io::Result<()>,
    ) -> Result<(), TakeError> {
        let request = v1::BackupRequest { identity: self.identity() };
        let mut pieces = self.ask(self.client.clone().backup(request)).await?;
        let mut offset = 0_u64;
        loop {
            let piece = tokio::time::timeout(self.options.request_timeout, pieces.message()).await;
            let piece = piece.map_err(|_| ProviderError::Unknown("the next piece did not come".into()))?;
            let Some(piece) = piece.map_err(|status| of_status(&status))? else { break };
            if piece.offset != offset || Sha256::digest(&piece.data).as_slice() != piece.sha256 {
                return Err(BackupError::Checksum.into());
            }
            offset += u64::try_from(piece.data.len()).expect("a length fits 64 bits");
            reader.feed(&piece.data)?;
            let progress = Progress { items_done: piece.items_done, items_total: piece.items_total };
            keep(&piece.data, progress)?;
        }
        Ok(())
    }

    /// Puts the backup that `blocks` are, one after the other, in the place of everything that the stateboard holds. It
    /// is checked wholly before anything is changed; afterwards the epochs begin with a higher generation.
    ///
    /// # Errors
    /// No answer; see [`ProviderError`]. `NotApplied` names what is wrong with the backup, or that the stateboard is not
    /// empty.
    pub async fn restore(
        &self,
        options: RestoreOptions,
        blocks: impl Iterator<Item = Vec<u8>> + Send + 'static,
    ) -> Result<RestoreDone, ProviderError> {
        let begin = v1::RestoreBegin {
            identity: self.identity(),
            force: options.force,
            generation_at_least: options.generation_at_least,
            arriving: options.arriving.as_ref().map(wire::move_to_wire),
        };
        let mut offset = 0_u64;
        let chunks = blocks.map(move |data| {
            let chunk = v1::BackupChunk {
                offset,
                sha256: Sha256::digest(&data).to_vec(),
                data,
                items_done: 0,
                items_total: 0,
            };
            offset += u64::try_from(chunk.data.len()).expect("a length fits 64 bits");
            ToStateboard::Chunk(chunk)
        });
        let messages = std::iter::once(ToStateboard::Begin(begin)).chain(chunks);
        let requests = tokio_stream::iter(messages.map(|it| v1::RestoreRequest { message: Some(it) }));
        // No deadline of ours: it takes as long as the backup is large, and the stateboard waits for no piece for ever.
        let response = self.client.clone().restore(requests).await.map_err(|status| of_status(&status))?;
        done(response.into_inner()).map_err(|error| malformed(&error))
    }

    /// How the stateboard stands: with its file, its version and the room that it has.
    ///
    /// # Errors
    /// No answer. Reading changes nothing.
    pub async fn describe(&self) -> Result<v1::StatusResponse, ProviderError> {
        let request = v1::StatusRequest { identity: self.identity() };
        let status = self.ask(self.client.clone().status(request)).await?;
        if status.lock.as_ref().is_none_or(|lock| lock.epoch.is_none()) {
            return Err(FatalError::Protocol("a status without the lock".into()).into());
        }
        Ok(status)
    }
}

fn done(response: v1::RestoreResponse) -> Result<RestoreDone, Malformed> {
    let restored = response.restored.ok_or(Malformed::Missing("what was restored"))?;
    Ok(RestoreDone {
        revision: Revision(response.revision),
        generation: response.generation,
        records: response.records,
        members: response.members,
        restored: wire::restored_from_wire(restored),
        kept_as: response.kept_as,
    })
}
