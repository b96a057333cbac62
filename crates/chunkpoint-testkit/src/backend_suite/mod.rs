//! The conformance suite of
//! [`CheckpointBackend`].
//!
//! One function for each promise of the trait, named after the behaviour and
//! grouped by method. A backend says how a fresh store of it is made and runs
//! them all:
//!
//! ```ignore
//! struct Mine { dir: tempfile::TempDir }
//!
//! #[async_trait::async_trait]
//! impl Fixture for Mine {
//!     async fn open(&self) -> Arc<dyn CheckpointBackend> { /* open self.dir */ }
//! }
//!
//! chunkpoint_testkit::backend_suite!(Mine { dir: tempfile::tempdir().unwrap() });
//! ```
//!
//! The expression is evaluated once for each test, inside an async block, so
//! it may await. For a store that is not always at hand, let it give an
//! `Option` and write `backend_suite!(optional …)`; `None` skips, with a note.
//!
//! A behaviour that a backend's
//! [`Capabilities`](chunkpoint_core::backend::Capabilities) rule out is
//! skipped, and says so on standard output.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chunkpoint_core::backend::CheckpointBackend;

pub mod alter;
pub mod chunks;
pub mod commit;
pub mod concurrency;
pub mod expect;
pub mod get_list;
pub mod ids;
pub mod random;
pub mod reclaim;
pub mod reput;
pub mod sizes;
mod support;
pub mod threads;
pub mod writes;

/// One isolated, empty store: what one test runs against.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Opens a handle on the store.
    ///
    /// Called once by every behaviour. Where the capabilities say
    /// `persistent`, it is called again after the first handle was closed and must
    /// find what was stored; where they say `shared`, it is called again
    /// while the first is in use.
    async fn open(&self) -> Arc<dyn CheckpointBackend>;

    /// Removes the store, after the behaviour held. A store that a failed one
    /// leaves behind is for whoever looks into it.
    async fn teardown(&self) {}
}

/// A behaviour on its way.
pub type Running<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The longest a behaviour may take; a backend that blocks for ever fails.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs one behaviour on a runtime of several threads. What
/// [`backend_suite!`](crate::backend_suite!) expands to; not for use by hand.
#[doc(hidden)]
pub fn run<F: Fixture>(
    name: &str,
    fixture: impl Future<Output = Option<F>>,
    behaviour: impl for<'a> Fn(&'a dyn Fixture) -> Running<'a>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let Some(fixture) = fixture.await else {
            support::skipped(name, "the store is not at hand");
            return;
        };
        if tokio::time::timeout(LIMIT, behaviour(&fixture))
            .await
            .is_err()
        {
            panic!("{name} has not ended after {LIMIT:?}");
        }
        fixture.teardown().await;
    });
}

/// Makes one test of each behaviour of [`backend_suite`](mod@crate::backend_suite).
#[macro_export]
macro_rules! backend_suite {
    ($($fixture:tt)*) => {
        $crate::suite_of!(backend_suite_list; $($fixture)*);
    };
}

