//! The LangGraph checkpointer contract: a counterpart of every behaviour that
//! its two published suites check, and what they leave open as Chunkpoint
//! decides it.
//!
//! One function for each behaviour, grouped by what it is about. They run on
//! any backend with [`engine_suite!`](crate::engine_suite!), through
//! [`Saver`](chunkpoint_core::Saver).

pub mod borrow;
pub mod copy;
pub mod delete;
pub mod delta;
pub mod delta_races;
pub mod delta_removal;
pub mod filter;
pub mod get_tuple;
pub mod list;
pub mod list_product;
pub mod prune;
pub mod put;
pub mod put_writes;
pub mod reput;
mod support;
pub mod versions;

/// The behaviours, by the module they are in.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_list {
    ($fixture:tt) => {
        $crate::engine_suite_tests! { $fixture; contract;
            put:
                put_names_the_checkpoint
                a_checkpoint_comes_back
                a_checkpoint_is_not_altered
                every_kind_of_value_comes_back
                channel_versions_come_back
                nodes_of_versions_seen_come_back
                values_of_versions_seen_come_back
                metadata_comes_back
                metadata_is_not_altered
                run_id_comes_back
                the_root_namespace_is_the_empty_one
                a_child_namespace_is_its_own
                the_root_namespace_is_the_default
                checkpoints_of_a_thread_are_found_by_id
                threads_share_nothing
                the_config_names_the_parent
                a_changed_channel_leaves_the_others
                a_channel_may_appear
                a_channel_may_disappear
                a_channel_may_become_empty
                only_new_versions_are_stored
                put_needs_a_thread
                ;
            versions:
                versions_keep_their_type
                seen_versions_keep_their_type
                shape_version_and_time_come_back
                updated_channels_come_back
                large_metadata_comes_back
                changing_large_metadata_comes_back
                large_versions_seen_come_back
                ;
            borrow:
                channels_come_from_an_ancestor
                the_parent_comes_first
                then_the_newest_that_has_the_version
                a_root_may_borrow
                several_may_give
                what_nobody_has_is_absent
                values_of_old_versions_are_not_taken
                versions_are_equal_by_value
                a_missing_parent_may_be_named
                a_missing_parent_gives_nothing
                parents_are_of_the_same_namespace
                what_was_borrowed_stays
                ;
            reput:
                a_reput_replaces_content_and_metadata
                a_reput_keeps_the_pending_writes
                a_reput_keeps_the_first_parent
                a_reput_does_not_gain_a_parent
                a_reput_may_borrow_from_itself
                putting_the_same_again_changes_nothing
                children_survive_a_reput
                ;
            put_writes:
                a_write_comes_back
                all_writes_of_a_task_come_back
                tasks_stand_beside_each_other
                task_ids_come_back
                channels_and_values_come_back
                task_paths_come_back
                repeated_writes_are_stored_once
                special_channels_come_back
                namespaces_have_their_own_writes
                the_next_checkpoint_starts_without_writes
                ordinary_writes_are_kept
                special_writes_are_replaced
                mixed_writes_are_decided_one_by_one
                the_last_of_a_special_channel_stands
                writes_are_ordered_by_path_task_and_index
                writes_may_come_first
                puts_and_writes_may_alternate
                writes_without_a_checkpoint_expire
                no_writes_are_accepted
                put_writes_needs_thread_and_checkpoint
                ;
            get_tuple:
                an_unknown_thread_has_none
                the_latest_is_the_greatest_id
                a_checkpoint_is_found_by_id
                the_config_found_is_complete
                every_field_is_found
                metadata_is_found
                the_parent_is_found
                pending_writes_are_found
                the_latest_is_of_its_namespace
                an_unknown_id_is_not_found
                get_tuple_needs_a_thread
                the_parents_writes_can_be_read
                a_tuple_is_of_one_moment
                ;
            list:
                all_are_listed
                a_thread_is_listed_alone
                a_namespace_is_listed_alone
                the_newest_comes_first
                a_filter_by_source
                a_filter_by_step
                a_filter_by_several_keys
                a_filter_may_match_nothing
                a_filter_by_a_callers_key
                before_is_exclusive
                a_limit_is_kept
                a_limit_counts_after_before
                a_limit_counts_after_the_filter
                a_filter_is_of_the_thread
                an_unknown_thread_lists_nothing
                writes_are_listed
                all_namespaces_are_listed
                an_id_lists_that_one
                ids_are_ordered_by_bytes
                list_refuses_impossible_ids
                the_writes_of_listed_parents_can_be_read
                ;
            list_product:
                every_combination_lists_what_it_should
                what_is_listed_is_what_is_got
                before_compares_ids_across_threads
                all_threads_are_listed_in_one_order
                a_thousand_threads_are_listed
                ;
            filter:
                numbers_are_compared_by_value
                types_are_told_apart
                nested_values_are_compared_as_wholes
                a_missing_key_is_not_null
                keys_are_no_syntax
                values_are_no_syntax
                ;
            delete:
                delete_removes_the_checkpoints
                delete_removes_the_writes
                delete_removes_all_namespaces
                delete_preserves_other_threads
                delete_of_nothing_is_no_error
                late_puts_do_not_bring_the_old_life_back
                the_checkpoints_of_a_run_go
                several_runs_go_at_once
                other_runs_stay
                the_writes_of_a_run_go
                no_runs_delete_nothing
                an_unknown_run_deletes_nothing
                a_thread_may_lose_its_last_checkpoint
                a_pinned_checkpoint_of_a_run_stays
                ;
            copy:
                a_copy_has_all_checkpoints
                a_copy_has_the_same_content
                a_copy_has_the_metadata
                a_copy_has_the_namespaces
                a_copy_has_the_writes
                a_copy_has_the_same_order
                source_and_copy_are_independent
                a_copy_of_nothing_is_not_found
                a_copy_onto_a_thread_is_a_conflict
                a_copy_has_pins_and_hidden_checkpoints
                ;
            prune:
                the_newest_stays
                what_stays_is_whole
                several_threads_are_pruned
                the_newest_of_each_namespace_stays
                the_writes_of_the_newest_stay
                everything_may_go
                other_threads_are_not_pruned
                no_threads_prune_nothing
                pruning_nothing_is_no_error
                pruning_again_changes_nothing
                pinned_checkpoints_stay
                ;
            delta:
                delta_writes_come_oldest_first
                the_seed_is_the_nearest_value
                own_writes_are_not_history
                channels_stop_at_their_own_seeds
                no_channels_have_no_history
                a_walk_to_the_root_has_no_seed
                a_plain_value_is_a_seed
                writes_of_the_seeds_checkpoint_are_replayed
                nothing_has_an_empty_history
                concurrent_delta_writes_are_ordered
                forks_do_not_mix
                parents_may_have_greater_ids
                parents_in_a_circle_end
                a_missing_parent_ends_the_walk
                a_long_history_comes_whole
                ;
            delta_races:
                a_child_of_what_goes_is_whole_or_not_there
                an_older_delta_channel_keeps_its_seed
                ;
            delta_removal:
                pruning_keeps_the_history
                hidden_checkpoints_are_not_there
                what_no_history_needs_goes
                a_kept_value_needs_no_history
                hidden_checkpoints_go_when_not_needed
                deleting_runs_keeps_the_history
                retention_keeps_the_history
                tagged_snapshots_are_recognised
                a_reput_shows_a_hidden_checkpoint
                a_hidden_parent_lends_what_it_has
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
            include_str!("borrow.rs"),
            include_str!("copy.rs"),
            include_str!("delete.rs"),
            include_str!("delta.rs"),
            include_str!("delta_races.rs"),
            include_str!("delta_removal.rs"),
            include_str!("filter.rs"),
            include_str!("get_tuple.rs"),
            include_str!("list.rs"),
            include_str!("list_product.rs"),
            include_str!("prune.rs"),
            include_str!("put.rs"),
            include_str!("put_writes.rs"),
            include_str!("reput.rs"),
            include_str!("versions.rs"),
        ];
        crate::target::assert_all_listed(include_str!("mod.rs"), &sources);
    }
}
