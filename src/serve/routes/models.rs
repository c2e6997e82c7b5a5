//! `GET /v1/models`

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::Refusals;
use crate::error::ApiError;
use crate::models::ServedModel;
use crate::reply;
use crate::server::Server;

/// Who answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelList {
    /// `list`
    object: &'static str,
    /// The base, then its adapters.
    data: Vec<ModelCard>,
}

/// One who answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelCard {
    /// What a request calls it.
    id: String,
    /// `model`
    object: &'static str,
    /// Seconds since 1970, when the server began.
    created: u64,
    /// `gptneo-lora`
    owned_by: &'static str,
    /// An adapter's base.
    parent: Option<String>,
    /// Tokens that a prompt and its answer may have together.
    max_model_len: usize,
}

/// The base and its adapters.
#[utoipa::path(
    get,
    path = "/v1/models",
    responses((status = 200, description = "Who answers.", body = ModelList), Refusals)
)]
pub(crate) async fn models(State(server): State<Arc<Server>>) -> Response {
    let data = server.models.iter().map(|model| card(&server, model)).collect();
    reply::json(StatusCode::OK, &ModelList { object: "list", data })
}

/// One of them.
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    params(("model" = String, Path, description = "Its name.")),
    responses((status = 200, description = "The model.", body = ModelCard), Refusals)
)]
pub(crate) async fn model(
    State(server): State<Arc<Server>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(name) = path.map_err(|_| ApiError::malformed("the name of the model is no UTF-8"))?;
    match server.models.by_name(&name) {
        Some(model) => Ok(reply::json(StatusCode::OK, &card(&server, model))),
        None => Err(ApiError::no_model(&name, &server.models.to_string())),
    }
}

fn card(server: &Server, model: &ServedModel) -> ModelCard {
    let base = server.models.iter().next().map(|base| base.name.clone());
    ModelCard {
        id: model.name.clone(),
        object: "model",
        created: server.created,
        owned_by: "gptneo-lora",
        parent: base.filter(|_| model.adapter.is_some()),
        max_model_len: server.positions(),
    }
}
