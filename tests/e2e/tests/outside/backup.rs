//! Backup and restore as an operator does them: `batonctl stateboard` against the real stateboard.

use std::fs;

use e2e::poll;
use e2e::stage::play;
use e2e::{HostPlan, InstancePlan, store};

#[test]
fn a_backup_is_taken_refused_where_it_is_bad_and_restored() {
    play(&[&[("restored from a backup", "the test did it")]], |stage| {
        stage.start_board();
        let path = |name: &str| stage.path().join(name).display().to_string();
        let (good, bad) = (path("good.batonbak"), path("bad.batonbak"));

        let said = stage.ctl_board(&["status"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.starts_with("stateboard of cluster e2e at 127.0.0.1:"), "{}", said.out);
        assert!(
            said.out.contains("lock held by nobody") && said.out.contains("file of format 1"),
            "{}",
            said.out
        );
        let said = stage.ctl_board(&["backup", &good, "--json"]);
        assert_eq!((said.code, said.json()["items"].as_u64()), (0, Some(1)), "{said:?}");
        let bytes = fs::read(&good).expect("it was written");
        assert_eq!(said.json()["bytes"].as_u64(), u64::try_from(bytes.len()).ok());
        let said = stage.ctl_board(&["backup", &good]);
        assert_eq!(said.code, 1);
        assert!(said.err.contains("is there already"), "{}", said.err);
        assert_eq!(fs::read(&good).expect("still there"), bytes, "nothing was written over it");

        let mut newer = bytes.clone();
        newer[11] = 9;
        let mut flipped = bytes.clone();
        flipped[bytes.len() - 40] ^= 1;
        for (what, bytes, says) in [
            ("cut off", &bytes[..bytes.len() - 1], "it is cut off after"),
            ("newer", &newer[..], "its format is 9, this version reads up to 1"),
            ("damaged", &flipped[..], "it is damaged"),
            ("no backup", b"something else", "it is no backup of a stateboard"),
        ] {
            fs::write(&bad, bytes).expect("writable");
            let said = stage.ctl_board(&["restore", &bad, "--force", "--json"]);
            assert_eq!(
                (said.code, said.json()["error"]["reason"].as_str()),
                (1, Some("bad_backup")),
                "{what}"
            );
            assert!(said.err.contains(&bad) && said.err.contains(says), "{what}: {}", said.err);
        }
        let said = stage.ctl_board(&["status", "--json"]).json();
        assert_eq!((said["revision"].as_u64(), said["generation"].as_u64()), (Some(0), Some(1)), "untouched");

        let said = stage.ctl_board(&["restore", &good]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains("at revision 0; generation 2"), "{}", said.out);
        let said = stage.ctl_board(&["restore", &good, "--json"]);
        assert_eq!((said.code, said.json()["error"]["reason"].as_str()), (1, Some("refused")), "{said:?}");
        let said = stage.ctl_board(&["restore", &good, "--force", "--generation-at-least", "7", "--json"]);
        assert_eq!((said.code, said.json()["generation"].as_u64()), (0, Some(7)), "{said:?}");
        let kept = said.json()["kept_as"].as_str().expect("what was there is kept").to_owned();
        assert!(fs::metadata(&kept).is_ok(), "{kept}");
        let said = stage.ctl_board(&["status"]);
        assert!(said.out.contains("! restored from a backup of"), "{}", said.out);

        stage.kill_board();
        let said = stage.ctl_board(&["status"]);
        assert_eq!(said.code, 3, "{said:?}");
    });
}

#[test]
fn a_restored_stateboard_under_a_live_cluster_gets_a_new_arbiter_of_the_next_generation() {
    let restored: &[e2e::logs::Allowed] = &[
        ("restored from a backup", "the test did it"),
        ("detached from the arbiter", "its epoch is of another life"),
        ("this coordinator is no longer the arbiter", "the same"),
        ("the arbiter's lock cannot be renewed", "its connection was closed by the restore"),
    ];
    play(&[restored, e2e::logs::CHANGE_OF_MASTER], |stage| {
        stage.start_board();
        stage.add(HostPlan::new("host-a", vec![InstancePlan::new("a1", "orders", 2).preferred()]));
        stage.add(HostPlan::new("host-b", vec![InstancePlan::new("b1", "orders", 2)]));
        let before = stage.whole("orders", &["a1", "b1"]);
        let backup = stage.path().join("orders.batonbak").display().to_string();
        assert_eq!(stage.ctl_board(&["backup", &backup]).code, 0);
        store::set(stage.instance(0).port, "kept", "yes").expect("the master accepts");

        let said = stage.ctl_board(&["restore", &backup, "--force", "--json"]);
        assert_eq!((said.code, said.json()["generation"].as_u64()), (0, Some(2)), "{said:?}");
        poll::until("an arbiter of the new generation", || {
            let epoch = stage.status().arbiter.epoch;
            if epoch.as_deref().is_some_and(|epoch| epoch.starts_with("2.")) {
                Ok(())
            } else {
                Err(format!("{epoch:?}"))
            }
        });
        let after = stage.whole("orders", &["a1", "b1"]);
        assert!(after.term >= before.term, "{} after {}", after.term, before.term);
        let master = after.master.expect("there is one");
        let port = stage.instance(stage.host_of(&master)).port;
        poll::until("it accepts", || store::set(port, "more", "yes"));
        assert_eq!(store::get(port, "kept").as_deref(), Ok("yes"));
    });
}

#[test]
fn where_the_last_master_never_comes_back_after_a_restore_a_person_vouches_for_it() {
    let restored: &[e2e::logs::Allowed] = &[
        ("restored from a backup", "the test did it"),
        ("the arbiter's lock cannot be renewed", "its connection was closed by the restore"),
        ("accepting what may be lost", "a person asked for it"),
    ];
    play(&[restored, e2e::logs::COORDINATOR_ENDS, e2e::logs::CHANGE_OF_MASTER], |stage| {
        let before = stage.trio();
        assert_eq!(before.master.as_deref(), Some("a1"));
        let backup = stage.path().join("orders.batonbak").display().to_string();
        assert_eq!(stage.ctl_board(&["backup", &backup]).code, 0);
        let dead = stage.instance(0);
        let (engine, deadman) = (stage.engine(&dead), stage.deadman(&dead));
        stage.daemon(0).process().kill();
        deadman.kill();
        engine.kill();
        stage.daemon(0).ended_within(poll::PATIENCE);
        let said = stage.ctl_board(&["restore", &backup, "--force", "--json"]);
        assert_eq!(said.code, 0, "{said:?}");

        let refused = poll::until("a refusal that says what a person can do", || {
            let said = stage.ctl(&["failover", "orders", "--force"]);
            if said.err.contains("not attached: a1") { Ok(said) } else { Err(format!("{said:?}")) }
        });
        assert!(refused.code == 1 && refused.err.contains("--others-off"), "{refused:?}");
        // The arbiter of before the restore may have taken it, and not have kept it: then it is asked for again.
        poll::until("the failover is done", || {
            let said = stage.ctl(&["failover", "orders", "--force", "--others-off", "--json"]);
            if said.code == 0 { Ok(()) } else { Err(format!("{said:?}")) }
        });
        let after = stage.next_master("orders", before.term);
        assert_ne!(after.master.as_deref(), Some("a1"));
        let port = stage.instance(stage.host_of(after.master.as_deref().expect("there is one"))).port;
        poll::until("it accepts", || store::set(port, "more", "yes"));
    });
}
