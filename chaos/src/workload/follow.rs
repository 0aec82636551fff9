//! Follows the directory of every coordinator at once and keeps the newest master that any of them named. Decides nothing
//! about terms but which of two is newer: one that goes back is old news from a coordinator that was asleep.

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
            tasks.spawn(follow_one(client, replicaset.to_owned(), sender.clone(), recorder.clone()));
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
    recorder: Recorder,
) {
    loop {
        client.changed().await;
        if let Some(told) = client.master(&replicaset) {
            take(told, &newest, &recorder);
        }
    }
}

/// Takes over what a coordinator told if it is news: a higher term, or that the master of the same one is active.
fn take(told: baton_client::Master, newest: &watch::Sender<Option<Master>>, recorder: &Recorder) {
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
            recorder.notice(Notice {
                at: recorder.now(),
                term: master.term,
                master: master.instance.clone(),
                state: told.state.name().to_owned(),
            });
            *known = Some(master.clone());
        }
        news
    });
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let recorder = Recorder::new();
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
            take(told(term, master, state), &sender, &recorder);
        }
        let seen: Vec<(u64, String)> =
            recorder.lock().notices.iter().map(|notice| (notice.term, notice.state.clone())).collect();
        assert_eq!(seen, [(3, "active".to_owned()), (4, "appointed".to_owned()), (4, "active".to_owned())]);
        assert_eq!(receiver.borrow().as_ref().expect("one").endpoint, "b:1");
        assert_eq!(recorder.lock().reigns.len(), 2);
    }
}
