//! The conformance suite of
//! [`StoreBackend`](chunkpoint_core::store_backend::StoreBackend), the long-term
//! store's side of a backend.
//!
//! One function for each promise of the trait, named after the behaviour. It runs on
//! what [`backend_suite!`](crate::backend_suite!) runs on, a
//! [`Fixture`], whose backend must have a
//! [`store`](chunkpoint_core::backend::CheckpointBackend::store):
//!
//! ```ignore
//! chunkpoint_testkit::store_backend_suite!(Mine::new());
//! chunkpoint_testkit::store_backend_suite!(optional Mine::if_at_hand().await);
//! ```

pub mod change;
pub mod concurrency;
pub mod life;
pub mod names;
pub mod packs;
pub mod read;
pub mod scan;
mod support;
pub mod write_ids;

pub(crate) use crate::backend_suite::Fixture;

/// Makes one test of each behaviour of
/// [`store_backend_suite`](mod@crate::store_backend_suite).
#[macro_export]
macro_rules! store_backend_suite {
    ($($fixture:tt)*) => {
        mod store_backend_suite {
            #[allow(unused_imports)]
            use super::*;
            $crate::suite_of!(store_backend_suite_list; $($fixture)*);
        }
    };
}

/// The behaviours, by the module they are in.
#[doc(hidden)]
#[macro_export]
macro_rules! store_backend_suite_list {
    ($fixture:tt) => {
        $crate::suite_tests! { $fixture; $crate::backend_suite::run; store_backend_suite;
            read:
                items_answers_each_key_in_order
                items_of_no_keys_gives_nothing
                a_row_comes_back_whole
                times_are_kept_to_the_millisecond
                chunks_answers_each_name_in_order
                chunks_belong_to_their_item
                chunks_of_any_size_come_back
                a_thousand_items_in_one_call
                ;
            change:
                changes_are_answered_in_order
                a_put_keeps_when_it_was_created
                a_removed_item_is_created_anew
                an_expired_item_is_created_anew
                a_removed_item_is_gone
                removing_nothing_is_done
                an_expectation_that_does_not_hold_is_a_conflict
                an_expectation_that_holds_lets_it_through
                an_expired_item_counts_as_not_there
                a_renewal_changes_only_the_expiry
                a_renewal_is_of_one_version
                renewals_do_not_push_write_ids_out
                ;
            write_ids:
                a_repeated_put_changes_nothing
                a_repeat_is_known_before_its_expectation
                a_repeat_does_not_undo_an_overwrite
                a_repeat_does_not_undo_a_removal
                a_repeated_removal_spares_what_came_after
                a_repeated_removal_of_nothing_is_known
                puts_and_removals_are_remembered_together
                a_refused_change_is_not_remembered
                write_ids_belong_to_their_item
                ;
            packs:
                a_put_may_use_earlier_packs
                unlisted_packs_go_in_a_sweep
                young_garbage_stays
                packs_of_a_removed_item_go
                packs_of_a_refused_put_go
                a_put_using_a_swept_pack_is_a_conflict
                packs_are_not_shared_between_items
                a_pack_listed_again_is_alive
                expired_items_go_in_a_sweep
                renewed_items_stay
                a_sweep_is_bounded
                a_sweep_of_nothing_does_nothing
                ;
            scan:
                a_scan_is_in_order
                a_prefix_is_of_whole_labels
                a_scan_goes_on_after_any_item
                the_likely_number_is_only_a_hint
                a_scan_gives_whole_rows
                a_long_scan_gives_everything_once
                what_stays_is_given_exactly_once
                a_dropped_scan_locks_nothing
                what_may_match_is_given
                a_scan_of_nothing_gives_nothing
                namespaces_come_once_in_order
                namespaces_have_a_living_item
                many_namespaces_are_listed
                ;
            names:
                awkward_keys_work
                awkward_labels_work
                awkward_labels_work_at_any_depth
                awkward_prefixes_match_only_themselves
                parts_of_a_name_are_kept_apart
                long_names_work
                deep_namespaces_work
                ;
            life:
                a_closed_store_is_unavailable
                both_sides_close_as_a_whole
                every_handle_is_of_the_same_store
                everything_is_there_after_a_reopen
                a_second_handle_sees_everything
                ;
            concurrency:
                one_of_many_with_a_version_wins
                one_of_many_that_expect_nothing_wins
                puts_of_distinct_items_all_stand
                overlapping_calls_come_to_an_end
                a_put_races_its_own_repeat
                racing_puts_leave_one
                sweeps_race_puts
                readers_find_the_chunks_of_their_row
                dropped_changes_are_whole_or_nothing
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
            include_str!("change.rs"),
            include_str!("concurrency.rs"),
            include_str!("life.rs"),
            include_str!("names.rs"),
            include_str!("packs.rs"),
            include_str!("read.rs"),
            include_str!("scan.rs"),
            include_str!("write_ids.rs"),
        ];
        crate::target::assert_all_listed(include_str!("mod.rs"), &sources);
    }
}
