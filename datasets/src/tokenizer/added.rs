//! The tokens of a folder that stand beside its vocabulary: where transformers reads them, in which order, and with which
//! numbers.
//!
//! | file | field | read |
//! |---|---|---|
//! | `tokenizer_config.json` | `added_tokens_decoder` | numbers with their tokens, before all else |
//! | `added_tokens.json` | | tokens with their numbers, where the configuration has no decoder |
//! | `tokenizer_config.json`, else `special_tokens_map.json` | `bos_token` ... `mask_token` | tokens of no number: the next that is free |
//! | the same | `additional_special_tokens`, `extra_special_tokens` | as those |

use gptneo_files::excerpt;
use serde_json::{Map, Value};
use tokenizers::{AddedToken, Tokenizer as Inner};

use super::guard::guarded;

/// The end-of-text token of GPT-2 and GPT-Neo.
pub const DEFAULT_END_OF_TEXT: &str = "<|endoftext|>";
pub(super) const CONFIG: &str = "tokenizer_config.json";
pub(super) const SPECIAL: &str = "special_tokens_map.json";
pub(super) const ADDED: &str = "added_tokens.json";

/// The roles that a token can have, in transformers' order, which new tokens are numbered in.
const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// The fields for tokens without a role, of older and of newer versions.
const ROLELESS: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];
/// The classes that rebuild GPT-2's own tokenizer, whatever a `tokenizer.json` says.
const GPT2_CLASSES: [&str; 2] = ["GPT2Tokenizer", "GPT2TokenizerFast"];

/// The files of a folder that say more than its vocabulary; absent ones are empty.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) config: Map<String, Value>,
    pub(super) special: Map<String, Value>,
    pub(super) added: Map<String, Value>,
}

/// A token with the number that a file gives it, if one does.
struct Named {
    token: AddedToken,
    number: Option<(u32, &'static str)>,
}

impl Settings {
    /// A field of the configuration, or of the older file beside it.
    fn field(&self, name: &str) -> Option<&Value> {
        [&self.config, &self.special]
            .into_iter()
            .filter_map(|map| map.get(name))
            .find(|value| !value.is_null())
    }

    /// The token that ends a text, where a file says so.
    pub(super) fn end_of_text(&self) -> Option<&str> {
        self.field("eos_token").and_then(content)
    }

    /// Whether transformers takes GPT-2's own class, which it does where none is named.
    fn is_gpt2(&self) -> bool {
        match self.config.get("tokenizer_class").and_then(Value::as_str) {
            Some(class) => GPT2_CLASSES.contains(&class),
            None => true,
        }
    }

    /// Whether a text begins as if a space stood before it, where these files decide: for GPT-2's own class they do.
    pub(super) fn prefix_space(&self) -> Option<bool> {
        let asked = self.config.get("add_prefix_space").and_then(Value::as_bool);
        self.is_gpt2().then_some(asked.unwrap_or(false))
    }

    /// Adds the tokens to those of `inner`. `end_of_text` is only made known, never made up: a number for it that no file
    /// gives is `for_model`'s to allow.
    ///
    /// # Errors
    /// A file's field is not what it should be, or a token would get another number than its file says.
    pub(super) fn add_to(&self, inner: &mut Inner, may_add_end: bool) -> Result<(), String> {
        let mut named = self.numbered()?;
        let known = |named: &[Named], token: &str, inner: &Inner| {
            named.iter().any(|other| other.token.content == token)
                || inner.get_added_vocabulary().get_vocab().contains_key(token)
        };
        let end_of_text = self.end_of_text().unwrap_or(DEFAULT_END_OF_TEXT).to_string();
        for token in self.unnumbered()? {
            let made_up = token.content == end_of_text && !may_add_end;
            if known(&named, &token.content, inner)
                || (made_up && inner.token_to_id(&token.content).is_none())
            {
                continue;
            }
            named.push(Named { token, number: None });
        }
        let tokens: Vec<AddedToken> = named.iter().map(|named| named.token.clone()).collect();
        guarded(|| inner.add_tokens(tokens))?;
        for Named { token, number } in named {
            let Some((number, file)) = number else { continue };
            let found = inner.token_to_id(&token.content);
            if found != Some(number) {
                let token = excerpt(&token.content);
                let found = found.map_or("none".to_string(), |found| found.to_string());
                return Err(format!(
                    "{file}: the token \"{token}\" has the number {number}, but behind this vocabulary it gets {found}; \
                     the files do not belong together"
                ));
            }
        }
        Ok(())
    }

