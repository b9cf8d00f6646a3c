//! The conditions of a selection in SQL.

use super::log_walk::LogIndex;
use crate::domain::delivery::StatusFilter;
use crate::domain::delivery_selection::DeliverySelection;
use crate::domain::event::PING;

/// The conditions of a selection on the rows of `event_deliveries`.
pub(super) struct SelectionSql {
    pub(super) sql: String,
    /// The parameters, whose numbers follow one another.
    pub(super) parameters: Vec<String>,
}

impl SelectionSql {
    /// Returns the conditions of `selection`, whose first parameter has the number `first`.
    pub(super) fn new(selection: &DeliverySelection, first: usize) -> Self {
        let mut parameters: Vec<String> = Vec::new();
        let mut parameter = |text: &str| {
            parameters.push(text.to_owned());
            format!("${}", first + parameters.len() - 1)
        };
        let mut conditions = Vec::new();
        if !selection.types.is_empty() {
            let names: Vec<_> = selection.types.iter().map(|name| parameter(name)).collect();
            // So that SQLite does not leave the index that the statement goes along.
            conditions.push(format!("COALESCE(event_type, '') IN ({})", names.join(", ")));
        }
        if !selection.statuses.is_empty() {
            let statuses: Vec<_> = selection.statuses.iter().map(|status| status_sql(*status)).collect();
            conditions.push(format!("({})", statuses.join(" OR ")));
        }
        if let Some(id) = &selection.webhook {
            conditions.push(format!("webhook_id = {}", parameter(id)));
        }
        if let Some(label) = &selection.label {
            conditions.push(format!("label = {}", parameter(label)));
        }
        if let Some(text) = &selection.error {
            let pattern = parameter(&like_pattern(text));
            // Not EXISTS, which SQLite would join, and then sort all rows.
            conditions.push(format!(
                "(SELECT LOWER(a.error) FROM attempts a WHERE a.delivery_id = event_deliveries.id \
                 AND a.number = event_deliveries.attempt_count) LIKE {pattern} ESCAPE '!'"
            ));
        }
        let sql = if conditions.is_empty() { "1 = 1".into() } else { conditions.join(" AND ") };
        Self { sql, parameters }
    }
}

/// Statuses are literals, because SQLite uses a partial index only if it can see that its condition holds.
fn status_sql(status: StatusFilter) -> String {
    match status {
        StatusFilter::Is(status) => format!("status = '{}'", status.name()),
        StatusFilter::Retrying => "(status = 'pending' AND attempt_count > attempt_base)".into(),
    }
}

/// Returns the pattern of LIKE for texts that contain this one. SQLite's LIKE ignores the case of ASCII letters and PostgreSQL's
/// does not: both compare lower-case letters here.
fn like_pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character.to_ascii_lowercase());
    }
    pattern + "%"
}

/// Returns the one index along which a replay or a cancellation goes.
pub(super) fn step_index(selection: &DeliverySelection) -> LogIndex {
    LogIndex::of(selection.only_status(), selection.only_type().filter(|name| *name != PING))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::Status;

    #[test]
    fn conditions_number_their_parameters_one_after_the_other() {
        let selection = DeliverySelection {
            types: vec!["t".into(), "u".into()],
            statuses: vec![StatusFilter::Is(Status::Failed), StatusFilter::Retrying],
            webhook: Some("wh_1".into()),
            label: Some("a".into()),
            error: Some("50% Off_!".into()),
        };
        let SelectionSql { sql, parameters } = SelectionSql::new(&selection, 6);
        assert!(
            sql.starts_with("COALESCE(event_type, '') IN ($6, $7) AND (status = 'failed' OR (status = 'pending' AND "),
            "{sql}"
        );
        assert!(
            sql.contains(" AND webhook_id = $8 AND label = $9 AND (SELECT LOWER(a.error)")
                && sql.contains("LIKE $10 ESCAPE"),
            "{sql}"
        );
        assert_eq!(parameters, ["t", "u", "wh_1", "a", "%50!% off!_!!%"]);
        let none = SelectionSql::new(&DeliverySelection::default(), 6);
        assert!(none.sql == "1 = 1" && none.parameters.is_empty());
    }
}
