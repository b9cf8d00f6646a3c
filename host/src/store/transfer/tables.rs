//! What is copied: every table, its columns and its key.

use std::sync::LazyLock;

use Type::{Bytes, Number, Text};

use crate::store::multi::{MOST, Multi};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Number,
    Text,
    Bytes,
}

/// One table.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Those of the primary key first.
    pub(super) columns: &'static [(&'static str, Type)],
    /// How many of them are the primary key.
    key: usize,
    /// Rows that are in memory at once.
    step: usize,
    /// Which rows belong to the data.
    only: &'static str,
}

/// The marks of `store/transfer.rs` belong to the one database that they stand in.
const META: Table = Table {
    only: "name <> 'unfinished_copy' AND name <> 'moved_to'",
    ..table("meta", 1, &[("name", Text), ("value", Bytes)])
};

const API_KEYS: Table = table(
    "api_keys",
    1,
    &[
        ("id", Text),
        ("hash", Text),
        ("company", Text),
        ("scopes", Text),
        ("created_at", Number),
        ("revoked_at", Number),
    ],
);

const CONFIGS: Table = table("configs", 1, &[("digest", Text), ("body", Text)]);

const PLUGINS: Table = table(
    "plugins",
    2,
    &[("company", Text), ("name", Text), ("active_digest", Text), ("created_at", Number), ("updated_at", Number)],
);

const PLUGIN_VERSIONS: Table = table(
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

/// Up to 32 MiB each.
const PLUGIN_BYTES: Table = Table { step: 1, ..table("plugin_bytes", 1, &[("digest", Text), ("wasm", Bytes)]) };

const WEBHOOKS: Table = table(
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
    ],
);

const REPLAYS: Table = table(
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
    ],
);

const DELIVERIES: Table = table(
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
    ],
);

const ATTEMPTS: Table = table(
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
    ],
);

/// All of them, in the order in which they are copied.
pub(super) const TABLES: [Table; 10] =
    [META, API_KEYS, CONFIGS, PLUGINS, PLUGIN_VERSIONS, PLUGIN_BYTES, WEBHOOKS, REPLAYS, DELIVERIES, ATTEMPTS];

/// What says who serves a database, and what sqlx keeps for itself.
#[cfg(test)]
const NOT_COPIED: [&str; 3] = ["nodes", "lane_owners", "_sqlx_migrations"];

/// The statements that insert rows, one for each table.
static INSERTS: LazyLock<[Multi; TABLES.len()]> = LazyLock::new(|| TABLES.each_ref().map(Table::insert));

const fn table(name: &'static str, key: usize, columns: &'static [(&'static str, Type)]) -> Table {
    Table { name, columns, key, step: MOST, only: "1 = 1" }
}

/// The inserts into the table of this place in [`TABLES`].
pub(super) fn inserts(place: usize) -> Option<&'static Multi> {
    INSERTS.get(place)
}

impl Table {
    /// The next rows in the order of the key; `after` the one whose key is bound, or from the first on.
    pub(super) fn select(&self, after: bool) -> String {
        let (columns, key) = (names(self.columns), names(self.key()));
        let places: Vec<_> = (1..=self.key).map(|place| format!("${place}")).collect();
        let after = if after { format!("AND ({key}) > ({})", places.join(", ")) } else { String::new() };
        let Self { name, only, step, .. } = self;
        format!("SELECT {columns} FROM {name} WHERE {only} {after} ORDER BY {key} LIMIT {step}")
    }

    fn insert(&self) -> Multi {
        let head = format!("INSERT INTO {} ({}) VALUES", self.name, names(self.columns));
        Multi::new(&head, &vec!["?"; self.columns.len()].join(", "), "")
    }

    /// The columns of the primary key.
    pub(super) fn key(&self) -> &'static [(&'static str, Type)] {
        self.columns.get(..self.key).unwrap_or_default()
    }
}

fn names(columns: &[(&'static str, Type)]) -> String {
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
        assert!(all.is_subset(&known), "a table that is neither copied nor left out: {:?}", &all - &known);

        for table in &TABLES {
            let sql = format!("SELECT name, type, pk FROM pragma_table_info('{}')", table.name);
            let rows = db::query(AssertSqlSafe(sql)).fetch_all(&mut database).await.unwrap();
            let text = |row: &db::Row, column| row.try_get::<String>(column).unwrap();
            let place = |row: &db::Row| row.try_get::<i64>("pk").unwrap();
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
