//! Refuses the names of a pointer that another path language reads differently.

use crate::Error;

/// The wildcards that a pointer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wildcards {
    /// None: RFC 6901.
    None,
    /// `*` as a whole name.
    WholeName,
    /// The same, and `-` for the element after the last one: a target, to which a value is put.
    Target,
}

/// Refuses `*` in a name, unless `wildcards` allows it, `-`, and `[0]` at the end of a name.
///
/// # Errors
/// The text names the pointer, and says what the name stands for, and what to write instead.
pub(super) fn refuse_misread(text: &str, wildcards: Wildcards) -> Result<(), Error> {
    // Almost every pointer ends here, and this runs before every transform.
    if !text.bytes().any(|byte| b"*-]".contains(&byte)) {
        return Ok(());
    }
    let mut names = text.split('/').enumerate();
    let found = names.find_map(|(at, name)| Some((at, name, Misread::of(name, wildcards)?)));
    let Some((at, name, misread)) = found else { return Ok(()) };
    let outer = text.split('/').take(at).collect::<Vec<_>>().join("/");
    let inner: String = names.flat_map(|(_, name)| ["/", name]).collect();
    let whole = if outer.is_empty() { "an empty pointer".to_owned() } else { format!("`{outer}`") };
    let all = match wildcards {
        Wildcards::None => String::new(),
        Wildcards::WholeName | Wildcards::Target => format!(", all of them with `{outer}/*{inner}`"),
    };
    Err(Error::new(match (misread, wildcards) {
        (Misread::Wildcard, Wildcards::None) => format!(
            "`{text}`: `{name}` names one member that is called `{name}`; a JSON Pointer (RFC 6901) has no wildcards. Name each \
             value, as in `{outer}/0{inner}`, or the whole object or list with {whole}"
        ),
        (Misread::Wildcard, Wildcards::WholeName | Wildcards::Target) => format!(
            "`{text}`: `*` stands for any member or element only if it is the whole name, and `{name}` has it as a part. Name each \
             member{all}, or the whole object with {whole}"
        ),
        (Misread::Append, _) => format!(
            "`{text}`: `-` names the element after the last one of a list (RFC 6901, section 4), which never exists. Name each \
             element, as in `{outer}/0{inner}`{all}, or the whole list with {whole}"
        ),
        (Misread::Brackets { before, index }, _) => format!(
            "`{text}`: `{name}` names one member that is called `{name}`, not an element of a list. In a JSON Pointer (RFC 6901) an \
             element is named as in `{outer}{before}/{index}{inner}`"
        ),
    }))
}

/// A name that reads differently in another path language.
enum Misread<'n> {
    Wildcard,
    Append,
    Brackets {
        /// The rest of the pointer's text before the index, with its `/`; empty if there is none.
        before: String,
        index: &'n str,
    },
}

impl<'n> Misread<'n> {
    fn of(name: &'n str, wildcards: Wildcards) -> Option<Self> {
        let in_brackets = name.strip_suffix(']').and_then(|name| name.rsplit_once('['));
        match in_brackets.filter(|(_, index)| index.bytes().all(|byte| byte.is_ascii_digit() || b"*-:".contains(&byte)))
        {
            Some((before, index)) => {
                let before = if before.is_empty() { String::new() } else { format!("/{before}") };
                let is_index = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
                let instead = if wildcards != Wildcards::None && index == "*" { "*" } else { "0" };
                Some(Self::Brackets { before, index: if is_index { index } else { instead } })
            }
            None if name == "*" && wildcards != Wildcards::None => None,
            None if name.contains('*') => Some(Self::Wildcard),
            None => (name == "-" && wildcards != Wildcards::Target).then_some(Self::Append),
        }
    }
}
