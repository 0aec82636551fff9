//! The boot-time fence: could this engine come up writable without a guard? A supervised one is always started fenced, as
//! long as nobody else starts it; an adopted one is what its own configuration file makes it.

use super::engine::Answered;
use super::kinds::{Known, known};
use super::{Finding, Verdict};
use baton_coordinator::config::InstanceConfig;
use std::fs;
use std::path::{Path, PathBuf};

const CHECK: &str = "boot-fence";
/// Where the service manager has links to what it starts at boot.
const ENABLED: &str = "/etc/systemd/system";

pub(super) fn check(instance: &InstanceConfig, answered: Option<&Answered>, running: bool) -> Vec<Finding> {
    let engine = &instance.engine;
    let supervised = !engine.command.is_empty();
    let file = configuration(&engine.command, answered);
    let mut findings = vec![if supervised {
        let evidence = "its deadman starts it as a replica of nowhere, whatever its own file says";
        Finding::ok(CHECK, evidence)
    } else {
        judge_file(file.as_deref(), instance.electable)
    }];
    if supervised {
        let own = [file.as_deref(), engine.data_dir.as_deref()];
        let units = enabled_units(Path::new(ENABLED));
        findings.extend(judge_units(known(&engine.kind), &units, own.into_iter().flatten()));
        let group = answered.and_then(|answered| answered.process_id).and_then(group_of);
        findings.extend(group.and_then(|group| judge_group(&group, running)));
    }
    findings
}

/// The file that the engine's next start reads.
fn configuration(command: &[String], answered: Option<&Answered>) -> Option<PathBuf> {
    let told = answered.and_then(|answered| answered.about.config_file.clone());
    told.or_else(|| command.iter().skip(1).find(|word| word.ends_with(".conf")).map(PathBuf::from))
}

/// An adopted engine.
fn judge_file(file: Option<&Path>, electable: bool) -> Finding {
    let advice = "add `replicaof 127.0.0.1 1` and `replica-read-only yes` to its file, or let Baton start it (command)";
    let Some(file) = file else {
        let evidence = "adopted, and it tells no configuration file: its own restart brings it up writable";
        return Finding::new(CHECK, verdict(electable), evidence, advice);
    };
    let shown = file.display();
    match fs::read_to_string(file) {
        Ok(text) if starts_as_replica(&text) => {
            Finding::ok(CHECK, format!("adopted; {shown} starts it as a replica"))
        }
        Ok(_) => {
            let evidence =
                format!("adopted, and {shown} names no master: its own restart brings it up writable");
            Finding::new(CHECK, verdict(electable), evidence, advice)
        }
        Err(error) => {
            let evidence = format!("adopted, and {shown} cannot be read here: {error}");
            Finding::new(CHECK, verdict(electable), evidence, "look whether it has a line `replicaof …`")
        }
    }
}

/// One that is never appointed has nothing to lose but its own replicas' data.
fn verdict(electable: bool) -> Verdict {
    if electable { Verdict::Warning } else { Verdict::Notice }
}

/// Whether a Redis with this file comes up as a replica: the last such line counts.
fn starts_as_replica(text: &str) -> bool {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut masters = lines.filter(|words| {
        words.first().is_some_and(|word| {
            word.eq_ignore_ascii_case("replicaof") || word.eq_ignore_ascii_case("slaveof")
        })
    });
    masters.next_back().is_some_and(|words| words.len() == 3 && !words[1].eq_ignore_ascii_case("no"))
}

/// `(name, text)` of every unit that is started at boot.
fn enabled_units(root: &Path) -> Vec<(String, String)> {
    let folders = fs::read_dir(root).into_iter().flatten().flatten();
    let wants = folders.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.ends_with(".wants") || name.ends_with(".requires")
    });
    let links = wants.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
    links
        .filter_map(|link| {
            let name = link.file_name().to_string_lossy().into_owned();
            // Reading follows the link.
            Some((name, fs::read_to_string(link.path()).ok()?))
        })
        .collect()
}

