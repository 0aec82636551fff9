//! What only PostgreSQL does as it is fenced, promoted and asked, and what stands in the way of that.

use super::*;

#[tokio::test]
async fn a_primary_is_neither_promoted_nor_made_to_follow() {
    let server = Server::fenced("a1").await;
    server.promote(3, 0).await;
    let again = EngineCommand::Promote { term: Term(4), data_id: id(), ack_quorum: 0 };
    assert!(matches!(server.outcome(again).await, EngineOutcome::Refused(_)));
    let follow = EngineCommand::Follow { endpoint: Endpoint("127.0.0.1:1".into()) };
    assert!(matches!(server.outcome(follow).await, EngineOutcome::Refused(_)));
}

#[tokio::test]
async fn a_fenced_primary_ends_in_order_and_its_replica_has_all_of_it() {
    let (mut a, b, _c) = three().await;
    a.client("CREATE TABLE t (i int); INSERT INTO t SELECT generate_series(1, 10000)")
        .await
        .expect("written");
    let mut connection = a.connect().await;
    let fenced = match connection.execute(&EngineCommand::Fence, PATIENCE).await {
        EngineOutcome::Done(probe) => probe,
        other => panic!("{other:?}"),
    };
    assert_eq!((fenced.writable, &fenced.data), (false, &marked(1)));
    assert!(connection.is_closed(), "its run is over");
    holds(&b, fenced.position).await;
    b.run(EngineCommand::Fence).await;
    b.promote(2, 0).await;
    assert_eq!(b.client("SELECT count(*) FROM t").await, Ok("10000".into()));
    // It comes home without a copy: nothing of it is unknown to the next master.
    a.kill();
    a.start_fenced();
    a.wait().await;
    a.follow(&b).await;
    let marked_again = || async { (a.probe().await.data == marked(2)).then_some(()) };
    until("the next master's mark", marked_again).await;
}

#[tokio::test]
async fn commits_wait_for_a_replica_from_the_first_one_on_and_the_write_check_does_not() {
    let (a, b) = (Server::fenced("a1").await, Server::fenced("a2").await);
    let promoted = a.promote(1, 1).await;
    assert_eq!(promoted.data, marked(1), "the mark itself waits for nobody");
    let create = a.client("CREATE TABLE t (i int)");
    assert!(tokio::time::timeout(Duration::from_millis(500), create).await.is_err(), "nobody is there");
    assert!(matches!(a.connect().await.check_write(PATIENCE).await, WriteCheck::Done(_)));
    b.follow(&a).await;
    a.client("CREATE TABLE u (i int); INSERT INTO u VALUES (1)").await.expect("one holds it");
    let mut connection = a.connect().await;
    let ask = EngineCommand::Quorum { ack_quorum: 1, round: 7 };
    let mut held = 0;
    for _ in 0..100 {
        if let EngineOutcome::Done(probe) = connection.execute(&ask, PATIENCE).await {
            held = held.max(probe.replicas_caught_up);
        }
    }
    assert_eq!(held, 1);
    b.run(EngineCommand::Fence).await;
    a.run(EngineCommand::Quorum { ack_quorum: 0, round: 8 }).await;
    a.client("INSERT INTO u VALUES (2)").await.expect("nobody has to hold it");
}

#[tokio::test]
async fn the_write_check_is_refused_where_nothing_may_be_written_and_puts_the_mark_back() {
    let server = Server::fenced("a1").await;
    let mut connection = server.connect().await;
    let check = connection.check_write(PATIENCE).await;
    assert!(matches!(check, WriteCheck::Refused(_)), "{check:?}");
    server.promote(1, 0).await;
    assert!(matches!(connection.check_write(PATIENCE).await, WriteCheck::Done(_)), "after the refusal too");
    let drop = EngineCommand::Probe;
    assert!(matches!(connection.execute(&drop, PATIENCE).await, EngineOutcome::Done(_)));
    let admin = format!("host=127.0.0.1 port={} user=baton dbname=postgres", server.port);
    let mut config: tokio_postgres::Config = admin.parse().expect("it reads so");
    let (client, carrier) = config.password(PASSWORD).connect(NoTls).await.expect("connected");
    tokio::spawn(async move { std::mem::drop(carrier.await) });
    client.simple_query("DROP TABLE baton.identity").await.expect("a user may");
    assert_eq!(server.probe().await.data, marked(1), "it is the same data");
    assert!(matches!(connection.check_write(PATIENCE).await, WriteCheck::Done(_)));
    let read = client.simple_query("SELECT identity FROM baton.identity").await.expect("it is back");
    assert!(!read.is_empty());
}

