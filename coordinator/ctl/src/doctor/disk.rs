//! Disks: what must survive a restart has to be on one, with room, and a sync must be short against the lease. A guard's
//! promise is on disk before it is answered, and so is the number of its run.

use super::{Finding, Times, Verdict};
use baton_coordinator::config::{Config, ProviderConfig};
use baton_core::time::Span;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many syncs are measured.
const SYNCS: usize = 20;
/// Less room than this is next to none.
const ROOM_LOW: u64 = 64 * 1024 * 1024;
/// Less than this part of a data volume is worth a word.
const ROOM_PART: u64 = 20;
/// File systems of `statfs(2)` that matter here.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
const OVERLAY: u64 = 0x794c_7630;
const NFS: u64 = 0x6969;

pub(super) async fn check(config: &Config, times: Option<&Times>, patience: Duration) -> Vec<Finding> {
    let mut findings = state_dir(&config.state_dir, times, patience).await;
    let mut dirs: Vec<(String, PathBuf)> = Vec::new();
    if let ProviderConfig::Embedded { data_dir } = &config.provider {
        dirs.push(("provider.data_dir".to_owned(), data_dir.clone()));
    }
    for instance in config.instances.values() {
        let dir = instance.engine.data_dir.clone();
        dirs.extend(dir.map(|dir| (format!("{}.engine.data_dir", instance.name), dir)));
    }
    for (key, dir) in dirs {
        findings.push(data_dir(&dir).about(key));
    }
    findings
}

async fn state_dir(dir: &Path, times: Option<&Times>, patience: Duration) -> Vec<Finding> {
    const CHECK: &str = "state-dir";
    let shown = dir.display();
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            let evidence = format!("{shown} is no directory");
            return vec![Finding::new(CHECK, Verdict::Problem, evidence, "make it one, or set another")];
        }
        Err(error) => {
            let advice =
                format!("mkdir -p -m 700 {shown}, owned by the daemon's user (the unit has StateDirectory)");
            return vec![Finding::new(CHECK, Verdict::Problem, format!("{shown}: {error}"), advice)];
        }
    }
    let mut findings = vec![kind(dir), room(CHECK, dir)];
    // A disk that hangs holds whoever waits for it: a thread does, and is left behind where it takes too long.
    let probed = dir.to_owned();
    let syncing = tokio::task::spawn_blocking(move || syncs(&probed));
    findings.push(match tokio::time::timeout(patience, syncing).await {
        Ok(Ok(Ok(took))) => judge_syncs(took, times),
        Ok(Ok(Err(error))) => Finding::new(
            CHECK,
            Verdict::Problem,
            format!("nothing can be written in {shown}: {error}"),
            "give it to the daemon's user, with mode 700",
        ),
        Ok(Err(_)) => Finding::skipped("disk-sync", "the measurement ended early"),
        Err(_) => Finding::new(
            "disk-sync",
            Verdict::Problem,
            format!("{SYNCS} small syncs in {shown} did not end within {}", Span::from_duration(patience)),
            "the disk hangs or is overloaded: look at dmesg and iostat",
        ),
    });
    findings
}

/// On what it is.
fn kind(dir: &Path) -> Finding {
    match rustix::fs::statfs(dir) {
        Ok(found) => judge_kind(dir, u64::try_from(found.f_type).unwrap_or(0) & 0xffff_ffff),
        Err(error) => Finding::skipped("state-dir", format!("its file system is not known: {error}")),
    }
}

fn judge_kind(dir: &Path, kind: u64) -> Finding {
    let shown = dir.display();
    let forgets = "a guard that lost its promises may give them twice: put state_dir on a disk";
    let (verdict, evidence, advice) = match kind {
        TMPFS => (Verdict::Problem, format!("{shown} is on tmpfs, which a reboot empties"), forgets),
        RAMFS => (Verdict::Problem, format!("{shown} is on ramfs, which a reboot empties"), forgets),
        OVERLAY => (
            Verdict::Warning,
            format!("{shown} is in a container's own layer, which goes with the container"),
            "mount a volume there: a guard that lost its state waits a lease as a stranger",
        ),
        NFS => (
            Verdict::Warning,
            format!("{shown} is on NFS"),
            "use a local disk: when the server is away, no promise can be kept",
        ),
        _ => return Finding::ok("state-dir", format!("{shown} is on a disk")),
    };
    Finding::new("state-dir", verdict, evidence, advice)
}

