//! Seeds that a gate has time for: no property is broken, the runs are what they ought to be, and one seed is one run.

use baton_core::rules::{Rule, Rules};
use sim::run::{Plan, run};
use sim::search::{Search, Totals, counts, search};
use std::process::Command;

/// `BATON_SEEDS` asks for more of them, `BATON_FROM` for those from a number on.
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// The gate's seeds are always the same ones: it has to say the same of the same commit. `make nightly` takes those of its day.
#[test]
fn no_seed_breaks_a_property() {
    let (from, seeds) = (asked("BATON_FROM").unwrap_or(0), asked("BATON_SEEDS").unwrap_or(600));
    let mut totals = Totals::default();
    let mut broken = Vec::new();
    let asked = Search { from, seeds, rules: Rules::default(), threads: 2, enough: 3 };
    search(&asked, |seed, outcome| {
        totals.add(outcome);
        if let Some(violation) = &outcome.violation {
            broken.push(format!("seed {seed}: {violation}\nagain: make sim FROM={seed} SEEDS=1"));
        }
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    println!("{totals:?}");
    assert!(totals.seeds > 50 * totals.lacking, "{} runs lack something", totals.lacking);
    assert!(totals.judged > totals.seeds, "hardly any request was judged");
    assert!(totals.overlapping.median() >= 3 && totals.terms.median() >= 1);
}

/// What a seed draws may mean something else to a later build; what it once showed has a test or a story of its own as well, where one
/// could be made.
#[test]
fn seeds_that_once_went_wrong_go_well() {
    for (seed, story) in WENT_WRONG {
        let outcome = run(&Plan::of(*seed));
        assert_eq!(outcome.violation, None, "seed {seed}: {story}");
    }
}

const WENT_WRONG: &[(u64, &str)] = &[
    (300006050, "a first master that never led follows another, which is forced to lead"),
    (300000154, "the provider has lost its state, and its lock is taken by one who waits for nobody"),
    (
        140116138,
        "a longer pause is told before it is known to be recorded, and the next arbiter reads the shorter one",
    ),
    (140124882, "after a restore a beat comes that was sent before it, and its master leads no more"),
    (
        140169646,
        "the quorum is lowered to nothing while a member is being cut off, and its master is heard through others only",
    ),
    (
        3003674,
        "a member is severed late by the order of an arbiter before, under a master that its successor lets lead",
    ),
    (10020006, "one that takes a whole copy keeps its own replicas, and theirs becomes a mixture"),
    (10031908, "a term that wrote its mark and nothing else tells of a loss"),
    (10032878, "the members of a removed set come with two data sets, and a person decides"),
    (10038020, "the only member of its set lost its data, and identity is not checked"),
    (20011474, "a beat from before the end of a pause comes after it, and the master's host is lost"),
    (20018817, "after a restore the recorded master follows another, and is appointed and never told"),
    (20016262, "the answer to a renewal of the lock is late, and later renewals are lost"),
    (20021707, "the provider is put back to before commits waited"),
    (20033515, "a member's disk is stuck while it is severed, and the arbiter dies"),
    (20039195, "a fifth generation, and a term of the fourth that only a lost member knew of"),
    (20061922, "a longer lease becomes durable as the board ends, and nobody is told"),
    (30000067, "the provider is put back to a tombstone under which the set had begun anew"),
    (30002309, "a timed pause ends by itself at the very end of the time in which there has to be a master"),
    (30008916, "after a restore nobody knows whom a member follows whose engine answers nobody"),
    (40002706, "the write that was to list a master was lost, and it leads unheard after a restore"),
    (40012766, "a late fence and a hand that undoes it come between two looks of a master's guard"),
    (40016336, "an answer of before a restore comes once more, by another member"),
    (40022024, "evidence is accepted, and the master's host boots anew before a write lets anything be done"),
    (20079055, "a set is removed while its master goes on unheard, and the removal is restored away"),
    (60013635, "a candidate of a paused set fences what a hand made writable, and its deadman is disarmed"),
    (60001722, "two members of a removed set were made writable by hand, and a person says which stays"),
    (
        40019289,
        "the master's answer to one arbiter comes to the next, which has taken back what was answered",
    ),
    (90047000, "a person vouches for a host that is off, and which may hold what nobody else does"),
    (90056705, "a person's fence command turns off the very member that is then appointed"),
    (90003296, "a person calls a forced failover off that finds nobody, and names another member"),
    (
        80001760,
        "a person forces a member of another identity, which gives up at once, and so do all others in turn",
    ),
    (
        80011077,
        "a set that was removed begins anew empty, while an engine of it still replicates from its new master",
    ),
    (80030548, "members that report less than they held are expelled while a restored set is being settled"),
    (90036392, "a replica is severed late, by a fence that waited in its socket, as commits come to wait"),
    (
        90054809,
        "a switchover that was refused is taken up in a set that a restore holds, and stands in a person's way",
    ),
    (
        100011176,
        "only the member that was the master, and never served, may lead again, and a person has to name it",
    ),
    (100027764, "whom a person has appointed in a paused set never confirms, and no other word is taken"),
    (100035509, "the same, and the host of that one has booted anew"),
    (
        100056377,
        "all are heard after a restore; one of them has given up, and its engine does not answer the fence",
    ),
    (
        100058566,
        "whom a person has appointed in a paused set ends with its engine, and no other word is taken",
    ),
    (
        100060501,
        "an order to follow that was lost is carried out half a minute and a restart of the guard later",
    ),
    (110005612, "the same two seconds later, by one that has reported how much it holds"),
    (
        120053584,
        "a guard of a machine with an empty disk writes its file, reads nothing, and is started anew",
    ),
    (120059650, "a set is removed, and a restore forgets both the set and its removal"),
    (
        130029268,
        "a pin is given up while the provider goes back to before it, and whoever takes the lock is told a bound",
    ),
    (110019422, "a master that an old record calls a straggler is expelled, and asked to leave its own set"),
];

#[test]
fn the_same_seed_is_told_in_the_same_words_in_this_process_and_in_others() {
    for seed in [1, 2, 3] {
        let told = || run(&Plan { journal: true, ..Plan::of(seed) }).journal.join("\n") + "\n";
        let here = told();
        assert_eq!(here, told(), "seed {seed}");
        assert!(here.len() > 10_000, "seed {seed} tells of something");
        let other = Command::new(env!("CARGO_BIN_EXE_sim"))
            .args(["--journal", "--from", &seed.to_string()])
            .output()
            .expect("it was built with this test");
        assert_eq!(String::from_utf8_lossy(&other.stdout), here, "seed {seed} in another process");
    }
}

/// What is told is told of the very run that a silent search makes.
#[test]
fn a_run_that_is_told_ends_as_one_that_is_not() {
    for seed in 10..20 {
        let told = run(&Plan { journal: true, ..Plan::of(seed) });
        let silent = run(&Plan::of(seed));
        assert_eq!(told.simulated, silent.simulated, "seed {seed}");
        assert_eq!(told.answers, silent.answers, "seed {seed}");
        assert_eq!(told.recovery, silent.recovery, "seed {seed}");
    }
}

/// After each thing that happens only those are looked at whom it touched: whoever looks at all finds nothing more.
#[test]
fn looking_at_all_hosts_finds_nothing_that_was_passed_over() {
    for seed in 40..60 {
        let (plain, doubts) = (run(&Plan::of(seed)), run(&Plan { doubts: true, ..Plan::of(seed) }));
        assert_eq!((plain.violation, plain.answers), (doubts.violation, doubts.answers), "seed {seed}");
    }
}

/// A run without faults lacks what makes it one.
#[test]
fn a_run_without_faults_is_not_counted() {
    let outcome = run(&Plan { only: Some(Vec::new()), ..Plan::of(4) });
    assert_eq!((outcome.faults, outcome.violation.is_none(), counts(&outcome)), (0, true, false));
}

/// The command finds a broken rule, says where and by what, and how to see it again.
#[test]
fn the_command_finds_a_broken_rule_and_says_how_to_see_it_again() {
    let broken = Rule::WaitForOuterBound.name();
    let sim = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
        command
            .args(["--seeds", "200", "--json", "--break", broken])
            .args(more)
            .output()
            .expect("it was built")
    };
    let output = sim(&[]);
    let (line, prose) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{prose}");
    let read: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(read["break"], broken);
    assert!(read["found_by"].is_string() && read["first_seed"].is_number(), "{line}");
    assert!(prose.contains("faults suffice") && prose.contains("make sim FROM="), "{prose}");
    let again = prose.lines().find_map(|line| line.split("ONLY=").nth(1)).expect("how to see it");
    let only = again.split(' ').next().expect("the numbers");
    let told = sim(&["--journal", "--from", &read["first_seed"].to_string(), "--only", only]);
    assert!(!told.status.success(), "the shortest run breaks it too");
}
