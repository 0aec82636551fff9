//! The contract of every state provider: the same cases for each, in the words of the design. This file is the table: which
//! case runs in which worlds, and why not in the others.
#![allow(missing_docs)]

mod appointments;
mod bids;
mod documents;
mod etcd;
mod flaky;
mod identity;
mod killed;
mod late;
mod lock;
mod moving;
mod quorum;
mod tasks;
mod unknown;
mod watch;

/// The names of the worlds.
mod kind {
    use contract::Kind;

    pub const ALL: [&str; 5] = ["memory", "embedded", "stateboard", "etcd_1", "etcd_3"];

    pub fn memory() -> Kind {
        Kind::Memory
    }

    pub fn embedded() -> Kind {
        Kind::Embedded
    }

    pub fn stateboard() -> Kind {
        Kind::Stateboard
    }

    pub fn etcd_1() -> Kind {
        Kind::Etcd1
    }

    pub fn etcd_3() -> Kind {
        Kind::Etcd3
    }
}

macro_rules! contract {
    // One test for each world.
    (@tests $module:ident $case:ident [$($world:ident)+]) => {
        mod $case {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $world() { crate::$module::$case(crate::kind::$world()).await; })+
        }
    };
    ($($worlds:tt $reason:literal: $($module:ident::$case:ident),+;)+) => {
        mod case { $($(contract!(@tests $module $case $worlds);)+)+ }
        /// The worlds of a group as they are written, the reason, and the cases.
        const TABLE: &[(&str, &str, &[&str])] =
            &[$((stringify!($worlds), $reason, &[$(stringify!($case)),+])),+];
    };
}

