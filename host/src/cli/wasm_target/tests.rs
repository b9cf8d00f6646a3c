//! Tests that need neither a compiler nor the network.

use super::*;

fn toolchain() -> Toolchain {
    Toolchain {
        version: "1.95.0".into(),
        commit: "59807616e1fa2540724bfbac14d7976d7e4a3860".into(),
        sysroot: "/nowhere".into(),
    }
}

fn machine(home: &Path) -> Machine {
    Machine { cache: Some(home.join("cache")), rustup_may_install: false, apt: home.join("apt") }
}

fn put_std(sysroot: &Path) {
    fs::create_dir_all(libraries(sysroot)).unwrap();
    fs::write(libraries(sysroot).join("libstd-0123456789abcdef.rlib"), "").unwrap();
}

#[test]
fn a_sysroot_is_complete_only_with_the_standard_library() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!has_std(folder.path()));
    fs::create_dir_all(libraries(folder.path())).unwrap();
    fs::write(libraries(folder.path()).join("libcore-01.rlib"), "").unwrap();
    assert!(!has_std(folder.path()));
    put_std(folder.path());
    assert!(has_std(folder.path()));
}

#[test]
fn a_cached_sysroot_is_used_without_a_build() {
    let home = tempfile::tempdir().unwrap();
    let expected = home.path().join("cache/wasm-target-1.95.0-59807616e");
    put_std(&expected);
    let got = cached(&machine(home.path()), &toolchain(), &|text| panic!("nothing is to be built, but: {text}"));
    assert_eq!(got.unwrap(), expected);
}

#[test]
fn a_build_that_waited_for_the_lock_uses_the_other_ones_result() {
    let home = tempfile::tempdir().unwrap();
    let machine = machine(home.path());
    let sysroot = home.path().join("cache/wasm-target-1.95.0-59807616e");
    fs::create_dir_all(home.path().join("cache")).unwrap();
    let held = File::create(sysroot.with_added_extension("lock")).unwrap();
    held.lock().unwrap();
    let (told, tells) = std::sync::mpsc::channel();
    let tell = |text: &str| told.send(text.to_owned()).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| cached(&machine, &toolchain(), &tell));
        assert!(tells.recv().unwrap().contains("waiting"));
        put_std(&sysroot);
        held.unlock().unwrap();
        assert_eq!(second.join().unwrap().unwrap(), sysroot);
    });
    assert_eq!(tells.try_iter().collect::<Vec<_>>(), [""; 0], "it was built twice");
}

#[test]
fn a_failed_build_leaves_no_sysroot_and_names_the_fix() {
    let home = tempfile::tempdir().unwrap();
    let machine = machine(home.path());
    for _ in 0..2 {
        let error = cached(&machine, &toolchain(), &|_| ()).unwrap_err().to_string();
        assert!(error.contains("rustup target add wasm32-unknown-unknown"), "{error}");
        let left: Vec<_> = fs::read_dir(home.path().join("cache")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["wasm-target-1.95.0-59807616e.lock"]);
    }
}

#[test]
fn without_a_cache_folder_nothing_is_built() {
    let machine = Machine { cache: None, rustup_may_install: false, apt: "/nowhere".into() };
    let error = cached(&machine, &toolchain(), &|_| ()).unwrap_err().to_string();
    assert!(error.contains("XDG_CACHE_HOME"), "{error}");
}

#[test]
fn the_error_names_a_missing_program() {
    let error = run("looking", &mut cleaned("posthaste-no-such-program", Path::new("/"))).unwrap_err().to_string();
    assert!(error.contains("`posthaste-no-such-program` is not installed"), "{error}");
}

#[test]
fn the_error_contains_the_line_with_the_reason() {
    let script = "echo '   Compiling x' >&2; echo 'error: no space left' >&2; echo 'more' >&2; exit 3";
    let error = run("compiling", cleaned("sh", Path::new("/")).args(["-c", script])).unwrap_err();
    assert_eq!(error.to_string(), "compiling failed: error: no space left");
    let silent = run("compiling", cleaned("sh", Path::new("/")).args(["-c", "exit 3"])).unwrap_err();
    assert_eq!(silent.to_string(), "compiling failed: exit status: 3");
}

#[test]
fn an_inner_cargo_does_not_see_the_package_of_the_outer_one() {
    for name in ["CARGO", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_PRIMARY_PACKAGE"] {
        assert!(set_by_cargo(name), "{name}");
    }
    for name in
        ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "RUSTUP_TOOLCHAIN", "RUSTUP_AUTO_INSTALL", "PATH"]
    {
        assert!(!set_by_cargo(name), "{name}");
    }
}
