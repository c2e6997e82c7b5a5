//! The server's description, made of the types that it reads and writes.

use axum::http::StatusCode;
use axum::response::Response;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::error::ErrorBody;
use super::reply;
use super::routes::{chat, completions, models, state, tokens};

/// The key's name in the description.
const KEY: &str = "key";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "gptneo-lora",
        description = "A GPT-Neo and its adapters behind OpenAI's interface. For research and education, not for clinical use."
    ),
    paths(
        completions::completions,
        chat::chat_completions,
        models::models,
        models::model,
        tokens::tokenize,
        tokens::detokenize,
        tokens::tokenizer_info,
        state::health,
        state::ready,
        state::metrics,
    ),
    components(schemas(ErrorBody)),
    modifiers(&WithKey)
)]
struct Description;

struct WithKey;

impl Modify for WithKey {
    /// A key is borne by whoever has one: a server without a key asks for none.
    fn modify(&self, document: &mut Document) {
        if let Some(components) = &mut document.components {
            let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
            components.add_security_scheme(KEY, scheme);
        }
        let none = SecurityRequirement::default();
        document.security = Some(vec![none, SecurityRequirement::new::<_, [&str; 0], &str>(KEY, [])]);
    }
}

/// `GET /openapi.json`
pub(super) async fn document() -> Response {
    reply::json(StatusCode::OK, &Description::openapi())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;

    #[test]
    fn requests_have_the_fields_of_both_parts_and_no_others() {
        let document: Value = serde_json::to_value(Description::openapi()).unwrap();
        let schemas = &document["components"]["schemas"];
        for (name, own) in [("CompletionRequest", "prompt"), ("ChatRequest", "messages")] {
            let schema = &schemas[name];
            for field in [own, "temperature", "stop", "n"] {
                assert!(schema["properties"][field].is_object(), "{name} {field}: {schema}");
            }
            assert_eq!(schema["additionalProperties"], false, "{name}");
        }
        assert_eq!(schemas["ChatRequest"]["required"], serde_json::json!(["messages"]));
    }

    #[test]
    fn every_name_that_is_pointed_at_is_there() {
        let document: Value = serde_json::to_value(Description::openapi()).unwrap();
        let text = document.to_string();
        for name in text.split("#/components/schemas/").skip(1) {
            let name = name.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
