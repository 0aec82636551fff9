//! A watch that goes on across reconnections, changes of etcd's leader and compactions: every revision that changed
//! something of ours once, in order, or a snapshot that says that the ones between are not told.
//!
//! Revisions are etcd's, which count the changes of everybody who uses it: ours are in order, not without holes. A member
//! that is cut off ends the watch (it is asked for members with a leader only), and one that falls silent is left: every
//! second of silence it is asked for its progress.

use super::endpoints::Line;
use super::keys::{Key, end_of};
use super::outcome::of_error;
use super::pause::Pause;
use super::store::{self, Head, Held, StandingBid, Store, held, revision};
use super::txn::{Kv, MESSAGE_BYTES_MAX};
use super::values::{self, EpochDoc, EpochValue, SettingsDoc};
use super::{appoint, documents};
use crate::error::{FatalError, ProviderError};
use crate::{WatchEvent, WatchStream};
use baton_board::{Item, LockView, Update};
use baton_core::ids::Revision;
use etcd_client::{WatchOptions, WatchRequestSender, WatchResponseStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

/// Events that may wait for the caller; then nothing is read from etcd, which keeps a slow watcher's place by revision.
const QUEUE: usize = 64;
/// After how much silence the member is asked for its progress.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// After how much silence it is left.
const LEAVE_AFTER: Duration = Duration::from_secs(4);

type Out = mpsc::Sender<Result<WatchEvent, ProviderError>>;

/// One change of one key.
pub(super) struct Event {
    key: String,
    revision: i64,
    /// `None`: it was deleted.
    pub(super) kv: Option<Kv>,
}

/// Why a stream of events ended.
pub(super) enum Broken {
    /// The revisions that are asked for are no longer kept.
    Compacted,
    Error(ProviderError),
}

/// One stream of events from one member.
pub(super) struct Tail {
    requests: WatchRequestSender,
    responses: WatchResponseStream,
    line: Line,
    silent_since: Instant,
}

impl Tail {
    /// The events of a key, or of `key..end`, from a revision on.
    pub(super) async fn open(
        store: &Store,
        key: String,
        end: Option<Vec<u8>>,
        from: i64,
    ) -> Result<Self, ProviderError> {
        let (client, line) = store.endpoints.stream().await?;
        let mut options = WatchOptions::new().with_start_revision(from).with_progress_notify();
        if let Some(end) = end {
            options = options.with_range(end);
        }
        let mut watches = client.watch_client().max_decoding_message_size(MESSAGE_BYTES_MAX);
        let opened = tokio::time::timeout(store.endpoints.timeout(), watches.watch(key, Some(options))).await;
        let stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                line.failed();
                return Err(of_error(&error).into_error());
            }
            Err(_) => {
                line.failed();
                return Err(ProviderError::NotApplied("the watch was not opened in time".to_owned()));
            }
        };
        let (requests, responses) = stream.split();
        Ok(Self { requests, responses, line, silent_since: Instant::now() })
    }

    /// The next events, whole revisions, in order.
    pub(super) async fn next(&mut self) -> Result<Vec<Event>, Broken> {
        // The time that the caller took is no silence of the member.
        self.silent_since = Instant::now();
        loop {
            let response = match tokio::time::timeout(ASK_AFTER, self.responses.message()).await {
                Ok(Ok(Some(response))) => response.0,
                Ok(Ok(None)) => return Err(self.broken("the watch was closed")),
                Ok(Err(error)) => return Err(self.broken(error)),
                Err(_) if self.silent_since.elapsed() >= LEAVE_AFTER => {
                    return Err(self.broken("the member that is watched fell silent"));
                }
                Err(_) => {
                    let asked = tokio::time::timeout(ASK_AFTER, self.requests.request_progress()).await;
                    match asked {
                        Ok(Ok(())) => continue,
                        Ok(Err(error)) => return Err(self.broken(error)),
                        Err(_) => return Err(self.broken("the member that is watched takes no requests")),
                    }
                }
            };
            self.silent_since = Instant::now();
            if response.compact_revision > 0 {
                return Err(Broken::Compacted);
            }
            if response.canceled {
                return Err(self.broken(format!("the watch was cancelled: {}", response.cancel_reason)));
            }
            let events: Vec<Event> = response.events.iter().filter_map(|it| event(it.kv.as_ref()?)).collect();
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    fn broken(&self, why: impl ToString) -> Broken {
        self.line.failed();
        Broken::Error(ProviderError::Unknown(why.to_string()))
    }
}

/// A deleted key is told without the revision that created it. (The kind of the event says the same; a kind of a newer
/// version would not be understood.)
fn event(kv: &etcd_client::proto::PbKeyValue) -> Option<Event> {
    let kv = Kv::of(kv);
    let deleted = kv.created == 0;
    Some(Event { key: kv.key.clone(), revision: kv.modified, kv: (!deleted).then_some(kv) })
}

pub(super) fn watch(store: Arc<Store>, after: Option<Revision>) -> WatchStream {
    let (out, events) = mpsc::channel(QUEUE);
    let follower = Follower {
        store,
        after: after.map(|revision| i64::try_from(revision.0).unwrap_or(i64::MAX)),
        lock: None,
        out: out.clone(),
    };
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = out.closed() => {}
            () = follower.run() => {}
        }
    });
    Box::pin(ReceiverStream::new(events))
}

/// What the lock's view is made of, as far as the events have come.
struct LockState {
    epoch: EpochValue,
    epoch_modified: i64,
    lock: Option<Held>,
    bid: Option<StandingBid>,
    /// What the watcher was told last; `None` where it brought its knowledge along.
    told: Option<LockView>,
}

