//! `chaos check DIR…`: judges saved evidence again, wholly offline. The same files give the same verdict, on any machine.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;

use crate::cli::Check;
use crate::evidence::Evidence;
use crate::verdict::{Judgement, Line, Totals, Verdict, judge};

/// Judges every folder, prints what was found, and gives the gravest verdict.
///
/// # Errors
/// A folder cannot be read as evidence, or its judgement not be written beside it.
pub fn run(arguments: &Check) -> anyhow::Result<Verdict> {
    let mut totals = Totals::default();
    for folder in &arguments.folders {
        let (evidence, judgement) = folder_of(folder)?;
        eprintln!("{}", tell(&evidence, &judgement));
        if arguments.json {
            println!("{}", serde_json::to_string(&Line::new(&evidence, &judgement))?);
        }
        totals.add(&evidence, &judgement);
    }
    if arguments.json && arguments.folders.len() > 1 {
        println!("{}", serde_json::to_string(&totals)?);
    }
    Ok(totals.verdict())
}

/// Reads and judges one folder, and leaves the judgement beside the evidence.
///
/// # Errors
/// It cannot be read as evidence, or the judgement not be written.
pub fn folder_of(folder: &Path) -> anyhow::Result<(Evidence, Judgement)> {
    let evidence = Evidence::read(folder).with_context(|| format!("read {}", folder.display()))?;
    let judgement = judge(&evidence);
    let path = folder.join("verdict.json");
    let text = serde_json::to_string_pretty(&judgement)? + "\n";
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok((evidence, judgement))
}

/// The judgement for people, as they read it in a terminal.
#[must_use]
pub fn tell(evidence: &Evidence, judgement: &Judgement) -> String {
    let run = &evidence.run;
    let mut text = String::new();
    // Writing to a string cannot fail; the results below are dropped for that reason.
    let _ = writeln!(
        text,
        "{} · {} · {} · {} · seed {}: {}",
        run.scenario,
        run.engine,
        run.provider,
        run.mode.name(),
        run.seed,
        judgement.verdict
    );
    for finding in &judgement.findings {
        let _ = writeln!(text, "  {:<8} {:<10} {}", finding.verdict, finding.checker, finding.looked_at);
        for reason in &finding.because {
            let _ = writeln!(text, "           {reason}");
        }
        let more = finding.found - finding.because.len() as u64;
        if more > 0 {
            let _ = writeln!(text, "           and {more} more");
        }
    }
    for outage in &judgement.outages {
        let seconds = |micros: Option<u64>, none: &str| {
            micros.map_or_else(|| none.to_owned(), |micros| format!("{:.3} s", micros as f64 / 1e6))
        };
        let _ = writeln!(
            text,
            "  outage   {:<24} {} of {} allowed ({})",
            outage.name,
            seconds(outage.took_us, "not measured"),
            seconds(outage.allowed_us, "any"),
            outage.bound
        );
    }
    let _ = write!(text, "  repeat   {}", run.command);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::samples;

    #[test]
    fn a_saved_run_is_judged_again_with_the_same_outcome() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        samples::write(&samples::failover(), folder.path());
        let (evidence, first) = folder_of(folder.path()).expect("it is sound");
        let (_, again) = folder_of(folder.path()).expect("its own verdict is in nobody's way");
        assert_eq!((first.verdict, &first), (Verdict::Valid, &again));
        assert!(folder.path().join("verdict.json").exists());
        let told = tell(&evidence, &first);
        assert!(told.contains("kill-master-host · redis · stateboard · sync · seed 7: valid"), "{told}");
        assert!(told.contains("3.210 s of 4.000 s allowed (timing, class silent)"), "{told}");
        assert!(told.ends_with("repeat   chaos run kill-master-host --seed 7"), "{told}");
    }

    #[test]
    fn a_folder_that_is_no_evidence_is_named_with_its_flaw() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments = Check { folders: vec![folder.path().to_owned()], json: false };
        let error = format!("{:#}", run(&arguments).expect_err("it is empty"));
        assert!(error.contains("is not a folder of evidence"), "{error}");
    }

    #[test]
    fn the_gravest_verdict_of_several_runs_counts() {
        let (good, bad) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        samples::write(&samples::failover(), good.path());
        let mut evidence = samples::failover();
        evidence.ending = None;
        samples::write(&evidence, bad.path());
        let arguments = Check { folders: vec![good.path().into(), bad.path().into()], json: false };
        assert_eq!(run(&arguments).expect("both are sound"), Verdict::Unknown);
    }
}
