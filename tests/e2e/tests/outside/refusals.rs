//! What is configured wrongly is said clearly, at once, and does no harm.

use std::fs;
use std::process::Command;
use std::time::Duration;

use e2e::logs::{Allowed, ENGINE_ENDS};
use e2e::stage::{Stage, play};
use e2e::{HostPlan, InstancePlan, ctl, http, issues, poll, store};

#[test]
fn a_wrong_password_is_named_and_the_instance_is_not_up() {
    let wrong: &[Allowed] = &[("no connection to the engine", "the password is wrong")];
    play(&[wrong], |stage| {
        stage.start_board();
        let mut instance = InstancePlan::new("a1", "orders", 1);
        (instance.password, instance.engine_password) = (Some("wrong"), Some("right"));
        let host = stage.add(HostPlan::new("host-a", vec![instance]));
        poll::until("the log names it", || {
            let log = stage.log_of(host);
            let named = log.lines().any(|line| line.contains(" WARN ") && line.contains("password"));
            if named { Ok(()) } else { Err(log) }
        });
        let (code, body) =
            http::get(stage.hosts[host].ports.http, "/instances/a1/health").expect("it answers");
        assert_eq!((code, body["health"].as_str()), (503, Some("down")), "{body}");
        assert!(!stage.log_of(host).contains("right"), "no password in a log");
        issues::until(stage, "orders", "engine_unusable", "a1");
        let seen = poll::until("the set is seen", || stage.set("orders"));
        assert_eq!((seen.state.as_str(), seen.master), ("none", None));
    });
}

#[test]
fn engines_with_a_password_replicate_and_fail_over() {
    play(&[e2e::logs::CHANGE_OF_MASTER, ENGINE_ENDS], |stage| {
        stage.start_board();
        let plan = |name| {
            let mut plan = InstancePlan::new(name, "orders", 2);
            (plan.password, plan.engine_password) = (Some("right"), Some("right"));
            plan
        };
        stage.add(HostPlan::new("host-a", vec![plan("a1").preferred()]));
        stage.add(HostPlan::new("host-b", vec![plan("b1")]));
        let before = stage.whole("orders", &["a1", "b1"]);
        let mut a = store::connect(stage.instance(0).port, Some("right")).expect("the password is right");
        store::query::<String>(&mut a, &["SET", "kept", "yes"]).expect("the master accepts");
        assert_eq!(store::query::<i64>(&mut a, &["WAIT", "1", "5000"]), Ok(1));
        stage.engine(&stage.instance(0)).kill();
        stage.next_master("orders", before.term);
        let mut b = store::connect(stage.instance(1).port, Some("right")).expect("the password is right");
        assert_eq!(store::query::<String>(&mut b, &["GET", "kept"]).as_deref(), Ok("yes"));
        stage.whole("orders", &["a1", "b1"]);
    });
}

#[test]
fn another_clusters_secret_is_refused() {
    let refused: &[Allowed] = &[("secret", "the provider belongs to another cluster")];
    play(&[refused], |stage| {
        stage.start_board();
        let host = stage.prepare(HostPlan::new("host-a", vec![InstancePlan::new("a1", "orders", 1)]));
        let file = stage.config_of("host-a");
        let other = stage.path().join("other-secret");
        fs::write(&other, "of another cluster\n").expect("writable");
        let text = fs::read_to_string(&file).expect("it was written");
        let ours = stage.path().join("secret").display().to_string();
        fs::write(&file, text.replace(&format!("\"{ours}\""), &format!("{other:?}"))).expect("writable");
        stage.start(host);
        let ended = stage.daemon(host).ended_within(Duration::from_secs(10));
        let log = stage.log_of(host);
        assert_eq!(ended.code(), Some(1), "{log}");
        assert!(log.contains(" ERROR ") && log.contains("secret"), "{log}");
    });
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    play(&[], |stage| {
        stage.prepare(HostPlan::new("host-a", vec![InstancePlan::new("a1", "orders", 1)]));
        let file = stage.config_of("host-a");
        let check = |command: &str| {
            ctl::run(
                Command::new(Stage::program("baton-coordinator")).arg(command).arg("--config").arg(&file),
            )
        };
        let fine = check("check-config");
        assert_eq!(fine.code, 0, "{fine:?}");
        assert!(fine.out.starts_with("ok") && fine.out.contains("a1"), "{fine:?}");

        let bad = fs::read_to_string(&file).expect("it was written");
        let bad = bad.replace("kind = \"redis\"", "kind = \"rediss\"").replace("priority =", "priorty =");
        let bad = bad.replace("bootstrap_members = 1", "bootstrap_members = 0");
        fs::write(&file, bad).expect("writable");
        for command in ["check-config", "run"] {
            let said = check(command);
            assert_eq!(said.code, 2, "{said:?}");
            for word in ["rediss", "priorty", "priority", "bootstrap_members", "host-a.toml"] {
                assert!(said.err.contains(word), "{word} in {}", said.err);
            }
        }
    });
}
