//! The tables that a transfer copies: their columns and keys.

use std::sync::LazyLock;

use ColumnType::{Bytes, Number, Text};

use crate::store::multi_row::{MAX_ROWS, MultiRowStatement};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnType {
    Number,
    Text,
    Bytes,
}

/// One table to copy.
pub(super) struct TransferTable {
    pub(super) name: &'static str,
    /// Names and types; those of the primary key come first.
    pub(super) columns: &'static [(&'static str, ColumnType)],
    /// The number of columns of the primary key.
    key: usize,
    /// Most rows in memory at once.
    step: usize,
    /// The condition of the rows to copy.
    condition: &'static str,
}

/// Without the marks of `store/transfer_marks.rs`, which concern only the database that holds them.
const META: TransferTable = TransferTable {
    condition: "name <> 'unfinished_copy' AND name <> 'moved_to'",
    ..table("meta", 1, &[("name", Text), ("value", Bytes)])
};

const API_KEYS: TransferTable = table(
    "api_keys",
    1,
    &[
        ("id", Text),
        ("hash", Text),
        ("company", Text),
        ("scopes", Text),
        ("created_at", Number),
        ("revoked_at", Number),
        ("name", Text),
        ("expires_at", Number),
    ],
);

const CONFIGS: TransferTable = table("configs", 1, &[("digest", Text), ("body", Text)]);

const PLUGINS: TransferTable = table(
    "plugins",
    2,
    &[("company", Text), ("name", Text), ("active_digest", Text), ("created_at", Number), ("updated_at", Number)],
);

const PLUGIN_VERSIONS: TransferTable = table(
    "plugin_versions",
    3,
    &[
        ("company", Text),
        ("name", Text),
        ("digest", Text),
        ("size", Number),
        ("exports", Text),
        ("imports", Text),
        ("created_at", Number),
        ("removed_at", Number),
    ],
);

/// A row has up to 32 MiB.
const PLUGIN_BYTES: TransferTable =
    TransferTable { step: 1, ..table("plugin_bytes", 1, &[("digest", Text), ("wasm", Bytes)]) };

const WEBHOOKS: TransferTable = table(
    "webhooks",
    1,
    &[
        ("id", Text),
        ("company", Text),
        ("event_type", Text),
        ("target_url", Text),
        ("challenge", Text),
        ("name", Text),
        ("enabled", Number),
        ("disabled_reason", Text),
        ("plugin_name", Text),
        ("plugin_pin", Text),
        ("config", Text),
        ("on_error", Text),
        ("headers", Text),
        ("max_in_flight", Number),
        ("rate_limit", Number),
        ("ordered", Number),
        ("signing_secret", Bytes),
        ("created_at", Number),
        ("updated_at", Number),
        ("config_digest", Text),
        ("previous_secret", Bytes),
        ("previous_until", Number),
        ("failing_since", Number),
        ("proven", Number),
        ("sealed_headers", Bytes),
        ("tls_ca", Text),
        ("tls_pin_sha256", Text),
        ("timeout", Text),
        ("rate", Text),
        ("label", Text),
        ("failing_announced", Number),
        ("api_version", Text),
        ("delivery", Text),
        ("pull_head", Number),
        ("pull_place", Number),
        ("keep_payload", Text),
    ],
);

const CHAIN_TRANSFORMS: TransferTable = table(
    "chain_transforms",
    3,
    &[
        ("company", Text),
        ("holder", Text),
        ("position", Number),
        ("plugin_name", Text),
        ("plugin_pin", Text),
        ("config_digest", Text),
        ("on_error", Text),
    ],
);

const POLICIES: TransferTable = table(
    "policies",
    2,
    &[("company", Text), ("name", Text), ("types", Text), ("created_at", Number), ("updated_at", Number)],
);

const PULL_ENTRIES: TransferTable =
    table("pull_entries", 2, &[("webhook_id", Text), ("position", Number), ("company", Text), ("delivery_id", Text)]);

const REPLAYS: TransferTable = table(
    "replays",
    1,
    &[
        ("id", Text),
        ("company", Text),
        ("event_type", Text),
        ("status", Text),
        ("next_id", Text),
        ("end_id", Text),
        ("created_at", Number),
        ("start_id", Text),
    ],
);

const CANCELLATIONS: TransferTable = table(
    "cancellations",
    1,
    &[
        ("id", Text),
        ("company", Text),
        ("event_type", Text),
        ("selection", Text),
        ("next_id", Text),
        ("end_id", Text),
        ("created_at", Number),
    ],
);

