//! `batonctl doctor` on a good host, and on hosts that are each broken in one way.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use e2e::logs::{Allowed, COORDINATOR_ENDS, ENGINE_ENDS};
use e2e::stage::{Stage, play};
use e2e::{HostPlan, InstancePlan, ctl, store};
use serde_json::Value;
use tempfile::TempDir;

/// What a coordinator says that has nobody to follow and nothing to lead.
const ALLOWED: &[&[Allowed]] = &[COORDINATOR_ENDS, ENGINE_ENDS];

fn doctor(config: &Path) -> (i32, Vec<Value>) {
    let mut command = Command::new(Stage::program("batonctl"));
    let said = ctl::run(command.args(["--json", "doctor", "--config"]).arg(config));
    let findings = said.json()["findings"].as_array().cloned().expect("a list of findings");
    (said.code, findings)
}

/// The verdicts of a check, in order, each with its evidence.
fn of<'a>(findings: &'a [Value], check: &str) -> Vec<(&'a str, &'a str)> {
    let rows = findings.iter().filter(|finding| finding["check"] == check);
    let text = |value: &'a Value| value.as_str().unwrap_or_default();
    rows.map(|row| (text(&row["verdict"]), text(&row["evidence"]))).collect()
}

/// Without the speed of this machine's disk, which is nobody's fault here.
fn problems(findings: &[Value]) -> Vec<&Value> {
    let judged = findings.iter().filter(|finding| finding["check"] != "disk-sync");
    judged.filter(|finding| finding["verdict"] == "problem").collect()
}

/// The stage's own folder may be on a tmpfs, where no `state_dir` belongs: another one, beside the programs.
fn on_a_disk(stage: &Stage) -> TempDir {
    let program = Stage::program("batonctl");
    let beside = program.parent().expect("a file is in a folder");
    let folder = tempfile::tempdir_in(beside).expect("programs lie where files can be made");
    let before = stage.path().join("host-a/state").display().to_string();
    rewrite(&stage.config_of("host-a"), &before, &folder.path().display().to_string());
    folder
}

fn private(stage: &Stage, names: &[&str]) {
    for name in names {
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(stage.path().join(name), mode).expect("ours");
    }
}

fn rewrite(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("readable");
    assert!(text.contains(from), "{from:?} is not in {}", file.display());
    fs::write(file, text.replace(from, to)).expect("writable");
}

#[test]
fn a_good_host_is_good_before_its_daemon_runs_and_while_it_runs() {
    play(ALLOWED, |stage| {
        stage.start_board();
        let host = stage.prepare(HostPlan::new("host-a", vec![InstancePlan::new("a1", "s1", 1)]));
        private(stage, &["secret"]);
        let _state = on_a_disk(stage);
        let config = stage.config_of("host-a");
        let (_, findings) = doctor(&config);
        assert_eq!(problems(&findings), Vec::<&Value>::new(), "{findings:#?}");
        assert_eq!(of(&findings, "port").len(), 2);
        assert!(of(&findings, "port").iter().all(|(_, evidence)| evidence.ends_with("is free")));
        let [(verdict, evidence)] = of(&findings, "provider")[..] else {
            panic!("one address: {findings:#?}")
        };
        assert!(verdict == "ok" && evidence.starts_with("stateboard, ours; round trip "), "{evidence}");
        assert!(of(&findings, "engine")[0].1.starts_with("does not run: "), "{findings:#?}");
        assert!(of(&findings, "disk-sync")[0].1.contains("the cluster's lease of "), "{findings:#?}");

        stage.start(host);
        stage.whole("s1", &["a1"]);
        let (_, findings) = doctor(&config);
        assert_eq!(problems(&findings), Vec::<&Value>::new(), "{findings:#?}");
        let ports = of(&findings, "port");
        assert!(ports.iter().all(|(_, evidence)| evidence.contains("this host's coordinator")), "{ports:?}");
        assert!(of(&findings, "engine")[0].1.contains(" answers and has version "), "{findings:#?}");
        assert!(of(&findings, "advertise")[0].1.contains("leads here"), "{findings:#?}");
        assert_eq!(stage.whole("s1", &["a1"]).term, 1, "nobody noticed");
    });
}

