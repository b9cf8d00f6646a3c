//! The conformance suite of the store: each of its methods on each database, with the same assertions; and that every
//! statement of it was among what ran.

// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod again;
mod case;
mod events;
mod keys;
mod log;
mod moving;
mod nodes;
mod plugins;
mod seats;
mod setup;
mod statements;
mod waiting;
mod webhooks;

use case::Case;

/// Makes a test of each function for each database, and one function that calls them all.
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

        /// All of them, one after the other.
        async fn all(kind: posthaste_tests::Kind) {
            $($($area::$name(Case::on(kind).await).await;)*)*
        }
    };
}

on_both! {
    again:
        a_delivery_that_is_urged_is_taken_whatever_became_of_it
        a_replay_marks_what_it_wants_step_by_step
        ten_replays_of_a_company_may_be_under_way;
    events:
        an_event_is_stored_once_and_its_id_is_answered_as_before
        many_at_once_are_stored_in_one_go
        an_event_is_read_as_it_was_published
        a_completion_ends_a_delivery_once_and_writes_its_attempt_down
        a_completion_may_schedule_or_park
        what_has_ended_already_is_stored_whole;
    keys:
        a_key_is_found_by_its_text_until_it_is_revoked;
    log:
        a_list_is_filtered_and_cut_into_pages
        companies_and_names_go_byte_by_byte
        what_is_old_is_removed_a_few_at_a_time
        past_events_of_a_plugin_are_read_newest_first;
    moving:
        all_of_it_moves_into_a_database_of_the_other_kind;
    plugins:
        a_version_is_stored_switched_and_listed
        a_prefix_finds_its_versions
        the_followers_that_were_asked_about_must_be_those_that_there_are
        what_is_used_stays_and_what_is_removed_is_kept_for_the_log;
    seats:
        a_node_that_beats_is_seen_and_one_that_does_not_is_removed_once
        a_node_that_leaves_leaves_what_it_has_to_others
        a_seat_is_its_nodes_until_that_is_gone
        what_another_node_answers_for_is_left_to_it
        under_another_lease_nothing_of_a_delivery_changes;
    setup:
        the_secret_key_must_be_the_one_that_sealed
        what_is_stored_outlives_the_process;
    waiting:
        what_is_due_is_taken_once_and_oldest_first
        no_more_is_taken_at_once_than_a_few_mib
        what_is_parked_is_taken_oldest_first_and_what_is_replayed_apart
        an_ordered_webhook_stops_before_what_waits_for_its_retry
        what_others_had_in_memory_is_due_again
        what_waits_is_parked_and_cancelled
        what_waits_is_counted;
    webhooks:
        a_webhook_is_stored_overwritten_changed_and_removed
        a_secret_is_rotated
        a_webhook_that_only_fails_is_noted_and_disabled
        a_company_has_a_thousand_at_most;
}
