//! Every plugin language, from `posthaste plugin new` to a transformed delivery, and the examples of `plugins/examples`. The
//! compilers come from their registries; if one is not available, these tests fail.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use posthaste_plugin::testing::Case;
use posthaste_tests::{Host, Process, Receiver, binary};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::cases;

/// A value of `posthaste plugin new --lang`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lang {
    Rust,
    Js,
    Ts,
    Python,
    C,
}

impl Lang {
    pub(crate) const ALL: [Self; 5] = [Self::Rust, Self::Js, Self::Ts, Self::Python, Self::C];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Js => "js",
            Self::Ts => "ts",
            Self::Python => "python",
            Self::C => "c",
        }
    }

    /// The test command in the scaffold's README.
    fn test(self) -> &'static str {
        match self {
            Self::Rust => "cargo test",
            Self::Js => "npm test",
            Self::Ts => "npm install && npm test",
            Self::Python => "python3 -m unittest",
            Self::C => "make test",
        }
    }
}

/// A built plugin.
pub(crate) struct Built {
    pub(crate) component: Vec<u8>,
    folder: TempDir,
}

impl Built {
    pub(crate) fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).unwrap()
    }
}

/// Runs a command in a folder and returns its output; fails the test if the command fails.
async fn done(folder: &Path, command: &mut Command) -> String {
    // Cargo builds the dependencies once for all of these tests.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages");
    let output =
        command.current_dir(folder).env("CARGO_TARGET_DIR", target).stdin(Stdio::null()).output().await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?} in {}: {said}", command.as_std(), folder.display());
    said
}

async fn posthaste<S: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = S>) -> String {
    done(folder, Command::new(binary()).args(arguments)).await
}

/// Creates a plugin and lets `prepare` change its folder.
async fn made(lang: Lang, prepare: impl FnOnce(&Path)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    posthaste(folder.path(), ["plugin", "new", "hello", "--lang", lang.name()]).await;
    prepare(&folder.path().join("hello"));
    folder
}

/// Builds `hello` in `folder` and keeps the files that later tests read.
async fn built(folder: TempDir) -> Built {
    posthaste(folder.path(), ["plugin", "build", "hello"]).await;
    let kept = tempfile::tempdir().unwrap();
    let component = std::fs::read(folder.path().join("hello.wasm")).unwrap();
    std::fs::write(kept.path().join("hello.wasm"), &component).unwrap();
    for sample in ["event.json", "config.json"] {
        std::fs::copy(folder.path().join("hello").join(sample), kept.path().join(sample)).unwrap();
    }
    Built { component, folder: kept }
}

/// Returns the scaffold of a language, built once for all tests, after its own tests have passed.
pub(crate) async fn scaffold(lang: Lang) -> &'static Built {
    static BUILT: [OnceCell<Built>; 5] = [const { OnceCell::const_new() }; 5];
    let build = || async move {
        let folder = made(lang, |_| ()).await;
        let plugin = folder.path().join("hello");
        let readme = std::fs::read_to_string(plugin.join("README.md")).unwrap();
        assert!(readme.contains(&format!("$ {}\n", lang.test())), "{readme}");
        done(&plugin, Command::new("sh").args(["-c", lang.test()])).await;
        built(folder).await
    };
    BUILT[lang as usize].get_or_init(build).await
}

/// Builds a scaffold with the transform of `tests/impure`, which uses impure functions.
pub(crate) async fn impure(lang: Lang, file: &str) -> Built {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("impure").join(Path::new(file).file_name().unwrap());
    let folder = made(lang, |plugin| assert!(std::fs::copy(source, plugin.join(file)).is_ok())).await;
    built(folder).await
}

fn example_folder(lang: Lang) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/examples").join(lang.name())
}

/// Returns the example of a language, built once for all tests in a folder of its own.
pub(crate) async fn example(lang: Lang) -> &'static Built {
    static BUILT: [OnceCell<Built>; 5] = [const { OnceCell::const_new() }; 5];
    let build = || async move {
        let folder = made(lang, |plugin| overlay(&example_folder(lang), plugin)).await;
        built(folder).await
    };
    BUILT[lang as usize].get_or_init(build).await
}

/// Copies the files of an example, without the output of a build in place.
fn overlay(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_file() {
            std::fs::copy(&path, target).unwrap();
        } else if !["node_modules", "dist", ".venv", "__pycache__"].iter().any(|left| path.ends_with(left)) {
            std::fs::create_dir_all(&target).unwrap();
            overlay(&path, &target);
        }
    }
}

