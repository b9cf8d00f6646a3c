//! Refuses the placeholders of earlier versions, with their new spelling.

use posthaste_plugin::json::Pointer;

use crate::filters::meant;
use crate::node::step;
use crate::template::Fault;

/// Refuses `{{/field}}`, `{{/field|default}}` and `{{{{`, which the language of earlier versions had.
///
/// # Errors
/// The text says what to write.
pub(crate) fn refuse(source: &str) -> Result<(), Fault> {
    let mut from = 0;
    while let Some(found) = source.get(from..).and_then(|rest| rest.find("{{")) {
        let at = from + found;
        let inside = source.get(at + 2..).unwrap_or_default();
        if inside.starts_with("{{") {
            let text = "two braces are written `{{ \"{{\" }}`, and a longer text with braces between `{% raw %}` and `{% endraw %}`";
            return Err(Fault::at(source, Some(at..at), text));
        }
        if inside.trim_start().starts_with('/') {
            let inside = inside.split("}}").next().unwrap_or_default();
            return Err(Fault::at(source, Some(at..at), rewritten(inside)));
        }
        from = at + 2;
    }
    Ok(())
}

/// Returns the text that says how the inside of a placeholder is written.
fn rewritten(inside: &str) -> String {
    let (pointer, default) = inside.split_once('|').map_or((inside, None), |(name, text)| (name, Some(text.trim())));
    let pointer = match pointer.trim() {
        // The name of the member is a space.
        "/" => pointer.trim_start(),
        trimmed => trimmed,
    };
    match Pointer::new(pointer) {
        Ok(pointer) => format!("`{{{{{inside}}}}}` is written `{{{{ {}{} }}}}`", expression(&pointer), filter(default)),
        Err(_) => format!("`{{{{{inside}}}}}` is written without a JSON Pointer, as in `{{{{ first_name }}}}`"),
    }
}

/// Returns the filter for a default, which may have been meant as a filter, or as another placeholder.
fn filter(default: Option<&str>) -> String {
    let Some(default) = default else { return String::new() };
    let other = default.strip_prefix("{{").and_then(|other| Pointer::new(other.trim()).ok());
    match (other, meant(default)) {
        (Some(other), _) => format!(" | default({})", expression(&other)),
        (None, Some(filter)) => format!(" | {filter}"),
        (None, None) => format!(" | default({default:?})"),
    }
}

/// Returns the expression for a pointer: `a.b[0]["a name"]`.
fn expression(pointer: &Pointer) -> String {
    let steps = pointer.tokens().iter().map(|token| match token.parse::<usize>() {
        Ok(index) if index.to_string() == *token => format!("[{index}]"),
        _ => step(token),
    });
    let path: String = steps.collect();
    path.strip_prefix('.').map_or_else(|| format!("data{path}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_placeholder_is_told_with_its_new_spelling() {
        for (former, new) in [
            ("Hi {{/first_name}}", "column 4: `{{/first_name}}` is written `{{ first_name }}`"),
            ("{{ /a/b/0 | nobody }}", "is written `{{ a.b[0] | default(\"nobody\") }}`"),
            ("{{/n~1m/x}}", "is written `{{ data[\"n/m\"].x }}`"),
            ("{{/a | upcase}}", "is written `{{ a | upper }}`"),
            ("{{/nick|{{/name}}}}", "is written `{{ nick | default(name) }}`"),
            ("{{/ }}", "is written `{{ data[\" \"] }}`"),
            ("{{/a~2}}", "as in `{{ first_name }}`"),
            ("{{{{x", "two braces are written"),
        ] {
            let text = refuse(former).unwrap_err().to_string();
            assert!(text.contains(new), "{text}");
        }
        assert_eq!(refuse("{{ a / b }} / {% raw %}{{ x"), Ok(()));
    }
}
