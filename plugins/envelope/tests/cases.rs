//! Runs the files in `cases/`.

use posthaste_plugin::testing::run_cases;
use posthaste_plugin_envelope::transform;

#[test]
fn cases() {
    run_cases("cases", transform);
}
