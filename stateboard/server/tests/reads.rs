//! Reads beside changes: an answer that is kept for the next reader must never hide what somebody was told already.

use crate::board::{Board, PATIENCE, candidate, change};
use baton_core::ids::ReplicaSetName;
use baton_provider::{AppointOutcome, StateProvider};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const READERS: u64 = 3;
const CHANGES: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_shows_whatever_was_answered_before_it_began() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut board = Board::start(directory.path());
    board.wait();
    let writer = board.client();
    let session = writer.campaign(&candidate(), None).await.expect("nobody else wants it");
    let token = session.grant().token;
    let (answered, reads) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let (client, answered, reads) = (board.client(), Arc::clone(&answered), Arc::clone(&reads));
        readers.push(tokio::spawn(async move {
            let set = ReplicaSetName::parse("orders-1").expect("a name");
            let mut seen = 0;
            while seen < CHANGES {
                let told = answered.load(Ordering::SeqCst);
                let snapshot = client.read().await.expect("an answer");
                let term = snapshot.records.get(&set).map_or(0, |record| record.term.0);
                assert!(term >= told, "term {told} was answered, and a later read shows {term}");
                assert!(term >= seen, "one reader saw term {seen} and then {term}");
                seen = term;
                reads.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    for term in 1..=CHANGES {
        let change = change("orders-1", term, token.epoch);
        let outcome = writer.appoint(token, vec![change]).await.expect("an answer");
        assert!(matches!(outcome, AppointOutcome::Applied(_)), "{outcome:?}");
        answered.store(term, Ordering::SeqCst);
        // Some reads without any change between them, so that kept answers are given.
        let (enough, start) = (reads.load(Ordering::SeqCst) + 2 * READERS, Instant::now());
        while term < CHANGES && reads.load(Ordering::SeqCst) < enough {
            assert!(start.elapsed() < PATIENCE, "nobody reads");
            tokio::task::yield_now().await;
        }
    }
    for reader in readers {
        reader.await.expect("every read was right");
    }
}
