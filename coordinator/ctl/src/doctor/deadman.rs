//! What a deadman could have here: its protection and its cgroup, tried in a process of its own by the deadman's code.

use super::{Finding, Verdict};
use baton_engine::deadman::trial::{self, Trial};
use std::path::Path;
use std::time::Duration;

/// The hidden first argument that makes this program the tried process.
pub const TRIAL: &str = "doctor-deadman-trial";

pub(super) async fn check(patience: Duration) -> Vec<Finding> {
    let tried =
        tokio::task::spawn_blocking(move || trial::run(Path::new("/proc/self/exe"), &[TRIAL], patience));
    match tried.await {
        Ok(Ok(trial)) => judge(&trial),
        Ok(Err(why)) => vec![Finding::skipped("deadman", why)],
        Err(error) => vec![Finding::skipped("deadman", error)],
    }
}

fn judge(trial: &Trial) -> Vec<Finding> {
    let mut findings = vec![match &trial.cgroup {
        Ok(path) => Finding::ok("cgroup", format!("{} was made, entered and killed", path.display())),
        Err(what) => Finding::new(
            "cgroup",
            Verdict::Warning,
            format!("a deadman gets no cgroup of its own here: {what}"),
            "it would hold the engine's process tree, which is weaker: set Delegate=yes in the unit, never \
             ProtectControlGroups=yes, and use cgroup v2",
        ),
    }];
    if trial.weaknesses.is_empty() {
        let evidence = "memory locked, real-time priority, last to be chosen when memory runs out";
        findings.push(Finding::ok("deadman", evidence));
    }
    findings.extend(trial.weaknesses.iter().map(|weakness| {
        let advice = "run the daemon as root, or give its unit LimitMEMLOCK=infinity, LimitRTPRIO=1, LimitNICE=-10 and \
                      OOMScoreAdjust=-900; in a container it needs SYS_NICE, IPC_LOCK and SYS_RESOURCE";
        Finding::new("deadman", Verdict::Warning, format!("of a deadman here: {weakness}"), advice)
    }));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_weakness_is_a_row() {
        let whole = Trial { weaknesses: vec![], cgroup: Ok("/sys/fs/cgroup/x".into()) };
        assert!(judge(&whole).iter().all(|finding| finding.verdict == Verdict::Ok));
        let weak = Trial { weaknesses: vec!["a".into(), "b".into()], cgroup: Err("no tree".into()) };
        let verdicts: Vec<Verdict> = judge(&weak).iter().map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Verdict::Warning; 3]);
    }
}