const EVENT_REPLAYS: TransferTable = table(
    "event_replays",
    1,
    &[
        ("id", Text),
        ("company", Text),
        ("selection", Text),
        ("missing", Number),
        ("start_id", Text),
        ("next_id", Text),
        ("end_id", Text),
        ("created_at", Number),
    ],
);

const EVENT_CANCELLATIONS: TransferTable = table(
    "event_cancellations",
    1,
    &[
        ("id", Text),
        ("company", Text),
        ("selection", Text),
        ("state", Text),
        ("next_id", Text),
        ("end_id", Text),
        ("created_at", Number),
    ],
);

const COMPANY_LIMITS: TransferTable =
    table("company_limits", 2, &[("company", Text), ("name", Text), ("value", Number)]);

const COMPANY_USAGE: TransferTable = table("company_usage", 1, &[("company", Text), ("event_bytes", Number)]);

const COMPANY_CONFIGS: TransferTable =
    table("company_configs", 2, &[("company", Text), ("digest", Text), ("bytes", Number), ("released_at", Number)]);

const EVENT_TYPES: TransferTable = table(
    "event_types",
    2,
    &[
        ("company", Text),
        ("event_type", Text),
        ("description", Text),
        ("type_group", Text),
        ("schema_text", Text),
        ("schema_digest", Text),
        ("example", Text),
        ("deprecated", Number),
        ("validation", Text),
        ("created_at", Number),
        ("updated_at", Number),
    ],
);

const EVENTS: TransferTable = table(
    "events",
    2,
    &[
        ("company", Text),
        ("id", Text),
        ("place", Text),
        ("event_type", Text),
        ("occurred_at", Number),
        ("created_at", Number),
        ("delivery_count", Number),
        ("matched", Number),
        ("headers", Text),
        ("data", Bytes),
        ("erased_at", Number),
    ],
);

const EVENT_DELIVERIES: TransferTable = table(
    "event_deliveries",
    2,
    &[
        ("company", Text),
        ("id", Text),
        ("event_id", Text),
        ("event_type", Text),
        ("webhook_id", Text),
        ("label", Text),
        ("status", Text),
        ("attempt_count", Number),
        ("attempt_base", Number),
        ("due", Number),
        ("lease", Text),
        ("parked", Number),
        ("created_at", Number),
        ("finished_at", Number),
        ("requested_count", Number),
        ("erased_at", Number),
        ("transient", Number),
    ],
);

const EVENT_ERASURES: TransferTable = table(
    "event_erasures",
    1,
    &[
        ("id", Text),
        ("company", Text),
        ("event_type", Text),
        ("pointer", Text),
        ("equals", Text),
        ("start_id", Text),
        ("next_id", Text),
        ("end_id", Text),
        ("examined", Number),
        ("erased", Number),
        ("bytes", Number),
        ("cancelled", Number),
        ("requested_by", Text),
        ("created_at", Number),
        ("finished_at", Number),
    ],
);

const COMPANY_REMOVALS: TransferTable = table(
    "company_removals",
    1,
    &[
        ("company", Text),
        ("end_id", Text),
        ("events", Number),
        ("deliveries", Number),
        ("bytes", Number),
        ("cancelled", Number),
        ("requested_by", Text),
        ("created_at", Number),
        ("emptied_at", Number),
    ],
);

/// Rows of the version before that are not moved yet.
const DELIVERIES: TransferTable = table(
    "deliveries",
    2,
    &[
        ("company", Text),
        ("id", Text),
        ("event_id", Text),
        ("event_type", Text),
        ("webhook_id", Text),
        ("status", Text),
        ("attempt_count", Number),
        ("attempt_base", Number),
        ("due", Number),
        ("lease", Text),
        ("parked", Number),
        ("created_at", Number),
        ("finished_at", Number),
        ("occurred_at", Number),
        ("headers", Text),
        ("data", Bytes),
        ("requested_count", Number),
    ],
);

const ATTEMPTS: TransferTable = table(
    "attempts",
    2,
    &[
        ("delivery_id", Text),
        ("number", Number),
        ("started_at", Number),
        ("duration_ms", Number),
        ("status_code", Number),
        ("error", Text),
        ("response_body", Text),
        ("request_headers", Text),
        ("plugin", Text),
        ("url", Text),
        ("response_headers", Text),
    ],
);

