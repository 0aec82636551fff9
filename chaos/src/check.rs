//! `chaos check DIR…`: judges saved evidence again, wholly offline. The same files give the same verdict, on any machine.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::Check;
use crate::evidence::{Evidence, file};
use crate::report::page::{self, PAGE, Runs};
use crate::verdict::{Judgement, Line, Totals, Verdict, judge};

/// How deep runs may lie below a folder that is reported.
const RUNS_DEPTH: usize = 3;

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

/// Judges every run below a folder, whose own page lists them all; gives the page.
///
/// # Errors
/// There is no run, one cannot be read, or a page not be written.
pub fn report(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut found = Vec::new();
    runs_below(folder, RUNS_DEPTH, &mut found)?;
    anyhow::ensure!(!found.is_empty(), "there is no evidence of a run below {}", folder.display());
    found.sort();
    let mut runs = Runs::default();
    for run in &found {
        let (evidence, judgement) = folder_of(run)?;
        let link = run.strip_prefix(folder).unwrap_or(run).join(PAGE);
        runs.add(&link.display().to_string(), &evidence, &judgement);
    }
    let path = folder.join(PAGE);
    std::fs::write(&path, runs.page()?).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// Folders of runs; a run has no others inside.
fn runs_below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.join(file::RUN).is_file() {
            found.push(path);
        } else if path.is_dir() && depth > 1 {
            runs_below(&path, depth - 1, found)?;
        }
    }
    Ok(())
}

/// Reads and judges one folder, and leaves the judgement and its page beside the evidence.
///
/// # Errors
/// It cannot be read as evidence, or the judgement or page not be written.
pub fn folder_of(folder: &Path) -> anyhow::Result<(Evidence, Judgement)> {
    let evidence = Evidence::read(folder).with_context(|| format!("read {}", folder.display()))?;
    let judgement = judge(&evidence);
    let path = folder.join("verdict.json");
    let text = serde_json::to_string_pretty(&judgement)? + "\n";
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    page::write(folder, &evidence, &judgement)?;
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
        for left in ["verdict.json", "index.html"] {
            assert!(folder.path().join(left).exists(), "{left}");
        }
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
    fn a_folder_of_runs_gets_a_page_that_links_to_each() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for place in ["one", "night/two"] {
            samples::write(&samples::failover(), &folder.path().join(place));
        }
        let page =
            std::fs::read_to_string(report(folder.path()).expect("both are sound")).expect("it is there");
        assert!(page.contains("href=\"one/index.html\"") && page.contains("href=\"night/two/index.html\""));
        assert!(folder.path().join("night/two/index.html").exists());
        let empty = tempfile::tempdir().expect("a temporary folder");
        assert!(report(empty.path()).is_err(), "a page about nothing says nothing");
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
