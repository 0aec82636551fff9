//! A person's fence command, run for real: the proof that a silent master is off, where nothing else can be one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use baton_client::status::ReplicaSetStatus;
use e2e::logs::{Allowed, CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS};
use e2e::stage::{Stage, play};
use e2e::{poll, store};

/// Engines and a coordinator that are stopped, and a set that waits for a person.
const STOPPED: &[Allowed] = &[
    ("no connection to the engine", "it is stopped, and answers nothing"),
    ("no answer from the engine", "the same"),
    ("has no successor", "nobody in the in-sync set is left"),
    ("the fence command confirmed", "that is what it is for"),
    ("this engine holds writes beyond", "what is accepted as lost"),
];

/// A program that ends a host's coordinator and says so, and keeps what it was told.
fn fence_script(stage: &mut Stage, host: usize) -> String {
    let folder = stage.path().to_owned();
    let pid = stage.daemon(host).process().pid();
    let script = folder.join("fence.sh");
    let told = folder.join("fence.told").display().to_string();
    let text = format!(
        "#!/bin/sh\necho \"$BATON_INSTANCE of $BATON_REPLICASET on $BATON_COORDINATOR, term $BATON_TERM\" >> {told}\n\
         kill -9 {pid}\n"
    );
    fs::write(&script, text).expect("writable");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    script.display().to_string()
}

/// The set as the arbiter on host 1 sees it; a host that is stopped would be waited for.
fn seen(stage: &Stage) -> Result<ReplicaSetStatus, String> {
    let (_, body) = stage.page(1, "/v1/replicasets/orders")?;
    serde_json::from_value(body).map_err(|error| error.to_string())
}

#[test]
fn outside_the_in_sync_set_a_fence_command_is_the_proof() {
    play(&[CHANGE_OF_MASTER, COORDINATOR_ENDS, ENGINE_ENDS, STOPPED], |stage| {
        let before = stage.trio();
        store::set(stage.instance(0).port, "kept", "yes").expect("the master accepts");
        poll::until("c1 has it", || store::get(stage.instance(2).port, "kept"));
        let script = fence_script(stage, 0);
        let set = stage.ctl(&["settings", "set", &format!("fence_command={script}")]);
        assert_eq!(set.code, 0, "{set:?}");

        // Their engines answer nothing for a while: the master is alone in its in-sync set, and needs nobody's promise.
        let others = [1, 2].map(|host| stage.engine(&stage.instance(host)));
        others.iter().for_each(|engine| engine.freeze());
        poll::until("the master is alone", || match seen(stage)?.record {
            Some(record) if record.in_sync.len() == 1 => Ok(()),
            record => Err(format!("{record:?}")),
        });
        store::set(stage.instance(0).port, "only here", "yes").expect("it goes on alone");
        stage.daemon(0).process().freeze();
        poll::until("its lease is over", || match seen(stage)?.state.as_str() {
            "none" => Ok(()),
            state => Err(state.to_owned()),
        });
        others.iter().for_each(|engine| engine.thaw());
        poll::until("c1 answers again", || store::info(stage.instance(2).port, "role"));

        let unproven = stage.ctl_at(1, &["failover", "orders", "--to=c1", "--force", "--timeout=2s"]);
        assert_eq!(unproven.code, 1, "silence alone is no proof for one outside: {unproven:?}");
        assert!(
            unproven.out.contains("outside the in-sync set") || unproven.out.contains("nobody could be"),
            "{unproven:?}"
        );
        assert_eq!(seen(stage).expect("it is known").term, before.term);
        let proven = stage.ctl_at(1, &["failover", "orders", "--to=c1", "--force", "--fence", "--json"]);
        assert_eq!(proven.code, 0, "{proven:?}");
        let task = proven.json();
        assert_eq!(
            (&task["master"], &task["term_after"]),
            (&"c1".into(), &(before.term + 1).into()),
            "{task}"
        );
        let told = fs::read_to_string(stage.path().join("fence.told")).expect("it was run");
        assert_eq!(told, format!("a1 of orders on host-a, term {}\n", before.term), "once");
        assert_eq!(store::get(stage.instance(2).port, "kept").as_deref(), Ok("yes"));
        let explained = stage.ctl_at(1, &["explain", "orders"]);
        assert!(explained.out.contains("c1 was not in the in-sync set"), "{explained:?}");
        stage.daemon(0).ended_within(poll::PATIENCE);
        stage.start(0);
        stage.whole("orders", &["a1", "b1", "c1"]);
    });
}
