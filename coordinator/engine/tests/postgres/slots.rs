//! Slots: who was away finds what it missed, at the next master too; and what becomes of one that does not.

use super::*;

/// What the keeper does beside a guard, until it is dropped.
struct Tended(Vec<tokio::task::JoinHandle<()>>);

impl Tended {
    fn of(servers: [&Server; 2]) -> Self {
        let tend = |server: &Server| {
            let kind = Postgres::new(server.options.clone());
            tokio::spawn(async move { kind.tend().await })
        };
        Self(servers.map(tend).into())
    }
}

impl Drop for Tended {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

async fn has_slots(server: &Server, names: &[&str]) {
    let asked = "SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM pg_replication_slots";
    reads(server, asked, &names.join(" ")).await;
}

#[tokio::test]
async fn who_was_away_for_long_finds_what_it_missed_at_the_next_master_too() {
    let (mut a, b, mut c) = three().await;
    let tended = Tended::of([&a, &b]);
    has_slots(&a, &["baton_a2", "baton_a3"]).await;
    // Its master's, and not its own.
    has_slots(&b, &["baton_a1", "baton_a3"]).await;
    a.client("CREATE TABLE t (i int); INSERT INTO t VALUES (1)").await.expect("written");
    c.kill();
    a.forget_log().await;
    a.client("INSERT INTO t VALUES (2)").await.expect("written");
    holds(&b, a.probe().await.position).await;
    a.kill();
    b.run(EngineCommand::Fence).await;
    b.promote(2, 0).await;
    b.client("INSERT INTO t VALUES (3)").await.expect("it takes writes");
    b.forget_log().await;
    c.start_fenced();
    c.wait().await;
    c.follow(&b).await;
    reads(&c, "SELECT sum(i) FROM t", "6").await;
    a.start_fenced();
    a.wait().await;
    let follow = a.outcome(EngineCommand::Follow { endpoint: b.endpoint() }).await;
    assert!(matches!(follow, EngineOutcome::Done(_)), "nothing of it is unknown to the master: {follow:?}");
    reads(&a, "SELECT sum(i) FROM t", "6").await;
    assert!(!c.log().contains("pg_basebackup") && !a.log().contains("pg_basebackup"));
    drop(tended);
}

#[tokio::test]
async fn whom_the_masters_log_does_not_reach_back_to_is_copied() {
    let (a, _b, mut c) = three().await;
    a.client("CREATE TABLE t (i int); INSERT INTO t VALUES (1)").await.expect("written");
    c.kill();
    until("the end of the sender", || async {
        a.as_baton("SELECT pg_drop_replication_slot('baton_a3')").await.is_ok().then_some(())
    })
    .await;
    a.forget_log().await;
    c.start_fenced();
    c.wait().await;
    let why = c.ends_to_follow(&a).await;
    assert!(why.contains("does not reach back"), "{why}");
    c.wait().await;
    c.follow(&a).await;
    reads(&c, "SELECT sum(i) FROM t", "1").await;
    assert!(c.log().contains("pg_basebackup"));
}

/// Its slot was dropped while it replicated: it is refused from then on, and nobody would tell it anything new.
#[tokio::test]
async fn whoever_follows_in_vain_says_that_it_follows_nobody() {
    let (a, _b, c) = three().await;
    let dropped = "SELECT pg_terminate_backend(active_pid), pg_drop_replication_slot(slot_name) \
        FROM pg_replication_slots WHERE slot_name = 'baton_a3'";
    until("the slot's end", || async { a.as_baton(dropped).await.is_ok().then_some(()) }).await;
    let connection = tokio::sync::Mutex::new(c.connect().await);
    until("a word about it", || async {
        match connection.lock().await.execute(&EngineCommand::Probe, PATIENCE).await {
            EngineOutcome::Done(probe) => probe.follows.is_none().then_some(()),
            other => panic!("{other:?}"),
        }
    })
    .await;
    c.follow(&a).await;
    has_slots(&a, &["baton_a2", "baton_a3"]).await;
}
