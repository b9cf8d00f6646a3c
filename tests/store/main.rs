//! The conformance suite of the store: each of its methods on both databases, with the same assertions; and a check that
//! every statement of the store was executed.

// Clippy's exception for tests does not cover the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod backlog;
mod case;
mod chains;
mod companies;
mod erasure;
mod event_types;
mod events;
mod keys;
mod labels;
mod log;
mod nodes;
mod ownership;
mod plugins;
mod policies;
mod pull;
mod quotas;
mod removals;
mod replays;
mod setup;
mod statements;
mod transfer;
mod webhooks;

use std::pin::Pin;

use case::Case;

/// Defines a test of each function for each database, and one function that calls them all.
macro_rules! on_both {
    ($($area:ident: $($name:ident)*;)*) => {
        mod sqlite {
            $(mod $area {
                $(#[tokio::test]
                async fn $name() {
                    crate::$area::$name(crate::Case::on(posthaste_tests::Kind::Sqlite).await).await;
                })*
            })*
        }

        mod postgres {
            $(mod $area {
                $(#[tokio::test]
                async fn $name() {
                    crate::$area::$name(crate::Case::on(posthaste_tests::Kind::Postgres).await).await;
                })*
            })*
        }

        /// Runs all of them, one after the other.
        async fn all(kind: posthaste_tests::Kind) {
            $($(boxed(kind, $area::$name).await;)*)*
        }
    };
}

/// Runs one of them. Its state is on the heap: those of all together do not fit on a thread's stack.
fn boxed<F: Future<Output = ()> + 'static>(
    kind: posthaste_tests::Kind,
    test: impl FnOnce(Case) -> F + 'static,
) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move { test(Case::on(kind).await).await })
}

on_both! {
    chains:
        chain_is_stored_in_its_order_and_read_wherever_its_webhook_is
        large_config_of_a_chain_is_read_when_it_is_needed
        chain_whose_transforms_cannot_be_read_is_not_taken_for_none
        plugin_of_a_chain_is_used_by_its_webhook
        chain_is_refused_while_a_node_of_an_earlier_version_runs;
    policies:
        policy_is_stored_replaced_listed_and_removed
        policy_that_cannot_be_read_whole_is_not_taken_for_none
        plugin_of_a_policy_is_used_by_it
        policies_are_few_and_wait_until_every_node_knows_them
        policies_of_a_removed_company_hold_until_nothing_of_it_is_left;
    companies:
        companies_are_listed_byte_by_byte_with_what_they_have;
    erasure:
        erased_event_keeps_its_lines_without_data_and_its_id
        erased_delivery_is_not_sent_again
        attempt_that_ends_after_the_erasure_records_only_its_outcome
        events_of_a_selection_are_erased_step_by_step
        transient_deliveries_are_erased_once_they_have_ended
        company_has_at_most_ten_erasures_in_progress;
    removals:
        removal_empties_every_table_that_has_a_company
        company_of_which_anything_is_stored_can_be_removed
        removal_leaves_what_others_have_and_what_comes_later
        long_log_is_removed_in_steps_with_that_of_the_version_before
        bytes_that_are_counted_late_bring_a_removed_company_not_back
        keys_of_a_removed_company_open_nothing_at_once;
    pull:
        entries_are_read_in_order_acknowledged_and_taken_back
        a_long_move_takes_several_steps
        a_delivery_that_is_sent_again_waits_behind_all_others
        a_filtered_delivery_is_left_out_and_retention_removes_entries
        events_are_posted_once_a_webhook_has_no_consumer_any_more;
    event_types:
        event_type_is_stored_overwritten_listed_and_removed
        event_types_are_listed_byte_by_byte_in_pages_and_by_group
        company_has_its_own_number_of_event_types
        rule_of_a_type_is_read_with_its_schema_and_changes_at_once;
    replays:
        requested_delivery_is_claimed_whatever_its_status
        delivery_is_sent_again_on_request_a_hundred_times_at_most
        replay_marks_its_deliveries_step_by_step
        replay_has_the_deliveries_of_its_selection
        replay_goes_to_the_webhook_that_takes_over
        missing_deliveries_are_made
        cancellation_ends_what_waits_step_by_step
        steps_of_replays_and_cancellations_are_bounded
        stopped_replay_cancels_what_it_has_marked
        company_has_at_most_ten_replays_in_progress;
    events:
        event_id_is_stored_once_per_company
        event_is_stored_once_with_a_delivery_for_each_webhook
        log_of_the_version_before_is_moved
        events_are_listed_and_found_by_their_own_id
        many_concurrent_events_are_stored
        event_is_read_as_published
        completion_ends_a_delivery_once_and_stores_its_attempt
        completion_schedules_a_retry_or_spills_to_the_backlog
        finished_delivery_is_stored_with_its_attempt;
    keys:
        key_is_found_by_its_text_until_revoked;
    labels:
        event_matches_webhooks_by_type_label_and_pattern
        webhook_is_stored_once_for_each_type_and_label
        pattern_that_is_stored_or_removed_concerns_every_type
        event_matches_at_most_a_hundred_webhooks
        labels_and_patterns_wait_until_every_node_knows_them
        health_is_read_for_labels_and_patterns
        quiet_webhook_of_a_busy_company_is_as_healthy_as_it_was;
    log:
        list_is_filtered_and_paged
        list_has_several_types_statuses_labels_and_errors
        every_status_is_a_filter_wherever_its_rows_are
        one_request_examines_a_bounded_number_of_rows
        rare_type_is_found_behind_any_number_of_others
        companies_are_ordered_byte_by_byte
        old_deliveries_are_removed_in_steps
        event_is_removed_with_its_last_delivery
        event_of_a_delivery_is_read_for_its_attempt
        newest_event_of_a_type_is_found
        past_events_of_a_plugin_are_read_newest_first;
    quotas:
        company_has_its_own_quotas
        configs_are_bounded_in_bytes_with_those_that_wait_for_retention
        plugins_are_bounded_in_number_and_bytes
        events_are_counted_in_bytes;
    transfer:
        everything_is_transferred_to_a_database_of_the_other_kind;
    plugins:
        version_is_stored_activated_and_listed
        digest_prefix_finds_versions
        activation_requires_the_current_followers
        version_in_use_is_not_removed_and_a_removed_one_stays_for_the_log;
    ownership:
        dead_node_is_removed_once_and_a_live_one_is_not
        leaving_node_releases_its_deliveries_and_ownerships
        owner_keeps_a_webhook_until_the_node_is_removed
        deliveries_of_another_owner_are_not_claimed
        completion_under_another_lease_changes_nothing;
    setup:
        wrong_secret_key_is_refused
        lost_secret_key_is_replaced
        clock_doubt_is_kept
        stored_delivery_survives_a_restart;
    backlog:
        due_deliveries_are_claimed_once_and_oldest_first
        one_claim_is_bounded_in_bytes
        backlog_is_claimed_oldest_first_and_replays_separately
        ordered_backlog_stops_before_a_scheduled_retry
        leases_of_removed_nodes_are_released
        pending_deliveries_are_spilled_and_cancelled
        database_has_a_size
        pending_deliveries_are_counted;
    webhooks:
        health_is_read_from_the_recent_deliveries
        config_is_kept_until_no_attempt_can_name_it
        headers_in_clear_are_read_and_encrypted
        webhook_is_stored_overwritten_changed_and_removed
        signing_secret_is_replaced
        signing_secret_is_rotated
        failing_webhook_is_recorded_and_disabled
        company_has_at_most_a_thousand_webhooks;
}
