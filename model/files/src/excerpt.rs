//! Text of other people's files in a message: short, and without what a terminal would obey.

/// The longest excerpt in characters; a message stays readable, and names stay whole.
const LONGEST: usize = 80;

/// `text` as a message may show it: control characters written out (`\n`, `\u{1b}`), and at most 80 characters of it.
///
/// ```
/// assert_eq!(gptneo_files::excerpt("q_proj\u{1b}[2J"), "q_proj\\u{1b}[2J");
/// assert_eq!(gptneo_files::excerpt(&"x".repeat(100)).chars().count(), 80);
/// ```
pub fn excerpt(text: &str) -> String {
    // More than enough characters, however large the text is.
    let mut shown: Vec<char> = text.chars().take(LONGEST + 1).flat_map(written_out).collect();
    if shown.len() > LONGEST {
        shown.truncate(LONGEST - 3);
        shown.extend("...".chars());
    }
    shown.into_iter().collect()
}

fn written_out(letter: char) -> Vec<char> {
    // Marks that turn the direction of what follows are as bad as control characters.
    let turns = matches!(letter, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if letter.is_control() || turns { letter.escape_default().collect() } else { vec![letter] }
}

/// Whether a file that begins with `front` is a pointer of Git LFS: some lines of text in place of a large file, which
/// was never fetched.
pub fn is_git_lfs_pointer(front: &[u8]) -> bool {
    front.starts_with(b"version https://git-lfs.github.com/spec/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(excerpt("a\nb\t\u{1b}[31m\u{7f}\u{202e}"), "a\\nb\\t\\u{1b}[31m\\u{7f}\\u{202e}");
        assert_eq!(excerpt("naïve 感冒"), "naïve 感冒");
        let long = excerpt(&"\n".repeat(1_000_000));
        assert!(long.chars().count() == 80 && long.ends_with("..."), "{long}");
        assert_eq!(excerpt(&"x".repeat(80)).len(), 80);
    }
}