/// All tables, in the order in which they are copied.
pub(super) const TABLES: [TransferTable; 24] = [
    META,
    API_KEYS,
    CONFIGS,
    PLUGINS,
    PLUGIN_VERSIONS,
    PLUGIN_BYTES,
    WEBHOOKS,
    CHAIN_TRANSFORMS,
    POLICIES,
    REPLAYS,
    CANCELLATIONS,
    EVENT_REPLAYS,
    EVENT_CANCELLATIONS,
    COMPANY_LIMITS,
    COMPANY_USAGE,
    COMPANY_CONFIGS,
    EVENT_TYPES,
    EVENTS,
    EVENT_DELIVERIES,
    PULL_ENTRIES,
    EVENT_ERASURES,
    COMPANY_REMOVALS,
    DELIVERIES,
    ATTEMPTS,
];

/// The tables of the nodes that serve a database, and the table of sqlx.
#[cfg(test)]
const NOT_COPIED: [&str; 3] = ["nodes", "lane_owners", "_sqlx_migrations"];

/// The statements that insert rows, by the index of the table in [`TABLES`].
static INSERTS: LazyLock<[MultiRowStatement; TABLES.len()]> =
    LazyLock::new(|| TABLES.each_ref().map(TransferTable::insert_rows));

const fn table(name: &'static str, key: usize, columns: &'static [(&'static str, ColumnType)]) -> TransferTable {
    TransferTable { name, columns, key, step: MAX_ROWS, condition: "1 = 1" }
}

/// Returns the statements that insert into the table of this index in [`TABLES`].
pub(super) fn insert_statement(index: usize) -> Option<&'static MultiRowStatement> {
    INSERTS.get(index)
}

impl TransferTable {
    /// Returns the query for the next rows in the order of the key. With `after`, they begin after the key that is bound;
    /// otherwise at the first row.
    pub(super) fn select(&self, after: bool) -> String {
        let (columns, key) = (names(self.columns), names(self.key()));
        let parameters: Vec<_> = (1..=self.key).map(|number| format!("${number}")).collect();
        let after = if after { format!("AND ({key}) > ({})", parameters.join(", ")) } else { String::new() };
        let Self { name, condition, step, .. } = self;
        format!("SELECT {columns} FROM {name} WHERE {condition} {after} ORDER BY {key} LIMIT {step}")
    }

    fn insert_rows(&self) -> MultiRowStatement {
        let head = format!("INSERT INTO {} ({}) VALUES", self.name, names(self.columns));
        MultiRowStatement::new(&head, &vec!["?"; self.columns.len()].join(", "), "")
    }

    /// Returns the columns of the primary key.
    pub(super) fn key(&self) -> &'static [(&'static str, ColumnType)] {
        self.columns.get(..self.key).unwrap_or_default()
    }
}

fn names(columns: &[(&'static str, ColumnType)]) -> String {
    columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::store::backend::Backend;
    use crate::store::db;

    #[tokio::test]
    async fn every_table_and_column_of_the_schema_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("schema.db").display());
        let mut database = Backend::open(&url).await.unwrap().connect().await.unwrap();
        let all = db::query("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
        let all: BTreeSet<String> = all.values(&mut database).await.unwrap().into_iter().collect();
        let copied = TABLES.iter().map(|table| table.name);
        let known: BTreeSet<_> = copied.chain(NOT_COPIED).map(str::to_owned).collect();
        assert!(all.is_subset(&known), "a table is neither copied nor excluded: {:?}", &all - &known);

        for table in &TABLES {
            let sql = format!("SELECT name, type, pk FROM pragma_table_info('{}')", table.name);
            let rows = db::query(AssertSqlSafe(sql)).fetch_all(&mut database).await.unwrap();
            let text = |row: &db::DatabaseRow, column| row.try_get::<String>(column).unwrap();
            let place = |row: &db::DatabaseRow| row.try_get::<i64>("pk").unwrap();
            let there: BTreeSet<_> = rows.iter().map(|row| (text(row, "name"), text(row, "type"))).collect();
            let word = |kind| match kind {
                Number => "BIGINT",
                Text => "TEXT",
                Bytes => "BYTEA",
            };
            let listed = table.columns.iter().map(|(name, kind)| (str::to_owned(name), word(*kind).to_owned()));
            assert_eq!(listed.collect::<BTreeSet<_>>(), there, "{}", table.name);

            let mut key: Vec<_> = rows.iter().filter(|row| place(row) > 0).collect();
            key.sort_by_key(|row| place(row));
            let key: Vec<_> = key.into_iter().map(|row| text(row, "name")).collect();
            assert_eq!(names(table.key()), key.join(", "), "{}", table.name);
        }
    }
}
