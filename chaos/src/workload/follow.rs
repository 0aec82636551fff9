//! Follows the directory of every coordinator at once and keeps the newest master that any of them named. Decides nothing
//! about terms but which of two is newer: one that goes back is old news from a coordinator that was asleep.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use baton_client::{Client, ClientOptions, MasterState};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::history::{Instance, Notice, Recorder};

/// How long to wait before a coordinator that is not there is asked again.
const RETRY: Duration = Duration::from_millis(20);
/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_millis(250);

/// Who is master, as the directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// The term.
    pub term: u64,
    /// The instance.
    pub instance: Instance,
    /// Where it listens, host:port.
    pub endpoint: String,
    /// Whether it is known to accept writes.
    pub active: bool,
}

impl Master {
    /// The directory's word for it.
    #[must_use]
    pub fn state(&self) -> &'static str {
        if self.active { MasterState::Active.name() } else { MasterState::Appointed.name() }
    }
}

/// Hears each news once.
pub type Tell = Arc<dyn Fn(&Master) + Send + Sync>;

/// A running follower; it ends when this is dropped.
#[derive(Debug)]
pub struct Follower {
    newest: watch::Receiver<Option<Master>>,
    _tasks: JoinSet<()>,
}

impl Follower {
    /// Starts to follow `coordinators` (gRPC, host:port) for one replica set, each by a client of its own: one that is
    /// frozen keeps its stream and says nothing, so news has to come from the others in the same moment.
    ///
    /// # Errors
    /// An address is none.
    pub fn start(coordinators: &[String], replicaset: &str, recorder: &Recorder) -> anyhow::Result<Self> {
        let recorder = recorder.clone();
        let note = move |master: &Master| {
            recorder.notice(Notice {
                at: recorder.now(),
                term: master.term,
                master: master.instance.clone(),
                state: master.state().to_owned(),
            });
        };
        Self::start_telling(coordinators, replicaset, Arc::new(note))
    }

    /// The same; each news is handed to `tell` before anybody else hears of it.
    ///
    /// # Errors
    /// An address is none.
    pub fn start_telling(coordinators: &[String], replicaset: &str, tell: Tell) -> anyhow::Result<Self> {
        let (sender, newest) = watch::channel(None);
        let mut tasks = JoinSet::new();
        for address in coordinators {
            let options = ClientOptions {
                connect_timeout: CONNECT,
                backoff_min: RETRY,
                backoff_max: RETRY,
                ..ClientOptions::new([address])
            };
            let client = Client::start(options).context("follow the directory")?;
            tasks.spawn(follow_one(client, replicaset.to_owned(), sender.clone(), tell.clone()));
        }
        Ok(Self { newest, _tasks: tasks })
    }

    /// The newest master and every change of it.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Master>> {
        self.newest.clone()
    }

    /// The newest master that was named, if any.
    #[must_use]
    pub fn newest(&self) -> Option<Master> {
        self.newest.borrow().clone()
    }
}

async fn follow_one(
    mut client: Client,
    replicaset: String,
    newest: watch::Sender<Option<Master>>,
    tell: Tell,
) {
    loop {
        client.changed().await;
        if let Some(told) = client.master(&replicaset) {
            take(told, &newest, &tell);
        }
    }
}

/// Takes over what a coordinator told if it is news: a higher term, or that the master of the same one is active.
fn take(told: baton_client::Master, newest: &watch::Sender<Option<Master>>, tell: &Tell) {
    if told.instance.is_empty() || told.state == MasterState::None {
        return;
    }
    let master = Master {
        term: told.term,
        instance: told.instance.into(),
        endpoint: told.endpoint,
        active: told.state == MasterState::Active,
    };
    newest.send_if_modified(|known| {
        let rank = |master: &Master| (master.term, master.active);
        let news = known.as_ref().is_none_or(|known| rank(&master) > rank(known));
        if news {
            tell(&master);
            *known = Some(master.clone());
        }
        news
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn told(term: u64, master: &str, state: &str) -> baton_client::Master {
        baton_client::Master {
            instance: master.to_owned(),
            endpoint: format!("{master}:1"),
            term,
            state: MasterState::parse(state),
        }
    }

    #[test]
    fn only_news_is_taken_and_each_is_noted_once() {
        let heard: Arc<Mutex<Vec<(u64, &str)>>> = Arc::default();
        let noted = heard.clone();
        let tell: Tell = Arc::new(move |master: &Master| {
            noted.lock().expect("one thread").push((master.term, master.state()));
        });
        let (sender, receiver) = watch::channel(None);
        for (term, master, state) in [
            (3, "a", "active"),
            (3, "a", "active"),
            (4, "b", "appointed"),
            (3, "a", "active"),
            (4, "b", "active"),
            (4, "b", "appointed"),
            (5, "", "none"),
        ] {
            take(told(term, master, state), &sender, &tell);
        }
        assert_eq!(*heard.lock().expect("one thread"), [(3, "active"), (4, "appointed"), (4, "active")]);
        assert_eq!(receiver.borrow().as_ref().expect("one").endpoint, "b:1");
    }
}
