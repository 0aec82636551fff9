//! Drills with real engines under real writes, asked for with `batonctl`.

use e2e::confirmed::Confirmed;
use e2e::ctl::Said;
use e2e::logs::{Allowed, CHANGE_OF_MASTER, ENGINE_ENDS};
use e2e::poll;
use e2e::stage::{Stage, play};
use serde_json::Value;

/// What an engine that is killed on purpose says.
const KILLED: &[Allowed] = &[("killing the engine: a drill ends its engine", "that is the fault")];

fn rails(forecast: &Value) -> Vec<(String, bool)> {
    let rails = forecast["forecasts"][0]["rails"].as_array().cloned().unwrap_or_default();
    let rail = |rail: Value| {
        (rail["name"].as_str().unwrap_or_default().to_owned(), rail["holds"].as_bool().unwrap_or_default())
    };
    rails.into_iter().map(rail).collect()
}

/// A replica on a busy machine may be a moment too late for the guard rails, and then nothing was done.
fn once_it_is_dared(ask: impl Fn() -> Said) -> Said {
    poll::until("every guard rail holds", || {
        let said = ask();
        let broken = said.err.contains("is not dared") || said.out.contains("\"holds\":false");
        if broken { Err(format!("{said:?}")) } else { Ok(said) }
    })
}

fn load(stage: &Stage) -> Confirmed {
    let load = Confirmed::start((0..3).map(|host| stage.instance(host).port).collect());
    poll::until("some writes are confirmed", || match load.count() {
        count @ 0..200 => Err(format!("{count}")),
        _ => Ok(()),
    });
    load
}

#[test]
fn a_drill_under_writes_is_measured_and_loses_no_confirmed_write() {
    play(&[CHANGE_OF_MASTER, ENGINE_ENDS, KILLED], |stage| {
        stage.seed("ack_quorum = 1");
        let before = stage.trio();
        let load = load(stage);

        let shown = once_it_is_dared(|| {
            stage.ctl(&["drill", "orders", "--fault=kill_engine", "--dry-run", "--json"])
        });
        let rails = rails(&shown.json());
        assert!(rails.len() > 10 && rails.iter().all(|(_, holds)| *holds), "{rails:?}");
        let refused = stage.ctl(&["drill", "orders", "--fault=kill_engine", "--spares=3"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.contains("2 of 3 could take over at once"), "{refused:?}");

        let engine = stage.engine(&stage.instance(0));
        let killed = once_it_is_dared(|| stage.ctl(&["drill", "orders", "--fault=kill_engine", "--json"]));
        assert_eq!(killed.code, 0, "{killed:?}");
        let task = killed.json();
        assert_eq!((&task["kind"], &task["state"]), (&"drill".into(), &"done".into()), "{task}");
        assert_eq!(task["term_after"], before.term + 1, "{task}");
        let outage = &task["drill"]["outage"];
        assert_eq!(
            (&outage["within_budget"], &outage["term"]),
            (&true.into(), &task["term_after"]),
            "{task}"
        );
        assert!(!engine.runs(), "the engine of a1 was killed");
        stage.next_master("orders", before.term);
        let seen = stage.whole("orders", &["a1", "b1", "c1"]);
        // The page may be older than the end of the task by a moment.
        let last = poll::until("the set says when it was last drilled", || {
            stage.set("orders")?.last_drill.ok_or_else(|| "not yet".to_owned())
        });
        assert_eq!((last.fault.as_str(), last.state.as_str()), ("kill_engine", "done"));
        let history = stage.ctl(&["history", "orders", "--json"]).json();
        assert_eq!(history[0]["decision"]["class"], "drill-crashed", "{history}");
        assert_eq!(history[0]["drill"]["took_us"], outage["took_us"], "{history}");

        let moved = once_it_is_dared(|| stage.ctl(&["drill", "orders", "--fault=switchover", "--return"]));
        assert_eq!(moved.code, 0, "{moved:?}");
        assert!(moved.out.contains("within budget"), "{moved:?}");
        stage.next_master("orders", before.term + 2);
        let after = stage.whole("orders", &["a1", "b1", "c1"]);
        assert_eq!((after.master, after.term), (seen.master, before.term + 3), "there and back");
        poll::until("the status says so too", || {
            let told = stage.ctl(&["status"]).out;
            let says = told.contains("last drilled: ") && told.contains(" by switchover");
            if says { Ok(()) } else { Err(told) }
        });

        let master = stage.host_of(&stage.set("orders").expect("it is known").master.expect("one leads"));
        let (count, port) = (load.count(), stage.instance(master).port);
        let lost = load.lost_on(port).expect("the master answers");
        assert_eq!(lost, Vec::<u64>::new(), "of {count}");
    });
}
