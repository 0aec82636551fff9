//! A cluster comes up from nothing, and everything that shows it says the same.

use e2e::stage::play;
use e2e::{http, poll};

#[test]
fn three_hosts_agree_on_their_first_master_and_show_it_everywhere() {
    play(&[], |stage| {
        let set = stage.trio();
        assert_eq!(set.term, 1, "one appointment made it");
        let endpoint = stage.instance(0).endpoint();
        for host in 0..3 {
            let port = stage.hosts[host].ports.http;
            let name = stage.instance(host).name;
            let masters = poll::until("the directory is told", || match http::get(port, "/v1/masters")? {
                (200, body) if body["masters"][0]["state"] == "active" => Ok(body),
                other => Err(format!("{other:?}")),
            });
            let told = &masters["masters"][0];
            assert_eq!((told["replicaset"].as_str(), told["term"].as_u64()), (Some("orders"), Some(1)));
            assert_eq!((told["master"].as_str(), told["endpoint"].as_str()), (Some("a1"), Some(&*endpoint)));
            let (code, seen) = http::get(port, "/v1/replicasets/orders").expect("it answers");
            assert_eq!((code, seen["master"].as_str()), (200, Some("a1")));
            assert_eq!(http::get(port, "/v1/replicasets/unknown").expect("it answers").0, 404);

            let (primary, replica) = if host == 0 { (200, 503) } else { (503, 200) };
            for (check, wanted) in [
                ("primary", primary),
                ("read-write", primary),
                ("replica", replica),
                ("read-only", 200),
                ("health", 200),
            ] {
                let path = format!("/instances/{name}/{check}");
                poll::until(&path, || match http::get(port, &path)? {
                    (code, body) if code == wanted && body["term"] == 1 => Ok(()),
                    other => Err(format!("{other:?} instead of {wanted}")),
                });
            }
            assert_eq!(stage.check(host, "/readyz"), Ok(200));
            assert_eq!(stage.check(host, "/instances/nobody/primary"), Ok(404));
        }
    });
}

#[test]
fn batonctl_tells_the_same_with_exit_codes() {
    play(&[], |stage| {
        stage.trio();
        let status = stage.status();
        assert_eq!(status.cluster, "e2e");
        assert_eq!(status.arbiter.coordinator.as_deref(), Some("host-b"));
        assert_eq!(status.replicasets[0].master.as_deref(), Some("a1"));
        assert_eq!(status.replicasets[0].members.len(), 3);

        let masters = stage.ctl(&["masters"]);
        assert_eq!(masters.code, 0, "{masters:?}");
        assert!(
            masters.out.contains("a1") && masters.out.contains(&stage.instance(0).endpoint()),
            "{masters:?}"
        );

        let history = stage.ctl(&["history", "orders", "--json"]).json();
        assert_eq!(history[0]["record"]["term"], 1, "{history}");
        assert_eq!(history[0]["decision"]["class"], "first-appointment", "{history}");

        let explained = stage.ctl(&["explain", "orders"]);
        assert_eq!(explained.code, 0, "{explained:?}");
        for word in ["a1", "b1", "c1", "chosen"] {
            assert!(explained.out.contains(word), "{word} in {explained:?}");
        }
        let timing = stage.ctl(&["timing", "--json"]).json();
        assert_eq!(timing["lease_ttl_us"], 1_000_000, "{timing}");

        let unknown = stage.ctl(&["explain", "nothing"]);
        assert_eq!(unknown.code, 1, "{unknown:?}");
        assert!(unknown.err.contains("nothing"), "{unknown:?}");
        assert_eq!(stage.ctl(&["switchover"]).code, 2, "a set must be named");
    });
}
