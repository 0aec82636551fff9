//! A first start, and old masters that come home: with data that is a beginning of the master's, with more, with none, with another's.

use super::*;

/// A server that makes its own data, and a client's role in it.
async fn made(name: &str) -> Server {
    let mut server = Server::without_data(name);
    server.start_fenced();
    server.wait().await;
    server
}

/// Has it follow, which ends it once.
async fn come_home(server: &mut Server, master: &Server) -> Probe {
    server.ends_to_follow(master).await;
    server.wait().await;
    let fenced = server.probe().await;
    assert_eq!((fenced.writable, fenced.follows), (false, None), "it waits for a new order");
    server.follow(master).await
}

/// From now on the server's programs are those of the package, but for this one.
fn put_in_place_of(server: &mut Server, name: &str, script: &str) {
    let own = server.dir.path().join(name);
    fs::write(&own, format!("#!/bin/sh\n{script}\n")).expect("writable");
    fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    let tools = fs::read_dir(program("postgres").parent().expect("it has one")).expect("readable");
    for tool in tools.flatten() {
        let link = server.dir.path().join(tool.file_name());
        if !link.exists() {
            std::os::unix::fs::symlink(tool.path(), link).expect("writable");
        }
    }
    server.tools = Some(server.dir.path().to_owned());
}

fn receipts(server: &Server) -> Vec<serde_json::Value> {
    let lost = server.dir.path().join("data.baton/lost");
    let folders = fs::read_dir(lost).into_iter().flatten().flatten();
    let files =
        folders.map(|folder| fs::read_to_string(folder.path().join("receipt.json")).expect("a receipt"));
    files.map(|text| serde_json::from_str(&text).expect("JSON")).collect()
}

/// `a`, once the master of `b`, has three commits that `b` has not, and is down; `b` leads.
async fn parted() -> (Server, Server) {
    part(three().await).await
}

async fn part((mut a, b, _c): (Server, Server, Server)) -> (Server, Server) {
    a.client("CREATE TABLE t (i int); INSERT INTO t SELECT generate_series(1, 1000)").await.expect("written");
    holds(&b, a.probe().await.position).await;
    b.run(EngineCommand::Fence).await;
    for number in 2_001..=2_003 {
        a.client(&format!("INSERT INTO t VALUES ({number})")).await.expect("nobody has to hold it");
    }
    a.kill();
    b.promote(2, 0).await;
    b.client("INSERT INTO t VALUES (1001)").await.expect("it takes writes");
    a.start_fenced();
    a.wait().await;
    assert_eq!(a.client("SELECT count(*) FROM t").await, Ok("1003".into()));
    (a, b)
}

#[tokio::test]
async fn an_old_master_is_rewound_and_what_it_had_alone_has_a_receipt() {
    let (mut a, b) = parted().await;
    come_home(&mut a, &b).await;
    holds(&a, b.probe().await.position).await;
    reads(&a, "SELECT count(*) FROM t", "1001").await;
    assert_eq!(a.probe().await.data, marked(2));
    let receipts = receipts(&a);
    assert!(!a.log().contains("pg_basebackup"), "no copy was needed:\n{}", a.log());
    let [receipt] = receipts.as_slice() else { panic!("one receipt: {receipts:?}") };
    assert_eq!(receipt["transactions"], 3, "{receipt}");
    assert!(receipt["bytes"].as_u64() > Some(100), "{receipt}");
    assert_eq!(receipt["files"].as_array().map(Vec::len), Some(1), "{receipt}");
    // And it may lead again, like any other.
    a.run(EngineCommand::Fence).await;
    a.promote(3, 0).await;
    a.client("INSERT INTO t VALUES (1002)").await.expect("it takes writes");
}

/// Most of all in the first minutes after a failover: the first checkpoint takes its time.
#[tokio::test]
async fn a_master_that_had_made_no_checkpoint_is_rewound_too() {
    let a = Server::fenced("a1").await;
    let checkpointer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    let checkpointer = a.monitor(checkpointer).await.first().copied().expect("there is one");
    signal(checkpointer, Signal::STOP);
    let (mut a, b) = part(three_of(a).await).await;
    come_home(&mut a, &b).await;
    reads(&a, "SELECT count(*) FROM t", "1001").await;
    assert!(
        a.log().contains("no checkpoint on timeline") && !a.log().contains("pg_basebackup"),
        "{}",
        a.log()
    );
    assert_eq!(receipts(&a)[0]["transactions"], 3);
}