/// Takes a language from an empty folder to a transformed delivery.
async fn goes_live(lang: Lang) {
    let plugin = scaffold(lang).await;
    let said = posthaste(plugin.folder.path(), ["plugin", "check", "hello.wasm", "--plugin-deadline", "10s"]).await;
    assert!(said.contains("exports") && !said.contains("wasi:"), "{said}");

    let (host, receiver) = (Host::with(&["--plugin-deadline=10s"]).await, Receiver::start().await);
    let push = ["plugin", "push", "hello.wasm", "--name", "hello", "--url", &host.base, "--key", &host.key];
    posthaste(plugin.folder.path(), push).await;
    let (event, config): (Value, Value) = (
        serde_json::from_str(&plugin.text("event.json")).unwrap(),
        serde_json::from_str(&plugin.text("config.json")).unwrap(),
    );
    let subscription =
        json!({"type": event["type"], "target_url": receiver.url("/"), "plugin": "hello", "config": config});
    host.post("/webhooks", &subscription).await.expect(201);
    let published = host.post("/events", &event).await.expect(202);
    host.delivery(published["delivery_id"].as_str().unwrap(), "delivered").await;
    let expected = match lang {
        Lang::C => json!({"id": "evt_1", "source": "acme-hr", "data": event["data"]}),
        _ => json!({"text": "Welcome, Bob Macri!"}),
    };
    assert_eq!(receiver.first().await.json(), expected);
}

#[tokio::test]
async fn rust_goes_live() {
    goes_live(Lang::Rust).await;
}

#[tokio::test]
async fn javascript_goes_live() {
    goes_live(Lang::Js).await;
}

#[tokio::test]
async fn typescript_goes_live() {
    goes_live(Lang::Ts).await;
}

#[tokio::test]
async fn python_goes_live() {
    goes_live(Lang::Python).await;
}

#[tokio::test]
async fn c_goes_live() {
    goes_live(Lang::C).await;
}

#[tokio::test]
async fn every_case_of_every_example_passes_in_the_sandbox() {
    for lang in Lang::ALL.into_iter().filter(|lang| *lang != Lang::Rust) {
        let cases = Case::load_dir(&example_folder(lang).join("cases")).unwrap();
        assert!(cases.len() >= 3, "{lang:?} has {} cases", cases.len());
        cases::hold(&cases::sandbox(), lang.name(), &example(lang).await.component, &cases).await;
    }
}

#[tokio::test]
async fn examples_differ_from_their_scaffold_only_in_the_transform() {
    let own = [
        "README.md",
        "plugin.js",
        "plugin.ts",
        "plugin.py",
        "plugin.c",
        "package.json",
        "package-lock.json",
        "pyproject.toml",
    ];
    for lang in Lang::ALL.into_iter().filter(|lang| *lang != Lang::Rust) {
        let folder = made(lang, |_| ()).await;
        let mut files = vec![example_folder(lang)];
        while let Some(path) = files.pop() {
            let relative = path.strip_prefix(example_folder(lang)).unwrap().to_owned();
            let scaffolds = folder.path().join("hello").join(&relative);
            if path.is_dir() && scaffolds.is_dir() {
                files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.is_file() && !own.iter().any(|name| path.ends_with(name)) {
                let same = std::fs::read(&path).unwrap() == std::fs::read(&scaffolds).unwrap_or_default();
                assert!(same, "copy {} from the scaffold", path.display());
            }
        }
    }
}

/// `new` refuses these and leaves every file unchanged.
#[tokio::test]
async fn plugin_new_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("full")).unwrap();
    std::fs::write(folder.path().join("full/note"), "mine").unwrap();
    std::fs::write(folder.path().join("file"), "mine").unwrap();
    let refused = [
        (["full", "rust"], "exists already"),
        (["file", "js"], "exists already"),
        (["Hello", "c"], "a-z 0-9"),
        (["../up", "c"], "a-z 0-9"),
        (["2fa", "rust"], "must begin with a letter, not a digit"),
        (["hello", "cobol"], "[possible values: rust, js, ts, python, c]"),
    ];
    for ([name, lang], part) in refused {
        let mut command = Command::new(binary());
        let output =
            command.args(["plugin", "new", name, "--lang", lang]).current_dir(folder.path()).output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(part), "{name} {lang}: {error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    assert_eq!(std::fs::read_dir(folder.path().join("full")).unwrap().count(), 1);

    std::fs::create_dir(folder.path().join("empty")).unwrap();
    posthaste(folder.path(), ["plugin", "new", "empty", "--lang", "python"]).await;
    assert!(folder.path().join("empty/plugin.py").is_file());
}

#[tokio::test]
async fn missing_build_tool_is_named_with_its_remedy() {
    for (lang, part) in [
        (Lang::Js, "`npm` is missing: install Node.js 18 or later"),
        (Lang::Python, "`python3` is missing: install Python 3.10"),
        (Lang::C, "`python3` is missing: install Python 3.10"),
    ] {
        let folder = made(lang, |_| ()).await;
        let path = folder.path().display().to_string();
        let build =
            [OsStr::new("plugin"), OsStr::new("build"), folder.path().join("hello").as_os_str()].map(OsStr::to_owned);
        let (status, _, error) = Process::run_in(&[("PATH", &path)], build).await;
        assert!(status == 1 && error.contains(part), "{error}");
    }
}
