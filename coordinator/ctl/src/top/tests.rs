//! The view on fixed answers: a healthy cluster, a failover under way, 500 sets, a narrow terminal, nobody there; and keys.

use super::*;
use crate::args::TopSort;
use baton_client::decision::{DecisionRecord, Phase};
use baton_client::status::{
    ArbiterStatus, ClusterStatus, IssueStatus, MemberStatus, RecordStatus, ReplicaSetStatus,
};
use baton_client::{Master, MasterState};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::collections::BTreeMap;

/// 2026-11-21T19:03:11Z, in milliseconds.
const THEN: u64 = 1_795_287_791_000;
const NOW: u64 = THEN + 65_000;

fn member(instance: &str, role: &str, lag: u64) -> MemberStatus {
    MemberStatus {
        instance: instance.into(),
        role: role.into(),
        health: "up".into(),
        position: "7:5200".into(),
        lag_bytes: Some(lag),
        in_sync: true,
        beat_age_ms: Some(120),
        coordinator: Some("host-b".into()),
        endpoint: "10.0.0.2:6379".into(),
        zone: Some("dc1".into()),
        electable: true,
        ..MemberStatus::default()
    }
}

fn set(name: &str) -> ReplicaSetStatus {
    let decision = DecisionRecord {
        term_before: 6,
        term_after: 7,
        class: "crashed".into(),
        rule: "the engine of a1 ended".into(),
        phases: vec![
            Phase { name: "sever".into(), took_us: 900, budget_us: Some(250_000) },
            Phase { name: "promote".into(), took_us: 2_000_000, budget_us: Some(1_500_000) },
        ],
        at_unix_millis: THEN,
        ..DecisionRecord::default()
    };
    ReplicaSetStatus {
        replicaset: name.into(),
        term: 7,
        master: Some("a2".into()),
        endpoint: Some("10.0.0.2:6379".into()),
        state: "active".into(),
        members: vec![member("a1", "replica", 2_500_000), member("a2", "master", 0)],
        phase: "steady".into(),
        last_decision: Some(decision),
        ..ReplicaSetStatus::default()
    }
}

fn issue(severity: &str, name: &str) -> IssueStatus {
    IssueStatus {
        code: "not_attached".into(),
        severity: severity.into(),
        replicaset: Some(name.into()),
        instance: Some("a1".into()),
        text: "a1: no coordinator is attached (heard 5s ago)".into(),
        suggestion: "start it".into(),
        command: "systemctl status baton-coordinator".into(),
    }
}

fn known(replicasets: Vec<ReplicaSetStatus>, issues: Vec<IssueStatus>) -> Known {
    let arbiter = ArbiterStatus {
        active_here: true,
        coordinator: Some("host-b".into()),
        epoch: Some("1.12".into()),
        ..ArbiterStatus::default()
    };
    let status = ClusterStatus { cluster: "orders".into(), arbiter, replicasets, ..ClusterStatus::default() };
    Known { status, issues }
}

fn screen(known: Known) -> Screen {
    let mut screen = Screen::new(false, NOW - 10_000);
    screen.answered(known, NOW);
    screen
}

fn press(screen: &mut Screen, keys: &[KeyCode]) -> Next {
    let pressed = keys.iter().map(|code| keys::press(screen, KeyEvent::new(*code, KeyModifiers::NONE)));
    pressed.last().unwrap_or(Next::Stay)
}

#[test]
fn a_healthy_cluster_is_seen_at_once() {
    let screen = screen(known(vec![set("orders-2"), set("orders-1")], vec![]));
    let expected = "\
orders  arbiter host-b, epoch 1.12  2/2 sets healthy  no issues
SET       TERM   MASTER  STATE               SYNC  LAG       CHANGED                 ISSUE
orders-1  7      a2      active              2/2   2.5 MB    1m crashed
orders-2  7      a2      active              2/2   2.5 MB    1m crashed
────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
orders-1  term 7  a2 at 10.0.0.2:6379  2.5 MB behind
INSTANCE  ROLE       HEALTH    IN SYNC       LAG    BEAT  ZONE      COORDINATOR
a1        replica    up        yes        2.5 MB   120ms  dc1       host-b
a2        master     up        yes           0 B   120ms  dc1       host-b
last decision 1m ago (19:03:11Z), crashed: the engine of a1 ended; term 6 → 7
  took 2s: sever 900us of 250ms, promote 2s of 1.5s OVER
";
    let shown = frame(&screen, 120, 30);
    assert!(shown.starts_with(expected), "{shown}");
    assert!(shown.contains("no change of master seen yet\n"), "{shown}");
    assert!(shown.ends_with("i issues  q quit\n"), "{shown}");
}

