//! Compilation: in a child process with limits, once per plugin, with an authenticated cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use posthaste_tests::{Host, Receiver, binary, guest, until};
use serde_json::json;

/// Returns the files of the cache, sorted.
fn kept(host: &Host) -> Vec<PathBuf> {
    let entries = fs::read_dir(host.folder().join("compiled")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

async fn subscribe(host: &Host, receiver: &Receiver, plugin: &str, on_error: &str) {
    let webhook = json!({"type": "t", "target_url": receiver.url("/t"), "plugin": plugin, "on_error": on_error});
    host.post("/webhooks", &webhook).await.expect(201);
}

#[tokio::test]
async fn start_loads_cached_code_and_compiles_nothing() {
    let receiver = Receiver::start().await;
    let mut host = Host::start().await;
    host.upload("drop", &guest("drop")).await.expect(201);
    subscribe(&host, &receiver, "drop", "retry").await;
    host.compile_with("/bin/false");
    host.restart().await;
    let id = host.publish("t", &json!({})).await;
    host.delivery(&id, "filtered").await;
}

#[tokio::test]
async fn tampered_cache_file_is_recompiled_and_never_run() {
    let receiver = Receiver::start().await;
    let mut host = Host::start().await;
    host.upload("drop", &guest("drop")).await.expect(201);
    host.upload("pass", &guest("pass")).await.expect(201);
    subscribe(&host, &receiver, "drop", "retry").await;
    let files = kept(&host);
    let contents: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    // The two files swapped: valid code, but under the wrong names.
    fs::write(&files[0], &contents[1]).unwrap();
    fs::write(&files[1], &contents[0]).unwrap();
    host.restart().await;
    let id = host.publish("t", &json!({})).await;
    host.delivery(&id, "filtered").await;
    let foreign = [&contents[1], &contents[0]];
    let mended = files.iter().zip(foreign).filter(|(file, foreign)| fs::read(file).unwrap() != **foreign).count();
    assert_eq!(mended, 1, "only the file in use was rewritten");
}

#[tokio::test]
async fn failure_to_compile_keeps_the_event_under_every_on_error() {
    for on_error in ["drop", "send_original", "retry"] {
        let receiver = Receiver::start().await;
        let mut host = Host::with(&["--retry-schedule=1h"]).await;
        host.upload("pass", &guest("pass")).await.expect(201);
        subscribe(&host, &receiver, "pass", on_error).await;
        host.stop().await;
        for file in kept(&host) {
            fs::remove_file(file).unwrap();
        }
        host.compile_with("/bin/false");
        host.restart().await;
        let id = host.publish("t", &json!({})).await;
        let tried = host.delivery_when(&id, "tried", |delivery| delivery["attempt_count"] == 1).await;
        assert_eq!(tried["status"], "pending", "{tried}");
        assert!(tried["attempts"][0]["error"].as_str().unwrap().contains("compil"), "{tried}");
        let refused = host.upload("other", &guest("drop")).await;
        assert!(refused.problem(503).contains("cannot compile"));
        host.compile_with(binary());
        host.restart().await;
        let id = host.publish("t", &json!({})).await;
        host.delivery(&id, "delivered").await;
    }
}

#[tokio::test]
async fn compiler_process_limits_itself_before_reading_input() {
    let mut child = tokio::process::Command::new(binary());
    child.args(["compile-plugin", "calls"]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let child = child.spawn().unwrap();
    let process = PathBuf::from(format!("/proc/{}", child.id().unwrap()));
    let limits = until("the limits are set", || async {
        let limits = fs::read_to_string(process.join("limits")).unwrap();
        // The limit that is set last.
        Some(limits).filter(|limits| limits.contains("Max file size             0                    0"))
    })
    .await;
    assert!(limits.contains("Max cpu time              60                   60"), "{limits}");
    assert!(limits.contains("Max address space         1073741824"), "{limits}");
    let nice = |process: &Path| -> i32 {
        let stat = fs::read_to_string(process.join("stat")).unwrap();
        stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().parse().unwrap()
    };
    assert_eq!(nice(&process), (nice(Path::new("/proc/self")) + 10).min(19));
    if fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").is_ok_and(|actions| actions.contains("errno")) {
        let confined = || async {
            let status = fs::read_to_string(process.join("status")).unwrap();
            (status.contains("Seccomp:\t2\n") && status.contains("NoNewPrivs:\t1\n")).then_some(())
        };
        until("it is confined", confined).await;
    }
}

#[tokio::test]
async fn fifth_upload_of_a_company_is_told_its_limit() {
    use std::os::unix::fs::PermissionsExt;
    let mut host = Host::start().await;
    let endless = host.folder().join("endless");
    fs::write(&endless, "#!/bin/sh\nexec sleep 600\n").unwrap();
    fs::set_permissions(&endless, fs::Permissions::from_mode(0o700)).unwrap();
    host.compile_with(endless);
    host.restart().await;
    let wasm = guest("pass");
    let uploads = (0..5).map(|_| Box::pin(host.upload("pass", &wasm)));
    let (refused, _, _waiting) = futures_util::future::select_all(uploads).await;
    assert!(refused.problem(429).contains("4 uploads of this company"));
    assert_eq!((refused.header("retry-after"), &refused.json()["limit"]), ("1", &json!("uploads")));
}
