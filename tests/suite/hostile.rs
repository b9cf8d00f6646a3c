//! Plugins that mean harm: each is stopped with a reason that says what stopped it, and nobody else notices.
#[tokio::test]
async fn dump() {
    let dir = std::path::PathBuf::from(std::env::var("DUMP").unwrap());
    for name in posthaste_tests::BOMBS {
        std::fs::write(dir.join(format!("{name}.wasm")), posthaste_tests::bomb(name)).unwrap();
    }
    for file in std::fs::read_dir("guests").unwrap() {
        let name = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        std::fs::write(dir.join(format!("g_{name}.wasm")), posthaste_tests::guest(&name)).unwrap();
    }
}