impl LockState {
    fn of(head: &Head, told: Option<LockView>) -> Self {
        let (epoch, epoch_modified) = (head.epoch_value, head.epoch_modified);
        Self { epoch, epoch_modified, lock: head.lock.clone(), bid: head.bid.clone(), told }
    }

    /// The view, where it is another than was told.
    fn news(&mut self) -> Option<LockView> {
        let view = store::view(self.epoch, self.epoch_modified, self.lock.as_ref(), self.bid.as_ref());
        (self.told.replace(view.clone()).as_ref() != Some(&view)).then_some(view)
    }
}

/// One watcher.
struct Follower {
    store: Arc<Store>,
    /// The last revision that the watcher knows; `None`: it needs a snapshot.
    after: Option<i64>,
    lock: Option<LockState>,
    out: Out,
}

impl Follower {
    async fn run(mut self) {
        let mut pause = Pause::new();
        loop {
            let before = self.after;
            match self.follow().await {
                Ok(()) => return,
                Err(error @ ProviderError::Fatal(_)) => {
                    // The last event; nobody may be there to hear it.
                    let _ = self.out.send(Err(error)).await;
                    return;
                }
                Err(error) => tracing::debug!(%error, "the watch broke, resuming"),
            }
            if self.after != before {
                pause.reset();
            }
            pause.wait().await;
        }
    }

    /// One connection. `Ok` where nobody listens any more.
    async fn follow(&mut self) -> Result<(), ProviderError> {
        let Some(after) = self.begin().await? else { return Ok(()) };
        let base = self.store.keys.base().to_owned();
        let end = end_of(&base);
        let mut tail = Tail::open(&self.store, base, Some(end), after + 1).await?;
        loop {
            let events = match tail.next().await {
                Ok(events) => events,
                Err(Broken::Compacted) => {
                    self.after = None;
                    return Err(ProviderError::NotApplied("the revisions after it are compacted".to_owned()));
                }
                Err(Broken::Error(error)) => return Err(error),
            };
            for same in events.chunk_by(|a, b| a.revision == b.revision) {
                let Some(first) = same.first() else { continue };
                if self.after.is_some_and(|known| first.revision <= known) {
                    continue;
                }
                let items = self.items(same)?;
                self.after = Some(first.revision);
                let update = Update { revision: revision(first.revision), items };
                if !update.items.is_empty() && self.out.send(Ok(WatchEvent::Update(update))).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Where to go on from, after a snapshot where one is needed; `None` where nobody listens any more. Also makes sure
    /// that the cluster is ours still, and that our token is good: a watch itself is told neither.
    async fn begin(&mut self) -> Result<Option<i64>, ProviderError> {
        if let Some(after) = self.after {
            let head = self.store.head(Vec::new()).await?;
            let restored = self.lock.as_ref().is_some_and(|known| known.epoch != head.epoch_value);
            // A revision that etcd has not reached belongs to another life of it.
            if head.revision >= after && !restored {
                self.lock.get_or_insert_with(|| LockState::of(&head, None));
                return Ok(Some(after));
            }
        }
        let (snapshot, head) = self.store.snapshot_and_head().await?;
        self.lock = Some(LockState::of(&head, Some(snapshot.lock.clone())));
        self.after = Some(head.revision);
        let sent = self.out.send(Ok(WatchEvent::Snapshot(Box::new(snapshot)))).await;
        Ok(sent.is_ok().then_some(head.revision))
    }

    /// What one revision changed.
    fn items(&mut self, events: &[Event]) -> Result<Vec<Item>, ProviderError> {
        let mut items = Vec::new();
        for Event { key, kv, .. } in events {
            match (self.store.keys.parse(key), kv) {
                (Key::Record(set), Some(kv)) => {
                    items.push(Item::Record(Box::new(appoint::record_at(kv, &set)?)));
                }
                (Key::Member(set, instance), Some(kv)) => {
                    items.push(Item::Member(Box::new(documents::member_at(kv, &set, &instance)?)));
                }
                (Key::Member(replicaset, instance), None) => {
                    items.push(Item::MemberRemoved { replicaset, instance });
                }
                (Key::Task(id), Some(kv)) => {
                    items.push(Item::Task(Box::new(super::tasks::task_at(kv, id)?)));
                }
                (Key::Task(id), None) => items.push(Item::TaskRemoved(id)),
                (Key::Settings, Some(kv)) => {
                    let settings = values::read::<SettingsDoc>(&kv.key, &kv.value)?;
                    items.push(Item::Settings(Box::new(settings)));
                }
                (Key::Epoch, Some(kv)) => {
                    let epoch = values::read::<EpochDoc>(&kv.key, &kv.value)?;
                    if let Some(state) = &mut self.lock {
                        (state.epoch, state.epoch_modified) = (epoch, kv.modified);
                    }
                }
                (Key::Lock, kv) => {
                    let lock = kv.as_ref().map(held).transpose().map_err(FatalError::from)?;
                    if let Some(state) = &mut self.lock {
                        state.lock = lock;
                    }
                }
                (Key::Bid, kv) => {
                    if let Some(state) = &mut self.lock {
                        state.bid = kv.as_ref().and_then(store::bid_at);
                    }
                }
                (Key::Record(_), None) | (Key::Identity | Key::Epoch | Key::Settings, _) => {
                    // Nobody of ours does that; whoever did it by hand is told by the next look, a record by a snapshot.
                    self.after = None;
                    return Err(ProviderError::NotApplied(format!("{key} was changed by hand")));
                }
                (Key::Other, _) => {}
            }
        }
        let touched =
            |event: &Event| matches!(self.store.keys.parse(&event.key), Key::Lock | Key::Epoch | Key::Bid);
        if events.iter().any(touched) {
            items.extend(self.lock.as_mut().and_then(LockState::news).map(Item::Lock));
        }
        Ok(items)
    }
}
