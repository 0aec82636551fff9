//! SIGKILL at random moments under load, again and again on one data directory: what was answered is there, and nothing
//! that must rise goes back. `BATON_KILLS` says how often (1,000 by hand, fewer in every run), `BATON_SEED` from which
//! seed the moments are drawn.

use crate::board::{Board, PATIENCE, candidate, change};
use baton_core::ids::{Epoch, ReplicaSetName, Revision};
use baton_provider::stateboard::StateboardProvider;
use baton_provider::{AppointOutcome, LockSession, LockToken, ProviderError, Renewal, StateProvider};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

/// Kills where nobody says how many.
const KILLS: u32 = 60;
/// Sets, each with a client of its own.
const SETS: u32 = 6;
/// The process lives at most so long, and at most so long where it is killed while it starts.
const LIFE_MILLIS: u64 = 120;
const START_MILLIS: u64 = 25;
/// One in so many kills comes while it starts; one in so many lives gives the lock a new epoch.
const WHILE_IT_STARTS: u32 = 4;
const NEW_EPOCH: u32 = 5;

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it came in time")
}

/// What was answered to one client.
struct Answered {
    term: u64,
    revision: Revision,
}

/// Appoints the terms from `first` on until the stateboard dies.
async fn load(client: StateboardProvider, token: LockToken, set: String, first: u64) -> Answered {
    let mut answered = Answered { term: first - 1, revision: Revision(0) };
    loop {
        match client.appoint(token, vec![change(&set, answered.term + 1, token.epoch)]).await {
            Ok(AppointOutcome::Applied(revision)) => {
                assert!(revision > answered.revision, "{set}: revision {revision} was answered late");
                answered = Answered { term: answered.term + 1, revision };
            }
            Ok(other) => panic!("{set} at {}: {other:?}", answered.term + 1),
            Err(ProviderError::Unknown(_) | ProviderError::NotApplied(_)) => return answered,
            Err(error) => panic!("{set} at {}: {error}", answered.term + 1),
        }
    }
}

/// The lock goes on after a kill without anything done about it; sometimes it is given up and taken anew.
async fn lock(
    client: &StateboardProvider,
    held: Option<Box<dyn LockSession>>,
    anew: bool,
) -> Box<dyn LockSession> {
    if let Some(mut session) = held {
        let renewal = within(session.renew()).await.expect("it comes back");
        assert!(matches!(renewal, Renewal::Granted { .. }), "{renewal:?}");
        if !anew {
            return session;
        }
    }
    within(client.campaign(&candidate(), None)).await.expect("the lock")
}

/// The highest that anybody was told.
struct Told {
    terms: BTreeMap<String, u64>,
    revision: Revision,
    epoch: Epoch,
    appointments: u64,
}

impl Told {
    /// Everything that was answered is there; at most the one appointment that was under way is there beyond it.
    async fn check(&mut self, client: &StateboardProvider, answers: BTreeMap<String, Answered>) {
        for (set, answered) in &answers {
            self.appointments += answered.term - self.terms[set];
            self.revision = self.revision.max(answered.revision);
        }
        let snapshot = within(async {
            loop {
                if let Ok(snapshot) = client.read().await {
                    return snapshot;
                }
            }
        })
        .await;
        assert!(snapshot.revision >= self.revision, "{} after {}", snapshot.revision, self.revision);
        assert!(snapshot.lock.epoch >= self.epoch, "{} after {}", snapshot.lock.epoch, self.epoch);
        self.revision = snapshot.revision;
        for (set, term) in &mut self.terms {
            let name = ReplicaSetName::parse(set).expect("a name");
            let there = snapshot.records.get(&name);
            let found = there.map_or(0, |record| record.term.0);
            let answered = answers.get(set).map_or(*term, |answered| answered.term);
            assert!(found == answered || found == answered + 1, "{set}: {found}, answered was {answered}");
            assert_eq!(there.map_or(0, |record| record.version.0), found, "{set}: its version");
            let line = within(client.history(&name, 1)).await.expect("an answer").pop();
            assert_eq!(line.map_or(0, |line| line.record.term.0), found, "{set}: its history");
            *term = found;
        }
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_under_load_it_loses_no_answered_appointment() {
    let kills = u32::try_from(number("BATON_KILLS", u64::from(KILLS))).expect("fewer");
    let seed = number("BATON_SEED", 1);
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().expect("a directory");
    let mut board = Board::start(directory.path());
    let client = board.client();
    let terms = (0..SETS).map(|set| (format!("set-{set}"), 0)).collect();
    let none = Epoch { generation: 0, number: 0 };
    let mut told = Told { terms, revision: Revision(0), epoch: none, appointments: 0 };
    let mut session = None;
    let start = Instant::now();
    for kill in 1..=kills {
        if random.random_ratio(1, WHILE_IT_STARTS) {
            let life = Duration::from_millis(random.random_range(0..START_MILLIS));
            // tidy: waits because the moment of the kill is what is drawn at random.
            tokio::time::sleep(life).await;
            board.kill();
            board.start_again();
        }
        let held = lock(&client, session.take(), random.random_ratio(1, NEW_EPOCH)).await;
        let token = held.grant().token;
        assert!(token.epoch >= told.epoch, "{} after {}", token.epoch, told.epoch);
        told.epoch = token.epoch;
        session = Some(held);
        let loads: Vec<_> = told
            .terms
            .iter()
            .map(|(set, term)| {
                (set.clone(), tokio::spawn(load(board.client(), token, set.clone(), term + 1)))
            })
            .collect();
        let life = Duration::from_millis(random.random_range(0..LIFE_MILLIS));
        // tidy: waits because the moment of the kill is what is drawn at random.
        tokio::time::sleep(life).await;
        board.kill();
        let mut answers = BTreeMap::new();
        for (set, load) in loads {
            answers.insert(set, within(load).await.unwrap_or_else(|error| panic!("kill {kill}: {error}")));
        }
        board.start_again();
        told.check(&client, answers).await;
    }
    println!(
        "{kills} kills, seed {seed}: {} appointments answered, revision {}, epoch {}, {:?}",
        told.appointments,
        told.revision,
        told.epoch,
        start.elapsed()
    );
    assert!(told.appointments >= u64::from(kills), "there was hardly any load");
}
