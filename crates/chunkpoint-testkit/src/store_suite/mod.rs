//! What the long-term [`Store`](chunkpoint_core::store::Store) promises, on any
//! backend: `BaseStore` of LangGraph with its peers' defects put right, and what goes
//! beyond it.
//!
//! One function for each behaviour, grouped by what it is about. They run with
//! [`store_suite!`](crate::store_suite!), which takes what
//! [`engine_suite!`](crate::engine_suite!) takes. Which defect of which peer each one
//! proves us free of: `docs/store-peers.md`.
//!
//! # What of the peers' own tests has no counterpart here
//!
//! * Vector search comes later, and with it: `get_text_at_path`, the vector tests of
//!   initialisation, insertion, update, filters, pagination and edge cases,
//!   `embed_with_path`, scores, and the JavaScript `vector.test.ts`.
//! * `AsyncBatchedBaseStore` (its resilience, deduplication within a tick, cancellation,
//!   and refusal of synchronous calls) is a queue for Python's event loop; here every
//!   call is asynchronous, and [`batch`](chunkpoint_core::store::Store::batch) is
//!   explicit.
//! * `abatch_uses_single_pool_checkout` is about one driver's pool; that a batch is few
//!   calls is tested.
//! * `nonnull_migrations` is about a peer's own schema.

pub mod batch;
pub mod filter;
pub mod injection;
pub mod items;
pub mod namespaces;
pub mod patch;
pub mod races;
pub mod search;
mod support;
pub mod sweep;
pub mod ttl;
pub mod values;

/// Makes one test of each behaviour of the long-term store on a backend, and the model
/// test. Takes what [`backend_suite!`](crate::backend_suite!) takes.
#[macro_export]
macro_rules! store_suite {
    ($($fixture:tt)*) => {
        $crate::suite_of!(store_suite_all; $($fixture)*);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! store_suite_all {
    ($fixture:tt) => {
        $crate::store_suite_list!($fixture);
        $crate::store_model_list!($fixture);
    };
}

/// The behaviours, by the module they are in.
#[doc(hidden)]
#[macro_export]
macro_rules! store_suite_list {
    ($fixture:tt) => {
        $crate::engine_suite_tests! { $fixture; store_suite;
            items:
                an_item_comes_back
                what_was_never_put_is_none
                a_put_replaces_the_whole_value
                an_overwrite_keeps_created
                a_removed_item_is_gone
                removing_nothing_is_no_error
                every_kind_of_json_comes_back
                floats_come_back_to_the_last_bit
                text_that_is_not_ascii_comes_back
                trailing_newlines_are_kept
                only_objects_are_values
                values_have_a_greatest_depth
                impossible_names_are_refused
                names_made_by_hand_are_checked
                the_reserved_root_is_refused
                a_put_may_expect_nothing_there
                a_write_may_expect_a_version
                a_closed_memory_is_unavailable
                a_reopened_store_has_everything
                ;
            values:
                a_small_value_is_one_row
                values_around_the_limit_of_a_row_come_back
                a_megabyte_in_many_members_comes_back
                a_megabyte_in_one_text_comes_back
                several_megabytes_of_any_shape_come_back
                sizes_may_change_with_every_put
                large_values_stay_apart
                replaced_and_removed_values_are_swept
                a_value_over_the_limit_is_refused
                ;
            patch:
                a_patch_merges_as_the_rfc_says
                a_patch_makes_what_is_not_there
                a_patch_keeps_created
                a_patch_of_nothing_writes_nothing
                a_patch_of_a_large_value_writes_little
                many_patches_and_sweeps_leave_the_value_right
                a_value_grows_and_shrinks_by_patches
                a_patch_may_expect
                a_patch_is_applied_to_the_newest
                a_patch_survives_the_sweep_of_what_it_reads
                concurrent_patches_all_stand
                a_patch_renews_the_life
                a_patch_of_what_expired_begins_anew
                ;
            search:
                a_search_gives_items_in_order
                a_prefix_is_of_whole_labels
                ten_items_unless_said
                pages_by_offset_hold_everything_once
                pages_after_the_last_item_hold_everything_once
                only_in_the_order_of_names_a_search_goes_on_after_an_item
                pages_of_a_filter_are_full
                what_was_updated_last_may_come_first
                what_was_created_last_may_come_first
                what_is_gone_takes_no_place
                large_values_are_found_by_any_member
                a_search_of_nothing_finds_nothing
                ;
            filter:
                equality_is_that_of_json
                numbers_are_compared_as_numbers
                what_cannot_be_compared_does_not_match
                sets_and_their_opposites
                objects_match_by_their_members
                conditions_are_joined
                what_is_no_filter_is_refused
                filters_see_the_last_write
                ;
            namespaces:
                all_are_listed_without_a_condition
                prefix_and_suffix_must_both_hold
                a_star_stands_for_one_label
                a_stored_star_is_a_label
                a_depth_cuts_and_lists_once
                pages_hold_each_namespace_once
                labels_are_matched_as_wholes
                a_read_makes_no_namespace
                a_namespace_goes_with_its_last_item
                no_namespace_is_overlooked
                ;
            batch:
                answers_are_in_order
                reads_see_what_was_before
                the_last_write_of_an_item_counts
                patches_apply_in_order
                nothing_is_done_if_one_cannot_be
                a_conflict_names_its_item
                an_expectation_allows_one_write
                a_batch_may_be_empty_or_repeat_itself
                a_large_batch_is_few_calls
                large_values_go_through_a_batch
                ;
            ttl:
                items_live_for_ever_unless_said
                an_expired_item_is_gone_at_once
                minutes_may_be_fractions
                impossible_lives_are_refused
                a_get_renews_the_life
                a_get_says_when_it_expires_now
                a_search_renews_what_it_gives
                reading_often_writes_seldom
                an_overwrite_sets_the_life_anew
                an_expired_item_counts_as_not_there
                a_clock_may_go_backwards
                ;
            sweep:
                expired_items_are_removed_for_good
                a_sweep_goes_on_until_all_is_done
                renewed_items_stay
                sweeps_may_run_at_once
                the_background_sweeps_now_and_then
                nothing_is_swept_unless_asked
                ;
            races:
                a_reader_gets_what_replaced_it
                a_reader_gets_what_is_left
                a_reader_has_the_grace_period
                readers_never_meet_half_a_value
                counting_with_versions_loses_nothing
                one_of_many_creators_wins
                batches_at_once_all_stand
                pages_hold_what_stays_once
                ;
            injection:
                filter_keys_are_names
                filter_values_are_data
                operators_are_known_or_refused
                operators_in_values_are_data
                wildcards_in_namespaces_are_labels
                patterns_in_keys_are_keys
                paths_in_names_lead_nowhere
                paths_of_filters_stay_in_the_value
                values_that_ask_to_be_built_are_inert
                endless_filters_are_refused
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
            include_str!("batch.rs"),
            include_str!("filter.rs"),
            include_str!("injection.rs"),
            include_str!("items.rs"),
            include_str!("namespaces.rs"),
            include_str!("patch.rs"),
            include_str!("races.rs"),
            include_str!("search.rs"),
            include_str!("sweep.rs"),
            include_str!("ttl.rs"),
            include_str!("values.rs"),
        ];
        crate::target::assert_all_listed(include_str!("mod.rs"), &sources);
    }
}
