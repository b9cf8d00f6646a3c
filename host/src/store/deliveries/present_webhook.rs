//! The webhook to which a stored delivery goes now, in SQL.

use std::sync::LazyLock;

use crate::domain::event::{HOST_PREFIX, PING};

/// The id of the webhook to which a delivery of the table goes now; NULL if there is none. It is its own one, or the one that takes
/// over from it by the rule of `Store::successor`: of exactly this type, or else with the longest pattern that matches, each with
/// the same label.
pub(super) static PRESENT_WEBHOOK: LazyLock<String> = LazyLock::new(|| {
    let label = "COALESCE(' ' || event_deliveries.label, '')";
    let of_key = |key: &str| {
        format!("(SELECT w.id FROM webhooks w WHERE w.company = event_deliveries.company AND w.event_type = {key})")
    };
    let exact = of_key(&format!("event_deliveries.event_type || {label}"));
    // A pattern is the first `n` characters of the type and a star: see `matching_types`.
    let pattern = |n: &str| format!("SUBSTR(event_deliveries.event_type, 1, {n}) || '*' || {label}");
    let longest = of_key(&format!(
        "(WITH RECURSIVE begins (n) AS (SELECT LENGTH(event_deliveries.event_type) UNION ALL SELECT n - 1 FROM begins \
         WHERE n > 0) SELECT {} FROM begins JOIN webhooks p ON p.company = event_deliveries.company \
         AND p.event_type = {} WHERE CASE WHEN event_deliveries.event_type = '{PING}' THEN 1 = 0 \
         WHEN SUBSTR(event_deliveries.event_type, 1, {host}) = '{HOST_PREFIX}' THEN n = {host} \
         ELSE n = 0 OR SUBSTR(event_deliveries.event_type, n, 1) = '/' END)",
        pattern("MAX(n)"),
        pattern("n"),
        host = HOST_PREFIX.len(),
    ));
    let own = "(SELECT w.id FROM webhooks w WHERE w.id = event_deliveries.webhook_id)";
    format!("COALESCE({own}, {exact}, {longest})")
});
