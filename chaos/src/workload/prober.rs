//! Writes to one instance on its own connection every two milliseconds, whatever the directory says and without waiting
//! for answers: so it sees an old master that accepts, and it has requests in the queue of a frozen engine when that
//! wakes. It overwrites one key of its own, so it never changes what the writer's check looks for.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::history::{Author, Instance, Moment, Operation, Outcome, Recorder};
use super::link::{self, Asker, Listener, Reply, Request};
use crate::cli::EngineKind;

/// Between two writes.
const PACE: Duration = Duration::from_millis(2);
/// Most requests without an answer; above it the prober waits (sixteen seconds of silence).
const OUTSTANDING_MAX: usize = 8_192;
/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_millis(250);
/// How long to wait before an engine that is not there is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Probers of all instances; they end when this is dropped.
#[derive(Debug)]
pub struct Probers {
    _tasks: JoinSet<()>,
}

impl Probers {
    /// Starts one for each `(instance, endpoint)`.
    #[must_use]
    pub fn start(engine: EngineKind, instances: &[(Instance, String)], recorder: &Recorder) -> Self {
        let mut tasks = JoinSet::new();
        for (instance, endpoint) in instances {
            tasks.spawn(probe(engine, instance.clone(), endpoint.clone(), recorder.clone()));
        }
        Self { _tasks: tasks }
    }
}

async fn probe(engine: EngineKind, instance: Instance, endpoint: String, recorder: Recorder) {
    let mut sequence = 0;
    loop {
        if let Ok((asker, listener)) = link::connect(engine, &endpoint, CONNECT).await {
            probe_connection(&instance, asker, listener, &recorder, &mut sequence).await;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Until the connection is gone. What then has no answer is unknown.
async fn probe_connection(
    instance: &Instance,
    mut asker: Asker,
    mut listener: Listener,
    recorder: &Recorder,
    sequence: &mut u64,
) {
    let outstanding: Mutex<VecDeque<(u64, Moment)>> = Mutex::default();
    let queue = || outstanding.lock().unwrap_or_else(PoisonError::into_inner);
    let record = |sequence, sent, outcome| {
        let instance = instance.clone();
        recorder.record(Operation { author: Author::Prober, sequence, instance, sent, outcome });
    };
    let ask = async {
        let key = format!("chaos:probe:{instance}");
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            pace.tick().await;
            if queue().len() >= OUTSTANDING_MAX {
                continue;
            }
            *sequence += 1;
            let request = [Request::Set { key: &key, value: *sequence }];
            // Noted before it leaves: the answer may be here before `ask` has returned.
            queue().push_back((*sequence, recorder.now()));
            if asker.ask(&request).await.is_err() {
                return;
            }
        }
    };
    let listen = async {
        while let Ok(reply) = listener.reply().await {
            let at = recorder.now();
            let Some((sequence, sent)) = queue().pop_front() else { return };
            let outcome = match reply {
                Reply::Yes | Reply::Number(_) => Outcome::Acknowledged(at),
                Reply::No(_) => Outcome::Refused(at),
            };
            record(sequence, sent, outcome);
        }
    };
    tokio::pin!(listen);
    tokio::select! {
        biased;
        () = &mut listen => {}
        // Nothing more can be sent, but answers may still be on their way.
        () = ask => listen.await,
    }
    let at = recorder.now();
    for (sequence, sent) in queue().drain(..) {
        record(sequence, sent, Outcome::Unknown(at));
    }
}
