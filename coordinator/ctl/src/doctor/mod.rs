//! `batonctl doctor`: is this host fit to be trusted with an engine? Each check is a row: how it is, the evidence, what to
//! do. It reads the daemon's configuration with the daemon's code, and changes nothing but two temporary things that it
//! removes again: a file in `state_dir` and a cgroup.
//!
//! It does not know the protocol; where a row is measured against a time, that time is the cluster's own, or the default's
//! where no provider could be asked.

mod boot_fence;
mod clock;
mod deadman;
mod disk;
mod engine;
mod files;
mod host;
mod kinds;
mod ports;
mod provider;
mod tool;

use crate::args::DoctorArgs;
use crate::{Exit, Io, render};
use baton_coordinator::config::{Config, Overrides};
use baton_core::record::Settings;
use baton_core::timing::Timing;
use serde::Serialize;
use std::time::Duration;

pub use deadman::TRIAL;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing, nothing to do.
    Notice,
    /// It works, and is weaker than it could be.
    Warning,
    /// It does not work, or is not safe.
    Problem,
    /// It could not be looked at.
    Skipped,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check: a stable word for programs.
    pub check: &'static str,
    /// Of what, where there are several: an instance, a key, an address; empty else.
    pub about: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen; of a skipped check, why nothing was.
    pub evidence: String,
    /// What to do; empty where there is nothing to do.
    pub advice: String,
}

impl Finding {
    fn new(
        check: &'static str,
        verdict: Verdict,
        evidence: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { check, about: String::new(), verdict, evidence: evidence.into(), advice: advice.into() }
    }

    fn ok(check: &'static str, evidence: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, evidence, "")
    }

    fn skipped(check: &'static str, why: impl std::fmt::Display) -> Self {
        Self::new(check, Verdict::Skipped, format!("not looked at: {why}"), "")
    }

    fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }
}

/// The times that rows are measured against.
#[derive(Clone, Debug)]
struct Times {
    timing: Timing,
    clock_drift_ppm: u32,
    /// Whether they are the cluster's own.
    known: bool,
}

impl Times {
    /// Those of `settings`, or the default's where these are no settings that a cluster could have.
    fn of(settings: Option<&Settings>) -> Option<Self> {
        let known = settings.is_some();
        let settings = settings.cloned().unwrap_or_default();
        let timing = Timing::new(&settings).or_else(|_| Timing::new(&Settings::default())).ok()?;
        Some(Self { timing, clock_drift_ppm: settings.clock_drift_ppm, known })
    }

    /// The lease, and where it comes from.
    fn lease(&self) -> String {
        let whose = if self.known { "the cluster's" } else { "the default" };
        format!("{whose} lease of {}", self.timing.lease_ttl)
    }
}

/// Looks at everything and shows it.
///
/// # Errors
/// Those of the output.
pub(crate) async fn run(
    args: &DoctorArgs,
    timeout: Duration,
    json: bool,
    io: &mut Io<'_>,
) -> std::io::Result<Exit> {
    let findings = examine(args, timeout).await;
    let problems = findings.iter().filter(|finding| finding.verdict == Verdict::Problem).count();
    if json {
        crate::write_json(io, &serde_json::json!({"findings": findings, "problems": problems}))?;
    } else {
        write!(io.out, "{}", render::findings(&findings, io.palette))?;
    }
    Ok(if problems == 0 { Exit::Done } else { Exit::Failed })
}

/// What is the same for several instances is said once, of the host.
fn add(findings: &mut Vec<Finding>, new: Finding) {
    let is_same = |old: &&mut Finding| {
        new.verdict != Verdict::Ok && old.check == new.check && old.evidence == new.evidence
    };
    match findings.iter_mut().find(is_same) {
        Some(old) => old.about.clear(),
        None => findings.push(new),
    }
}

async fn examine(args: &DoctorArgs, timeout: Duration) -> Vec<Finding> {
    let mut findings = Vec::new();
    let config = match Config::load(&args.config, baton_config::environment(), &Overrides::default()) {
        Ok(config) => {
            let (name, cluster) = (&config.name, &config.identity.cluster);
            let evidence = format!("{}: coordinator {name} of cluster {cluster}", args.config.display());
            findings.push(Finding::ok("config", evidence));
            let issues = config.issues.iter();
            let advice = "see docs/operations.md, *Ports and files*";
            findings
                .extend(issues.map(|issue| Finding::new("config", Verdict::Warning, issue.clone(), advice)));
            Some(config)
        }
        Err(problems) => {
            let advice = "correct it; `baton-coordinator check-config` says the same";
            let rows = problems.0.iter();
            findings.extend(
                rows.map(|problem| Finding::new("config", Verdict::Problem, problem.to_string(), advice)),
            );
            None
        }
    };
    findings.push(host::runs_as(config.as_ref().map(|config| config.state_dir.as_path())));
    findings.push(host::kernel());
    findings.extend(host::open_files(config.as_ref()));
    let Some(config) = config else {
        findings.extend(clock::check(Times::of(None).as_ref()).await);
        findings.extend(deadman::check(timeout).await);
        let why = "the configuration cannot be used";
        let rest = ["secrets", "provider", "port", "state-dir", "engine"];
        findings.extend(rest.map(|check| Finding::skipped(check, why)));
        return findings;
    };
    findings.extend(files::check(&config));
    let (reached, settings) = provider::check(&config, timeout).await;
    findings.extend(reached);
    let times = Times::of(settings.as_ref());
    findings.extend(clock::check(times.as_ref()).await);
    let (ports, running) = ports::check(&config, timeout).await;
    findings.extend(ports);
    findings.extend(disk::check(&config, times.as_ref(), timeout).await);
    if config.instances.is_empty() {
        findings.push(Finding::skipped("engine", "this host guards no instance"));
        return findings;
    }
    for instance in config.instances.values() {
        for finding in engine::check(instance, running, timeout).await {
            add(&mut findings, finding);
        }
    }
    findings.extend(deadman::check(timeout).await);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_for_several_instances_is_said_once() {
        let warning = |about: &str| Finding::new("boot-fence", Verdict::Warning, "a unit", "").about(about);
        let mut findings = Vec::new();
        add(&mut findings, warning("a1"));
        add(&mut findings, warning("a2"));
        add(&mut findings, Finding::ok("boot-fence", "fenced").about("a1"));
        add(&mut findings, Finding::ok("boot-fence", "fenced").about("a2"));
        let about: Vec<&str> = findings.iter().map(|finding| finding.about.as_str()).collect();
        assert_eq!(about, ["", "a1", "a2"]);
    }
}
