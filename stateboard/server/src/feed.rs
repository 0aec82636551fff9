//! What watchers see: the last updates, once for all of them. A watcher has a place in this log and nothing of its own
//! to be filled, so a slow one costs nobody memory; one whose place has fallen out of the log is ended and told so.

use crate::fault;
use crate::metrics::Metrics;
use crate::ready::framed;
use baton_board::Update;
use baton_core::ids::Revision;
use baton_proto::v1;
use baton_provider::wire;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tonic::Status;
use tonic::codegen::Bytes;

/// Groups of readers that are woken one after the other: the first are told before the last have been woken, and whoever
/// asks for something else meanwhile does not wait for all of them.
const GROUPS: usize = 32;

/// An update as its watchers are told it.
pub(crate) fn event(update: &Update) -> Result<Bytes, Status> {
    let event = v1::watch_response::Event::Update(wire::update_to_wire(update));
    framed(&v1::WatchResponse { event: Some(event) })
}

/// An update in the log; its message is made for the first who reads it, and is then everybody's.
#[derive(Debug)]
struct Published {
    update: Update,
    message: OnceLock<Result<Bytes, Status>>,
}

impl Published {
    fn message(&self) -> Result<Bytes, Status> {
        self.message.get_or_init(|| event(&self.update)).clone()
    }
}

/// The log and its readers' alarms.
#[derive(Debug)]
pub(crate) struct Feed {
    kept: usize,
    log: RwLock<VecDeque<Arc<Published>>>,
    /// The last revision in the log, and whether there will be more.
    head: watch::Sender<Head>,
    /// The same, a moment later, for each group of readers: waking thousands of them is not the board's work.
    alarms: Vec<watch::Sender<Head>>,
    /// Readers so far, to spread them over the alarms.
    readers: AtomicUsize,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    revision: Revision,
    stopped: bool,
    /// Raised by each restore: what was published before is of another life.
    life: u64,
}

impl Feed {
    /// A log that begins after `revision` and keeps so many updates.
    pub(crate) fn new(revision: Revision, kept: usize) -> Arc<Self> {
        let first = Head { revision, stopped: false, life: 0 };
        let (head, _) = watch::channel(first);
        let alarms = (0..GROUPS).map(|_| watch::channel(first).0).collect();
        let (log, readers) = (RwLock::default(), AtomicUsize::new(0));
        Arc::new(Self { kept: kept.max(1), log, head, alarms, readers })
    }

    /// Wakes the readers, until the feed is stopped. To be run by the network's runtime, where a wake is cheap.
    pub(crate) async fn wake_readers(self: Arc<Self>) {
        /// The answer's way through the runtime: its handler, then its connection.
        const ANSWERS_FIRST: usize = 3;
        let mut head = self.head.subscribe();
        loop {
            for _ in 0..ANSWERS_FIRST {
                tokio::task::yield_now().await;
            }
            let now = *head.borrow_and_update();
            for alarm in &self.alarms {
                alarm.send_replace(now);
                if alarm.receiver_count() > 0 {
                    tokio::task::yield_now().await;
                }
            }
            if now.stopped || head.changed().await.is_err() {
                return;
            }
        }
    }

    /// The next update, in the order of revisions.
    pub(crate) fn publish(&self, update: Update) {
        let revision = update.revision;
        {
            let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
            if log.len() >= self.kept {
                log.pop_front();
            }
            log.push_back(Arc::new(Published { update, message: OnceLock::new() }));
        }
        // Whoever follows from now on begins behind it; those who wait are woken by `ring`.
        self.head.send_if_modified(|head| {
            head.revision = revision;
            false
        });
    }

    /// Lets the readers know of what was published. After the answers of the same commit, so that nobody who appoints has
    /// to wait until thousands have been told.
    pub(crate) fn ring(&self) {
        let rung = self.alarms.last().map(|last| last.borrow().revision);
        if rung != Some(self.head.borrow().revision) {
            self.head.send_modify(|_| ());
        }
    }

    /// Begins anew after a restore: whoever reads now is ended, and learns from a snapshot what is true.
    pub(crate) fn restart(&self, revision: Revision) {
        self.log.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.head.send_modify(|head| {
            head.revision = revision;
            head.life += 1;
        });
    }

