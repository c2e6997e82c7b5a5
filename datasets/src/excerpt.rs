//! Text of a file in a message: short, on one line, and without characters that a terminal would act on.

use unicode_categories::UnicodeCategories;

/// The longest excerpt, in characters.
const LONGEST: usize = 80;

/// At most 80 characters of `text`; control characters and those that steer the direction of writing are escaped.
pub(crate) fn shown(text: &str) -> String {
    let mut excerpt = String::new();
    let mut room = LONGEST - 1;
    let mut rest = text.chars();
    for character in rest.by_ref() {
        let unsafe_to_show = character.is_control() || character.is_other_format();
        let piece: String =
            if unsafe_to_show { character.escape_default().collect() } else { character.into() };
        match room.checked_sub(piece.chars().count()) {
            Some(left) => room = left,
            None => return excerpt + "…",
        }
        excerpt.push_str(&piece);
    }
    excerpt
}

/// Names of a file between backquotes, the first few of them; `none` where there are none.
pub(crate) fn names(names: &[String], none: &str) -> String {
    const LISTED: usize = 20;
    if names.is_empty() {
        return none.to_string();
    }
    let listed: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{}`", shown(name))).collect();
    match names.len().saturating_sub(LISTED) {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_harmless() {
        assert_eq!(shown("Où ?"), "Où ?");
        assert_eq!(shown("a\n\u{1b}[31mb\u{202e}"), "a\\n\\u{1b}[31mb\\u{202e}");
        let long = shown(&"x".repeat(500));
        assert_eq!((long.chars().count(), long.ends_with('…')), (80, true));
        assert!(shown(&"\u{7}".repeat(500)).chars().count() <= 80);
        let many: Vec<String> = (0..30).map(|number| number.to_string()).collect();
        assert!(names(&many, "none").ends_with("`19` and 10 more"));
        assert_eq!(names(&[], "none"), "none");
    }
}