#[test]
fn a_failover_under_way_comes_first_with_what_to_do() {
    let mut broken = set("orders-9");
    (broken.state, broken.master, broken.endpoint) = ("none".into(), None, None);
    broken.phase = "waiting for evidence".into();
    let mut lost = member("a1", "unknown", 0);
    (lost.health, lost.beat_age_ms, lost.in_sync) = ("down".into(), Some(5_000), false);
    broken.members = vec![lost, member("a2", "replica", 0)];
    let mut late = set("orders-5");
    late.state = "appointed".into();
    let all = vec![set("orders-1"), late, broken];
    let mut screen = screen(known(all, vec![issue("critical", "orders-9"), issue("warning", "orders-1")]));
    let shown = frame(&screen, 120, 32);
    let order = ["\norders-9", "\norders-5", "\norders-1"].map(|name| shown.find(name).expect(name));
    assert!(order.is_sorted(), "{shown}");
    assert!(shown.contains("0/3 sets healthy  1 critical  1 warning"), "{shown}");
    for said in [
        "NONE: waiting for",
        "a1: no coordinator is attached",
        "orders-9  term 7  no master  now: waiting for evidence",
        "critical  a1: no coordinator is attached (heard 5s ago)\n  start it\n  $ systemctl status baton-coordinator\n",
        "a1        unknown    down      no            0 B      5s",
    ] {
        assert!(shown.contains(said), "{said:?} is missing in\n{shown}");
    }

    // What routers are told comes in between, newest first; the first map is no change.
    let master = |term, state| Master { instance: "a2".into(), endpoint: "h:1".into(), term, state };
    let map = |term, state| BTreeMap::from([("orders-9".to_owned(), master(term, state))]);
    screen.masters_changed(&map(7, MasterState::None), NOW);
    assert!(screen.events.is_empty());
    screen.masters_changed(&map(8, MasterState::Appointed), NOW);
    screen.masters_changed(&map(8, MasterState::Active), NOW + 1_000);
    let shown = frame(&screen, 120, 32);
    let told = "19:04:17Z  orders-9: a2 is master (term 8)\n19:04:16Z  orders-9: a2 is appointed (term 8)\n";
    assert!(shown.contains(told), "{shown}");
}

#[test]
fn five_hundred_sets_are_walked_through_and_searched() {
    let all = (0..500).map(|number| set(&format!("orders-{number:03}"))).collect();
    let mut screen = screen(known(all, vec![issue("warning", "orders-321")]));
    assert!(frame(&screen, 100, 30).contains("499/500 sets healthy"));
    let shown = frame(&screen, 100, 30);
    assert!(shown.lines().nth(2).is_some_and(|line| line.starts_with("orders-321")), "{shown}");
    press(&mut screen, &[KeyCode::End]);
    let shown = frame(&screen, 100, 30);
    assert!(shown.contains("\norders-499  term 7"), "the details follow the choice:\n{shown}");
    // The choice is a set, not a row: it stays when the order changes.
    press(&mut screen, &[KeyCode::Char('s')]);
    assert_eq!(screen.sort, TopSort::Name);
    assert!(frame(&screen, 100, 30).contains("\norders-499  term 7"));
    press(&mut screen, &[KeyCode::Char('/'), KeyCode::Char('4'), KeyCode::Char('2'), KeyCode::Enter]);
    let rows: Vec<&str> = screen.rows().iter().map(|set| set.replicaset.as_str()).collect();
    assert_eq!(rows.len(), 15, "{rows:?}");
    press(&mut screen, &[KeyCode::Esc]);
    assert_eq!(screen.rows().len(), 500);
}

