//! Runs the files in `cases/`.

#[test]
fn cases() {
    posthaste_plugin::testing::run_cases("cases", plugin::transform);
}
