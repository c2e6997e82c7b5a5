//! What is wrong with a request, in the shape that OpenAI's clients read: `{"error": {message, type, param, code}}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gptneo_files::excerpt;
use serde::Serialize;
use utoipa::ToSchema;

use super::reply;

/// How long a client whose request found no room is told to wait, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// A refusal of a request, or its failure.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    pub(super) body: ErrorBody,
}

/// The body of every answer that is none.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// What is wrong.
    pub(super) error: ErrorDetail,
}

/// What is wrong, for people and for programs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ErrorDetail {
    /// For people.
    message: String,
    /// The kind of the error.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The field that it is about.
    param: Option<String>,
    /// For programs.
    code: Option<&'static str>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, code: Option<&'static str>, message: String) -> Self {
        Self { status, body: ErrorBody { error: ErrorDetail { message, kind, param: None, code } } }
    }

    fn refusal(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self::new(status, "invalid_request_error", code, message.into())
    }

    /// A body that is no request.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::refusal(StatusCode::BAD_REQUEST, None, message)
    }

    /// A field with a value that cannot be.
    pub(super) fn field(name: impl Into<String>, message: impl std::fmt::Display) -> Self {
        let name: String = name.into();
        let name = excerpt(&name);
        Self::malformed(format!("`{name}` {message}")).about(name)
    }

    /// A field of OpenAI's that this server has no use for, or one that nobody knows.
    pub(super) fn unknown_field(name: &str, known_elsewhere: bool) -> Self {
        let name = excerpt(name);
        let message = match known_elsewhere {
            true => format!("`{name}` is not supported by this server: leave it out"),
            false => format!("`{name}` is no field of this request: leave it out"),
        };
        let code = if known_elsewhere { "unsupported_field" } else { "unknown_field" };
        Self::refusal(StatusCode::BAD_REQUEST, Some(code), message).about(name)
    }

    /// A prompt and an answer that have no room in the model.
    pub(super) fn too_long(param: &'static str, message: String) -> Self {
        Self::refusal(StatusCode::BAD_REQUEST, Some("context_length_exceeded"), message).about(param)
    }

    /// A name that none of the models has.
    pub(super) fn no_model(name: &str, known: &str) -> Self {
        let message = format!("there is no model \"{}\" here, only: {known}", excerpt(name));
        Self::refusal(StatusCode::NOT_FOUND, Some("model_not_found"), message).about("model")
    }

    /// A request without the key.
    pub(super) fn unauthorized() -> Self {
        let message = "this server wants its key: send `Authorization: Bearer KEY`";
        Self::refusal(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), message)
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        let path = excerpt(path);
        let message = format!("there is nothing at {path}; GET /openapi.json lists what there is");
        Self::refusal(StatusCode::NOT_FOUND, Some("not_found"), message)
    }

    pub(super) fn wrong_method() -> Self {
        let message = "this path has other methods, which the header `Allow` names";
        Self::refusal(StatusCode::METHOD_NOT_ALLOWED, Some("method_not_allowed"), message)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("the body is larger than {limit} bytes");
        Self::refusal(StatusCode::PAYLOAD_TOO_LARGE, Some("body_too_large"), message)
    }

    pub(super) fn too_slow(seconds: u64) -> Self {
        let message = format!("the body did not arrive within {seconds} seconds");
        Self::refusal(StatusCode::REQUEST_TIMEOUT, Some("body_too_slow"), message)
    }

    pub(super) fn not_json() -> Self {
        let message = "the body must be JSON: send `Content-Type: application/json`";
        Self::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("unsupported_media_type"), message)
    }

    /// No room in the queue.
    pub(super) fn busy() -> Self {
        let message = "all places are taken and the queue is full: try again in a moment".to_string();
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", Some("queue_full"), message)
    }

    /// The server is on its way out.
    pub(super) fn ending() -> Self {
        let message = "the server is ending and takes no new requests".to_string();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", Some("server_ending"), message)
    }

    /// The engine does nothing more.
    pub(super) fn broken() -> Self {
        let message = "the engine broke down: restart the server".to_string();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", Some("engine_failed"), message)
    }

    /// Something that should not happen.
    pub(super) fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", None, message.to_string())
    }

    fn about(mut self, param: impl Into<String>) -> Self {
        self.body.error.param = Some(param.into());
        self
    }

    #[cfg(test)]
    pub(super) fn told(&self) -> (u16, &str, Option<&str>) {
        let ErrorDetail { message, param, .. } = &self.body.error;
        (self.status.as_u16(), message, param.as_deref())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = reply::json(status, &self.body);
        match status {
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            _ => {}
        }
        response
    }
}
