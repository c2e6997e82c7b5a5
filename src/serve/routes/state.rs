//! How the server is: `/health`, `/ready` and `/metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::Refusals;
use crate::error::ApiError;
use crate::reply;
use crate::server::Server;

/// That it is well.
#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    /// `ok`
    status: &'static str,
}

const OK: Status = Status { status: "ok" };

/// Whether the program lives.
#[utoipa::path(
    get,
    path = "/health",
    security(()),
    responses((status = 200, description = "It does.", body = Status))
)]
pub(crate) async fn health() -> Response {
    reply::json(StatusCode::OK, &OK)
}

/// Whether it takes requests.
#[utoipa::path(
    get,
    path = "/ready",
    security(()),
    responses(
        (status = 200, description = "It does.", body = Status),
        (status = 503, description = "It is ending, or its engine broke down.", body = crate::error::ErrorBody),
    )
)]
pub(crate) async fn ready(State(server): State<Arc<Server>>) -> Result<Response, ApiError> {
    server.check_ready().map(|()| reply::json(StatusCode::OK, &OK))
}

/// The server in numbers, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, description = "The numbers.", body = String, content_type = "text/plain"),
        Refusals,
    )
)]
pub(crate) async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let text = server.metrics.text(&server.engine.stats());
    reply::of_type("text/plain; version=0.0.4; charset=utf-8", StatusCode::OK, text)
}
