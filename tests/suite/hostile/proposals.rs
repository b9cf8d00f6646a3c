//! WebAssembly proposals that the sandbox disables: each is refused by name.

use posthaste_tests::guest;

use super::Stage;

#[tokio::test]
async fn disabled_wasm_proposals_are_refused_by_name() {
    let stage = Stage::set().await;
    for (name, part) in [
        ("threads", "threads must be enabled for shared memories"),
        ("memory64", "memory64 must be enabled for 64-bit memories"),
        ("multi_memory", "multiple memories"),
        ("gc", "without the gc feature"),
        ("exceptions", "exceptions proposal not enabled"),
        ("async", "requires the component model async feature"),
        ("streams", "requires the component model async feature"),
        ("wide_arithmetic", "wide arithmetic support is not enabled"),
    ] {
        stage.refused(name, &guest(name), part).await;
    }
}
