//! The page at `/`: one file, with its style and script in it, so that it needs no network but this server.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::reply;

const PAGE: &str = include_str!("page.html");
/// What the page may do: what is in it, and to ask this server.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// `GET /`
pub(super) async fn page() -> Response {
    let mut response = reply::of_type("text/html; charset=utf-8", StatusCode::OK, PAGE);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
