//! A full disk: the data directory on a small file system of its own, which only root can make (CI is root).

use crate::board::{Board, PATIENCE, candidate, change};
use baton_core::ids::{ReplicaSetName, Term};
use baton_core::record::Change;
use baton_provider::stateboard::RestoreOptions;
use baton_provider::{AppointOutcome, LockToken, ProviderError, Renewal, StateProvider};
use baton_stateboard::storage::FILE_NAME;
use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Bytes of the file system: room for the file and its reserve, and little else.
const SIZE: &str = "size=12m";
/// A stateboard keeps so much free.
const RESERVE: usize = 4 * 1024 * 1024;

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it came in time")
}

/// A file system in memory, taken away with the value.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test mounts a small file system, so it needs root (CI is root; elsewhere: sudo -E cargo test)"
        );
        std::fs::create_dir_all(at).expect("writable");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(at).status();
        assert!(mounted.expect("mount is there").success());
        Self(at.to_owned())
    }

    /// Fills it until `left` bytes are free.
    fn fill(&self, left: usize) -> PathBuf {
        let path = self.0.join("ballast");
        let mut ballast = std::fs::File::create(&path).expect("writable");
        let block = [1; 4096];
        while self.free() > left && ballast.write_all(&block).is_ok() {}
        assert!(self.free() <= left, "{} bytes are free still", self.free());
        path
    }

    fn free(&self) -> usize {
        let found = rustix::fs::statvfs(&self.0).expect("it is there");
        usize::try_from(found.f_bavail * found.f_frsize).expect("small")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

async fn appoint(
    client: &impl StateProvider,
    token: LockToken,
    term: u64,
) -> Result<AppointOutcome, ProviderError> {
    within(client.appoint(token, vec![change("orders-1", term, token.epoch)])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_changes_serves_reads_and_takes_changes_again_when_there_is_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let small = Small::mount(&directory.path().join("data"));
    let mut board = Board::start(directory.path());
    let client = board.client();
    let mut session = within(client.campaign(&candidate(), None)).await.expect("the lock");
    let token = session.grant().token;
    for term in 1..=5 {
        assert!(matches!(appoint(&client, token, term).await, Ok(AppointOutcome::Applied(_))), "{term}");
    }
    let mut backup = Vec::new();
    let keep = |piece: &[u8], _| {
        backup.extend_from_slice(piece);
        Ok(())
    };
    within(client.backup(keep)).await.expect("a backup");
    // Once down to a part of the reserve, once to the last byte.
    for (round, left) in [(0, RESERVE / 2), (1, 0)] {
        let ballast = small.fill(left);
        let before = within(client.read()).await.expect("reads are served");
        let refused = appoint(&client, token, 6 + round).await;
        assert!(
            matches!(&refused, Err(ProviderError::NotApplied(text)) if text.contains("no room")),
            "{refused:?}"
        );
        let force = RestoreOptions { force: true, ..RestoreOptions::default() };
        let refused = within(client.restore(force, std::iter::once(backup.clone()))).await;
        assert!(
            matches!(&refused, Err(ProviderError::NotApplied(text)) if text.contains("no room")),
            "{refused:?}"
        );
        assert!(within(client.describe()).await.expect("a status").full);
        // The lock lives on, also over a new connection: that writes nothing.
        let renewal = within(session.renew()).await;
        assert!(matches!(renewal, Ok(Renewal::Granted { .. })), "{renewal:?}");
        // A kill in that state: it starts, and holds what it held.
        board.kill();
        board.start_again();
        let renewal = within(session.renew()).await;
        assert!(matches!(renewal, Ok(Renewal::Granted { .. })), "{renewal:?}");
        assert_eq!(within(client.read()).await.expect("reads are served"), before);
        assert!(appoint(&client, token, 6 + round).await.is_err());

        std::fs::remove_file(ballast).expect("ours");
        let applied = appoint(&client, token, 6 + round).await;
        assert!(matches!(applied, Ok(AppointOutcome::Applied(_))), "{applied:?}");
        assert!(!within(client.describe()).await.expect("a status").full);
    }
    board.kill();
    board.start_again();
    within(session.renew()).await.expect("it is back");
    let there = within(client.read()).await.expect("reads are served");
    let name = ReplicaSetName::parse("orders-1").expect("a name");
    assert_eq!(there.records.get(&name).map(|record| record.term), Some(Term(7)));
}

/// The stateboard that `board` would start, but one whose file may not grow: what a disk that is full after all, or one
/// that fails, does to a commit.
fn start_without_growth(board: &Board) -> Child {
    /// Of `ulimit -f`.
    const BLOCK: u64 = 512;
    let size = std::fs::metadata(board.data_dir.join(FILE_NAME)).expect("its file").len();
    // Without the trap the kernel would end it before it learns of the error; it does not outlive a test that fails.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec timeout -s KILL 60 \"$@\"", size / BLOCK);
    let command = board.command();
    let mut limited = Command::new("sh");
    limited.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
    limited.env("RUST_LOG", "info").stderr(Stdio::piped()).spawn().expect("sh is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_fails_ends_the_process_with_a_message_and_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut board = Board::start(directory.path());
    let client = board.client();
    let mut session = within(client.campaign(&candidate(), None)).await.expect("the lock");
    let token = session.grant().token;
    board.kill();
    let process = start_without_growth(&board);
    let ended = tokio::task::spawn_blocking(move || process.wait_with_output());
    within(session.renew()).await.expect("it is there");
    let mut answered = Vec::new();
    // Each set takes more room; at some point the file would have to grow.
    let error = loop {
        let set = format!("orders-{}", answered.len() + 1);
        let change = Change { decision: "x".repeat(16_000), ..change(&set, 1, token.epoch) };
        match within(client.appoint(token, vec![change])).await {
            Ok(AppointOutcome::Applied(_)) => answered.push(set),
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ProviderError::Unknown(_)), "no answer says what became of it: {error}");
    let output = within(ended).await.expect("no panic").expect("it is ours");
    assert_eq!(output.status.code(), Some(baton_stateboard::EXIT_STORAGE));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("stopping at once") && said.contains("could not be made durable"), "{said}");

    board.start_again();
    within(session.renew()).await.expect("it is back");
    let there = within(client.read()).await.expect("reads are served");
    assert!(!answered.is_empty() && there.records.len() <= answered.len() + 1);
    for set in answered {
        assert!(there.records.contains_key(&ReplicaSetName::parse(&set).expect("a name")), "{set} is lost");
    }
}
