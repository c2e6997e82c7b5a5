//! A request's fields: taken out of its JSON object type by type, by the names that the type's schema has. What is left
//! over is refused by name, so that nobody believes a setting to work that nobody reads.

use std::borrow::Cow;

use gptneo_files::in_plain_words;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::PartialSchema;
use utoipa::openapi::schema::{AdditionalProperties, Object, Schema};
use utoipa::openapi::{RefOr, schema};

use crate::error::ApiError;

/// Fields that OpenAI or other servers know and this one does not: refused in other words than a slip.
const KNOWN_ELSEWHERE: [&str; 30] = [
    "audio",
    "best_of",
    "function_call",
    "functions",
    "guided_choice",
    "guided_json",
    "guided_regex",
    "length_penalty",
    "metadata",
    "min_p",
    "min_tokens",
    "modalities",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "service_tier",
    "skip_special_tokens",
    "stop_token_ids",
    "store",
    "suffix",
    "tool_choice",
    "tools",
    "truncate_prompt_tokens",
    "typical_p",
    "use_beam_search",
    "verbosity",
    "web_search_options",
];

/// A request's fields on their way to their types.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body; a field that is null is left out, also of what the fields hold.
    pub(crate) fn of(body: &[u8]) -> Result<Self, ApiError> {
        let mut object: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|error| in_plain_words(&error.to_string()))
            .map_err(|reason| ApiError::malformed(format!("the body is no JSON object: {reason}")))?;
        without_nulls(&mut object);
        Ok(Self(object))
    }

    /// Takes the fields of `T`.
    pub(crate) fn take<T: DeserializeOwned + PartialSchema>(&mut self) -> Result<T, ApiError> {
        let own: Map<String, Value> =
            properties::<T>().properties.keys().filter_map(|name| self.0.remove_entry(name)).collect();
        serde_path_to_error::deserialize(Value::Object(own)).map_err(|error| {
            let path = error.path().to_string();
            let reason = in_plain_words(&error.into_inner().to_string());
            match path.as_str() {
                "." => ApiError::malformed(reason),
                _ => ApiError::field(path, format_args!("cannot be read: {reason}")),
            }
        })
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::unknown_field(name, KNOWN_ELSEWHERE.contains(&name.as_str()))),
        }
    }
}

fn without_nulls(object: &mut Map<String, Value>) {
    object.retain(|_, value| !value.is_null());
    object.values_mut().for_each(without_nulls_below);
}

/// JSON is read to a depth that a stack has room for.
fn without_nulls_below(value: &mut Value) {
    match value {
        Value::Object(object) => without_nulls(object),
        Value::Array(values) => values.iter_mut().for_each(without_nulls_below),
        _ => {}
    }
}

/// The schema of an object that has the fields of both types, and no others.
pub(super) fn both<A: PartialSchema, B: PartialSchema>() -> RefOr<Schema> {
    let [mut joined, other] = [properties::<A>(), properties::<B>()];
    joined.properties.extend(other.properties);
    joined.required.extend(other.required);
    joined.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    joined.description = None;
    RefOr::T(Schema::Object(joined))
}

/// The schema of a type that is a struct.
fn properties<T: PartialSchema>() -> Object {
    match T::schema() {
        RefOr::T(Schema::Object(object)) => object,
        _ => schema::Object::new(),
    }
}

/// Refuses a number outside of a range.
pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    name: impl Into<Cow<'static, str>>,
    value: Option<T>,
    range: std::ops::RangeInclusive<T>,
) -> Result<Option<T>, ApiError> {
    match value {
        Some(value) if !range.contains(&value) => Err(ApiError::field(
            name.into(),
            format_args!("is {value}, expected {} to {}", range.start(), range.end()),
        )),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Deserialize;
    use utoipa::ToSchema;

    use super::*;

    #[derive(Debug, Deserialize, ToSchema)]
    #[allow(dead_code)]
    struct Own {
        text: String,
        parts: Option<Vec<Part>>,
    }

    #[derive(Debug, Deserialize, ToSchema)]
    struct Part {
        #[serde(rename = "number")]
        _number: u8,
    }

    fn read(body: &str) -> Result<Own, ApiError> {
        let mut fields = Fields::of(body.as_bytes())?;
        let own = fields.take()?;
        fields.finish()?;
        Ok(own)
    }

    #[test]
    fn a_bad_field_is_named_with_its_place() {
        let error = read(r#"{"text": "a", "parts": [{"number": 1}, {"number": "x"}]}"#).unwrap_err();
        let (status, message, param) = error.told();
        assert_eq!((status, param), (400, Some("parts[1].number")));
        assert!(
            message.contains("`parts[1].number`") && message.contains("expected a whole number"),
            "{message}"
        );
        let error = read(r#"{"text": null}"#).unwrap_err();
        assert!(error.told().1.contains("missing field `text`"), "{error:?}");
        assert!(read("[1]").unwrap_err().told().1.contains("no JSON object"));
        let long = "\\u001b[2J".repeat(1000);
        for hostile in [
            format!(r#"{{"{long}": 1, "text": "a"}}"#),
            format!(r#"{{"text": "a", "parts": ["{long}"]}}"#),
            format!(r#"{{"text": "a", "parts": [{{"number": "{long}"}}]}}"#),
        ] {
            let error = read(&hostile).unwrap_err();
            let (_, message, param) = error.told();
            assert!(message.len() < 300 && !message.contains('\u{1b}'), "{message:?}");
            assert!(param.is_some_and(|param| param.len() < 100), "{param:?}");
        }
        assert!(read(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn a_field_that_nobody_reads_is_refused_by_name_and_null_is_none() {
        assert_eq!(read(r#"{"text": "a", "suffix": null, "parts": null}"#).unwrap().text, "a");
        assert!(read(r#"{"text": "a", "parts": []}"#).unwrap().parts.is_some_and(|parts| parts.is_empty()));
        let error = read(r#"{"text": "a", "suffix": "b"}"#).unwrap_err();
        assert_eq!(error.told().2, Some("suffix"));
        assert!(error.told().1.contains("not supported"));
        let error = read(r#"{"text": "a", "temprature": 1}"#).unwrap_err();
        assert!(error.told().1.contains("`temprature` is no field"));
    }
}
