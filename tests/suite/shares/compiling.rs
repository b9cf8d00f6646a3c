//! Compilations: large uploads that compile without end delay no small upload of another company.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use posthaste_tests::{Host, PATIENCE, binary, guest, until};
use tokio::time::timeout;

/// Companies with a large upload each: as many as may ever compile at once, and one that waits.
const COMPANIES: usize = 5;

#[tokio::test]
async fn large_uploads_that_compile_without_end_delay_no_small_one() {
    let mut host = Host::start().await;
    let (program, started) = (host.folder().join("slow"), host.folder().join("started"));
    let script = format!(
        "#!/bin/sh\n\
         cat > {folder}/upload.$$\n\
         [ $(wc -c < {folder}/upload.$$) -gt 2097152 ] && echo >> {started} && exec sleep 600\n\
         exec {binary} \"$@\" < {folder}/upload.$$\n",
        folder = host.folder().display(),
        started = started.display(),
        binary = binary().display(),
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    host.compile_with(program);
    host.restart().await;
    let mut large = Vec::new();
    for number in 0..COMPANIES {
        let company = host.company(&format!("large{number}")).await;
        large.push(tokio::spawn(async move { company.upload("large", &vec![number as u8; 3 << 20]).await }));
    }
    until("one compiles", || async { started.exists().then_some(()) }).await;
    let neighbour = host.company("neighbour").await;
    let wasm = guest("pass");
    let uploaded = timeout(PATIENCE, neighbour.upload("pass", &wasm)).await.expect("it waits for the large ones");
    uploaded.expect(201);
    assert!(large.iter().all(|upload| !upload.is_finished()));
}
