//! The client that people care about: it follows the directory and appends a new value every few milliseconds to a list of whoever is
//! master. In synchronous mode a second connection asks the same run of the engine how far a replica has it: the outage is
//! that of the engine's plain acknowledgements, what may not be lost is what was confirmed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::engine::{Answer, Session};
use super::follow::Master;
use super::router::{CONFIRM_PATIENCE, PATIENCE, Pen, Router, Values, ending, moved, within};
use crate::evidence::{Asked, Micros, Operation};

/// How many lists it appends to in turn.
const LISTS: u64 = 4;
/// Between two confirmations.
const CONFIRM_PACE: Duration = Duration::from_millis(5);

/// One appending client.
#[derive(Debug)]
pub struct Appender {
    router: Router,
    pen: Pen,
    pace: Interval,
    values: Values,
    number: u64,
    session: u64,
}

/// What one line is about, before its end is known.
struct Sent<'a> {
    master: &'a Master,
    session: u64,
    op: Asked,
    key: String,
    value: u64,
    at: Micros,
}

impl Appender {
    /// The client with this number, which appends once every `pace`.
    #[must_use]
    pub fn new(router: Router, pen: Pen, number: u64, pace: Duration) -> Self {
        let mut pace = interval(pace);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { router, pen, pace, values: Values::of(number), number, session: 0 }
    }

    /// Appends until told to end; what was sent has its line then.
    ///
    /// # Errors
    /// A line cannot be written.
    pub async fn run(mut self) -> anyhow::Result<()> {
        while let Some(master) = self.router.master().await {
            self.stay(&master).await?;
        }
        Ok(())
    }

    /// One connection to one master, with a confirmer beside it.
    async fn stay(&mut self, master: &Master) -> anyhow::Result<()> {
        self.pace.tick().await;
        self.session += 1;
        let begun = self.pen.now();
        let mut router = self.router.clone();
        // Both are there before the first append: a confirmer that came later could find the engine's next run, and take that
        // one's replicas for a promise about what the run before had acknowledged.
        let connect = async { tokio::try_join!(self.router.connect(master), self.router.connect(master)) };
        let Some(connected) = router.unless_moved(master, connect).await else { return Ok(()) };
        let (session, confirmer) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                let sent = self.next(master, begun);
                note::<()>(&self.pen, &sent, &Answer::No(format!("cannot connect: {error}")))?;
                return Ok(());
            }
        };
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut beside = JoinSet::new();
        if self.router.sync {
            let confirming = Confirmer {
                router: self.router.clone(),
                pen: self.pen.clone(),
                master: master.clone(),
                session: self.session,
                acknowledged: acknowledged.clone(),
            };
            beside.spawn(confirming.run(confirmer));
        }
        self.append_until_left(master, session, &acknowledged).await?;
        // A confirmer ends early where its line cannot be written, and then nothing here is worth anything.
        match beside.try_join_next() {
            Some(ended) => ended?,
            None => Ok(()),
        }
    }

    fn next<'a>(&mut self, master: &'a Master, at: Micros) -> Sent<'a> {
        let value = self.values.draw();
        let key = format!("list-{}-{}", self.number, value % LISTS);
        Sent { master, session: self.session, op: Asked::Append, key, value, at }
    }

    async fn append_until_left(
        &mut self,
        master: &Master,
        mut session: Box<dyn Session>,
        acknowledged: &AtomicU64,
    ) -> anyhow::Result<()> {
        while !self.router.stopped() {
            let now = self.pen.now();
            let sent = self.next(master, now);
            let asked = within(PATIENCE, session.append(&sent.key, sent.value));
            let answer = self.router.unless_moved(master, asked).await.unwrap_or_else(moved);
            note(&self.pen, &sent, &answer)?;
            match answer {
                Answer::Yes(()) => acknowledged.store(sent.value, Ordering::SeqCst),
                Answer::No(_) => {}
                Answer::Unknown(_) => return Ok(()),
            }
            if self.router.unless_moved(master, self.pace.tick()).await.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn note<T>(pen: &Pen, sent: &Sent<'_>, answer: &Answer<T>) -> anyhow::Result<()> {
    let (done_us, outcome, error) = ending(answer, pen.now());
    pen.note(&Operation {
        client: pen.client().to_owned(),
        op: sent.op,
        key: sent.key.clone(),
        value: Some(sent.value),
        read: None,
        instance: sent.master.instance.to_string(),
        term: Some(sent.master.term),
        session: sent.session,
        sent_us: sent.at,
        done_us,
        outcome,
        error,
        times: 1,
    })?;
    Ok(())
}

/// Asks how far a replica has what the stay has had acknowledged, as long as its own connection to the same run lives.
struct Confirmer {
    router: Router,
    pen: Pen,
    master: Master,
    session: u64,
    acknowledged: Arc<AtomicU64>,
}

impl Confirmer {
    async fn run(self, mut session: Box<dyn Session>) -> anyhow::Result<()> {
        let mut confirmed = 0;
        loop {
            let value = self.acknowledged.load(Ordering::SeqCst);
            if value > confirmed {
                let at = self.pen.now();
                let answer = within(CONFIRM_PATIENCE, session.confirm()).await;
                // A master that was replaced meanwhile and leads again at a later term would speak of that term's stream.
                if !self.router.still(&self.master) {
                    return std::future::pending().await;
                }
                match answer {
                    Answer::Yes(true) => {
                        let (master, key) = (&self.master, "confirm".to_owned());
                        let sent = Sent { master, session: self.session, op: Asked::Confirm, key, value, at };
                        note(&self.pen, &sent, &answer)?;
                        confirmed = value;
                    }
                    Answer::Yes(false) | Answer::No(_) => {}
                    Answer::Unknown(_) => return std::future::pending().await,
                }
            }
            sleep(CONFIRM_PACE).await;
        }
    }
}