#[test]
fn forty_columns_show_who_is_master() {
    let mut screen = screen(known(vec![set("orders-1")], vec![issue("critical", "orders-1")]));
    let shown = frame(&screen, 40, 12);
    assert!(shown.lines().all(|line| line.chars().count() <= 40), "{shown}");
    let flat = shown.replace('\n', " ");
    assert!(flat.contains("0/1 sets healthy") && shown.contains("1 critical"), "{shown}");
    assert!(shown.contains("\norders-1  a2      active\n"), "{shown}");
    press(&mut screen, &[KeyCode::Enter]);
    assert!(frame(&screen, 40, 20).contains("no coordinator is attached"), "wrapped, not cut");
    for (columns, rows) in [(1, 1), (2, 3), (40, 4), (300, 5), (120, 100)] {
        assert!(frame(&screen, columns, rows).lines().count() <= usize::from(rows));
    }
}

#[test]
fn nobody_there_keeps_what_was_seen_and_says_since_when() {
    let away = OperatorError::Unreachable { tried: vec![("http://h:1".into(), "connection refused".into())] };
    let mut never = Screen::new(false, NOW);
    assert!(frame(&never, 100, 30).starts_with("asking …\n"), "{}", frame(&never, 100, 30));
    never.unanswered(&away, NOW + 3_000);
    let shown = frame(&never, 100, 30);
    assert!(shown.starts_with("NO ANSWER since 19:04:16Z (3s). http://h:1: connection refused\n"), "{shown}");

    let mut screen = screen(known(vec![set("orders-1")], vec![]));
    screen.now_millis = NOW + 3_000;
    assert!(
        frame(&screen, 120, 30).contains("\nno answer for 3s, asking on; "),
        "a frozen arbiter is no news"
    );
    screen.unanswered(&away, NOW + 12_000);
    let shown = frame(&screen, 120, 30);
    assert!(shown.contains("NO ANSWER since 19:04:16Z (12s); below is what was seen last. "), "{shown}");
    assert!(shown.contains("\norders-1 "), "{shown}");
    assert!(screen.is_old());

    // Somebody answers who is not the arbiter.
    let mut by_itself = known(vec![set("orders-1")], vec![]);
    (by_itself.status.arbiter.active_here, by_itself.status.answered_by) = (false, "host-c".into());
    screen.answered(by_itself, NOW + 13_000);
    assert!(frame(&screen, 120, 30).contains("below is what host-c knows by itself"));
    assert!(screen.is_old());
}

#[test]
fn a_set_without_a_decision_shows_its_record() {
    let mut old = set("orders-1");
    old.last_decision = None;
    let at = baton_client::status::rfc3339(NOW - 7_200_000);
    old.record = Some(RecordStatus { at, reason: "switchover".into(), ..RecordStatus::default() });
    let mut grown = old.clone();
    grown.replicaset = "orders-2".into();
    let at = baton_client::status::rfc3339(0);
    grown.record = Some(RecordStatus { at, reason: "grow a1".into(), ..RecordStatus::default() });
    let shown = frame(&screen(known(vec![old, grown], vec![])), 120, 30);
    assert!(shown.contains("2h switchover") && !shown.contains("grow"), "{shown}");
}

#[test]
fn keys_lead_in_and_out() {
    let mut screen = screen(known(vec![set("orders-1")], vec![issue("warning", "orders-1")]));
    press(&mut screen, &[KeyCode::Char('i')]);
    assert!(frame(&screen, 100, 10).contains("warning  orders-1  a1: no coordinator is attached"));
    assert_eq!(press(&mut screen, &[KeyCode::Esc]), Next::Stay);
    assert_eq!(screen.page, view::Page::Sets);
    // While a name is typed, a letter is a letter.
    assert_eq!(press(&mut screen, &[KeyCode::Char('/'), KeyCode::Char('q')]), Next::Stay);
    assert_eq!(screen.search, "q");
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(keys::press(&mut screen, interrupt), Next::Leave);
    press(&mut screen, &[KeyCode::Esc]);
    assert_eq!(press(&mut screen, &[KeyCode::Char('q')]), Next::Leave);
}