/// Units that start this engine, or may. `own`: paths that only its own command names.
fn judge_units<'a>(
    known: &Known,
    units: &[(String, String)],
    own: impl Iterator<Item = &'a Path>,
) -> Vec<Finding> {
    let own: Vec<&Path> = own.collect();
    let starts = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim);
        lines.filter(|line| line.starts_with("ExecStart")).map(str::to_owned).collect()
    };
    let mut findings = Vec::new();
    for (name, text) in units {
        let starts = starts(text);
        let is_named =
            starts.iter().any(|line| line.split_whitespace().any(|word| own.contains(&Path::new(word))));
        let is_like = starts.iter().any(|line| known.unit_words.iter().any(|word| line.contains(word)));
        if is_named {
            let evidence = format!("{name} starts this engine at boot, outside of Baton");
            let advice = format!("systemctl disable --now {name}");
            findings.push(Finding::new(CHECK, Verdict::Problem, evidence, advice));
        } else if is_like {
            let evidence = format!("{name} starts a {} at boot", known.called);
            let advice = format!(
                "make sure that it is not this engine (same port or data): else systemctl disable --now {name}"
            );
            findings.push(Finding::new(CHECK, Verdict::Warning, evidence, advice));
        }
    }
    findings
}

fn group_of(pid: u32) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    groups.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// A supervised engine that runs in another service's cgroup was started by that service.
fn judge_group(group: &str, running: bool) -> Option<Finding> {
    let unit = group.split('/').find(|part| part.ends_with(".service"))?;
    let is_batons =
        unit.contains("baton") || group.rsplit('/').next().is_some_and(|own| own.starts_with("baton-"));
    if is_batons {
        return None;
    }
    let evidence = format!("it runs already, in {unit}");
    let advice = format!("it is configured to be started by Baton: systemctl disable --now {unit}");
    let verdict = if running { Verdict::Problem } else { Verdict::Warning };
    Some(Finding::new(CHECK, verdict, evidence, advice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_coordinator::config::EngineKind;

    #[test]
    fn a_file_without_a_master_comes_up_writable() {
        assert!(starts_as_replica("port 6379\nreplicaof 127.0.0.1 1\n"));
        assert!(starts_as_replica("SLAVEOF 10.0.0.1 6379\n"));
        assert!(!starts_as_replica("port 6379\n# replicaof 127.0.0.1 1\n"));
        assert!(!starts_as_replica("replicaof 10.0.0.1 6379\nreplicaof no one\n"));
        assert!(!starts_as_replica(""));
    }

    #[test]
    fn an_adopted_engine_is_judged_by_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a1.conf");
        fs::write(&file, "port 6379\n").expect("writable");
        assert_eq!(judge_file(Some(&file), true).verdict, Verdict::Warning);
        assert_eq!(judge_file(Some(&file), false).verdict, Verdict::Notice);
        fs::write(&file, "port 6379\nreplicaof 127.0.0.1 1\n").expect("writable");
        assert_eq!(judge_file(Some(&file), true).verdict, Verdict::Ok);
        assert_eq!(judge_file(Some(&folder.path().join("none")), true).verdict, Verdict::Warning);
        assert_eq!(judge_file(None, true).verdict, Verdict::Warning);
    }

    #[test]
    fn a_unit_that_starts_the_engine_at_boot_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let wants = folder.path().join("multi-user.target.wants");
        fs::create_dir(&wants).expect("writable");
        let write = |name: &str, text: &str| fs::write(wants.join(name), text).expect("writable");
        write("redis-a1.service", "[Service]\nExecStart=/usr/bin/redis-server /etc/redis/a1.conf\n");
        write("redis-b1.service", "[Service]\nExecStart=/usr/bin/redis-server /etc/redis/b1.conf\n");
        write("cron.service", "[Service]\nExecStart=/usr/sbin/cron -f\n");
        let own = [Path::new("/etc/redis/a1.conf")];
        let units = enabled_units(folder.path());
        let mut found = judge_units(known(&EngineKind::Redis), &units, own.into_iter());
        found.sort_by(|a, b| a.evidence.cmp(&b.evidence));
        let verdicts: Vec<Verdict> = found.iter().map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Verdict::Problem, Verdict::Warning]);
        assert!(found[0].advice.contains("disable --now redis-a1.service"), "{found:?}");
    }

    #[test]
    fn an_engine_in_another_service_was_started_by_that() {
        assert_eq!(judge_group("/system.slice/baton-coordinator.service/baton-a1-1", true), None);
        assert_eq!(judge_group("/user.slice/user-0.slice", true), None);
        let other = judge_group("/system.slice/redis-server.service", true).expect("found");
        assert_eq!(other.verdict, Verdict::Problem);
    }
}
