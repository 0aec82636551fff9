//! The contract of every state provider: the same cases for each, in the words of the design.
#![allow(missing_docs)]

mod appointments;
mod documents;
mod lock;
mod watch;

macro_rules! contract {
    ($($module:ident: $($case:ident),+;)+) => {
        mod memory {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$module::$case(contract::Kind::Memory).await; })+)+
        }
        mod stateboard {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$module::$case(contract::Kind::Stateboard).await; })+)+
        }
    };
}

contract! {
    lock:
        one_candidate_holds_the_lock,
        a_closed_connection_frees_the_lock_and_its_bound_is_told,
        a_lock_that_is_not_renewed_expires,
        a_resignation_tells_its_last_grant,
        the_bound_is_the_latest_of_all_earlier_holders,
        a_freed_epoch_is_resumed_until_somebody_takes_it,
        a_holder_resumes_after_a_restart,
        a_restart_keeps_the_lock_for_its_holder;
    appointments:
        an_appointment_is_read_back,
        of_two_writers_at_once_one_wins,
        a_stale_epoch_changes_nothing,
        a_wrong_version_changes_nothing_of_the_request,
        what_is_no_step_of_the_protocol_is_refused,
        a_deleted_set_keeps_its_term,
        an_unknown_outcome_is_settled_by_the_same_write,
        appointments_survive_a_restart;
    documents:
        members_come_and_go,
        settings_are_versioned_and_checked,
        the_lock_follows_the_settings,
        history_is_bounded_and_newest_first,
        another_cluster_is_refused;
    watch:
        a_watch_misses_and_repeats_nothing,
        a_watch_resumes_from_its_revision,
        a_watch_goes_on_across_a_restart;
}
