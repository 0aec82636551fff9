//! One transaction of etcd: what it compares, does and reads, sent over [`Endpoints`], its answer taken apart with
//! nothing in it trusted to be there.

use super::endpoints::{Endpoints, Repeat};
use super::keys::end_of;
use super::outcome::{Failure, of_error};
use crate::error::{FatalError, ProviderError};
use baton_core::rules::Rule;
use etcd_client::proto::{PbKeyValue, PbTxnOpResponse};
use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, SortOrder, SortTarget, Txn, TxnOp,
};

/// Largest answer that is taken.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One key as it stands in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kv {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    /// The revision that created the key.
    pub(super) created: i64,
    /// The revision of its last change.
    pub(super) modified: i64,
    /// 0: none.
    pub(super) lease: i64,
}

impl Kv {
    pub(super) fn of(kv: &PbKeyValue) -> Self {
        Self {
            // Our keys are text. A key that is none is somebody else's, and is passed over like any that is not ours.
            key: String::from_utf8_lossy(&kv.key).into_owned(),
            value: kv.value.clone(),
            created: kv.create_revision,
            modified: kv.mod_revision,
            lease: kv.lease,
        }
    }
}

/// What is read.
#[derive(Clone, Debug)]
pub(super) enum Get {
    /// One key.
    Key(String),
    /// Everything in `from..to`, as it was at a revision (0: now).
    Range { from: String, to: Vec<u8>, revision: i64 },
    /// At most so many keys in `from..to`, in their order, as they were at a revision (0: now).
    Page { from: String, to: Vec<u8>, limit: i64, revision: i64 },
    /// The names of at most so many keys in `from..to`, as they were at a revision (0: now).
    Names { from: String, to: Vec<u8>, limit: i64, revision: i64 },
    /// The names in a folder, the oldest key first.
    Oldest(String),
    /// At most so many keys of a folder, the newest first.
    Newest(String, i64),
}

impl Get {
    /// Everything in a folder.
    pub(super) fn folder(folder: String) -> Self {
        let to = end_of(&folder);
        Self::Range { from: folder, to, revision: 0 }
    }

    fn op(self) -> TxnOp {
        match self {
            Self::Key(key) => TxnOp::get(key, None),
            Self::Range { from, to, revision } => {
                let options = GetOptions::new().with_range(to).with_revision(revision);
                TxnOp::get(from, Some(options))
            }
            Self::Page { from, to, limit, revision } => {
                let options = GetOptions::new().with_range(to).with_limit(limit).with_revision(revision);
                TxnOp::get(from, Some(options))
            }
            Self::Names { from, to, limit, revision } => {
                let options = GetOptions::new().with_range(to).with_keys_only().with_limit(limit);
                TxnOp::get(from, Some(options.with_revision(revision)))
            }
            Self::Oldest(folder) => {
                let options = GetOptions::new().with_range(end_of(&folder)).with_keys_only();
                TxnOp::get(folder, Some(options.with_sort(SortTarget::Create, SortOrder::Ascend)))
            }
            Self::Newest(folder, limit) => {
                let options = GetOptions::new().with_range(end_of(&folder)).with_limit(limit);
                TxnOp::get(folder, Some(options.with_sort(SortTarget::Create, SortOrder::Descend)))
            }
        }
    }
}

/// What a write does.
#[derive(Clone, Debug)]
pub(super) enum Do {
    /// Puts a value, attached to a lease (0: none).
    Put { key: String, value: Vec<u8>, lease: i64 },
    /// Deletes a key.
    Delete(String),
    /// Reads a folder after what was done before it.
    Read(String),
}

impl Do {
    /// A value without a lease.
    pub(super) fn put(key: String, value: Vec<u8>) -> Self {
        Self::Put { key, value, lease: 0 }
    }

    fn op(self) -> TxnOp {
        match self {
            Self::Put { key, value, lease } => {
                TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease)))
            }
            Self::Delete(key) => TxnOp::delete(key, Some(DeleteOptions::new())),
            Self::Read(folder) => Get::folder(folder).op(),
        }
    }
}

/// A key that must still stand as it was read: changed last by this revision (0: not there).
#[derive(Clone, Debug)]
pub(super) struct Unchanged {
    key: String,
    modified: i64,
}

impl Unchanged {
    pub(super) fn new(key: impl Into<String>, modified: i64) -> Self {
        Self { key: key.into(), modified }
    }

    /// As it was read.
    pub(super) fn since(key: impl Into<String>, read: Option<&Kv>) -> Self {
        Self::new(key, read.map_or(0, |kv| kv.modified))
    }
}

/// What one range or key gave.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) kvs: Vec<Kv>,
    /// There is more than the limit.
    pub(super) more: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Whether the comparisons held, so that the writes were done.
    pub(super) done: bool,
    /// The revision that the answer is from; of a write that was done, its own.
    pub(super) revision: i64,
    /// The raft term of the last entry that the answering member had applied.
    pub(super) raft_term: u64,
    /// One for each read, in order; writes give none.
    pub(super) found: Vec<Found>,
}

fn missing(what: &str) -> Failure {
    Failure::Ended(FatalError::Protocol(format!("{what} is missing in an answer of etcd")).into())
}

async fn send(client: Client, txn: Txn) -> Result<Answer, Failure> {
    let mut kv = client
        .kv_client()
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let response = kv.txn(txn).await.map_err(|error| of_error(&error))?.0;
    let header = response.header.ok_or_else(|| missing("the header"))?;
    let mut found = Vec::new();
    for response in response.responses {
        match response.response {
            Some(PbTxnOpResponse::ResponseRange(range)) => {
                found.push(Found { kvs: range.kvs.iter().map(Kv::of).collect(), more: range.more });
            }
            Some(PbTxnOpResponse::ResponsePut(_) | PbTxnOpResponse::ResponseDeleteRange(_)) => {}
            Some(PbTxnOpResponse::ResponseTxn(_)) | None => return Err(missing("what one operation did")),
        }
    }
    Ok(Answer { done: response.succeeded, revision: header.revision, raft_term: header.raft_term, found })
}

/// Reads, linearizable, all at one revision.
pub(super) async fn read(endpoints: &Endpoints, gets: &[Get]) -> Result<Answer, Failure> {
    let answer = endpoints
        .try_call(Repeat::Harmless, |client| {
            let ops: Vec<TxnOp> = gets.iter().cloned().map(Get::op).collect();
            send(client, Txn::new().and_then(ops))
        })
        .await?;
    if answer.found.len() != gets.len() {
        return Err(missing("what was read"));
    }
    Ok(answer)
}

/// Writes, all or nothing, where everything named is unchanged.
///
/// # Errors
/// As a write's: a time-out is unknown.
pub(super) async fn write(
    endpoints: &Endpoints,
    unchanged: &[Unchanged],
    ops: &[Do],
) -> Result<Answer, ProviderError> {
    let call = |client| {
        let compared = unchanged.iter().filter(|_| endpoints.rules().keep(Rule::CompareInWrite));
        let compares: Vec<Compare> = compared
            .map(|it| Compare::mod_revision(it.key.as_str(), CompareOp::Equal, it.modified))
            .collect();
        let ops: Vec<TxnOp> = ops.iter().cloned().map(Do::op).collect();
        send(client, Txn::new().when(compares).and_then(ops))
    };
    endpoints.call(Repeat::Never, call).await
}
