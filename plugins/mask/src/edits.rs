//! What replaces the values and the parts of texts that are masked.

use std::ops::Range;

use posthaste_plugin::{Error, json, serde_json};

use crate::{Config, matches};

/// A part of a text, and what replaces it.
type Edit = (Range<usize>, String);

impl Config {
    /// Returns the edits of a JSON text in order: the values in the ranges, and the other strings of which a part matches.
    pub(crate) fn edits(&self, text: &str, values: Vec<Range<usize>>) -> Result<Vec<Edit>, Error> {
        let mut edits = if self.matches.is_empty() { Vec::new() } else { self.edits_of_strings(text, &values)? };
        let strings = edits.len();
        for value in values {
            let kept = self.keep_last.map(|keep_last| keep_last.of(part(text, &value)));
            edits.push((value, serde_json::to_string(&self.mask(kept))?));
        }
        if strings > 0 {
            edits.sort_unstable_by_key(|(range, _)| range.start);
        }
        Ok(edits)
    }

    fn edits_of_strings(&self, text: &str, values: &[Range<usize>]) -> Result<Vec<Edit>, Error> {
        let mut edits = Vec::new();
        for string in json::find_strings(text)?.filter(|string| !is_inside(string, values)) {
            let characters = json::characters(part(text, &string));
            let parts = matches::parts(&characters, &self.matches);
            if !parts.is_empty() {
                let masks = parts.into_iter().map(|found| {
                    let kept = self.keep_last.map(|keep_last| keep_last.end(part(&characters, &found)));
                    (found, self.mask(kept))
                });
                edits.push((string, serde_json::to_string(&json::edit_ranges(&characters, masks))?));
            }
        }
        Ok(edits)
    }

    fn mask(&self, kept: Option<String>) -> String {
        format!("{}{}", self.with, kept.unwrap_or_default())
    }
}

fn part<'t>(text: &'t str, range: &Range<usize>) -> &'t str {
    text.get(range.clone()).unwrap_or_default()
}

/// Returns whether a range is inside one of others, which are in order and without overlaps.
fn is_inside(range: &Range<usize>, others: &[Range<usize>]) -> bool {
    let after = others.partition_point(|other| other.end <= range.start);
    others.get(after).is_some_and(|other| other.start <= range.start)
}
