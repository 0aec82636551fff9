//! The worlds of the gate, each searched wholly with its number of states pinned; and one world for each rule that a
//! small world can show, searched until the rule's breach is found.

use baton_core::rules::Rule;
use model::search::{search, search_deep};
use model::world::World;

const I2: &str = "I2 one writable instance";
const I4: &str = "I4 no writable instance without a durable record";
const I5: &str = "I5 every promised write is in the data of every later master";
const I6: &str = "I6 only the current epoch changes the record";
const REST: &str = "the record comes to rest";

/// How many states each world has. Another number means another model, or another protocol: look which, then pin it.
const STATES: [(&str, usize); 30] = [
    ("lease", 21_693),
    ("late", 284_586),
    ("stale", 95_571),
    ("stay", 297_313),
    ("again", 71_741),
    ("bare", 5_430),
    ("deadman", 21_801),
    ("one-way", 442_154),
    ("lock", 187_163),
    ("crash", 15_902),
    ("engine", 1_287),
    ("resign", 926_149),
    ("restart", 759_356),
    ("hand-over", 507_702),
    ("unknown", 51_040),
    ("first", 71_059),
    ("switchover", 374_286),
    ("rollback", 50_178),
    ("remove", 363_163),
    ("pause", 1_058_559),
    ("pause-ends", 785_893),
    ("pause-moves", 276_615),
    ("force", 1_405_099),
    ("promise", 1_732_641),
    ("relay", 184_580),
    ("raise", 131_240),
    ("lower", 107_009),
    ("data", 77_586),
    ("members", 103_354),
    ("timeless", 468_508),
];

fn holds(name: &str) {
    let world = World::named(name).expect("the table names worlds that there are");
    let found = search_deep(&world, None, |_, _| {});
    assert_eq!(found.violation.map(|(broken, _)| broken), None, "{name}");
    assert!(found.unseen.is_empty(), "{name} never shows {:?}", found.unseen);
    let pinned = STATES.iter().find(|(pinned, _)| *pinned == name).map(|(_, states)| *states);
    assert_eq!(Some(found.unique_states), pinned, "{name}");
}

fn breaks(name: &str, rule: &str, expected: &str) {
    let broken = Rule::named(rule).expect("a known rule");
    let world = World::named(name).expect("a known world").breaking(broken);
    let found = search_deep(&world, None, |_, _| {});
    let property = found.violation.map(|(property, _)| property);
    assert_eq!(property, Some(expected), "{name} without {rule}");
}

#[test]
fn every_world_of_the_gate_is_pinned() {
    let pinned: Vec<_> = STATES.iter().map(|(name, _)| *name).collect();
    let worlds: Vec<_> = World::of_ci().iter().map(|world| world.name).collect();
    assert_eq!(pinned, worlds);
}

#[test]
fn both_searches_find_the_same_and_the_broad_one_the_shortest_way() {
    let world = World::named("bare").expect("a known world");
    let (broad, deep) = (search(&world, 1, None, |_, _| {}), search_deep(&world, None, |_, _| {}));
    assert_eq!(
        (broad.unique_states, broad.generated_states, broad.exhausted),
        (deep.unique_states, deep.generated_states, deep.exhausted)
    );
    let broken = world.breaking(Rule::FenceBeforeDeadline);
    let (broad, deep) = (search(&broken, 1, None, |_, _| {}), search_deep(&broken, None, |_, _| {}));
    let steps = |violation: Option<(&str, Vec<_>)>| violation.expect("the rule is broken").1.len();
    assert!(steps(broad.violation) <= steps(deep.violation));
}

#[test]
fn a_search_that_reaches_its_limit_says_so() {
    let world = World::named("lease").expect("a known world");
    assert!(!search_deep(&world, Some(1_000), |_, _| {}).exhausted);
    assert!(!search(&world, 1, Some(1_000), |_, _| {}).exhausted);
    assert!(search_deep(&world, Some(30_000), |_, _| {}).exhausted);
}

macro_rules! worlds {
    ($($test:ident: $world:literal),* $(,)?) => {$(
        #[test]
        fn $test() {
            holds($world);
        }
    )*};
}

worlds! {
    lease_holds: "lease",
    late_holds: "late",
    stale_holds: "stale",
    stay_holds: "stay",
    again_holds: "again",
    bare_holds: "bare",
    deadman_holds: "deadman",
    lock_holds: "lock",
    crash_holds: "crash",
    engine_holds: "engine",
    unknown_holds: "unknown",
    first_holds: "first",
    switchover_holds: "switchover",
    promise_holds: "promise",
    one_way_holds: "one-way",
    resign_holds: "resign",
    restart_holds: "restart",
    hand_over_holds: "hand-over",
    rollback_holds: "rollback",
    remove_holds: "remove",
    pause_holds: "pause",
    pause_ends_holds: "pause-ends",
    pause_moves_holds: "pause-moves",
    force_holds: "force",
    relay_holds: "relay",
    raise_holds: "raise",
    lower_holds: "lower",
    data_holds: "data",
    members_holds: "members",
    timeless_holds: "timeless",
}

macro_rules! rules {
    ($($test:ident: $world:literal without $rule:literal breaks $property:expr),* $(,)?) => {$(
        #[test]
        fn $test() {
            breaks($world, $rule, $property);
        }
    )*};
}

rules! {
    a_silent_master_is_replaced_only_after_its_outer_bound: "stale" without "outer-bound-ignored" breaks I2,
    a_margin_covers_the_drift_of_clocks: "lease" without "no-margin" breaks I2,
    nobody_leads_before_the_record_is_durable: "lease" without "direct-before-record" breaks I4,
    what_was_given_up_is_not_led_again: "again" without "lead-at-old-term" breaks I2,
    a_lease_counts_from_the_send_of_its_beat: "stale" without "lease-from-receipt" breaks I2,
    no_grant_outlives_the_lock: "stay" without "grant-outlives-lock" breaks I2,
    a_new_arbiter_waits_for_its_predecessors: "stay" without "predecessor-bound-ignored" breaks I2,
    a_guard_fences_before_its_right_ends: "bare" without "fence-after-deadline" breaks I2,
    the_deadman_is_armed_before_a_promotion: "deadman" without "deadman-armed-late" breaks I2,
    a_lost_promotion_is_settled_by_the_engines_end: "engine" without "lost-promotion-forgotten" breaks REST,
    an_unknown_write_is_settled: "unknown" without "unknown-taken-for-applied" breaks I4,
    whoever_has_promised_promotes_nothing: "promise" without "promise-not-held" breaks I2,
    the_provider_takes_writes_of_the_current_epoch_only: "unknown" without "old-epoch-writes" breaks I6,
    the_provider_tells_of_earlier_holders: "stay" without "predecessors-not-told" breaks I2,
    nobody_outside_the_set_is_forced_while_its_master_may_go_on_alone: "force-alone" without "force-outside-in-sync" breaks I2,
    enough_reports_come_before_a_choice: "data-three" without "short-sever-quorum" breaks I5,
    every_member_has_to_promise: "promise-three" without "one-promise-suffices" breaks I2,
    a_higher_quorum_is_recorded_on_the_masters_word: "raise" without "quorum-recorded-first" breaks I5,
    a_pin_is_known_to_the_next_arbiter: "pause-unheard" without "pin-forgotten" breaks I2,
}