    /// The tokens that have a number, in the order of the numbers.
    fn numbered(&self) -> Result<Vec<Named>, String> {
        let mut named = Vec::new();
        if let Some(decoder) = self.config.get("added_tokens_decoder").filter(|decoder| !decoder.is_null()) {
            let expected = "expected numbers with a token each";
            let Value::Object(decoder) = decoder else {
                return Err(format!("{CONFIG}: added_tokens_decoder is {}, {expected}", shown(decoder)));
            };
            for (number, value) in decoder {
                let (Ok(id), Some(token)) = (number.parse::<u32>(), token(value, Special::AsItSays)) else {
                    let (number, value) = (excerpt(number), shown(value));
                    return Err(format!(
                        "{CONFIG}: added_tokens_decoder has {number} for {value}, {expected}"
                    ));
                };
                named.push(Named { token, number: Some((id, CONFIG)) });
            }
        } else {
            let special: Vec<String> = self.unnumbered()?.into_iter().map(|token| token.content).collect();
            for (content, value) in &self.added {
                let Some(id) = value.as_u64().and_then(|id| u32::try_from(id).ok()) else {
                    let (content, value) = (excerpt(content), shown(value));
                    return Err(format!("{ADDED}: \"{content}\" is {value}, expected a token's number"));
                };
                let special = special.contains(content);
                let token = AddedToken::from(content.as_str(), special).normalized(!special);
                named.push(Named { token, number: Some((id, ADDED)) });
            }
        }
        named.sort_by_key(|named| named.number);
        Ok(named)
    }

    /// The tokens of a role, and those that are only said to be special.
    fn unnumbered(&self) -> Result<Vec<AddedToken>, String> {
        let mut tokens: Vec<AddedToken> = Vec::new();
        for role in ROLES {
            // An empty text stands for no token.
            let Some(value) = self.field(role).filter(|value| content(value) != Some("")) else { continue };
            let problem = || format!("{}: {role} is {}, expected a token", self.home(role), shown(value));
            tokens.push(token(value, Special::Always).ok_or_else(problem)?);
        }
        for field in ROLELESS {
            match self.field(field) {
                None => {}
                Some(list @ (Value::Array(_) | Value::Object(_))) => {
                    // By their names, or without.
                    let values: Vec<&Value> = match list {
                        Value::Object(named) => named.values().collect(),
                        list => list.as_array().into_iter().flatten().collect(),
                    };
                    for value in values {
                        match token(value, Special::Always) {
                            Some(token) => tokens.push(token),
                            None => {
                                let (home, value) = (self.home(field), shown(value));
                                return Err(format!("{home}: {field} holds {value}, expected tokens"));
                            }
                        }
                    }
                }
                Some(other) => {
                    let home = self.home(field);
                    return Err(format!("{home}: {field} is {}, expected a list of tokens", shown(other)));
                }
            }
        }
        Ok(tokens)
    }

    /// The file that a field is read from.
    fn home(&self, field: &str) -> &'static str {
        if self.config.get(field).is_some_and(|value| !value.is_null()) { CONFIG } else { SPECIAL }
    }
}

/// Whether a token is kept out of ordinary text.
#[derive(Clone, Copy)]
enum Special {
    Always,
    AsItSays,
}

/// A token as files write it: its text, or an object that has it as `content`, with how it takes the spaces around it.
fn token(value: &Value, special: Special) -> Option<AddedToken> {
    let content = content(value).filter(|content| !content.is_empty())?;
    let flag = |name: &str| value.get(name).and_then(Value::as_bool);
    let special = match special {
        Special::Always => true,
        Special::AsItSays => flag("special").unwrap_or(false),
    };
    Some(
        AddedToken::from(content, special)
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .single_word(flag("single_word").unwrap_or(false))
            .normalized(flag("normalized").unwrap_or(!special)),
    )
}

/// A token's text.
pub(super) fn content(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content").and_then(Value::as_str))
}

fn shown(value: &Value) -> String {
    excerpt(&value.to_string())
}
