//! Refuses templates that are too deep: the engine's parser and compiler recurse, and the guest's stack is 64 KiB.

use crate::template::Fault;

/// Brackets within each other in one tag.
const MAX_BRACKETS: usize = 16;

/// Operators, filters and names with dots in one tag: each makes the expression deeper, from left to right.
const MAX_OPERATORS: usize = 128;

/// Blocks within each other; each `elif` is a block within the one before it.
const MAX_BLOCKS: usize = 16;

/// Refuses a template whose expressions or blocks are too deep.
///
/// # Errors
/// The text says what to do.
pub(crate) fn refuse(source: &str) -> Result<(), Fault> {
    let mut blocks: Vec<usize> = Vec::new();
    let mut rest = source;
    while let Some((start, tag)) = next_tag(rest) {
        let at = source.len() - rest.len() + start;
        let length = length_of(tag).map_err(|text| Fault::at(source, Some(at..at), text))?;
        let inside = tag.get(2..).unwrap_or_default().trim_start_matches(['-', '+']).trim_ascii_start();
        let word: String = inside.chars().take_while(char::is_ascii_alphabetic).collect();
        if tag.starts_with("{%") {
            match &*word {
                "raw" => {
                    // What follows is text.
                    rest = tag.find("endraw").and_then(|end| tag.get(end..)).unwrap_or_default();
                    continue;
                }
                "for" | "if" | "with" | "filter" | "autoescape" => blocks.push(1),
                "elif" => blocks.last_mut().map(|depth| *depth += 1).unwrap_or_default(),
                _ if word.starts_with("end") && word != "endset" => drop(blocks.pop()),
                _ => {}
            }
        }
        if blocks.iter().sum::<usize>() > MAX_BLOCKS {
            let text = format!(
                "blocks are more than {MAX_BLOCKS} deep, where each `elif` is one more; look values up in an object of `vars`"
            );
            return Err(Fault::at(source, Some(at..at), text));
        }
        rest = tag.get(length..).unwrap_or_default();
    }
    Ok(())
}

/// Returns the next tag, from its opening braces to the end of the text, and where it begins. Comments are skipped.
fn next_tag(text: &str) -> Option<(usize, &str)> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find('{')?;
        let tag = text.get(at..)?;
        if tag.starts_with("{#") {
            from = at + tag.find("#}")? + 2;
        } else if tag.starts_with("{{") || tag.starts_with("{%") {
            return Some((at, tag));
        } else {
            from = at + 1;
        }
    }
}

/// Returns the length of the tag at the start of a text.
fn length_of(tag: &str) -> Result<usize, String> {
    let (mut brackets, mut operators, mut quote, mut is_word, mut is_escaped) = (0_usize, 0_usize, None, false, false);
    for (at, c) in tag.char_indices().skip(2) {
        if let Some(open) = quote {
            quote = (c != open || is_escaped).then_some(open);
            is_escaped = c == '\\' && !is_escaped;
            continue;
        }
        let ends = brackets == 0 && tag.get(at..).is_some_and(|rest| rest.starts_with("}}") || rest.starts_with("%}"));
        match c {
            _ if ends => return Ok(at + 2),
            '"' | '\'' => (quote, is_escaped) = (Some(c), false),
            '(' | '[' | '{' => (brackets, operators) = (brackets + 1, operators + 1),
            ')' | ']' | '}' => brackets = brackets.saturating_sub(1),
            '+' | '-' | '*' | '/' | '%' | '~' | '|' | '.' | '<' | '>' | '=' | '!' => operators += 1,
            // A word may be an operator, such as `and`, `not` and `if`.
            _ if c.is_ascii_alphabetic() && !is_word => operators += 1,
            _ => {}
        }
        is_word = c.is_ascii_alphanumeric() || c == '_';
        if brackets > MAX_BRACKETS {
            return Err(format!("brackets are more than {MAX_BRACKETS} deep"));
        }
        if operators > MAX_OPERATORS {
            let mend = "take parts out with `{% set name = … %}` before it";
            return Err(format!("the expression has more than {MAX_OPERATORS} names and operators; {mend}"));
        }
    }
    Ok(tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(source: &str) -> String {
        refuse(source).err().map(|fault| fault.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_too_deep_is_refused_with_its_place() {
        let brackets = |count| format!("x {{{{ {}1{} }}}}", "(".repeat(count), ")".repeat(count));
        assert_eq!(refusal(&brackets(MAX_BRACKETS)), "");
        assert_eq!(refusal(&brackets(MAX_BRACKETS + 1)), "column 3: brackets are more than 16 deep");
        assert!(refusal(&format!("{{{{ a{} }}}}", " + 1".repeat(MAX_OPERATORS))).contains("names and operators"));
        assert!(refusal(&format!("{{{{ {}a }}}}", "not ".repeat(MAX_OPERATORS))).contains("names and operators"));
        assert!(refusal(&"{% if a %}".repeat(MAX_BLOCKS + 1)).contains("blocks are more than 16 deep"));
        let elifs = format!("{{% if a %}}{}{{% endif %}}", "{% elif b %}".repeat(MAX_BLOCKS));
        assert!(refusal(&elifs).contains("blocks are more than 16 deep"));
    }

    #[test]
    fn texts_comments_and_quotes_are_not_deep() {
        let many = "(".repeat(200);
        for fine in [
            many.clone(),
            format!("{{# {many} #}}{{{{ 1 }}}}"),
            format!("{{{{ \"{many}\\\"{many}\" }}}}"),
            format!("{{% raw %}}{{{{ {many} }}}}{{% endraw %}}"),
            "{% for a in b %}{{ a }}{% endfor %}".repeat(100),
            "{% set a = {\"b\": {}} %}".repeat(100),
        ] {
            assert_eq!(refusal(&fine), "", "{fine}");
        }
    }
}
