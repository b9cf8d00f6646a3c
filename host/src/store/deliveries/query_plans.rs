//! The query plans of the statements that run all the time: their cost must not grow with the backlog or the log.

use sqlx::AssertSqlSafe;

use super::backlog::spill_sql;
use super::cancel::end_sql;
use super::claim::{FIRST_SCHEDULED, claim_backlog_sql, claim_due_sql, claim_lapsed_sql, next_due_sql};
use super::company_removals::{KNOWN, last_places_sql};
use super::counts::{OLDEST_DUE, waiting_sql};
use super::erase::EMPTY_EVENTS;
use super::events::events_sql;
use super::log::list_sql;
use super::log_walk::{LogIndex, OldestEvents, oldest_events_sql};
use super::missing::candidates_sql;
use super::orphans::{cancel_sql, orphans_sql};
use super::past_events::newest_of_type_sql;
use super::removal_steps::{REMOVE_CONFIGS, REMOVE_VERSIONS, left_sql, remove_earlier_sql};
use super::replay::{count_sql, mark_sql, sent_sql};
use super::selection_sql::SelectionSql;
use super::transient;
use super::{EXPIRE_EVENTS, REMOVE_ATTEMPTS, remove_deliveries_sql, remove_unmatched_sql};
use crate::domain::delivery::{Status, StatusFilter};
use crate::domain::delivery_selection::DeliverySelection;
use crate::store::backend::Backend;
use crate::store::companies::summary_sql;
use crate::store::db::{self, DatabaseConnection, DatabaseKind};
use crate::store::webhooks::configs::{released_sql, remove_sql};
use crate::store::webhooks::health::health_sql;
use crate::store::webhooks::list::{WebhookFilter, page_sql, sizes_sql};
use crate::store::webhooks::matching::MATCHING;
use crate::store::{CancelState, EarlierRows};

pub(in crate::store) const KIND: DatabaseKind = DatabaseKind::Sqlite;

pub(in crate::store) async fn database() -> (tempfile::TempDir, DatabaseConnection) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("plans.db").display());
    let connection = Backend::open(&url).await.unwrap().connect().await.unwrap();
    (folder, connection)
}

/// Returns the conditions of a selection that has all of them.
fn conditions(first: usize) -> String {
    let selection = DeliverySelection {
        types: vec!["t".into(), "u".into()],
        statuses: vec![StatusFilter::Is(Status::Delivered), StatusFilter::Is(Status::Failed)],
        webhook: Some("wh_1".into()),
        label: Some("l".into()),
        error: Some("x".into()),
    };
    SelectionSql::new(&selection, first).sql
}

pub(in crate::store) async fn plan(connection: &mut DatabaseConnection, sql: &str) -> String {
    let rows = db::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.try_get::<String>("detail").unwrap() + "\n").collect()
}