#[tokio::test]
async fn a_user_without_the_grants_is_told_so() {
    let server = Server::fenced("a1").await;
    let file = server.dir.path().join("app");
    fs::write(&file, "app").expect("writable");
    let options = Options { user: "app".into(), ..options(server.port, &server.data(), Some(file), "a1") };
    let refused = Postgres::new(options).connect(PATIENCE).await.err().expect("it may not look");
    assert!(
        matches!(&refused, ConnectError::Forbidden { what, .. } if what.contains("42501")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_it_confirmed_is_known_after_its_end_and_of_a_copy_nothing_is() {
    let mut server = Server::new("a1");
    server.synced = true;
    server.start_fenced();
    server.wait().await;
    server.promote(1, 0).await;
    let before = server.probe().await.run;
    server.kill();
    server.start_fenced();
    server.wait().await;
    let after = server.probe().await.run;
    assert_ne!(after, before);
    assert_eq!(after.lineage(), before.lineage());
    server.kill();
    let (data, aside) = (server.data(), server.dir.path().join("aside"));
    fs::rename(&data, &aside).expect("ours");
    let copied = Command::new("cp").arg("-a").arg(&aside).arg(&data).status().expect("cp is there");
    assert!(copied.success());
    server.start_fenced();
    server.wait().await;
    assert_ne!(server.probe().await.run.lineage(), before.lineage(), "it may be an older copy");
    server.kill();
    server.synced = false;
    server.start_fenced();
    server.wait().await;
    assert!(!server.probe().await.run.is_durable(), "nothing is synced");
}

/// Connections that are there go on; but nobody new is let in, and nobody would notice an end of others.
#[tokio::test]
async fn a_stopped_main_process_is_seen_by_the_write_check_and_by_nothing_else() {
    let server = Server::fenced("a1").await;
    server.promote(1, 0).await;
    let mut connection = server.connect().await;
    assert!(matches!(connection.check_write(PATIENCE).await, WriteCheck::Done(_)));
    signal(server.pid(), Signal::STOP);
    let probed = connection.execute(&EngineCommand::Probe, PATIENCE).await;
    assert!(matches!(probed, EngineOutcome::Done(_)), "{probed:?}");
    let check = connection.check_write(Duration::from_millis(300)).await;
    assert!(matches!(check, WriteCheck::Unknown(_)), "{check:?}");
    signal(server.pid(), Signal::CONT);
}

/// The processes of those connections of ours that were given orders; before any was, of the one that there is.
async fn backends(server: &Server) -> Vec<u32> {
    let asked = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'baton orders %' \
        OR application_name LIKE 'baton %' AND (SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name LIKE 'baton %')";
    server.monitor(asked).await
}

async fn backend(server: &Server) -> u32 {
    let one = || async { backends(server).await.first().copied() };
    until("a connection", one).await
}

/// A process of the server sleeps with an order in its socket, while another connection gives orders. It wakes, and obeys nobody.
#[tokio::test]
async fn an_order_over_an_earlier_connection_is_carried_out_before_a_later_one_or_never() {
    let server = Server::fenced("a1").await;
    let line = format!("host=127.0.0.1 port={} user=baton dbname=postgres", server.port);
    let mut config: tokio_postgres::Config = line.parse().expect("it reads so");
    config.password(PASSWORD).application_name("baton orders a1");
    let (earlier, carrier) = config.connect(NoTls).await.expect("connected");
    tokio::spawn(async move { drop(carrier.await) });
    let asleep = backend(&server).await;
    signal(asleep, Signal::STOP);
    let late = "ALTER SYSTEM SET primary_conninfo TO 'host=127.0.0.1 port=1'";
    let sent = tokio::time::timeout(Duration::from_millis(100), earlier.simple_query(late));
    assert!(sent.await.is_err(), "it sleeps");
    let mut connection = server.connect().await;
    let fence = tokio::spawn(async move { connection.execute(&EngineCommand::Fence, PATIENCE).await });
    until("the second one to give orders, too", || async {
        (backends(&server).await.len() == 2).then_some(())
    })
    .await;
    signal(asleep, Signal::CONT);
    let fenced = fence.await.expect("it ends");
    assert!(matches!(&fenced, EngineOutcome::Done(probe) if probe.follows.is_none()), "{fenced:?}");
    gone(asleep).await;
    let file = fs::read_to_string(server.data().join("postgresql.auto.conf")).expect("readable");
    assert!(!file.contains("port=1"), "the earlier order is nobody's any more: {file}");
}

/// Where commits wait for a replica, each client that gives up leaves a process that waits on: soon nobody is let in any more, and the
/// replica for which all of them wait has to be.
#[tokio::test]
async fn clients_that_hold_every_connection_keep_no_replica_out() {
    let (mut a, b) = (Server::new("a1"), Server::fenced("a2").await);
    a.settings = vec!["superuser_reserved_connections=92"];
    a.start_fenced();
    a.wait().await;
    a.promote(1, 1).await;
    let line = format!("host=127.0.0.1 port={} user=app password=app dbname=postgres", a.port);
    let mut clients = Vec::new();
    let full = loop {
        match tokio_postgres::connect(&line, NoTls).await {
            Ok((client, carrier)) => clients.push((client, tokio::spawn(carrier))),
            Err(error) => break error,
        }
    };
    assert!(full.as_db_error().is_some_and(|said| said.code().code() == "53300"), "{full}");
    b.follow(&a).await;
    let written = clients[0].0.simple_query("CREATE TABLE t (i int)").await;
    assert!(written.is_ok(), "it waits no more: {written:?}");
    assert!(matches!(a.connect().await.check_write(PATIENCE).await, WriteCheck::Done(_)));
    assert!(!a.run(EngineCommand::Fence).await.writable);
}

#[tokio::test]
async fn a_server_that_is_told_whom_to_follow_on_its_command_line_is_refused() {
    let mut server = Server::new("a1");
    let mut command = server.command();
    command.extend(["-c".to_owned(), "primary_conninfo=host=127.0.0.1 port=1".to_owned()]);
    let command = server.kind.fenced_command(&command);
    server.start(&command);
    let seen = || async {
        match server.kind.connect(PATIENCE).await.err()? {
            ConnectError::Missing { .. } | ConnectError::Loading { .. } => None,
            other => Some(other),
        }
    };
    let refused = until("an answer", seen).await;
    assert!(matches!(&refused, ConnectError::Overridden { setting, .. } if setting == "primary_conninfo"));
    assert!(server.pid() > 1);
}
