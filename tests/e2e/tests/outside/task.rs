//! What operators ask for outlives who asked and who decides: tasks, asked for and followed with `batonctl`.

use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS};
use e2e::stage::{Stage, play};
use e2e::{poll, store};
use serde_json::Value;

/// A coordinator that is stopped for a while notices it.
const STOPPED: &[Allowed] =
    &[("detached", "it was stopped, and its stream was cut"), ("silent", "nobody answered")];

/// The phases of a task that have begun, in order.
fn phases(task: &Value) -> Vec<String> {
    let phases = task["phases"].as_array().cloned().unwrap_or_default();
    phases.iter().filter_map(|phase| phase["name"].as_str().map(str::to_owned)).collect()
}

/// A switchover to `c1` whose target cannot report, since its coordinator is stopped: the task, when the master is fenced.
fn stuck(stage: &mut Stage) -> String {
    stage.daemon(2).process().freeze();
    let said = stage.ctl(&["switchover", "orders", "--to=c1", "--timeout=60s", "--wait=1ms", "--json"]);
    assert_eq!(said.code, 4, "{said:?}");
    let id = said.json()["task"].to_string();
    poll::until("the master is fenced", || {
        let seen = phases(&stage.ctl(&["task", &id, "--json"]).json());
        if seen.iter().any(|phase| phase == "catch_up") { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    store::set(stage.instance(0).port, "late", "no").expect_err("the old master accepts nothing");
    id
}

#[test]
fn the_next_arbiter_ends_a_switchover_as_it_was_asked_for() {
    play(&[CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS, STOPPED], |stage| {
        let before = stage.trio();
        store::set(stage.instance(0).port, "kept", "yes").expect("the master accepts");
        let id = stuck(stage);
        stage.daemon(1).process().kill();
        stage.daemon(1).ended_within(poll::PATIENCE);
        stage.daemon(2).process().thaw();
        let ended = stage.ctl(&["task", &id, "--wait=60s", "--json"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let task = ended.json();
        assert_eq!((&task["state"], &task["master"]), (&"done".into(), &"c1".into()), "{task}");
        assert_eq!(task["term_after"], before.term + 1, "{task}");
        assert!(phases(&task).contains(&"taken_up".to_owned()), "{task}");
        assert_eq!(store::get(stage.instance(2).port, "kept").as_deref(), Ok("yes"));
        store::set(stage.instance(2).port, "more", "yes").expect("the new master accepts");
        let again = stage.ctl(&["task", &id, "--abort"]);
        assert_eq!(again.code, 1, "{again:?}");
        assert!(again.err.contains("has ended already"), "{again:?}");
    });
}

#[test]
fn an_abort_returns_to_the_old_master() {
    play(&[CHANGE_OF_MASTER, STOPPED], |stage| {
        let before = stage.trio();
        let id = stuck(stage);
        let second = stage.ctl(&["switchover", "orders", "--to=b1"]);
        assert_eq!(second.code, 1, "{second:?}");
        let aborted = stage.ctl(&["task", &id, "--abort", "--json"]);
        assert_eq!(aborted.code, 0, "{aborted:?}");
        let task = aborted.json();
        assert_eq!((&task["state"], &task["master"]), (&"aborted".into(), &"a1".into()), "{task}");
        assert_eq!(task["term_after"], before.term + 1, "{task}");
        store::set(stage.instance(0).port, "more", "yes").expect("the old master accepts again");
        stage.daemon(2).process().thaw();
        stage.next_master("orders", before.term);
        let after = stage.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!((after.master.as_deref(), after.term), (Some("a1"), before.term + 1));
    });
}

#[test]
fn a_planned_switchover_begins_at_its_time_and_one_can_be_called_off() {
    play(&[CHANGE_OF_MASTER], |stage| {
        let before = stage.trio();
        let later = stage.ctl(&["switchover", "orders", "--to=b1", "--at=+1h", "--json"]);
        assert_eq!(later.code, 0, "{later:?}");
        assert_eq!(later.json()["state"], "planned", "{later:?}");
        let id = later.json()["task"].to_string();
        let off = stage.ctl(&["task", &id, "--abort", "--json"]).json();
        assert_eq!((&off["state"], &off["master"]), (&"aborted".into(), &Value::Null), "{off}");

        let soon = stage.ctl(&["switchover", "orders", "--to=c1", "--at=+2s", "--wait=60s", "--json"]);
        assert_eq!(soon.code, 0, "{soon:?}");
        let task = soon.json();
        assert_eq!((&task["state"], &task["master"]), (&"done".into(), &"c1".into()), "{task}");
        let began = task["phases"].as_array().and_then(|phases| {
            phases.iter().find(|phase| phase["name"] == "accepted")?["at_unix_millis"].as_u64()
        });
        assert!(began >= task["start_at_unix_millis"].as_u64(), "{task}");
        stage.next_master("orders", before.term);
        let after = stage.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!((after.master.as_deref(), after.term), (Some("c1"), before.term + 1));
        let states: Vec<_> = stage.ctl(&["task", "--json"]).json()["tasks"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|task| task["state"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(states, ["done", "aborted"], "the newest first");
    });
}
