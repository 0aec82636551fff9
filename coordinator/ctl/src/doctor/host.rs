//! The host as such: as whom this runs, the kernel, how many files may be open.

use super::{Finding, Verdict};
use baton_coordinator::config::Config;
use rustix::process::Resource;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The first kernel with `pidfd_open`, without which no deadman holds anything.
const PIDFD: (u32, u32) = (5, 3);
/// The first kernel with `cgroup.kill`.
const CGROUP_KILL: (u32, u32) = (5, 14);
/// What the coordinator itself opens: ports, routers, peers, and a little for each instance.
const FILES_OF_COORDINATOR: u64 = 1_024;
const FILES_OF_INSTANCE: u64 = 64;
/// What a Redis wants for its default of 10,000 clients; with less it lowers that number by itself.
const FILES_OF_ENGINE: u64 = 10_032;

/// Rights and limits are those of whoever runs the check: it should be who runs the daemon.
pub(super) fn runs_as(state_dir: Option<&Path>) -> Finding {
    let own = rustix::process::geteuid().as_raw();
    let group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("none").to_owned();
    let evidence = format!("user {own}, cgroup {group}");
    let owner = state_dir.and_then(|dir| std::fs::metadata(dir).ok()).map(|found| found.uid());
    judge_user(own, owner, evidence)
}

fn judge_user(own: u32, owner: Option<u32>, evidence: String) -> Finding {
    match owner {
        Some(owner) if owner != own => Finding::new(
            "runs-as",
            Verdict::Warning,
            format!("{evidence}; state_dir belongs to user {owner}"),
            format!(
                "run this as the daemon runs: systemd-run --pty --uid={owner} -p Delegate=yes -p LimitMEMLOCK=infinity \
                 -p LimitNOFILE=65536 batonctl doctor"
            ),
        ),
        Some(_) | None => Finding::ok("runs-as", evidence),
    }
}

pub(super) fn kernel() -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    judge_kernel(&release)
}

fn judge_kernel(release: &str) -> Finding {
    let evidence = format!("Linux {release}");
    let Some(version) = version_of(release) else {
        return Finding::new("kernel", Verdict::Notice, evidence, "its version cannot be read");
    };
    if version < PIDFD {
        return Finding::new(
            "kernel",
            Verdict::Problem,
            evidence,
            "5.3 or later is needed: older ones have no pidfd, by which a deadman holds an engine",
        );
    }
    if version < CGROUP_KILL {
        return Finding::new(
            "kernel",
            Verdict::Warning,
            evidence,
            "5.14 or later has cgroup.kill; before it an engine's processes are killed one by one",
        );
    }
    Finding::ok("kernel", evidence)
}

fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|sign: char| !sign.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub(super) fn open_files(config: Option<&Config>) -> Option<Finding> {
    let config = config?;
    let limit = rustix::process::getrlimit(Resource::Nofile).current;
    let supervised = config.instances.values().any(|instance| !instance.engine.command.is_empty());
    Some(judge_files(limit, config.instances.len() as u64, supervised))
}

/// `limit`: `None` where there is none.
fn judge_files(limit: Option<u64>, instances: u64, supervised: bool) -> Finding {
    let own = FILES_OF_COORDINATOR + FILES_OF_INSTANCE * instances;
    let Some(limit) = limit else { return Finding::ok("open-files", "no limit") };
    let evidence = format!("at most {limit}");
    let advice = "set LimitNOFILE=65536 in the coordinator's unit; engines inherit it";
    if limit < own {
        let evidence = format!("{evidence}; about {own} may be needed for {instances} instances");
        return Finding::new("open-files", Verdict::Problem, evidence, advice);
    }
    if supervised && limit < FILES_OF_ENGINE {
        let evidence =
            format!("{evidence}; an engine inherits it and wants {FILES_OF_ENGINE} for 10000 clients");
        return Finding::new("open-files", Verdict::Warning, evidence, advice);
    }
    Finding::ok("open-files", evidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_judged_by_what_it_lacks() {
        assert_eq!(judge_kernel("6.18.44-fc-v669").verdict, Verdict::Ok);
        assert_eq!(judge_kernel("5.10.0-28-amd64").verdict, Verdict::Warning);
        assert_eq!(judge_kernel("4.19.0").verdict, Verdict::Problem);
        assert_eq!(judge_kernel("something").verdict, Verdict::Notice);
    }

    #[test]
    fn files_must_suffice_for_the_daemon_and_for_its_engines() {
        assert_eq!(judge_files(None, 500, true).verdict, Verdict::Ok);
        assert_eq!(judge_files(Some(65_536), 3, true).verdict, Verdict::Ok);
        assert_eq!(judge_files(Some(4_096), 3, true).verdict, Verdict::Warning);
        assert_eq!(judge_files(Some(4_096), 3, false).verdict, Verdict::Ok);
        assert_eq!(judge_files(Some(1_024), 3, false).verdict, Verdict::Problem);
    }

    #[test]
    fn another_user_than_the_daemons_is_said() {
        assert_eq!(judge_user(0, Some(0), "user 0".into()).verdict, Verdict::Ok);
        let other = judge_user(0, Some(990), "user 0".into());
        assert_eq!(other.verdict, Verdict::Warning);
        assert!(other.advice.contains("--uid=990"), "{other:?}");
    }
}
