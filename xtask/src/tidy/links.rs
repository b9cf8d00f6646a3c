//! Relative links in Markdown have an existing target.

use std::path::Path;

use super::Violation;

/// Checks the links of one Markdown file, `path` relative to the repository.
pub(crate) fn check(root: &Path, path: &Path, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut fence = None;
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        if let Some(mark) = mark {
            fence = if fence.is_none() { Some(mark) } else { fence.filter(|open| *open != mark) };
            continue;
        }
        if fence.is_some() {
            continue;
        }
        for target in targets(&without_code(line)).filter(|target| !has_target(root, path, target)) {
            let what =
                format!("the link `{target}` has no target: correct the path, which is relative to this file's folder");
            found.push(Violation { path: path.to_owned(), line: index + 1, what });
        }
    }
    found
}

/// Removes inline code, every second part between backticks: links in it are examples.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("_")
}

/// Returns the targets of `[text](target "title")` and of `[label]: target`.
fn targets(line: &str) -> impl Iterator<Item = String> {
    let mut targets = Vec::new();
    for (at, opening) in line.match_indices("](") {
        let rest = line.get(at + opening.len()..).unwrap_or_default();
        targets.push(rest.split_once(')').map_or(rest, |(target, _)| target));
    }
    let label = line.strip_prefix('[').filter(|rest| !rest.starts_with('^')).and_then(|rest| rest.split_once(']'));
    targets.extend(label.and_then(|(_, rest)| rest.strip_prefix(": ")));
    let clean = |target: &str| target.split_whitespace().next().unwrap_or_default().trim_matches(['<', '>']).to_owned();
    targets.into_iter().map(clean).collect::<Vec<_>>().into_iter()
}

fn has_target(root: &Path, path: &Path, target: &str) -> bool {
    // A URL with a scheme (RFC 3986, section 3.1) and a fragment of the same file are not checked.
    let scheme = target.split_once(':').is_some_and(|(scheme, _)| !scheme.contains(['/', '.', '#']));
    let file = target.split(['#', '?']).next().unwrap_or_default();
    if scheme || file.is_empty() {
        return !target.is_empty();
    }
    match file.strip_prefix('/') {
        Some(from_root) => root.join(from_root).exists(),
        None => root.join(path).parent().is_some_and(|folder| folder.join(file.replace("%20", " ")).exists()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    fn broken(text: &str) -> Vec<(usize, String)> {
        let house = Scratch::new();
        house.write("README.md", "").write("docs/guide.md", "").write("docs/a b.md", "");
        let found = check(house.root(), Path::new("docs/index.md"), text);
        found.into_iter().map(|found| (found.line, found.what.split('`').nth(1).unwrap().to_owned())).collect()
    }

    #[test]
    fn a_broken_link_is_found_in_every_form() {
        let text = "[ok](guide.md) and [bad](gone.md \"title\")\n\n| [x](../README.md#top) | ![y](gone.png) |\n[ref]: gone/too.md\n";
        let expected = [(1, "gone.md"), (3, "gone.png"), (4, "gone/too.md")].map(|(line, to)| (line, to.to_owned()));
        assert_eq!(broken(text), expected);
        assert_eq!(broken("[empty]()\n"), [(1, String::new())]);
    }

    #[test]
    fn urls_fragments_and_code_are_not_checked() {
        let text = "[a](https://example.com/x) [b](mailto:a@example.com) [c](#here) [d](guide.md#x) [e](/docs/guide.md)\n\
                    [f](a%20b.md) [g](../docs) `[h](gone.md)`\n[^1]: a note\n```\n[i](gone.md)\n~~~\n[j](gone.md)\n```\n[k]: ../README.md\n";
        assert_eq!(broken(text), []);
    }
}
