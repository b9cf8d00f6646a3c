//! Runs the files in `cases/`.

use posthaste_plugin::testing::run_checked_cases;
use posthaste_plugin_jq::transform;

#[test]
fn cases() {
    run_checked_cases("cases", transform, |_| Ok(()));
}
