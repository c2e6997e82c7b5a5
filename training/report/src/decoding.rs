//! How the tokens of the answers were chosen: said wherever answers are shown, because it changes what they look like.

/// How the tokens of the answers were chosen, the same for all models of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoding {
    /// What makes tokens that an answer has already less likely; 1 does nothing.
    pub repetition_penalty: f64,
}

impl Default for Decoding {
    /// The likeliest token each time, and nothing else.
    fn default() -> Self {
        Self { repetition_penalty: 1.0 }
    }
}

impl Decoding {
    /// It in words, as a part of a sentence.
    pub fn reading(self) -> String {
        let likeliest = "the likeliest token each time";
        match self.repetition_penalty {
            1.0 => likeliest.to_string(),
            penalty => format!(
                "{likeliest}, with a repetition penalty of {penalty} on those that the answer has already, the same for \
                 every model"
            ),
        }
    }

    /// It in a few words.
    pub fn brief(self) -> String {
        match self.repetition_penalty {
            1.0 => "likeliest token".to_string(),
            penalty => format!("likeliest token, repetition penalty {penalty}"),
        }
    }

    /// It as a sentence.
    pub fn sentence(self) -> String {
        let reading = self.reading();
        format!("{}{}.", reading[..1].to_uppercase(), &reading[1..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_penalty_is_said_where_there_is_one() {
        assert_eq!(Decoding::default().sentence(), "The likeliest token each time.");
        assert_eq!(Decoding::default().brief(), "likeliest token");
        assert_eq!(Decoding { repetition_penalty: 1.1 }.brief(), "likeliest token, repetition penalty 1.1");
        let said = Decoding { repetition_penalty: 1.1 }.reading();
        assert!(said.contains("penalty of 1.1") && said.contains("same for every model"), "{said}");
    }
}