/// The behaviours, by the module they are in.
#[doc(hidden)]
#[macro_export]
macro_rules! backend_suite_list {
    ($fixture:tt) => {
        $crate::suite_tests! { $fixture; $crate::backend_suite::run; backend_suite;
            commit:
                a_commit_is_read_back_whole
                a_root_starts_an_incarnation
                a_root_goes_into_the_current_incarnation
                a_borrow_from_present_records_is_stored
                a_borrow_from_a_hidden_record_is_stored
                a_borrow_from_a_removed_record_fails
                a_borrow_from_a_replaced_pack_fails
                a_borrow_from_what_never_was_fails
                a_borrow_from_an_ended_incarnation_fails
                a_repeated_commit_gives_the_first_result
                a_repeated_commit_does_not_undo_a_reput
                a_repeated_commit_does_not_undo_a_removal
                a_repeated_commit_is_known_before_its_base_is_checked
                a_repeated_root_may_bring_another_fresh_incarnation
                a_root_repeated_after_its_end_is_whole_or_nothing
                a_commit_repeated_after_its_reclaim_is_whole_or_nothing
                threads_share_nothing
                ;
            expect:
                an_expectation_that_holds_lets_the_commit_through
                an_expectation_that_does_not_hold_is_a_conflict
                a_failed_expectation_starts_no_thread
                an_expectation_sees_visible_records_of_its_namespace
                a_repeat_is_known_before_its_expectation_is_checked
                an_expectation_may_hold_again_after_a_removal
                an_expectation_is_unsupported_without_fencing
                ;
            reput:
                a_reput_replaces_the_content
                a_reput_keeps_the_first_parent
                a_reput_keeps_the_pending_writes
                a_reput_keeps_the_pin
                a_reput_makes_a_hidden_record_visible
                a_reput_condemns_the_old_pack
                a_reput_may_borrow_from_what_it_replaces
                the_last_of_many_reputs_counts
                a_removed_id_can_be_put_anew
                ;
            sizes:
                a_commit_without_chunks_is_stored
                empty_chunks_and_bodies_are_stored
                every_byte_value_is_kept
                a_megabyte_chunk_is_stored
                five_thousand_chunks_in_one_commit
                a_value_over_the_limit_is_too_large
                ;
            get_list:
                get_answers_each_pick_in_order
                get_of_no_thread_gives_nothing
                latest_is_the_greatest_id
                latest_skips_hidden_records
                detail_says_how_much_is_read
                list_descends_by_the_bytes_of_ids
                list_over_namespaces_orders_by_id_then_namespace
                list_before_and_limit
                list_gives_hidden_records_only_if_asked
                list_shows_pins
                list_of_no_thread_gives_nothing
                list_gives_what_stays_exactly_once
                a_listing_covers_one_moment
                a_dropped_listing_locks_nothing
                ;
            chunks:
                chunks_answers_each_name_in_order
                wrong_hints_do_not_matter
                chunks_are_of_one_incarnation
                condemned_chunks_are_given_until_reclaimed
                many_chunks_are_read_at_once
                ;
            writes:
                writes_come_back_with_their_checkpoint
                writes_before_their_checkpoint_wait_for_it
                writes_start_an_incarnation
                each_write_replaces_or_keeps
                repeated_writes_change_nothing
                writes_belong_to_one_checkpoint
                writes_go_with_a_removal_and_stay_with_a_hide
                writes_end_with_their_incarnation
                a_thousand_writes_in_one_call
                no_writes_at_all_are_accepted
                ;
            alter:
                a_removed_record_is_gone_from_every_read
                removing_the_last_record_keeps_the_incarnation
                a_hidden_record_keeps_all_it_has
                a_hidden_record_can_be_removed
                a_pinned_record_is_not_removed_or_hidden
                a_hidden_record_can_be_pinned
                a_change_applies_only_to_the_pack_it_names
                a_change_of_nothing_is_gone
                a_change_applies_only_in_its_incarnation
                alter_answers_each_change_in_order
                a_repeated_change_changes_nothing
                a_thousand_changes_in_one_call
                ;
            reclaim:
                condemned_of_no_thread_is_none
                condemned_lists_removed_and_replaced_packs
                a_pack_is_condemned_as_of_a_time
                condemned_pages_by_pack
                reclaim_takes_only_what_is_named
                reclaim_leaves_what_is_not_condemned
                reclaim_may_be_repeated
                reclaim_touches_only_its_incarnation
                records_survive_the_reclaim_of_their_ancestors
                reclaim_drops_writes_without_a_checkpoint
                ;
            threads:
                a_deleted_thread_does_not_exist
                delete_names_the_incarnation
                a_new_life_knows_nothing_of_the_old
                a_copy_has_everything
                a_copy_is_independent
                a_copy_onto_a_thread_is_a_conflict
                a_copy_of_writes_has_them_wait
                a_copy_of_nothing_is_not_found
                a_repeated_copy_is_done
                a_copy_onto_a_deleted_thread_succeeds
                threads_come_in_order_and_pages
                threads_filters_by_prefix
                threads_lists_only_those_with_a_visible_record
                threads_lists_all_if_asked
                a_closed_backend_is_unavailable
                everything_is_there_after_a_reopen
                a_second_handle_sees_everything
                ;
            ids:
                awkward_thread_ids_work
                awkward_namespaces_and_ids_work
                parts_of_a_name_are_kept_apart
                long_ids_work
                awkward_names_in_writes_work
                any_pack_id_works
                awkward_text_beside_the_body_works
                ;
            concurrency:
                sixteen_tasks_commit_to_one_thread
                racing_roots_share_one_incarnation
                one_of_many_fenced_writers_wins
                a_borrow_races_the_removal_of_its_parent
                a_pin_races_a_removal
                racing_removals_agree
                racing_reputs_leave_one_current
                a_commit_races_its_own_repeat
                writes_of_a_call_appear_together
                a_get_sees_one_incarnation
                one_of_many_copies_wins
                dropped_futures_leave_nothing_behind
                ;
        }
    };
}

#[cfg(test)]
mod tests {
    /// A behaviour that is not in the list above would silently never run.
    #[test]
    fn every_behaviour_is_listed() {
        let list = include_str!("mod.rs");
        for source in SOURCES {
            for line in source.lines() {
                let Some(rest) = line.strip_prefix("pub async fn ") else {
                    continue;
                };
                let name = rest.split('(').next().unwrap();
                let listed = list.lines().any(|line| line.trim() == name);
                assert!(listed, "{name} is not in backend_suite_list!");
            }
        }
    }

    const SOURCES: [&str; 12] = [
        include_str!("alter.rs"),
        include_str!("chunks.rs"),
        include_str!("commit.rs"),
        include_str!("concurrency.rs"),
        include_str!("expect.rs"),
        include_str!("get_list.rs"),
        include_str!("ids.rs"),
        include_str!("reclaim.rs"),
        include_str!("reput.rs"),
        include_str!("sizes.rs"),
        include_str!("threads.rs"),
        include_str!("writes.rs"),
    ];
}
