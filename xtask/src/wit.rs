//! The WIT text: `wit/v0.1/transform.wit` is the one source, and some folders need a copy of it.
//!
//! The crate `posthaste-plugin` is published alone, and each example builds alone, so these carry the text. Everything else
//! reads or embeds the source itself.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;

/// The one source.
const SOURCE: &str = "wit/v0.1/transform.wit";

/// The copies that are needed.
const COPIES: [&str; 6] = [
    "plugin-sdk/wit/transform.wit",
    "plugins/examples/c/wit/transform.wit",
    "plugins/examples/js/wit/transform.wit",
    "plugins/examples/python/wit/transform.wit",
    "plugins/examples/ts/wit/transform.wit",
    "plugins/js/wit/transform.wit",
];

/// Writes the copies anew from the source.
pub(crate) fn write_copies(root: &Path) -> Result<(), Failure> {
    let text = read_source(root)?;
    for path in stale_copies(root)? {
        let failed = |error| format!("{}: {error}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        fs::write(&path, &text).map_err(failed)?;
    }
    Ok(())
}

/// Returns the copies that are missing or differ from the source. None if this folder has no source.
pub(crate) fn stale_copies(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !root.join(SOURCE).is_file() {
        return Ok(Vec::new());
    }
    let text = read_source(root)?;
    let copies = COPIES.iter().map(|copy| root.join(copy));
    Ok(copies.filter(|copy| fs::read(copy).ok().as_ref() != Some(&text)).collect())
}

/// Returns whether the file at this path, relative to the repository, is a `.wit` that is neither source nor copy.
pub(crate) fn is_stray(path: &Path) -> bool {
    let is_wit = path.extension().is_some_and(|extension| extension == "wit");
    is_wit && !path.starts_with("wit") && !COPIES.iter().any(|copy| path == Path::new(copy))
}

fn read_source(root: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(root.join(SOURCE)).map_err(|error| format!("{SOURCE}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::scratch::Scratch;

    #[test]
    fn a_copy_that_is_missing_or_differs_is_stale_until_it_is_written() {
        let house = Scratch::new();
        house.write(SOURCE, "package a;").write(COPIES[0], "package a;").write(COPIES[1], "package b;");
        let stale: Vec<_> = COPIES[1..].iter().map(|copy| house.root().join(copy)).collect();
        assert_eq!(stale_copies(house.root()).unwrap(), stale);
        write_copies(house.root()).unwrap();
        assert!(stale_copies(house.root()).unwrap().is_empty());
        assert_eq!(fs::read_to_string(house.root().join(COPIES[4])).unwrap(), "package a;");
        house.write(SOURCE, "package c;");
        assert_eq!(stale_copies(house.root()).unwrap().len(), COPIES.len());
    }

    #[test]
    fn a_wit_file_elsewhere_is_stray() {
        for (path, stray) in [
            (SOURCE, false),
            ("wit/v0.2/transform.wit", false),
            (COPIES[3], false),
            ("host/assets/scaffold/js/wit/transform.wit", true),
            ("plugin-sdk/src/wasm.rs", false),
        ] {
            assert_eq!(is_stray(Path::new(path)), stray, "{path}");
        }
    }
}
