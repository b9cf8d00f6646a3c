//! Every guest has a test.

use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

use posthaste_tests::BOMBS;

/// Returns the files under `folder` with this extension.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| files_below(folder, ending));
    files.into_iter().filter(|file| file.extension().is_some_and(|end| end == ending)).chain(below).collect()
}

fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    files(folder, ending)
}

#[test]
fn every_guest_is_named_by_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let suite: String = files(&tests.join("suite"), "rs").iter().map(|file| read_to_string(file).unwrap()).collect();
    let name = |file: PathBuf| file.file_stem().unwrap().to_string_lossy().into_owned();
    let guests = files(&tests.join("guests"), "wat").into_iter().map(name);
    let all: Vec<_> = guests.chain(BOMBS.map(str::to_owned)).collect();
    assert!(all.len() > 60, "only {} guests found", all.len());
    let forgotten: Vec<_> = all.iter().filter(|name| !suite.contains(&format!("\"{name}\""))).collect();
    assert!(forgotten.is_empty(), "no test names these guests: {forgotten:?}");
}
