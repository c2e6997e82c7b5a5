//! What a parser says of a file, in words for the file's reader: no names of Rust's types, and of the file's own text
//! no more than a line of it, without characters that steer a terminal.

/// The most characters of a file's own text that are shown in one piece.
const SHOWN: usize = 80;
/// The most characters of a message, whatever a file has that looks like the end of a quotation.
const LONGEST: usize = 1000;
/// What parsers say before and behind a name of the file's, which may have any marks in it.
const BEFORE_A_NAME: [&str; 2] = ["unknown field ", "unknown variant "];
const BEHIND_A_NAME: &str = "`, expected";

/// What parsers call things, and what their readers do.
const WORDS: [(&str, &str); 24] = [
    ("usize", "a whole number, 0 or more"),
    ("u64", "a whole number, 0 or more"),
    ("u32", "a whole number, 0 or more"),
    ("u16", "a whole number, 0 or more"),
    ("u8", "a whole number, 0 or more"),
    ("isize", "a whole number"),
    ("i64", "a whole number"),
    ("i32", "a whole number"),
    ("f64", "a number"),
    ("f32", "a number"),
    ("a sequence", "a list"),
    ("sequence", "a list"),
    ("a map", "a group of keys and values"),
    ("map", "a group of keys and values"),
    ("a boolean", "true or false"),
    ("boolean", "true or false"),
    ("a string", "a text"),
    ("string", "a text"),
    ("integer", "the number"),
    ("floating point", "the number"),
    ("null", "nothing"),
    ("unit value", "nothing"),
    ("a struct", "a group of keys and values"),
    ("tuple struct", "a list"),
];

/// A parser's message, in plain words. What it quotes of the file, in `"..."` or `` `...` ``, is cut to 80 characters;
/// control characters are written as escapes.
///
/// ```
/// use gptneo_files::in_plain_words;
///
/// let said = "invalid type: string \"eight\u{1b}[2J\", expected usize";
/// assert_eq!(
///     in_plain_words(said),
///     "invalid type: a text \"eight\\u{1b}[2J\", expected a whole number, 0 or more"
/// );
/// ```
pub fn in_plain_words(message: &str) -> String {
    let mut plain = String::new();
    let mut rest = message;
    while let Some(start) = rest.find(['"', '`']) {
        let mark = if rest[start..].starts_with('"') { '"' } else { '`' };
        plain.push_str(&translated(&rest[..start]));
        let quoted = &rest[start + 1..];
        let is_name = BEFORE_A_NAME.iter().any(|words| rest[..start].ends_with(words));
        let end = if is_name { quoted.rfind(BEHIND_A_NAME) } else { None };
        let (text, after) = match end.or_else(|| closing(quoted, mark)) {
            Some(end) => (&quoted[..end], &quoted[end + 1..]),
            None => (quoted, ""),
        };
        plain.push(mark);
        plain.push_str(&excerpt(text));
        plain.push(mark);
        rest = after;
    }
    plain.push_str(&translated(rest));
    match plain.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &plain[..end]),
        None => plain,
    }
}

/// Where a quotation ends; a quotation mark that is escaped in it does not end it.
fn closing(quoted: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    quoted.char_indices().find_map(|(index, character)| {
        let ends = character == mark && !escaped;
        escaped = character == '\\' && !escaped && mark == '"';
        ends.then_some(index)
    })
}

/// At most 80 characters of a file's text.
fn excerpt(text: &str) -> String {
    let visible: String = text.chars().take(SHOWN + 1).map(visible).collect();
    match visible.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &visible[..end]),
        None => visible,
    }
}

/// A character as it may be printed anywhere.
fn visible(character: char) -> String {
    match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    }
}

/// A message's own words, those of [`WORDS`] translated.
fn translated(message: &str) -> String {
    let lines =
        message.split(['\n', '\r', '\t']).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let message: String = lines.chars().map(visible).collect();
    let is_of_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut plain = String::new();
    let mut rest = message.as_str();
    'next: while !rest.is_empty() {
        if !plain.ends_with(is_of_word) {
            for (word, said) in WORDS {
                if let Some(after) = rest.strip_prefix(word)
                    && !after.starts_with(is_of_word)
                {
                    plain.push_str(said);
                    rest = after;
                    continue 'next;
                }
            }
            // "struct Settings": the type's name says nothing to a reader.
            if let Some(after) = rest.strip_prefix("struct ") {
                plain.push_str("a group of keys and values");
                rest = after.trim_start_matches(is_of_word);
                continue;
            }
        }
        let next = rest.chars().next().map_or(0, char::len_utf8);
        plain.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_said_in_plain_words() {
        for (said, plain) in [
            (
                "invalid type: map, expected f64",
                "invalid type: a group of keys and values, expected a number",
            ),
            (
                "invalid value: integer `-1`, expected u64",
                "invalid value: the number `-1`, expected a whole number, 0 or more",
            ),
            ("expected struct RunSettings at line 1", "expected a group of keys and values at line 1"),
            ("unknown field `usize`, expected `map`", "unknown field `usize`, expected `map`"),
            ("remapped strings stay", "remapped strings stay"),
        ] {
            assert_eq!(in_plain_words(said), plain);
        }
    }

    #[test]
    fn a_quotation_is_short_and_harmless() {
        let long = format!("unknown field `{}\u{7}`, expected one of `a`, `b`", "x\u{1b}".repeat(5000));
        let plain = in_plain_words(&long);
        assert!(plain.chars().count() < 140 && !plain.contains(|c: char| c.is_control()), "{plain}");
        assert!(plain.ends_with("…`, expected one of `a`, `b`"), "{plain}");
        assert_eq!(in_plain_words(r#"a "b\"c" usize"#), r#"a "b\"c" a whole number, 0 or more"#);
        assert_eq!(in_plain_words("torn `half"), "torn `half`");
        let marks = format!("unknown field `{}`, expected one of `a`, `b`", "a`\"usize".repeat(500));
        let plain = in_plain_words(&marks);
        assert!(plain.chars().count() < 140 && plain.ends_with("…`, expected one of `a`, `b`"), "{plain}");
        assert!(in_plain_words(&"`x`\"y\" ".repeat(5000)).chars().count() <= 1001);
        assert_eq!(in_plain_words("two\nlines"), "two lines");
    }
}
