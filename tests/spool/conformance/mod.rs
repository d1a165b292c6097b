//! What the port promises, whichever backend serves it. Each promise is a function over a [`Backend`](crate::backend::Backend); here
//! they become tests of each backend that there is.

mod model;
mod outbox;
mod promises;

macro_rules! conformance {
    ($name:ident, $backend:ty: $($module:ident::$promise:ident),* $(,)?) => {
        mod $name {
            $(
                #[tokio::test]
                async fn $promise() {
                    if let Some(lack) = <$backend as crate::backend::Backend>::lack() {
                        return crate::skip::skip(concat!(stringify!($name), "::", stringify!($promise)), lack);
                    }
                    super::$module::$promise::<$backend>().await;
                }
            )*
        }
    };
}

macro_rules! conforms {
    ($($name:ident: $backend:ty),* $(,)?) => {
        $(conformance!(
            $name, $backend:
            promises::what_was_committed_is_claimed_byte_for_byte_and_gone_once_settled,
            promises::a_commit_finishes_although_nobody_waits_for_it,
            promises::an_id_that_waits_already_is_refused,
            promises::ids_go_up_also_after_a_restart,
            promises::what_was_acknowledged_survives_a_kill,
            promises::a_restart_keeps_waiting_messages_with_their_state,
            promises::a_result_that_was_told_survives_a_kill,
            promises::after_a_kill_an_untried_message_waits_for_the_time_of_its_second_attempt,
            promises::a_message_that_was_tried_is_due_later_before_it_is_handed_out_again,
            promises::a_dropped_lease_comes_back_at_once,
            promises::a_lease_that_a_panic_dropped_does_not_come_back_at_once,
            promises::a_message_is_leased_to_one_caller_at_a_time,
            promises::expedited_messages_come_first_then_those_due_longest,
            promises::operators_hold_release_expedite_and_seize,
            promises::a_record_can_be_ended_without_being_read_unless_it_is_leased,
            promises::what_operators_changed_survives_a_kill,
            promises::what_is_made_due_at_once_was_not_kept_back_and_what_is_released_was,
            promises::no_answer_is_larger_than_it_was_asked_for,
            promises::many_records_are_counted_paged_and_claimed_in_order_and_their_content_is_not_in_memory,
            promises::a_search_by_age_finds_what_is_older_and_nothing_else,
            promises::a_commit_a_release_and_an_expedition_notify_whoever_waits,
            promises::a_spool_in_order_says_so_and_a_stopped_one_takes_no_more_work,
            outbox::what_commits_and_changes_tell_is_handed_out_in_their_order,
            outbox::what_is_told_survives_a_kill_until_it_is_confirmed,
            outbox::a_position_of_another_spool_counts_as_none,
            outbox::a_journal_that_was_away_for_long_gets_everything,
            outbox::the_journal_is_notified_of_new_lines_and_gets_the_last_ones_after_the_stop,
            model::the_spool_and_a_map_agree_after_every_step_every_stop_and_every_kill,
        );)*
    };
}

conforms!(
    segment_log: crate::backend::SegmentLog, postgres: crate::backend::Schema<1>, shards: crate::backend::Schema<5>
);