contract! {
    [memory embedded stateboard etcd_1 etcd_3] "":
        lock::one_candidate_holds_the_lock,
        lock::a_dropped_session_is_waited_for_in_one_way_or_the_other,
        lock::a_lock_that_is_not_renewed_expires,
        lock::a_resignation_tells_its_last_grant,
        lock::the_bound_is_the_latest_of_all_earlier_holders,
        lock::epochs_rise_with_every_hand_over,
        lock::a_lost_holder_writes_nothing,
        lock::a_freed_epoch_is_resumed_until_somebody_takes_it,
        lock::a_guessed_secret_resumes_nothing,
        lock::a_holder_resumes_after_a_restart,
        lock::a_restart_keeps_the_lock_for_its_holder,
        lock::every_candidate_in_line_gets_its_turn,
        lock::a_candidate_that_leaves_the_line_gets_nothing,
        lock::a_candidate_that_cannot_be_taken_is_told,
        lock::a_session_keeps_the_lock_of_its_token,
        appointments::an_appointment_is_read_back,
        appointments::of_two_writers_at_once_one_wins,
        appointments::a_stale_epoch_changes_nothing,
        appointments::a_wrong_version_changes_nothing_of_the_request,
        appointments::all_conflicts_are_shown_and_nothing_else,
        appointments::many_sets_are_appointed_at_once_or_not_at_all,
        appointments::what_is_no_step_of_the_protocol_is_refused,
        appointments::what_is_too_large_is_refused,
        appointments::a_deleted_set_keeps_its_term,
        appointments::an_expelled_set_leaves_its_tombstone_only,
        appointments::appointments_survive_a_restart,
        appointments::a_read_sees_every_answered_write,
        moving::a_frozen_end_keeps_its_holder_and_changes_nothing,
        moving::an_end_that_was_left_renews_no_lock_and_gives_none,
        documents::members_come_and_go,
        documents::too_many_members_or_too_much_of_one_is_refused,
        documents::settings_are_versioned_and_checked,
        documents::of_two_who_change_the_settings_at_once_one_wins,
        documents::the_lock_follows_the_settings,
        documents::history_is_bounded_and_newest_first,
        tasks::tasks_are_versioned_and_kept_as_they_are,
        tasks::tasks_are_removed_by_the_holder_of_the_lock_only,
        tasks::too_many_tasks_and_too_long_ones_are_refused,
        tasks::a_watch_tells_of_tasks,
        bids::a_bid_stands_where_its_maker_knew_what_stood_before,
        bids::a_bid_ends_with_its_epoch,
        watch::a_watch_misses_and_repeats_nothing,
        watch::a_watch_tells_of_everything_that_is_kept,
        watch::a_watch_resumes_from_its_revision,
        watch::a_watch_from_a_future_revision_begins_anew,
        watch::a_watch_goes_on_across_restarts,
        watch::a_slow_watcher_catches_up_and_holds_nobody_up,
        watch::many_watchers_see_the_same,
        identity::another_secret_is_refused,
        identity::a_wrong_secret_and_a_foreign_cluster_have_their_own_words;
    [memory embedded stateboard]
    "etcd frees the lock of a closed connection when its lease runs out, and then nobody is left to be waited for":
        lock::a_closed_connection_frees_the_lock_and_its_bound_is_told,
        lock::the_bound_of_a_closed_connection_outlives_a_resignation;
    [memory embedded stateboard] "an etcd has room for several clusters; a board belongs to one":
        identity::another_cluster_is_refused;
    [memory embedded stateboard] "etcd keeps no line with places: whoever comes first when the lock is free gets it":
        lock::a_full_line_takes_nobody_more;
    [stateboard etcd_1 etcd_3] "a board in memory and an embedded one have nothing to configure this by":
        identity::where_the_check_is_off_an_old_and_a_new_secret_work_side_by_side,
        identity::a_wrong_password_is_told_and_opens_nothing;
    [stateboard] "etcd has room for several clusters, and the others nothing to configure this by":
        identity::where_the_check_is_off_another_cluster_is_let_in;
    [etcd_1 etcd_3] "a board belongs to one cluster":
        identity::another_cluster_has_keys_of_its_own;
    [embedded stateboard etcd_1 etcd_3] "a board in memory has no connection that could break":
        lock::a_cut_connection_costs_its_holder_nothing,
        lock::a_holder_that_is_not_heard_loses_the_lock_and_learns_it,
        lock::a_late_resignation_frees_nobody_elses_lock,
        watch::a_watch_goes_on_across_cuts,
        watch::a_watch_that_was_away_for_too_long_begins_anew,
        unknown::an_unknown_appointment_is_settled_by_the_same_write,
        unknown::a_late_appointment_finds_its_version_burnt,
        unknown::an_unknown_change_of_a_member_is_settled_by_the_same_write,
        unknown::an_unknown_change_of_the_settings_is_settled_by_the_same_write,
        tasks::an_unknown_change_of_a_task_is_settled_by_the_same_write,
        unknown::a_campaign_ends_with_a_lock_that_is_ours,
        unknown::a_renewal_without_an_answer_is_asked_again,
        unknown::a_resignation_without_an_answer_is_covered_all_the_same,
        unknown::a_read_without_an_answer_is_no_answer,
        unknown::a_watch_whose_beginning_is_lost_begins_again;
    [stateboard etcd_1 etcd_3]
    "a board in memory and an embedded one live in the test's own process, which nobody can freeze or kill":
        lock::a_provider_that_was_frozen_for_a_moment_takes_no_lock_away,
        lock::a_provider_that_was_frozen_takes_no_lock_away,
        lock::a_provider_that_was_frozen_for_longer_than_the_lock_has_one_holder,
        watch::a_watch_goes_on_after_a_freeze,
        unknown::what_a_provider_answered_when_it_was_killed_is_there,
        killed::members_and_settings_are_there_as_it_was_answered,
        killed::reads_and_watches_tell_what_is_there,
        killed::a_campaign_ends_with_a_lock_that_is_ours_and_a_resignation_is_covered,
        flaky::what_is_answered_over_flaky_roads_is_there_once;
    [etcd_3] "one server has no majority to lose":
        quorum::a_majority_that_is_lost_and_regained_costs_no_answered_change,
        quorum::the_death_of_the_leader_costs_no_lock_and_no_change,
        quorum::a_member_without_a_majority_is_never_believed,
        quorum::a_member_that_hangs_is_gone_round,
        quorum::a_lock_without_a_majority_is_nobodys_news,
        quorum::a_leader_that_is_cut_off_is_not_believed,
        quorum::a_lock_is_not_renewed_by_a_leader_of_the_past,
        quorum::a_lock_is_not_renewed_by_a_leader_that_slept;
    [memory] "only a board in memory has switches for faults; the others have a road that breaks":
        unknown::what_the_switches_lose_is_settled_alike;
}

/// A world that a case leaves out silently is one in which nobody knows whether it holds.
#[test]
fn whatever_is_left_out_has_its_reason() {
    for (worlds, reason, cases) in TABLE {
        let everywhere = kind::ALL.iter().all(|world| worlds.contains(world));
        assert_eq!(everywhere, reason.is_empty(), "{worlds}: {reason:?} for {cases:?}");
    }
}
