//! What masters do while the stateboard, the arbiters or links are away; the hosts that are cut off are machines of their
//! own.

use std::time::Duration;

use baton_client::status::ReplicaSetStatus;
use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS};
use e2e::stage::{LONGER_LEASE as LEASE, play_in_namespaces, play_slowly};
use e2e::writer::{KEY, Writer, boot_clock};
use e2e::{HostPlan, InstancePlan, Stage, poll, store};

use crate::provider::{BOARD_IS_AWAY, STORE_BLIND};

/// How long nothing may happen.
const LONG: Duration = Duration::from_secs(20);
/// After a link is mended: what was lost on it is sent again only after as long as it was cut.
const MENDED: Duration = Duration::from_secs(60);

const SURPLUS: &[Allowed] =
    &[("this engine holds writes beyond", "a master that was cut off takes writes until it is fenced")];
const SIDECAR_IS_NEW: &[Allowed] = &[
    ("waiting for the state provider", "a coordinator that starts needs it"),
    ("the engine ended", "its deadman ends the master's engine, whose guard was killed"),
    ("no connection to the engine", "and it does not run for a moment"),
];
const LINK_IS_CUT: &[Allowed] = &[("detached from the arbiter", "the link to it is cut")];

/// Waits until a moment, looking all the time.
fn pass(until: Duration, what: &str, mut look: impl FnMut() -> Result<(), String>) {
    let left = until.saturating_sub(boot_clock());
    let mut failed = None;
    poll::within(left + poll::PATIENCE, what, || {
        failed = look().err();
        if failed.is_some() || boot_clock() > until { Ok(()) } else { Err("not yet".to_owned()) }
    });
    if let Some(why) = failed {
        panic!("{what}: {why}");
    }
}

/// Whether the master on a host leads, and by what.
pub fn leads(stage: &Stage, host: usize, on_promises: bool) -> Result<(), String> {
    let (code, body) = stage.page(host, &format!("/instances/{}/primary", stage.instance(host).name))?;
    let found = (code, body["on_promises"].as_bool());
    if found == (200, Some(on_promises)) { Ok(()) } else { Err(format!("{code} {body}")) }
}

fn has_written(writer: &Writer) {
    poll::until("a write", || if writer.accepted().is_empty() { Err("none".to_owned()) } else { Ok(()) });
}

fn same(before: &ReplicaSetStatus, after: &ReplicaSetStatus) {
    assert_eq!((after.term, &after.master), (before.term, &before.master), "nothing has happened");
}

#[test]
fn no_write_is_refused_while_the_stateboard_and_all_arbiters_are_away() {
    play_slowly(&[BOARD_IS_AWAY, STORE_BLIND, COORDINATOR_ENDS], |stage| {
        let before = stage.trio_and_an_arbiter();
        let arbiter = 3;
        let writer = stage.writer(0);
        has_written(&writer);
        let struck = boot_clock();
        stage.kill_board();
        stage.daemon(arbiter).process().kill();
        stage.daemon(arbiter).ended_within(poll::PATIENCE);
        poll::until("a1 leads by promises", || leads(stage, 0, true));
        let over = struck + LONG;
        pass(over, "a1 goes on by promises", || leads(stage, 0, true));
        let (code, masters) = stage.page(1, "/v1/masters").expect("every host answers routers");
        assert_eq!((code, masters["masters"][0]["master"].as_str()), (200, Some("a1")), "{masters}");
        stage.start_board();
        stage.start(arbiter);
        poll::until("the arbiter grants again", || leads(stage, 0, false));
        let after = stage.whole("orders", &["a1", "b1", "c1"]);
        same(&before, &after);
        assert_eq!(writer.refused_after(struck), 0, "no write was refused");
        assert!(writer.accepted_after(over) > 0, "and they went on");
    });
}

/// Which of the hosts' engines accept writes.
fn writable(stage: &Stage, hosts: &[usize]) -> Vec<&'static str> {
    let accepts =
        |host: &usize| stage.at(*host, || store::set(stage.instance(*host).port, "who", "me")).is_ok();
    hosts.iter().filter(|host| accepts(host)).map(|host| stage.instance(*host).name).collect()
}