#[tokio::test]
async fn data_that_pg_rewind_cannot_mend_is_replaced_by_a_copy_and_kept_until_that_replicates() {
    let (mut a, b) = parted().await;
    // The log before the fork is not there any more, so nobody can say which blocks were written since.
    put_in_place_of(&mut a, "pg_rewind", "echo this data cannot be mended >&2\nexit 1");
    come_home(&mut a, &b).await;
    reads(&a, "SELECT count(*) FROM t", "1001").await;
    assert_eq!(receipts(&a).len(), 1);
    let aside = a.dir.path().join("data.baton/old");
    let dropped = || async {
        a.probe().await;
        (!aside.exists()).then_some(())
    };
    until("the old data to be removed", dropped).await;
}

#[tokio::test]
async fn how_far_a_copy_is_is_told_while_it_is_made() {
    let (a, mut c) = (Server::fenced("a1").await, made("a2").await);
    a.promote(1, 0).await;
    let (go, real) = (c.dir.path().join("go"), program("pg_basebackup"));
    let waits = format!(
        "echo '  100/200 kB (50%), 0/1 tablespace' >&2\nwhile [ ! -e {} ]; do sleep 0.05; done\nexec {} \"$@\"",
        go.display(),
        real.display()
    );
    put_in_place_of(&mut c, "pg_basebackup", &waits);
    c.ends_to_follow(&a).await;
    let said = until("word of the copy", || async { c.kind.doing().await }).await;
    assert_eq!(said, format!("copying the data of {}: 100/200 kB (50%)", a.endpoint().0));
    fs::write(go, "").expect("writable");
    c.wait().await;
    assert_eq!(c.kind.doing().await, None);
    c.follow(&a).await;
}

#[tokio::test]
async fn of_two_that_made_a_timeline_of_the_same_number_one_is_copied() {
    let (mut a, b, mut c) = three().await;
    a.client("CREATE TABLE t (i int); INSERT INTO t VALUES (1)").await.expect("written");
    let last = a.probe().await.position;
    holds(&b, last).await;
    holds(&c, last).await;
    a.kill();
    b.run(EngineCommand::Fence).await;
    c.run(EngineCommand::Fence).await;
    b.promote(2, 0).await;
    b.client("INSERT INTO t VALUES (2)").await.expect("it takes writes");
    // Of which c never hears, and makes timeline 3 too.
    c.promote(3, 0).await;
    c.client("INSERT INTO t VALUES (3)").await.expect("it takes writes");
    c.kill();
    c.start_fenced();
    c.wait().await;
    come_home(&mut c, &b).await;
    reads(&c, "SELECT sum(i) FROM t", "3").await;
}

#[tokio::test]
async fn a_first_start_makes_a_system_and_an_empty_one_becomes_a_copy_of_the_masters() {
    let (a, mut b) = (made("a1").await, made("b1").await);
    assert_eq!(a.probe().await.data, DataState::Empty);
    a.promote(1, 0).await;
    let probe = come_home(&mut b, &a).await;
    assert_eq!(probe.data, marked(1));
    assert_eq!(receipts(&b).len(), 0, "nothing was taken back");
}

#[tokio::test]
async fn data_of_another_system_is_left_alone() {
    let (a, mut b) = (made("a1").await, Server::fenced("b1").await);
    a.promote(1, 0).await;
    b.promote(1, 0).await;
    b.kill();
    b.start_fenced();
    b.wait().await;
    let answered = b.outcome(EngineCommand::Follow { endpoint: a.endpoint() }).await;
    assert!(
        matches!(&answered, EngineOutcome::Refused(why) if why.contains("another initdb")),
        "{answered:?}"
    );
    assert_eq!(b.probe().await.data, marked(1), "it runs on");
}

#[tokio::test]
async fn a_master_that_does_not_answer_is_not_followed_yet() {
    let server = Server::fenced("a1").await;
    let follow = EngineCommand::Follow { endpoint: Endpoint(format!("127.0.0.1:{}", free_port()).into()) };
    assert!(matches!(server.outcome(follow).await, EngineOutcome::Refused(_)));
    assert_eq!(server.probe().await.follows, None);
}

/// The copy failed: the master went away meanwhile. The server is there again with what it had.
#[tokio::test]
async fn a_copy_that_cannot_be_made_changes_nothing() {
    let (mut a, b) = parted().await;
    let follow = EngineCommand::Follow { endpoint: b.endpoint() };
    assert!(matches!(a.outcome(follow).await, EngineOutcome::Refused(_)));
    gone(a.pid()).await;
    a.kill();
    drop(b);
    a.start_fenced();
    a.wait().await;
    assert_eq!(a.client("SELECT count(*) FROM t").await, Ok("1003".into()));
    assert!(!a.dir.path().join("data.baton/copy").exists());
}
