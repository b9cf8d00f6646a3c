//! Removing companies.

use posthaste::domain::credential::{Key, Owner, Scopes};
use posthaste::domain::plugin::Digest;
use posthaste::store::{
    Change, CompanyRemoval, DeliveryUpdate, FinishedRemoval, KeyStore, NewVersion, RemovalRecord, RemovalStep,
};
use posthaste_tests::Kind;

use crate::case::{Case, NOW, attempt, id, row, several, spilled, unmatched, webhook, with};

/// When the tests remove: milliseconds since 1970.
const THEN: i64 = NOW + 70;

fn removal(company: &str) -> CompanyRemoval {
    CompanyRemoval { company: company.into(), place: id(THEN, 0), by: "key_1".into(), now: THEN }
}

/// Makes steps until nothing is left. Returns their number, and the versions that nobody has any more.
async fn emptied(case: &Case, company: &str) -> (usize, Vec<Digest>) {
    let (mut steps, mut gone) = (0, Vec::new());
    loop {
        match case.removal_step(company.into(), THEN).await.unwrap().unwrap() {
            RemovalStep::Removed(versions) => gone.extend(versions),
            RemovalStep::Waits => return (steps, gone),
            RemovalStep::Finished(finished) => panic!("{finished:?}"),
        }
        steps += 1;
    }
}

/// Makes all steps, the last as late as it has to be.
async fn removed(case: &Case, company: &str) -> FinishedRemoval {
    emptied(case, company).await;
    case.update_event_usage().await.unwrap();
    let early = case.removal_step(company.into(), THEN + 999).await.unwrap();
    assert_eq!(early, Some(RemovalStep::Waits));
    match case.removal_step(company.into(), THEN + 1_000).await.unwrap() {
        Some(RemovalStep::Finished(finished)) => finished,
        other => panic!("{other:?}"),
    }
}

/// Returns the tables that have a column `company`.
async fn tables_of_companies(case: &Case) -> Vec<String> {
    let sql = match case.home.kind() {
        Kind::Sqlite => {
            "SELECT group_concat(m.name) FROM sqlite_master m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND c.name = 'company'"
        }
        Kind::Postgres => {
            "SELECT string_agg(CAST(table_name AS TEXT), ',') FROM information_schema.columns \
             WHERE table_schema = 'public' AND column_name = 'company'"
        }
    };
    case.home.value::<String>(sql).await.split(',').map(str::to_owned).collect()
}

