//! Every import of WASI is refused by its name.

use posthaste_tests::guest;

use super::Stage;

/// The interfaces of WASI 0.2 and 0.3.
const INTERFACES: [&str; 41] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/run",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:cli/types",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/system-clock",
    "wasi:clocks/timezone",
    "wasi:clocks/types",
    "wasi:clocks/wall-clock",
    "wasi:config/store",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/client",
    "wasi:http/handler",
    "wasi:http/incoming-handler",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:keyvalue/store",
    "wasi:logging/logging",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/types",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// The functions of WASI preview 1.
const PREVIEW_1: [&str; 45] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

#[tokio::test]
async fn every_interface_is_refused_by_its_name() {
    let stage = Stage::set().await;
    stage.refused("wasi", &guest("wasi"), "`wasi:cli/environment@0.2.6`;").await;
    for interface in INTERFACES {
        for version in ["0.2.0", "0.2.6", "0.3.0"] {
            let import = format!("{interface}@{version}");
            let text = format!(r#"(component (import "{import}" (instance)))"#);
            let reason = stage.process.client.upload("wasi", &wat::parse_str(text).unwrap()).await.problem(422);
            assert!(reason.contains(&format!("imports what the host does not offer: `{import}`;")), "{reason}");
        }
    }
    stage.unharmed("wasi").await;
}

#[tokio::test]
async fn every_function_of_preview_1_is_refused_by_its_name() {
    let stage = Stage::set().await;
    for function in PREVIEW_1 {
        let text = format!(r#"(module (import "wasi_snapshot_preview1" "{function}" (func)))"#);
        let reason = stage.process.client.upload("wasi", &wat::parse_str(text).unwrap()).await.problem(422);
        let listed = format!("imports what the host does not offer: `wasi_snapshot_preview1/{function}`;");
        assert!(reason.contains(&listed), "{reason}");
    }
    stage.unharmed("wasi").await;
}