#[test]
fn a_master_that_is_alone_without_the_stateboard_stops_in_time_and_nobody_else_leads() {
    play_in_namespaces(
        &[BOARD_IS_AWAY, STORE_BLIND, LINK_IS_CUT, SURPLUS, CHANGE_OF_MASTER, COORDINATOR_ENDS],
        |stage| {
            let before = stage.trio();
            let writer = stage.writer(0);
            has_written(&writer);
            stage.kill_board();
            poll::until("a1 leads by promises", || leads(stage, 0, true));
            let on_promises = boot_clock();
            pass(on_promises + LEASE * 3, "a1 goes on by promises", || leads(stage, 0, true));
            assert_eq!(writer.refused_after(on_promises), 0, "so far nothing was refused");

            stage.network().isolate("host-a");
            let cut = boot_clock();
            pass(cut + LEASE * 10, "nobody else leads", || match &*writable(stage, &[1, 2]) {
                [] => Ok(()),
                some => Err(format!("{some:?} accept writes")),
            });
            assert_eq!(writer.accepted_after(cut + LEASE), 0, "a1 was fenced before its lease was over");
            assert_eq!(stage.check(0, "/instances/a1/primary"), Ok(503));

            stage.network().mend();
            stage.start_board();
            stage.next_master("orders", before.term);
            let after =
                poll::within(MENDED, "all follow it", || stage.is_whole("orders", &["a1", "b1", "c1"]));
            let master = stage.host_of(after.master.as_deref().expect("it is active"));
            assert_eq!(writable(stage, &[0, 1, 2]), [stage.instance(master).name], "exactly one");
            // Whoever leads now holds at least what was acknowledged while the links were whole.
            let whole = cut.saturating_sub(LEASE / 4);
            let kept = writer
                .numbered()
                .iter()
                .rev()
                .find(|(sent, _)| *sent < whole)
                .map_or(0, |(_, number)| *number);
            let found: u64 = stage
                .at(master, || store::ask(stage.instance(master).port, &["GET", KEY]))
                .expect("it answers");
            assert!(found >= kept, "{kept} was acknowledged, the master has {found}");
        },
    );
}

