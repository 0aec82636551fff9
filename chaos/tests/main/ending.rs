//! The program itself with stand-ins for what it starts: whatever ends it, nothing stays behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use chaos::cluster::process::Process;
use chaos::procfs::{self, ProcessView};
use tempfile::TempDir;

use crate::stub::eventually;

/// A folder with the program in it, and beside it stand-ins that never answer and leave a child of their own.
fn folder_with_stand_ins(names: &[&str], mark: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = Path::new(env!("CARGO_BIN_EXE_chaos"));
    let here = folder.path().join("chaos");
    fs::hard_link(program, &here)
        .or_else(|_| fs::copy(program, &here).map(|_| ()))
        .expect("the program is there");
    for name in names {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\nsleep {mark} &\nexec sleep {mark}\n")).expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    }
    folder
}

fn start(folder: &TempDir) -> Process {
    let mut command = Command::new(folder.path().join("chaos"));
    command.args(["demo", "--json", "--lease-ttl", "300ms"]).env("TMPDIR", folder.path());
    Process::start(command, &folder.path().join("output")).expect("it starts")
}

fn marked(mark: &str) -> Vec<ProcessView> {
    let wanted = format!("sleep {mark}");
    procfs::all().into_values().filter(|process| process.alive() && process.command == wanted).collect()
}

#[tokio::test]
async fn told_to_end_it_ends_everything_also_what_is_stopped_or_orphaned() {
    let mark = format!("{}.001", 1_000_000 + std::process::id());
    let folder = folder_with_stand_ins(&["baton-coordinator", "baton-stateboard", "batonctl"], &mark);
    let chaos = start(&folder);
    eventually("a stateboard, three coordinators and their children", async || marked(&mark).len() == 8)
        .await;
    let own = marked(&mark).into_iter().find(|process| process.parent == chaos.pid()).expect("its child");
    // Its child becomes an orphan, another process stands still.
    Process::open(own.pid).expect("it runs").kill();
    let frozen = marked(&mark).into_iter().find(|process| process.pid != own.pid).expect("others run");
    Process::open(frozen.pid).expect("it runs").freeze();
    chaos.terminate();
    eventually("the end", async || chaos.how_it_ended().is_some()).await;
    assert_eq!(chaos.how_it_ended().as_deref(), Some("exit code 1"));
    assert_eq!(marked(&mark), []);
    let output = fs::read_to_string(folder.path().join("output")).expect("its output");
    assert!(output.contains("told to end") && output.contains("seed "), "{output}");
    let left: Vec<_> = fs::read_dir(folder.path())
        .expect("the folder")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("baton-demo-"))
        .collect();
    assert!(left.is_empty(), "its own folder is gone");
}

#[tokio::test]
async fn a_daemon_that_ends_at_once_is_named_with_the_place_of_its_log() {
    let folder = folder_with_stand_ins(&["baton-coordinator", "batonctl"], "1");
    let stateboard = folder.path().join("baton-stateboard");
    fs::write(&stateboard, "#!/bin/sh\necho no such option\nexit 2\n").expect("writable");
    fs::set_permissions(&stateboard, fs::Permissions::from_mode(0o755)).expect("ours");
    let chaos = start(&folder);
    eventually("the end", async || chaos.how_it_ended().is_some()).await;
    assert_eq!(chaos.how_it_ended().as_deref(), Some("exit code 1"));
    let output = fs::read_to_string(folder.path().join("output")).expect("its output");
    assert!(output.contains("the stateboard ended with exit code 2"), "{output}");
    let kept = output.split("its logs: ").nth(1).expect("a place").split(':').next().expect("a place").trim();
    let log = fs::read_to_string(Path::new(kept).join("stateboard.log")).expect("the log was kept");
    assert_eq!(log, "no such option\n");
}

#[tokio::test]
async fn missing_programs_are_named() {
    let folder = folder_with_stand_ins(&[], "1");
    let chaos = start(&folder);
    eventually("the end", async || chaos.how_it_ended().is_some()).await;
    assert_eq!(chaos.how_it_ended().as_deref(), Some("exit code 1"));
    let output = fs::read_to_string(folder.path().join("output")).expect("its output");
    assert!(output.contains("baton-coordinator is not there") && output.contains("cargo build"), "{output}");
}