fn data_dir(dir: &Path) -> Finding {
    const CHECK: &str = "data-dir";
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => room(CHECK, dir),
        Ok(_) => {
            let evidence = format!("{} is no directory", dir.display());
            Finding::new(CHECK, Verdict::Problem, evidence, "set another")
        }
        Err(error) => {
            let evidence = format!("{}: {error}", dir.display());
            Finding::new(CHECK, Verdict::Problem, evidence, "make it, owned by the engine's user")
        }
    }
}

fn room(check: &'static str, dir: &Path) -> Finding {
    match rustix::fs::statvfs(dir) {
        Ok(found) => judge_room(check, dir, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize),
        Err(error) => Finding::skipped(check, format!("the room is not known: {error}")),
    }
}

fn judge_room(check: &'static str, dir: &Path, free: u64, of: u64) -> Finding {
    let bytes = crate::render::bytes;
    let evidence = format!("{} has {} free of {}", dir.display(), bytes(free), bytes(of));
    let advice = "make room: an engine or a guard that cannot write is fenced";
    if free < ROOM_LOW {
        Finding::new(check, Verdict::Problem, evidence, advice)
    } else if free < of / ROOM_PART {
        Finding::new(check, Verdict::Warning, evidence, advice)
    } else {
        Finding::ok(check, evidence)
    }
}

/// Writes and syncs a small file again and again; removes it.
fn syncs(dir: &Path) -> io::Result<Vec<Duration>> {
    let path = dir.join(format!(".baton-doctor-{}", std::process::id()));
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
    let measured = (0..SYNCS).map(|_| {
        let start = Instant::now();
        file.write_all(b"baton doctor\n")?;
        file.sync_data()?;
        Ok(start.elapsed())
    });
    let measured = measured.collect();
    fs::remove_file(&path)?;
    measured
}

fn judge_syncs(mut took: Vec<Duration>, times: Option<&Times>) -> Finding {
    const CHECK: &str = "disk-sync";
    took.sort_unstable();
    let (Some(median), Some(worst), Some(times)) = (took.get(took.len() / 2), took.last(), times) else {
        return Finding::skipped(CHECK, "nothing was measured");
    };
    let (median, worst) = (Span::from_duration(*median), Span::from_duration(*worst));
    let evidence = format!("median {median}, worst of {} {worst}; {}", took.len(), times.lease());
    // A promise is answered after a sync, and must come back within the beat in which it was asked for.
    if worst > times.timing.beat_master {
        let advice = format!(
            "a promise has to be on disk within a master's beat ({}): use a faster disk, or a longer lease",
            times.timing.beat_master
        );
        let verdict = if median > times.timing.beat_master { Verdict::Problem } else { Verdict::Warning };
        return Finding::new(CHECK, verdict, evidence, advice);
    }
    Finding::ok(CHECK, evidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reboot_empties_is_a_problem() {
        let dir = Path::new("/run/baton");
        assert_eq!(judge_kind(dir, TMPFS).verdict, Verdict::Problem);
        assert_eq!(judge_kind(dir, RAMFS).verdict, Verdict::Problem);
        assert_eq!(judge_kind(dir, OVERLAY).verdict, Verdict::Warning);
        assert_eq!(judge_kind(dir, 0xef53).verdict, Verdict::Ok);
    }

    #[test]
    fn room_is_judged_by_what_is_left() {
        let (dir, gib) = (Path::new("/data"), 1024 * 1024 * 1024);
        assert_eq!(judge_room("data-dir", dir, 50 * gib, 100 * gib).verdict, Verdict::Ok);
        assert_eq!(judge_room("data-dir", dir, 4 * gib, 100 * gib).verdict, Verdict::Warning);
        assert_eq!(judge_room("data-dir", dir, 1024, 100 * gib).verdict, Verdict::Problem);
    }

    #[test]
    fn syncs_are_held_against_a_beat_of_the_lease() {
        let times = Times::of(None).expect("the defaults are good");
        let beat = times.timing.beat_master.as_duration();
        let quick = Duration::from_millis(1);
        assert_eq!(judge_syncs(vec![quick; 20], Some(&times)).verdict, Verdict::Ok);
        let once = judge_syncs(vec![quick, quick, beat * 2], Some(&times));
        assert_eq!(once.verdict, Verdict::Warning);
        assert!(once.evidence.ends_with("the default lease of 3s"), "{once:?}");
        assert_eq!(judge_syncs(vec![beat * 2; 20], Some(&times)).verdict, Verdict::Problem);
    }

    #[tokio::test]
    async fn a_directory_is_measured_and_left_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(syncs(folder.path()).expect("writable").len(), SYNCS);
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
        let missing = folder.path().join("none");
        let findings = state_dir(&missing, None, Duration::from_secs(20)).await;
        assert_eq!(findings.first().map(|finding| finding.verdict), Some(Verdict::Problem));
    }
}
