//! The pages of made-up runs: whole, self-contained, and telling what was found.

use super::*;
use crate::evidence::{Allowed, samples};
use crate::verdict::judge;

fn page(evidence: &Evidence) -> String {
    of_run(evidence, &judge(evidence)).expect("the template is whole")
}

#[test]
fn the_page_needs_nothing_from_outside() {
    for page in [page(&samples::failover()), page(&samples::small())] {
        for foreign in ["http:", "https:", "src=", "@import", "<script", "url("] {
            assert!(!page.contains(foreign), "{foreign} would be asked for elsewhere");
        }
    }
}

#[test]
fn the_page_of_a_good_run_says_so_and_how_to_repeat_it() {
    let page = page(&samples::failover());
    for told in [
        "<title>kill-master-host: valid</title>",
        "Everything that was promised was kept.",
        "chaos run kill-master-host --seed 7",
        "seed <b>7</b>",
        "3.21 s</b> <span class=\"soft\">of 4.00 s",
        "no write is lost that a replica had confirmed",
        "its processes were seen dead",
    ] {
        assert!(page.contains(told), "{told} is missing");
    }
}

#[test]
fn a_broken_promise_and_a_doubt_stand_in_the_headline() {
    let mut broken = samples::failover();
    broken.ending.as_mut().expect("it ended").term = 1;
    assert!(page(&broken).contains("A promise was broken: in the end the term was 1"));
    let mut doubtful = samples::failover();
    doubtful.faults[0].bite = None;
    assert!(page(&doubtful).contains("this run cannot show it: kill-host at 2.000 s: nobody looked"));
}

#[test]
fn what_a_cluster_said_is_text_and_never_markup() {
    let mut evidence = samples::failover();
    evidence.run.scenario = "<b>bold</b>".to_owned();
    evidence.faults[0].allowed = Allowed::Unbounded { why: "<script>alert(1)</script>".to_owned() };
    evidence.health[4].healthy = false;
    evidence.health[4].issues = vec!["\"><script>".to_owned()];
    let page = page(&evidence);
    assert!(!page.contains("<script") && !page.contains("<b>bold</b>"));
}

#[test]
fn a_folder_of_runs_shows_the_gravest_first_and_links_to_each() {
    let good = samples::failover();
    let mut bad = samples::failover();
    bad.ending.as_mut().expect("it ended").healthy = false;
    let mut runs = Runs::default();
    runs.add("one/index.html", &good, &judge(&good));
    runs.add("two/index.html", &bad, &judge(&bad));
    let page = runs.page().expect("the template is whole");
    let place = |text: &str| page.find(text).expect("it is there");
    assert!(place("two/index.html") < place("one/index.html"));
    assert!(page.contains("1 valid, 0 unknown, 1 invalid"));
    assert!(page.contains("the cluster did not become well again"));
}

#[test]
fn thousands_are_set_apart() {
    assert_eq!(
        [thousands(7), thousands(1_234), thousands(1_234_567)],
        ["7", "1\u{202f}234", "1\u{202f}234\u{202f}567"]
    );
}