/// Cuts links between the arbiter's host and the master's for some leases, and looks that nobody minds.
fn broken_link(
    stage: &mut Stage,
    before: &ReplicaSetStatus,
    leases: u32,
    links: &[(&'static str, &'static str)],
) {
    let writer = stage.writer(0);
    has_written(&writer);
    let cut = boot_clock();
    for (from, to) in links {
        stage.network().cut(from, to);
    }
    let isolated = |stage: &Stage| -> Result<bool, String> {
        let seen = stage.set("orders")?;
        same(before, &seen);
        Ok(seen.issues.iter().any(|issue| issue.contains("a1: isolated") && issue.contains("heard through")))
    };
    poll::until("an issue says that a1 is isolated", || {
        if isolated(stage)? { Ok(()) } else { Err(format!("{:?}", stage.set("orders")?.issues)) }
    });
    pass(cut + LEASE * leases, "a1 leads on", || match stage.check(0, "/instances/a1/primary")? {
        200 => Ok(()),
        code => Err(code.to_string()),
    });
    let shown = stage.ctl(&["status"]);
    assert!(shown.out.contains("heard through"), "{shown:?}");
    let listed = stage.ctl(&["issues", "--json"]);
    assert!(listed.out.contains(r#""code":"isolated""#), "{listed:?}");
    let waited = stage.ctl(&["wait", "--until", "healthy", "orders", "--timeout", "300ms"]);
    assert_eq!(waited.code, 4, "{waited:?}");
    stage.network().mend();
    let waited = stage.ctl(&["wait", "--until", "healthy", "orders", "--timeout", "30s"]);
    assert_eq!(waited.code, 0, "{waited:?}");
    let imagined = stage.ctl(&["what-if", "--lose", "a1"]);
    assert!(imagined.out.contains("replaces a1, within"), "{imagined:?}");
    poll::within(MENDED, "the issue is gone", || {
        if isolated(stage)? { Err("it is there".to_owned()) } else { Ok(()) }
    });
    poll::within(MENDED, "all is well again", || stage.is_whole("orders", &["a1", "b1", "c1"]));
    assert_eq!(writer.refused_after(cut), 0, "no write was refused");
    assert!(writer.accepted_after(cut + LEASE * leases) > 0, "and they went on");
}

#[test]
fn a_broken_link_between_the_arbiter_and_the_master_is_no_failover() {
    play_in_namespaces(&[LINK_IS_CUT, STORE_BLIND], |stage| {
        let before = stage.trio_and_an_arbiter();
        // Wholly; the master is not heard, but hears; the other way round.
        for (leases, links) in [
            (10, [("host-a", "host-d"), ("host-d", "host-a")].as_slice()),
            (5, &[("host-a", "host-d")]),
            (5, &[("host-d", "host-a")]),
        ] {
            broken_link(stage, &before, leases, links);
        }
    });
}

#[test]
fn a_master_whose_only_fellow_was_taken_out_goes_on_alone() {
    play_slowly(&[BOARD_IS_AWAY, STORE_BLIND, COORDINATOR_ENDS], |stage| {
        stage.start_board();
        let a = stage.add(HostPlan::new("host-a", vec![InstancePlan::new("a1", "orders", 2).preferred()]));
        stage.is_arbiter(a);
        let b = stage.add(HostPlan::new("host-b", vec![InstancePlan::new("b1", "orders", 2)]));
        stage.whole("orders", &["a1", "b1"]);
        stage.everybody_knows_the_arbiter();
        let dead = stage.instance(b);
        let (engine, deadman) = (stage.engine(&dead), stage.deadman(&dead));
        stage.daemon(b).process().kill();
        deadman.kill();
        engine.kill();
        let before = poll::until("b1 is taken out", || {
            let seen = stage.set("orders")?;
            let in_sync = seen.record.as_ref().map(|record| record.in_sync.clone()).unwrap_or_default();
            if in_sync == ["a1"] { Ok(seen) } else { Err(format!("{in_sync:?}, {:?}", seen.issues)) }
        });
        let writer = stage.writer(a);
        has_written(&writer);
        let struck = boot_clock();
        stage.kill_board();
        poll::until("a1 leads on its own word", || leads(stage, a, true));
        let over = struck + LONG;
        pass(over, "a1 goes on", || leads(stage, a, true));
        stage.start_board();
        poll::until("the arbiter grants again", || leads(stage, a, false));
        same(&before, &poll::until("the arbiter answers", || stage.set("orders")));
        assert_eq!(writer.refused_after(struck), 0, "no write was refused");
        assert!(writer.accepted_after(over) > 0, "and they went on");
    });
}

/// Restarts the sidecar of a host while the stateboard is away, and looks that the master stops for that, that nobody leads
/// without the stateboard, and that one does as soon as it is back.
fn restarted_sidecar(host: usize) {
    play_slowly(&[BOARD_IS_AWAY, STORE_BLIND, COORDINATOR_ENDS, CHANGE_OF_MASTER, SIDECAR_IS_NEW], |stage| {
        let before = stage.trio_and_an_arbiter();
        let writer = stage.writer(0);
        has_written(&writer);
        stage.kill_board();
        poll::until("a1 leads by promises", || leads(stage, 0, true));
        stage.daemon(host).process().kill();
        stage.daemon(host).ended_within(poll::PATIENCE);
        let struck = boot_clock();
        stage.start(host);
        pass(struck + LEASE * 5, "time passes", || Ok(()));
        assert_eq!(writer.accepted_after(struck + LEASE), 0, "a1 was fenced before its lease was over");
        assert_eq!(writable(stage, &[0, 1, 2]), [""; 0], "nobody leads without the stateboard");
        stage.start_board();
        stage.next_master("orders", before.term);
        let after = poll::within(MENDED, "all follow it", || stage.is_whole("orders", &["a1", "b1", "c1"]));
        let master = stage.host_of(after.master.as_deref().expect("it is active"));
        assert_eq!(writable(stage, &[0, 1, 2]), [stage.instance(master).name], "exactly one");
    });
}

#[test]
fn a_replicas_sidecar_that_is_restarted_without_the_stateboard_stops_the_master() {
    restarted_sidecar(1);
}

#[test]
fn the_masters_sidecar_that_is_restarted_without_the_stateboard_stops_it() {
    restarted_sidecar(0);
}

#[test]
fn a_broken_link_to_an_arbiter_beside_a_member_is_no_failover_either() {
    play_in_namespaces(&[LINK_IS_CUT, STORE_BLIND], |stage| {
        let before = stage.trio();
        // Replication to that member is cut as well, and the third one is the only way round.
        broken_link(stage, &before, 10, &[("host-a", "host-b"), ("host-b", "host-a")]);
    });
}