#[tokio::test]
async fn due_deliveries_are_found_by_the_partial_indexes_in_their_order() {
    let (_folder, mut connection) = database().await;
    let due = plan(&mut connection, &claim_due_sql(KIND)).await;
    assert!(due.contains("USING INDEX event_deliveries_scheduled (due<?)"), "{due}");
    let lapsed = plan(&mut connection, &claim_lapsed_sql(KIND)).await;
    assert!(lapsed.contains("USING INDEX event_deliveries_leased (due<?)"), "{lapsed}");
    let next = plan(&mut connection, &next_due_sql()).await;
    assert!(next.contains("event_deliveries_scheduled") && next.contains("event_deliveries_leased"), "{next}");
    for plan in [due, lapsed, next] {
        assert!(!plan.contains("SCAN event_deliveries\n") && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}

#[tokio::test]
async fn backlog_of_a_webhook_is_found_by_its_partial_index_in_its_order() {
    let (_folder, mut connection) = database().await;
    let claim = plan(&mut connection, &claim_backlog_sql(KIND)).await;
    assert!(claim.contains("event_deliveries_waiting (webhook_id=? AND parked=? AND id<?)"), "{claim}");
    assert!(!claim.contains("SCAN event_deliveries\n") && !claim.contains("TEMP B-TREE"), "{claim}");
    let spill = plan(&mut connection, &spill_sql(KIND)).await;
    assert!(
        spill.contains("event_deliveries_waiting (webhook_id=? AND parked=?)") && !spill.contains("TEMP B-TREE"),
        "{spill}"
    );
    let first = plan(&mut connection, FIRST_SCHEDULED).await;
    assert!(first.contains("event_deliveries_waiting (webhook_id=? AND parked=?)"), "{first}");
}

/// Each index, and the part of a plan that shows its use.
fn log_indexes() -> Vec<(LogIndex, &'static str)> {
    let ended = [Status::Failed, Status::Filtered, Status::Cancelled].map(LogIndex::Ended);
    let mut all: Vec<_> =
        ended.map(|index| (index, "event_deliveries_ended (company=? AND status=? AND id>? AND id<?)")).into();
    all.extend([
        (LogIndex::Everything, "event_deliveries_1 (company=? AND id>? AND id<?)"),
        (LogIndex::Type("t".into()), "event_deliveries_type (company=? AND event_type=? AND id>? AND id<?)"),
        (LogIndex::TypeAndTests("t".into()), "event_deliveries_type (company=? AND event_type=? AND id>? AND id<?)"),
        (LogIndex::Pending, "event_deliveries_pending (company=? AND id>? AND id<?)"),
        (LogIndex::Retrying, "event_deliveries_retrying (company=? AND id>? AND id<?)"),
    ]);
    all
}

#[tokio::test]
async fn every_page_of_the_log_is_read_along_its_index_in_its_order() {
    let (_folder, mut connection) = database().await;
    for (index, used) in log_indexes() {
        for sql in
            [list_sql(&index, &conditions(6), KIND), index.floor_sql(KIND), count_sql(&index, &conditions(6), KIND)]
        {
            let plan = plan(&mut connection, &sql).await;
            assert!(plan.contains(used), "{index:?} {plan}");
            // The rows in memory are sorted, because their index has another order; they are few.
            let sorted =
                matches!(index, LogIndex::Pending | LogIndex::Retrying) && plan.contains("event_deliveries_leased");
            assert!(sorted || !plan.contains("TEMP B-TREE"), "{index:?} {plan}");
        }
        let list = plan(&mut connection, &list_sql(&index, &conditions(6), KIND)).await;
        assert!(list.contains("SEARCH a USING") && list.contains("(delivery_id=? AND number=?)"), "{list}");
    }
}

#[tokio::test]
async fn events_are_listed_along_the_deliveries_and_the_index_of_those_without() {
    let (_folder, mut connection) = database().await;
    let of_type = || Some("t".to_owned());
    let [all, every] = ["events_unmatched (company=? AND place>? AND place<?)", "event_deliveries_1 (company=?"];
    let [typed, one] =
        ["events_unmatched_type (company=? AND event_type=? AND place>? AND place<?)", "event_deliveries_type"];
    for (index, used) in [
        (LogIndex::Everything, vec![all, every]),
        (LogIndex::Type("t".into()), vec![typed, one]),
        (LogIndex::Unmatched(None), vec![all]),
        (LogIndex::Unmatched(of_type()), vec![typed]),
    ] {
        let plan = plan(&mut connection, &events_sql(&index, KIND)).await;
        assert!(used.iter().all(|used| plan.contains(used)), "{index:?} {plan}");
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN e"), "{index:?} {plan}");
    }
    let newest = plan(&mut connection, &newest_of_type_sql(KIND)).await;
    assert!(newest.contains("event_deliveries_type") && newest.contains("events_unmatched_type"), "{newest}");
}

#[tokio::test]
async fn oldest_events_are_found_along_the_deliveries_and_the_events_without() {
    let (_folder, mut connection) = database().await;
    for (event_type, used) in [
        (
            None,
            [
                "event_deliveries_1 (company=? AND id>? AND id<?)",
                "events_unmatched (company=? AND place>? AND place<?)",
            ],
        ),
        (
            Some("t"),
            [
                "event_deliveries_type (company=? AND event_type=? AND id>? AND id<?)",
                "events_unmatched_type (company=? AND event_type=? AND place>? AND place<?)",
            ],
        ),
    ] {
        let missing = candidates_sql(event_type, KIND);
        for sql in [&missing, &oldest_events_sql(event_type, OldestEvents::All, KIND)] {
            let plan = plan(&mut connection, sql).await;
            assert!(used.iter().all(|used| plan.contains(used)), "{event_type:?} {plan}");
            assert!(!plan.contains("SCAN event_deliveries\n") && !plan.contains("SCAN events\n"), "{plan}");
        }
        assert!(plan(&mut connection, &missing).await.contains("SEARCH o USING"));
    }
}

#[tokio::test]
async fn what_a_company_has_is_counted_along_indexes() {
    let (_folder, mut connection) = database().await;
    let plan = plan(&mut connection, &summary_sql(KIND)).await;
    for used in ["events_1 (company=?)", "event_deliveries_type (company=?)", "event_deliveries_pending (company=?)"] {
        assert!(plan.contains(used), "{plan}");
    }
    assert!(!plan.contains("SCAN event_deliveries\n") && !plan.contains("SCAN events\n"), "{plan}");
}

#[tokio::test]
async fn transient_deliveries_that_have_ended_are_found_by_their_index_and_erased_by_keys() {
    let (_folder, mut connection) = database().await;
    let found = plan(&mut connection, &transient::ended_sql(KIND)).await;
    assert!(found.contains("event_deliveries_transient") && !found.contains("TEMP B-TREE"), "{found}");
    for (statement, used) in [
        (&transient::MARK_DELIVERIES, "sqlite_autoindex_event_deliveries_1 (company=? AND id=?)"),
        (&transient::EMPTY_ATTEMPTS, "SEARCH attempts USING"),
        (&transient::MARK_EVENTS, "sqlite_autoindex_events_1 (company=? AND id=?)"),
        (
            &transient::MARK_EVENTS,
            "SEARCH d USING INDEX sqlite_autoindex_event_deliveries_1 (company=? AND id>? AND id<?)",
        ),
        (&EMPTY_EVENTS, "sqlite_autoindex_events_1 (company=? AND id=?)"),
    ] {
        let (sql, _) = statement.split(KIND, &[(), ()]).next().unwrap();
        let plan = plan(&mut connection, &sql.0).await;
        assert!(plan.contains(used), "{plan}");
    }
}

#[tokio::test]
async fn log_of_the_version_before_is_taken_out_along_its_indexes() {
    let (_folder, mut connection) = database().await;
    for (rows, used) in [
        (EarlierRows::Waiting, "USING INDEX deliveries_pending"),
        (EarlierRows::Abandoned, "USING INDEX deliveries_leased"),
        (EarlierRows::All, "USING INDEX sqlite_autoindex_deliveries_1"),
    ] {
        let plan = plan(&mut connection, &rows.take_sql(KIND)).await;
        assert!(plan.contains(used) && !plan.contains("TEMP B-TREE"), "{rows:?} {plan}");
    }
}

#[tokio::test]
async fn pages_of_pending_deliveries_read_the_leased_ones_from_their_index() {
    let (_folder, mut connection) = database().await;
    for index in [LogIndex::Pending, LogIndex::Retrying] {
        let plan = plan(&mut connection, &list_sql(&index, &conditions(6), KIND)).await;
        assert!(plan.contains("event_deliveries_leased"), "{plan}");
    }
}

#[tokio::test]
async fn steps_of_a_replay_go_along_the_index_of_its_selection() {
    let (_folder, mut connection) = database().await;
    for (index, used) in log_indexes().into_iter() {
        for sql in [index.step_end_sql(KIND), mark_sql(&index, &conditions(5), KIND)] {
            let plan = plan(&mut connection, &sql).await;
            assert!(plan.contains(used) && !plan.contains("TEMP B-TREE"), "{index:?} {plan}");
        }
    }
}

#[tokio::test]
async fn steps_of_a_cancellation_go_along_the_index_of_what_waits() {
    let (_folder, mut connection) = database().await;
    for (state, used) in [
        (CancelState::Pending, "event_deliveries_pending (company=? AND id>? AND id<?)"),
        (CancelState::Retrying, "event_deliveries_retrying (company=? AND id>? AND id<?)"),
        (CancelState::Replayed, "event_deliveries_pending (company=? AND id>? AND id<?)"),
    ] {
        let plan = plan(&mut connection, &end_sql(state, &conditions(6), KIND)).await;
        assert!(plan.contains(used), "{plan}");
    }
}

#[tokio::test]
async fn waiting_deliveries_without_a_webhook_are_found_and_ended_by_the_partial_index() {
    let (_folder, mut connection) = database().await;
    let orphans = plan(&mut connection, &orphans_sql()).await;
    assert_eq!(orphans.matches("SEARCH d USING INDEX event_deliveries_waiting (webhook_id>?)").count(), 2, "{orphans}");
    assert!(orphans.contains("SEARCH w USING") && !orphans.contains("SCAN d"), "{orphans}");
    let cancel = plan(&mut connection, &cancel_sql(KIND)).await;
    assert!(cancel.contains("event_deliveries_waiting (webhook_id=?)") && !cancel.contains("TEMP B-TREE"), "{cancel}");
}

#[tokio::test]
async fn configs_without_a_webhook_are_found_and_removed_by_their_indexes() {
    let (_folder, mut connection) = database().await;
    let released = plan(&mut connection, &released_sql(KIND)).await;
    assert!(released.contains("SCAN c USING INDEX company_configs_held"), "{released}");
    assert!(released.contains("webhooks_config (config_digest=? AND company=?)"), "{released}");
    assert!(released.contains("chain_transforms_config (config_digest=? AND company=?)"), "{released}");
    let removed = plan(&mut connection, &remove_sql(KIND)).await;
    assert!(removed.contains("company_configs_released (released_at<?)") && !removed.contains("SCAN"), "{removed}");
}

#[tokio::test]
async fn replays_that_were_sent_are_found_without_reading_the_log() {
    let (_folder, mut connection) = database().await;
    let plan = plan(&mut connection, &sent_sql(KIND)).await;
    for used in ["event_deliveries_waiting (webhook_id=? AND parked=? AND id>? AND id<?)", "event_deliveries_leased"] {
        assert!(plan.contains(used), "{plan}");
    }
}

#[tokio::test]
async fn health_of_a_webhook_reads_indexes_alone() {
    let (_folder, mut connection) = database().await;
    let plan = plan(&mut connection, &health_sql(KIND)).await;
    for used in [
        "event_deliveries_type (company=? AND event_type=? AND id<?)",
        "event_deliveries_waiting (webhook_id=? AND parked=?)",
    ] {
        assert!(plan.contains(used), "{plan}");
    }
    assert!(plan.contains("event_deliveries_1 (company=? AND id<?)"), "{plan}");
    assert!(!plan.contains("SCAN event_deliveries\n") && plan.contains("event_deliveries_leased"), "{plan}");
    assert!(!plan.contains("SCAN w\n") && !plan.contains("SCAN a"), "{plan}");
}

#[tokio::test]
async fn webhooks_of_a_company_are_listed_without_those_of_others() {
    let (_folder, mut connection) = database().await;
    for sql in [sizes_sql(&WebhookFilter::default()), page_sql(&WebhookFilter::default())] {
        let plan = plan(&mut connection, &sql).await;
        assert!(!plan.contains("SCAN w"), "{plan}");
    }
}

#[tokio::test]
async fn webhooks_that_match_an_event_are_found_by_their_subscriptions() {
    let (_folder, mut connection) = database().await;
    for (sql, types) in MATCHING.split(KIND, &["a/b", "*", "a/*"]) {
        let plan = plan(&mut connection, &sql.0).await;
        assert_eq!(types.len(), 3);
        let used = "SEARCH w USING INDEX sqlite_autoindex_webhooks_2 (company=? AND event_type>? AND event_type<?)";
        assert!(plan.contains(used) && !plan.contains("SCAN w") && !plan.contains("SCAN p"), "{plan}");
    }
}

#[tokio::test]
async fn waiting_deliveries_are_counted_and_the_oldest_found_by_the_partial_indexes_alone() {
    let (_folder, mut connection) = database().await;
    let waiting = plan(&mut connection, &waiting_sql()).await;
    let lookups: Vec<_> = waiting.lines().filter(|line| line.contains(" d ") || line.ends_with(" d")).collect();
    let [first, next] = ["SEARCH d USING INDEX event_deliveries_waiting (webhook_id>?)"; 2];
    let own = "SEARCH d USING INDEX event_deliveries_waiting (webhook_id=? AND parked=?)";
    assert_eq!(lookups, [first, next, own, own, own, own, own, own, own, own], "{waiting}");
    assert!(!waiting.contains("SCAN d") && !waiting.contains("TEMP B-TREE"), "{waiting}");
    let oldest = plan(&mut connection, OLDEST_DUE).await;
    assert!(
        oldest.contains("USING INDEX event_deliveries_scheduled (due<?)") && !oldest.contains("TEMP B-TREE"),
        "{oldest}"
    );
}

#[tokio::test]
async fn what_belongs_to_removed_deliveries_is_found_by_primary_keys() {
    let (_folder, mut connection) = database().await;
    for (statement, used) in [
        (&REMOVE_ATTEMPTS, "SEARCH attempts USING COVERING INDEX sqlite_autoindex_attempts_1 (delivery_id=?)"),
        (&EXPIRE_EVENTS, "SEARCH events USING INDEX sqlite_autoindex_events_1 (company=? AND id=?)"),
    ] {
        for rows in [1, 64] {
            for (sql, _) in statement.split(KIND, &vec!["a"; rows]) {
                let plan = plan(&mut connection, &sql.0).await;
                assert!(plan.contains(used), "{plan}");
            }
        }
    }
}

#[tokio::test]
async fn log_of_a_removed_company_is_taken_out_along_its_keys() {
    let (_folder, mut connection) = database().await;
    for (sql, used) in [
        (remove_deliveries_sql(KIND), "event_deliveries_1 (company=? AND id<?)"),
        (remove_unmatched_sql(KIND), "events_unmatched (company=? AND place<?)"),
        (remove_earlier_sql(KIND), "deliveries_1 (company=? AND id<?)"),
    ] {
        let plan = plan(&mut connection, &sql).await;
        assert!(plan.contains(used) && !plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{plan}");
    }
    for (sql, used) in [
        (left_sql(KIND), ["event_deliveries_1 (company=? AND id<?)", "events_unmatched (company=? AND place<?)"]),
        (last_places_sql(KIND), ["event_deliveries_1 (company=?)", "events_unmatched (company=?)"]),
    ] {
        let plan = plan(&mut connection, &sql).await;
        assert!(used.iter().all(|used| plan.contains(used)) && !plan.contains("SCAN"), "{plan}");
    }
    let configs = plan(&mut connection, REMOVE_CONFIGS).await;
    assert!(
        configs.contains("webhooks_config (config_digest=? AND company=?)")
            && configs.contains("chain_transforms_config (config_digest=? AND company=?)")
            && !configs.contains("SCAN"),
        "{configs}"
    );
    let versions = plan(&mut connection, REMOVE_VERSIONS).await;
    assert!(!versions.contains("SCAN"), "{versions}");
    let known = plan(&mut connection, KNOWN).await;
    assert!(!known.contains("SCAN events") && !known.contains("SCAN deliveries"), "{known}");
}