#[test]
fn wrong_credentials_are_told_as_such() {
    play(ALLOWED, |stage| {
        stage.start_board();
        let mut plan = InstancePlan::new("a1", "s1", 1).adopted();
        plan.password = Some("wrong");
        stage.prepare(HostPlan::new("host-a", vec![plan.clone()]));
        stage.start_engine(&plan, &[]);
        store::ask::<()>(plan.port, &["CONFIG", "SET", "requirepass", "right"]).expect("it takes a password");
        private(stage, &["secret", "a1/password"]);
        let config = stage.config_of("host-a");
        let (code, findings) = doctor(&config);
        assert_eq!(code, 1);
        let [(verdict, evidence)] = of(&findings, "engine")[..] else { panic!("one engine: {findings:#?}") };
        assert_eq!(verdict, "problem");
        assert!(evidence.contains("refused the password of password_file"), "{evidence}");
        // Its file names no master, and its command is somebody else's.
        assert_eq!(of(&findings, "boot-fence")[0].0, "warning");

        fs::write(stage.path().join("secret"), "of another cluster\n").expect("writable");
        let (code, findings) = doctor(&config);
        let [(verdict, evidence)] = of(&findings, "provider")[..] else {
            panic!("one address: {findings:#?}")
        };
        assert_eq!((code, verdict), (1, "problem"), "{evidence}");
        assert!(evidence.contains("secret"), "{evidence}");
        let times = of(&findings, "disk-sync");
        assert!(times[0].1.ends_with("the default lease of 3s"), "the cluster's is not known: {times:?}");
    });
}

#[test]
fn each_fault_of_a_host_is_a_problem_of_its_own() {
    play(ALLOWED, |stage| {
        stage.start_board();
        let host = stage.prepare(HostPlan::new("host-a", vec![InstancePlan::new("a1", "s1", 1)]));
        let disk = on_a_disk(stage);
        let config = stage.config_of("host-a");

        // Everybody may read the secret.
        let open = fs::Permissions::from_mode(0o644);
        fs::set_permissions(stage.path().join("secret"), open).expect("ours");
        let (code, findings) = doctor(&config);
        let [only] = problems(&findings)[..] else { panic!("one problem: {findings:#?}") };
        assert_eq!((code, only["check"].as_str()), (1, Some("secrets")));
        assert!(only["advice"].as_str().is_some_and(|advice| advice.starts_with("chmod 600 ")), "{only}");
        private(stage, &["secret"]);

        // A stranger has the port.
        let port = stage.hosts[host].ports.grpc;
        let stranger = TcpListener::bind(("127.0.0.1", port)).expect("it was free");
        let (_, findings) = doctor(&config);
        let said = of(&findings, "port");
        let held = format!("127.0.0.1:{port} is held by ");
        assert!(said[0].0 == "problem" && said[0].1.starts_with(&held), "{said:?}");
        assert!(said[0].1.contains(&format!("process {}", std::process::id())), "{said:?}");
        drop(stranger);

        // What a reboot empties.
        let shm = tempfile::tempdir_in("/dev/shm").expect("a tmpfs");
        let good = disk.path().display().to_string();
        rewrite(&config, &good, &shm.path().display().to_string());
        let (_, findings) = doctor(&config);
        assert!(of(&findings, "state-dir")[0].1.contains("is on tmpfs"), "{findings:#?}");
        rewrite(&config, &shm.path().display().to_string(), &good);

        // Nobody at the provider's address, and a program that is not there.
        stage.kill_board();
        rewrite(&config, "\"redis-server\"", "\"no-such-redis-server\"");
        let (_, findings) = doctor(&config);
        assert_eq!(of(&findings, "provider")[0].0, "problem", "{findings:#?}");
        assert_eq!(of(&findings, "engine-program")[0].0, "problem", "{findings:#?}");

        // A file that cannot be used: all that is wrong with it, and what needs no file is looked at all the same.
        rewrite(&config, "kind = \"redis\"", "kind = \"radis\"");
        rewrite(&config, "bootstrap_members = 1", "bootstrap_members = 0");
        let (code, findings) = doctor(&config);
        assert_eq!((code, of(&findings, "config").len()), (1, 2), "{findings:#?}");
        assert_eq!(
            of(&findings, "provider"),
            [("skipped", "not looked at: the configuration cannot be used")]
        );
        assert_eq!(of(&findings, "clock-source").len(), 1);
    });
}
