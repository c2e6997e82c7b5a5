//! Stop strings in a text that comes in pieces: what could be the beginning of one is held back until it is none.

/// Watches a text for the first of some strings.
#[derive(Debug, Default)]
pub(crate) struct StopStrings {
    stops: Vec<String>,
    /// What came and was not given on: the beginning of a stop string, perhaps.
    held: String,
}

/// What a piece leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Text that can be given on; it may be empty.
    Text(String),
    /// The rest of the text; a stop string follows it.
    Stopped(String),
}

impl StopStrings {
    /// For strings that are not empty.
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: &str) -> Heard {
        self.held.push_str(piece);
        let found = |stop: &String| self.held.find(stop.as_str()).map(|start| (start + stop.len(), start));
        // The one that is whole first, so that it does not matter how the text was cut; then the one that began first.
        if let Some((_, start)) = self.stops.iter().filter_map(found).min() {
            self.held.truncate(start);
            return Heard::Stopped(std::mem::take(&mut self.held));
        }
        let kept = self.held.len() - self.beginning();
        let rest = self.held.split_off(kept);
        Heard::Text(std::mem::replace(&mut self.held, rest))
    }

    /// What was held back, where nothing follows.
    pub(crate) fn finish(self) -> String {
        self.held
    }

    /// The bytes at the end of what is held that some stop string begins with.
    fn beginning(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or_default();
        let ends = self.held.char_indices().map(|(start, _)| &self.held[start..]);
        ends.filter(|end| end.len() < longest)
            .find(|end| self.stops.iter().any(|stop| stop.starts_with(end)))
            .map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that is given on, and whether it was stopped.
    fn heard(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut watch = StopStrings::new(stops.iter().map(ToString::to_string).collect());
        let mut text = String::new();
        for piece in pieces {
            match watch.push(piece) {
                Heard::Text(more) => text.push_str(&more),
                Heard::Stopped(more) => return (text + &more, true),
            }
        }
        (text + &watch.finish(), false)
    }

    #[test]
    fn a_string_is_found_across_pieces_wherever_they_are_cut() {
        let text = "ab\n\nQuestion: é\nc";
        for stop in ["\n\nQ", "b\n", "é\n", ": é", "c", "ab"] {
            let expected = (text[..text.find(stop).unwrap_or(0)].to_string(), true);
            let pieces: Vec<String> = text.chars().map(String::from).collect();
            for size in 1..=pieces.len() {
                let cut: Vec<String> = pieces.chunks(size).map(|pieces| pieces.concat()).collect();
                let cut: Vec<&str> = cut.iter().map(String::as_str).collect();
                assert_eq!(heard(&[stop], &cut), expected, "{stop:?} {cut:?}");
            }
        }
    }

    #[test]
    fn what_only_looked_like_a_stop_string_is_given_on() {
        assert_eq!(heard(&["aab"], &["a", "a", "a", "c"]), ("aaac".into(), false));
        assert_eq!(heard(&["aab"], &["a", "a", "a", "b"]), ("a".into(), true));
        assert_eq!(heard(&["xyz"], &["x", "y"]), ("xy".into(), false));
        assert_eq!(heard(&[], &["x", ""]), ("x".into(), false));
    }

    #[test]
    fn of_several_strings_the_one_that_is_whole_first_ends_the_text() {
        for pieces in [&["abcd"][..], &["a", "b", "c", "d"], &["ab", "cd"]] {
            assert_eq!(heard(&["bcd", "c"], pieces), ("ab".into(), true), "{pieces:?}");
            assert_eq!(heard(&["c", "bc"], pieces), ("a".into(), true), "{pieces:?}");
        }
    }

    #[test]
    fn text_is_given_on_as_soon_as_it_cannot_be_a_beginning() {
        let mut watch = StopStrings::new(vec!["\n\n".into()]);
        assert_eq!(watch.push("a\n"), Heard::Text("a".into()));
        assert_eq!(watch.push("b"), Heard::Text("\nb".into()));
        assert_eq!(watch.push("\n\nc"), Heard::Stopped(String::new()));
    }
}