/// Stores a row of a company in a table: every text is `text`, every number 0.
async fn fill(case: &Case, table: &str, company: &str, text: &str) {
    let sql = match case.home.kind() {
        Kind::Sqlite => format!("SELECT group_concat(name || ' ' || type) FROM pragma_table_info('{table}')"),
        Kind::Postgres => format!(
            "SELECT string_agg(column_name || ' ' || data_type, ',') FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name = '{table}'"
        ),
    };
    let columns = case.home.value::<String>(&sql).await;
    let columns: Vec<_> = columns.split(',').map(|column| column.split_once(' ').unwrap()).collect();
    let value = |(name, kind): &(&str, &str)| match (*name, kind.to_lowercase().as_str()) {
        ("company", _) => format!("'{company}'"),
        (_, "text") => format!("'{text}'"),
        (_, "bigint") => "0".to_owned(),
        (_, "bytea") if case.home.kind() == Kind::Sqlite => "X'00'".to_owned(),
        (_, "bytea") => "'\\x00'".to_owned(),
        (name, other) => panic!("{table}.{name} is {other}"),
    };
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = columns.iter().map(value).collect();
    case.home.sql(&format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "))).await;
}

async fn rows(case: &Case, table: &str, company: &str) -> i64 {
    case.home.value(&format!("SELECT COUNT(*) FROM {table} WHERE company = '{company}'")).await
}

pub(crate) async fn removal_empties_every_table_that_has_a_company(case: Case) {
    let tables = tables_of_companies(&case).await;
    assert!(tables.len() > 15 && tables.iter().any(|table| table == "event_deliveries"), "{tables:?}");
    for table in tables.iter().filter(|table| *table != "company_removals") {
        fill(&case, table, "gone", "0").await;
        fill(&case, table, "kept", "1").await;
    }
    assert!(case.start_removal(removal("gone")).await.unwrap().is_some());
    removed(&case, "gone").await;
    for table in &tables {
        assert_eq!(rows(&case, table, "gone").await, 0, "{table}");
        assert_eq!(rows(&case, table, "kept").await, i64::from(table != "company_removals"), "{table}");
    }
}

pub(crate) async fn company_of_which_anything_is_stored_can_be_removed(case: Case) {
    assert_eq!(case.start_removal(removal("nobody")).await.unwrap(), None);
    // What belongs to nothing else, and so may be all that is left.
    for table in [
        "api_keys",
        "plugin_versions",
        "company_configs",
        "event_types",
        "chain_transforms",
        "policies",
        "company_limits",
        "company_usage",
    ] {
        fill(&case, table, table, "0").await;
        assert!(case.start_removal(removal(table)).await.unwrap().is_some(), "{table}");
    }
    let listed = case.removals_in_progress().await.unwrap();
    assert_eq!((listed.len(), &*listed[0].company), (8, "api_keys"));
}

fn version(company: &str, bytes: &'static str) -> NewVersion {
    NewVersion {
        company: company.into(),
        name: "p".into(),
        digest: Digest::of(bytes.as_bytes()),
        exports: Vec::new(),
        imports: Vec::new(),
        wasm: bytes.into(),
        now: NOW,
    }
}

pub(crate) async fn removal_leaves_what_others_have_and_what_comes_later(case: Case) {
    for company in ["acme", "other"] {
        let hook =
            posthaste::domain::webhook::Webhook { company: company.into(), ..webhook(&format!("wh_{company}"), "t") };
        case.put_webhook(hook).await.unwrap();
        case.put_plugin(version(company, "shared"), None).await.unwrap();
    }
    case.put_plugin(version("acme", "own"), None).await.unwrap();
    // Its clock was ahead of this node's.
    let ahead = id(THEN + 9, 3);
    case.stored(several(row(&id(NOW, 1)), &["wh_1", "wh_2"])).await;
    case.stored(unmatched(row(&id(NOW, 2)))).await;
    case.finished(spilled(&ahead), |completion| DeliveryUpdate { attempt: Some(attempt(1)), ..completion }).await;
    case.stored(with(row(&id(NOW, 4)), |event| event.company = "other".into())).await;
    let started = case.start_removal(removal("acme")).await.unwrap().unwrap();
    assert_eq!(started, RemovalRecord { company: "acme".into(), end: format!("{ahead}~"), created_at: THEN });
    // Again, later: the one in progress.
    let again = CompanyRemoval { place: id(THEN + 50, 0), now: THEN + 50, ..removal("acme") };
    assert_eq!(case.start_removal(again).await.unwrap(), Some(started));
    let shown = case.companies(9, "").await.unwrap().0;
    assert_eq!((&*shown[0].company, shown[0].removing_since), ("acme", Some(THEN)));
    assert_eq!((&*shown[1].company, shown[1].removing_since), ("other", None));
    assert!(case.webhook_for("acme", "t").await.unwrap().is_none());
    assert!(case.plugin("acme", "p").await.unwrap().is_none());
    // Another node was at work on it at the request.
    fill(&case, "event_erasures", "acme", "0").await;
    // Another company of this name.
    fill(&case, "event_replays", "acme", "0").await;
    case.home.sql(&format!("UPDATE event_replays SET created_at = {}", THEN + 60)).await;
    case.stored(unmatched(row(&id(THEN + 60, 9)))).await;
    case.put_plugin(NewVersion { now: THEN + 60, ..version("acme", "shared") }, None).await.unwrap();
    let (_, gone) = emptied(&case, "acme").await;
    assert_eq!(gone, [Digest::of(b"own")]);
    let finished = removed(&case, "acme").await;
    assert_eq!((finished.by.as_str(), finished.events, finished.deliveries), ("key_1", 3, 4 - 1));
    assert_eq!((finished.cancelled, finished.bytes), (2, 24));
    assert_eq!(case.removal_step("acme".into(), THEN + 5_000).await.unwrap(), None);
    assert_eq!(case.home.value::<i64>("SELECT COUNT(*) FROM attempts").await, 0);
    let shown = case.companies(9, "").await.unwrap().0;
    let facts: Vec<_> = shown.iter().map(|one| (&*one.company, one.events, one.removing_since)).collect();
    assert_eq!(facts, [("acme", 1, None), ("other", 1, None)]);
    assert!(case.wasm("other", "p", &Digest::of(b"shared")).await.unwrap().is_some());
    assert!(case.plugin("acme", "p").await.unwrap().is_some());
    assert_eq!((rows(&case, "event_erasures", "acme").await, rows(&case, "event_replays", "acme").await), (0, 1));
    assert_eq!(case.webhook_for("other", "t").await.unwrap().unwrap().config_digest, Digest::of(br#"{"k": 1}"#));
    assert_eq!(case.home.value::<i64>("SELECT COUNT(*) FROM configs").await, 1);
    let digests = [b"shared".as_slice(), b"own"].map(Digest::of).to_vec();
    assert_eq!(case.unknown_digests(digests).await.unwrap(), [Digest::of(b"own")]);
}

pub(crate) async fn long_log_is_removed_in_steps_with_that_of_the_version_before(case: Case) {
    let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) SELECT \
                'dlv_' || i AS id, 'e' || i AS event_id, 't' AS event_type, 'wh_1' AS webhook_id, 'pending' AS status, \
                0 AS attempt_count, CAST(NULL AS BIGINT) AS due, 1 AS parked, 1 AS created_at, \
                CAST(NULL AS BIGINT) AS finished_at, '12' AS data FROM n";
    case.home.fill_log(rows).await;
    fill(&case, "deliveries", "acme", "0").await;
    case.home.sql("UPDATE deliveries SET status = 'pending'").await;
    // Its deliveries are gone.
    fill(&case, "events", "acme", "1").await;
    case.home.sql("UPDATE events SET matched = 1").await;
    case.start_removal(removal("acme")).await.unwrap().unwrap();
    assert_eq!(emptied(&case, "acme").await.0, 4);
    let finished = removed(&case, "acme").await;
    assert_eq!((finished.events, finished.deliveries, finished.cancelled, finished.bytes), (302, 301, 301, 602));
}

pub(crate) async fn bytes_that_are_counted_late_bring_a_removed_company_not_back(case: Case) {
    case.stored(unmatched(row(&id(NOW, 1)))).await;
    case.update_event_usage().await.unwrap();
    // Not counted yet when the removal ends.
    case.stored(unmatched(row(&id(NOW, 2)))).await;
    case.start_removal(removal("acme")).await.unwrap().unwrap();
    emptied(&case, "acme").await;
    case.removal_step("acme".into(), THEN + 2_000).await.unwrap().unwrap();
    case.update_event_usage().await.unwrap();
    assert_eq!(case.companies(9, "").await.unwrap().0, []);
    case.stored(unmatched(row(&id(THEN + 60, 9)))).await;
    case.update_event_usage().await.unwrap();
    assert_eq!(case.companies(9, "").await.unwrap().0[0].event_bytes, 8);
}

pub(crate) async fn keys_of_a_removed_company_open_nothing_at_once(case: Case) {
    let keys = KeyStore::open(case.home.database()).await.unwrap();
    let key = |id: &str, owner| Key::new(id.into(), owner, Scopes::parse("events").unwrap(), NOW);
    let own = keys.create(&key("key_1", Owner::Company("acme".into())), [1; 32]).await.unwrap();
    let platform = keys.create(&key("key_2", Owner::Platform), [2; 32]).await.unwrap();
    assert!(case.key(&own, NOW).await.unwrap().is_some());
    let other = match case.home.kind() {
        Kind::Sqlite => None,
        Kind::Postgres => Some(case.beside().await),
    };
    let mut changes = other.as_ref().and_then(|other| other.changes());
    if let Some(other) = &other {
        assert!(other.key(&own, NOW).await.unwrap().is_some());
    }
    case.start_removal(removal("acme")).await.unwrap().unwrap();
    assert!(case.key(&own, NOW).await.unwrap().is_none());
    assert!(case.key(&platform, NOW).await.unwrap().is_some());
    if let Some(changes) = &mut changes {
        while changes.recv().await.unwrap() != (Change::Company { company: "acme".into() }) {}
        let Some(Change::Cancelled(selection)) = changes.recv().await else { panic!("the deliveries in memory") };
        assert_eq!((&*selection.company, &*selection.first, selection.end), ("acme", "", id(THEN, 0)));
        let other = other.unwrap();
        other.forget_company("acme");
        assert!(other.key(&own, NOW).await.unwrap().is_none());
    }
}
