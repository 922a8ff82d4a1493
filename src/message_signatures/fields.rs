//! As much of structured fields (RFC 8941) as these headers are made of.

use crate::encoding::Encoding;

/// The most members of a dictionary. Senders that rotate keys sign twice.
const MAX_MEMBERS: usize = 16;

/// Returns the members of a dictionary, each with the text of its value: commas in a string or
/// in parentheses divide nothing.
pub(super) fn members(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut members = Vec::new();
    let mut rest = text.trim_matches([' ', '\t']);
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=')?;
        let end = end_of(value, &[','])?;
        if !is_key(name) || members.len() == MAX_MEMBERS {
            return None;
        }
        members.push((name, value[..end].trim_end_matches([' ', '\t'])));
        let Some(tail) = value[end..].strip_prefix(',') else { break };
        rest = tail.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return None;
        }
    }
    Some(members)
}

/// Returns the one member of this name.
pub(super) fn member<'a>(members: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    let mut found = members.iter().filter(|(own, _)| *own == name);
    found.next().filter(|_| found.next().is_none()).map(|(_, value)| *value)
}

/// Reads an inner list of strings: each item with the text of its parameters, and the parameters
/// of the list.
pub(super) fn inner_list(text: &str) -> Option<(Vec<(String, &str)>, &str)> {
    let mut rest = text.strip_prefix('(')?;
    let mut items = Vec::new();
    loop {
        if let Some(parameters) = rest.strip_prefix(')') {
            return Some((items, parameters));
        }
        let (item, tail) = string(rest)?;
        let end = end_of(tail, &[' ', ')'])?;
        let own = &tail[..end];
        if !(own.is_empty() || own.starts_with(';')) {
            return None;
        }
        items.push((item, own));
        rest = &tail[end..];
        rest = match rest.strip_prefix(' ') {
            // One space, and none before the end.
            Some(next) if next.starts_with('"') => next,
            None if rest.starts_with(')') => rest,
            _ => return None,
        };
    }
}

/// Returns the parameters `;name=value`, each with the text of its value, which is empty for
/// `;name`.
pub(super) fn parameters(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut parameters: Vec<(&str, &str)> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.strip_prefix(';')?;
        let end = end_of(rest, &[';'])?;
        let (name, value) = rest[..end].split_once('=').unwrap_or((&rest[..end], ""));
        if !is_key(name) || parameters.iter().any(|(own, _)| *own == name) || parameters.len() == MAX_MEMBERS {
            return None;
        }
        parameters.push((name, value));
        rest = &rest[end..];
    }
    Some(parameters)
}

/// Reads a string, and returns what is behind it.
pub(super) fn string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.strip_prefix('"')?.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 2..])),
            '\\' => value.push(characters.next().map(|(_, escaped)| escaped).filter(|it| matches!(it, '"' | '\\'))?),
            ' '..='~' => value.push(character),
            _ => return None,
        }
    }
    None
}

/// Reads a string that is all there is.
pub(super) fn whole_string(text: &str) -> Option<String> {
    string(text).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

/// Reads bytes between colons, in base64.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    Encoding::Base64.decode(text.strip_prefix(':')?.strip_suffix(':')?.as_bytes())
}

fn is_key(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte);
    name.starts_with(|first: char| first.is_ascii_lowercase() || first == '*') && name.bytes().all(rest)
}

/// Returns where the next of these characters is, outside of strings and parentheses, or the end.
fn end_of(text: &str, wanted: &[char]) -> Option<usize> {
    let (mut in_string, mut is_escaped, mut depth) = (false, false, 0_usize);
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if in_string => is_escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            _ if depth == 0 && wanted.contains(&character) => return Some(at),
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    (!in_string && depth == 0).then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_lists_and_parameters_are_cut_where_they_end() {
        let text = r#"a=("x, y" "@p";name="q)");created=1;keyid="k,;\"", b-2=:AAA=:"#;
        let members = members(text).unwrap();
        assert_eq!(members[0], ("a", r#"("x, y" "@p";name="q)");created=1;keyid="k,;\"""#));
        assert_eq!(member(&members, "b-2").and_then(bytes), Some(vec![0, 0]));
        let (items, rest) = inner_list(members[0].1).unwrap();
        assert_eq!(items, [("x, y".to_owned(), ""), ("@p".to_owned(), r#";name="q)""#)]);
        let parameters = parameters(rest).unwrap();
        assert_eq!(parameters, [("created", "1"), ("keyid", r#""k,;\"""#)]);
        assert_eq!(whole_string(parameters[1].1).as_deref(), Some(r#"k,;""#));
        assert_eq!(inner_list("()").unwrap(), (vec![], ""));
    }

    #[test]
    fn what_is_not_well_formed_is_nothing() {
        for bad in ["a", "A=1", "=1", "a=\"", "a=(", "a=1,", "a=)", "a=1,,b=1"] {
            assert!(members(bad).is_none(), "{bad}");
        }
        assert_eq!(member(&members("a=1, a=2").unwrap(), "a"), None, "twice");
        for bad in ["", "(", "(\"a\"", "(\"a\" )", "( \"a\")", "(\"a\"  \"b\")", "(a)", "(\"a\"\"b\")", "(\"\u{e9}\")"]
        {
            assert!(inner_list(bad).is_none(), "{bad}");
        }
        for bad in ["a", ";", ";a=1;a=2", ";A=1", ";a=\""] {
            assert!(parameters(bad).is_none(), "{bad}");
        }
        for bad in ["AAA=", ":AAA:", ":AAA=", "::x"] {
            assert!(bytes(bad).is_none(), "{bad}");
        }
    }
}