    /// No more updates: watchers read what is left and end.
    pub(crate) fn stop(&self) {
        self.head.send_modify(|head| head.stopped = true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.head.borrow().stopped
    }

    /// A reader of what is published from now on.
    pub(crate) fn follow(self: &Arc<Self>, metrics: Arc<Metrics>, place: OwnedSemaphorePermit) -> Follower {
        // The alarm may be behind; what was published already is part of where the reader begins.
        let now = *self.head.borrow();
        let next = Revision(now.revision.0 + 1);
        metrics.watching();
        let group = self.readers.fetch_add(1, Ordering::Relaxed) % self.alarms.len();
        let alarm = self.alarms[group].subscribe();
        Follower { feed: Arc::clone(self), alarm, life: now.life, next, metrics, _place: place }
    }

    fn at(&self, wanted: Revision) -> Place {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = log.front() else { return Place::NotYet };
        let Some(index) = wanted.0.checked_sub(first.update.revision.0) else {
            let last = log.back().map_or(0, |last| last.update.revision.0);
            return Place::Gone { behind: last.saturating_sub(wanted.0) + 1 };
        };
        let found = usize::try_from(index).ok().and_then(|index| log.get(index));
        found.map_or(Place::NotYet, |published| Place::Here(Arc::clone(published)))
    }
}

enum Place {
    Here(Arc<Published>),
    NotYet,
    Gone { behind: u64 },
}

/// One watcher's place.
#[derive(Debug)]
pub(crate) struct Follower {
    feed: Arc<Feed>,
    alarm: watch::Receiver<Head>,
    life: u64,
    next: Revision,
    metrics: Arc<Metrics>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The next update as it is sent; an error is the last thing that comes.
    pub(crate) async fn next(&mut self) -> Result<Bytes, Status> {
        self.published().await?.message()
    }

    async fn published(&mut self) -> Result<Arc<Published>, Status> {
        loop {
            let Head { stopped, life, .. } = *self.alarm.borrow_and_update();
            if life > self.life {
                return Err(fault::restored());
            }
            match self.feed.at(self.next) {
                Place::Here(published) => {
                    self.next = Revision(self.next.0 + 1);
                    return Ok(published);
                }
                Place::Gone { behind } => {
                    let allowed = u64::try_from(self.feed.kept).unwrap_or(u64::MAX);
                    return Err(fault::slow_watcher(behind, allowed));
                }
                Place::NotYet if stopped => return Err(fault::stopping()),
                Place::NotYet => {}
            }
            if self.alarm.changed().await.is_err() {
                return Err(fault::stopping());
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.metrics.watched();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;

    fn follower(feed: &Arc<Feed>) -> Follower {
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a place");
        feed.follow(Arc::new(Metrics::new()), place)
    }

    fn publish(feed: &Feed, revisions: std::ops::RangeInclusive<u64>) {
        for revision in revisions {
            feed.publish(Update { revision: Revision(revision), items: Vec::new() });
        }
        feed.ring();
    }

    async fn revision_of_next(follower: &mut Follower) -> Revision {
        let message = follower.next().await.expect("an update");
        let published = &follower.feed.log.read().expect("nobody panics");
        let sent = published.iter().find(|it| it.message().is_ok_and(|it| it == message));
        sent.expect("it is in the log").update.revision
    }

    fn reason(status: &Status) -> String {
        let detail: v1::StateboardError = prost::Message::decode(status.details()).expect("ours");
        detail.reason
    }

    #[tokio::test]
    async fn a_watcher_sees_each_update_once_and_then_why_it_ends() {
        let feed = Feed::new(Revision(4), 3);
        tokio::spawn(Arc::clone(&feed).wake_readers());
        let mut follower = follower(&feed);
        publish(&feed, 5..=7);
        for revision in 5..=7 {
            assert_eq!(revision_of_next(&mut follower).await, Revision(revision));
        }
        publish(&feed, 8..=8);
        feed.stop();
        assert_eq!(revision_of_next(&mut follower).await, Revision(8));
        assert_eq!(reason(&follower.next().await.expect_err("the end")), "stopping");
    }

    #[tokio::test]
    async fn a_restore_ends_every_watch() {
        let feed = Feed::new(Revision(4), 3);
        tokio::spawn(Arc::clone(&feed).wake_readers());
        let mut old = follower(&feed);
        publish(&feed, 5..=5);
        feed.restart(Revision(90));
        // tidy: waits because the alarm comes a moment after
        while feed.alarms.iter().any(|alarm| alarm.borrow().life == 0) {
            tokio::task::yield_now().await;
        }
        assert_eq!(reason(&old.next().await.expect_err("another life")), "restored");
        let mut new = follower(&feed);
        publish(&feed, 91..=91);
        assert_eq!(revision_of_next(&mut new).await, Revision(91));
    }

    #[tokio::test]
    async fn a_watcher_that_falls_out_of_the_log_is_told_so_and_skips_nothing() {
        let feed = Feed::new(Revision(0), 3);
        tokio::spawn(Arc::clone(&feed).wake_readers());
        let mut follower = follower(&feed);
        publish(&feed, 1..=3);
        assert_eq!(revision_of_next(&mut follower).await, Revision(1));
        publish(&feed, 4..=5);
        let status = follower.next().await.expect_err("revision 2 is gone");
        assert_eq!(reason(&status), "slow_watcher");
        assert!(status.message().contains("4 updates behind"), "{}", status.message());
    }
}
