//! Registers: several hands of one client write and read a few keys at the same time, where the directory sends them. In synchronous
//! mode an answer counts once a replica has all that lies before it; until then it is unknown. A read is confirmed by a write
//! behind it on the same connection, which an old master that was fenced refuses: what such a one says proves nothing.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::engine::{Answer, Session};
use super::follow::Master;
use super::router::{CONFIRM_PATIENCE, PATIENCE, Pen, Router, Values, ending, moved, within};
use crate::evidence::{Asked, Micros, Operation};

/// How many hands ask at the same time.
const HANDS: u64 = 3;
/// How many registers they share.
const REGISTERS: u64 = 3;

/// Starts all hands; they end when told to. `number` and the numbers behind it, one for each hand, must be no other client's.
///
/// # Errors
/// A line cannot be written.
pub async fn run(router: Router, pen: Pen, number: u64, pace: Duration, seed: u64) -> anyhow::Result<()> {
    let mut hands = JoinSet::new();
    for hand in 0..HANDS {
        let mut pace = interval(pace);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hand = Hand {
            router: router.clone(),
            pen: pen.clone(),
            pace,
            values: Values::of(number + hand),
            random: StdRng::seed_from_u64(seed.wrapping_add(hand)),
            number,
            session: hand,
        };
        hands.spawn(hand.run());
    }
    while let Some(ended) = hands.join_next().await {
        ended??;
    }
    Ok(())
}

/// The highest number that a client with this one uses.
#[must_use]
pub fn last_number(number: u64) -> u64 {
    number + HANDS - 1
}

struct Hand {
    router: Router,
    pen: Pen,
    pace: Interval,
    values: Values,
    random: StdRng,
    number: u64,
    session: u64,
}

/// One request.
struct Request {
    key: String,
    /// What to write; a read otherwise.
    value: Option<u64>,
    at: Micros,
}

impl Hand {
    async fn run(mut self) -> anyhow::Result<()> {
        while let Some(master) = self.router.master().await {
            self.pace.tick().await;
            self.session += HANDS;
            let mut router = self.router.clone();
            match router.unless_moved(&master, self.router.connect(&master)).await {
                Some(Ok(session)) => self.ask_until_left(&master, session).await?,
                Some(Err(error)) => {
                    let request = self.draw();
                    self.note(&master, &request, &Answer::No(format!("cannot connect: {error}")))?;
                }
                None => {}
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> Request {
        let key = format!("register-{}-{}", self.number, self.random.random_range(0..REGISTERS));
        let value = self.random.random_bool(0.5).then(|| self.values.draw());
        Request { key, value, at: self.pen.now() }
    }

    async fn ask_until_left(&mut self, master: &Master, mut session: Box<dyn Session>) -> anyhow::Result<()> {
        while !self.router.stopped() {
            let request = self.draw();
            let sync = self.router.sync;
            let asked = ask(session.as_mut(), &request, sync);
            let answer = self.router.unless_moved(master, asked).await.unwrap_or_else(moved);
            self.note(master, &request, &answer)?;
            if matches!(answer, Answer::Unknown(_)) {
                return Ok(());
            }
            if self.router.unless_moved(master, self.pace.tick()).await.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn note(&self, master: &Master, request: &Request, answer: &Answer<Option<u64>>) -> anyhow::Result<()> {
        let (done_us, outcome, error) = ending(answer, self.pen.now());
        let read = match answer {
            Answer::Yes(read) if request.value.is_none() => *read,
            Answer::Yes(_) | Answer::No(_) | Answer::Unknown(_) => None,
        };
        self.pen.note(&Operation {
            client: self.pen.client().to_owned(),
            op: if request.value.is_some() { Asked::Write } else { Asked::Read },
            key: request.key.clone(),
            value: request.value,
            read,
            instance: master.instance.to_string(),
            term: Some(master.term),
            session: self.session,
            sent_us: request.at,
            done_us,
            outcome,
            error,
            times: 1,
        })?;
        Ok(())
    }
}

/// One request to its end. A write that was acknowledged and not confirmed may be lost yet, or not: unknown, never a failure.
async fn ask(session: &mut dyn Session, request: &Request, sync: bool) -> Answer<Option<u64>> {
    let answer = match request.value {
        Some(value) => match within(PATIENCE, session.write(&request.key, value)).await {
            Answer::Yes(()) => Answer::Yes(None),
            Answer::No(refusal) => Answer::No(refusal),
            Answer::Unknown(why) => Answer::Unknown(why),
        },
        None => within(PATIENCE, session.read(&request.key)).await,
    };
    if !sync || !matches!(answer, Answer::Yes(_)) {
        return answer;
    }
    match within(CONFIRM_PATIENCE, session.confirm()).await {
        Answer::Yes(true) => answer,
        Answer::Yes(false) => Answer::Unknown("no replica confirmed it in time".to_owned()),
        Answer::No(refusal) => Answer::Unknown(format!("it was not confirmed: {refusal}")),
        Answer::Unknown(why) => Answer::Unknown(why),
    }
}
