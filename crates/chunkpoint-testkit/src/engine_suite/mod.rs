//! What a [`Memory`](chunkpoint_core::Memory) promises beyond the contract of
//! LangGraph's checkpointers: drafts, lazy reads, what a step costs, order and
//! forks, several writers, retention, lives of a thread, and limits.
//!
//! One function for each behaviour, grouped by what it is about. They run on
//! any backend with [`engine_suite!`](crate::engine_suite!).

pub mod borrowing;
pub mod drafts;
pub mod limits;
pub mod ordering;
pub mod parents;
pub mod reading;
pub mod retention;
mod support;
pub mod writers;

/// The behaviours, by the module they are in.
#[doc(hidden)]
#[macro_export]
macro_rules! engine_suite_list {
    ($fixture:tt) => {
        $crate::engine_suite_tests! { $fixture; engine_suite;
            drafts:
                a_first_draft_has_no_parent
                set_replaces_a_value
                append_extends_a_list
                append_of_nothing_makes_an_empty_list
                splice_replaces_a_range
                remove_takes_a_channel_away
                changes_apply_in_order
                a_splice_may_follow_a_large_append
                kinds_are_not_mixed
                ranges_are_checked
                maps_come_back
                large_items_come_back
                a_megabyte_comes_back
                a_draft_is_committed_once
                a_draft_belongs_to_its_thread
                metadata_is_of_one_checkpoint
                ;
            borrowing:
                an_append_costs_what_is_appended
                untouched_channels_are_borrowed
                an_equal_value_is_borrowed
                a_grown_value_costs_as_an_append
                a_put_of_a_grown_list_costs_what_grew
                a_change_costs_its_surroundings
                an_append_is_one_call
                ;
            reading:
                the_tail_of_a_long_list_is_a_few_calls
                channels_are_known_without_reading
                parts_are_parts_of_the_whole
                a_stream_gives_all_items
                a_range_reads_each_level_once
                a_map_finds_its_keys
                a_value_reads_its_channel_only
                the_cache_keeps_its_budget
                snapshots_share_what_is_decoded
                a_reopened_store_has_everything
                ;
            ordering:
                ids_grow_whatever_the_clock_says
                ids_follow_the_callers
                the_latest_is_the_greatest_id
                namespaces_are_apart
                a_checkpoint_is_found_by_id
                history_gives_every_state
                history_takes_before_limit_and_filter
                a_long_history_is_whole
                a_fork_goes_on_from_an_older_state
                a_fork_needs_its_checkpoint
                threads_are_listed
                errors_name_their_operation
                ;
            writers:
                two_writers_may_both_stand
                one_of_many_fenced_writers_wins
                a_stale_expectation_is_a_conflict
                a_lost_answer_is_found_again
                a_failed_commit_leaves_nothing
                a_broken_listing_is_an_error
                a_dropped_commit_is_whole_or_nothing
                dropped_writes_are_whole_or_nothing
                dropped_removals_leave_what_is_there_whole
                readers_never_meet_half_a_checkpoint
                ;
            parents:
                a_pruned_parent_is_gone
                a_replaced_parent_is_gone
                a_deleted_parent_is_gone
                a_deleted_thread_is_gone
                a_new_life_knows_nothing_of_the_old
                a_snapshot_of_a_deleted_thread_is_not_corrupt
                a_copy_goes_its_own_way
                ;
            retention:
                max_history_keeps_the_newest
                max_age_removes_the_old
                age_and_number_both_count
                nothing_goes_unless_asked
                pins_are_kept_and_not_counted
                a_reput_keeps_the_pin
                maintaining_is_idempotent
                the_background_follows_the_commits
                age_is_looked_at_now_and_then
                an_old_snapshot_is_readable_for_the_grace
                writes_without_a_checkpoint_are_swept
                reclaiming_frees_what_nothing_reaches
                reclaiming_frees_what_was_replaced
                a_bounded_history_takes_bounded_room
                ;
            limits:
                awkward_threads_work
                awkward_names_work
                ids_have_a_greatest_length
                impossible_ids_are_refused
                items_over_the_limit_are_refused
                a_commit_over_the_limit_is_refused
                a_closed_memory_is_unavailable
                ;
        }
    };
}

#[cfg(test)]
mod tests {
    /// A behaviour that is not in the list above would silently never run.
    #[test]
    fn every_behaviour_is_listed() {
        let sources = [
            include_str!("borrowing.rs"),
            include_str!("drafts.rs"),
            include_str!("limits.rs"),
            include_str!("ordering.rs"),
            include_str!("parents.rs"),
            include_str!("reading.rs"),
            include_str!("retention.rs"),
            include_str!("writers.rs"),
        ];
        crate::target::assert_all_listed(include_str!("mod.rs"), &sources);
    }
}
