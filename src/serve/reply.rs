//! Answers as JSON.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

/// A whole answer. What cannot be written as JSON does not exist here; it would be an empty body with status 500.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => of_type("application/json", status, bytes),
        Err(_) => of_type("application/json", StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    }
}

/// An answer of this media type.
pub(super) fn of_type(kind: &'static str, status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
