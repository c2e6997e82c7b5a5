//! A file for each group of paths.

pub(super) mod chat;
pub(super) mod completions;
pub(super) mod models;
pub(super) mod state;
pub(super) mod tokens;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use utoipa::IntoResponses;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, response};

/// A name for an answer that no other has: the standard library's hashing keys are random.
fn id(kind: &str) -> String {
    let half = || RandomState::new().hash_one(kind);
    format!("{kind}-{:016x}{:016x}", half(), half())
}

/// What any path may answer instead, each an `ErrorBody`.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<response::Response>> {
        let refusals = [
            ("400", "The request cannot be answered as it is."),
            ("401", "The key is missing or wrong."),
            ("404", "There is no such model."),
            ("408", "The body took too long."),
            ("413", "The body is too large."),
            ("415", "The body is no JSON."),
            ("429", "The queue is full; `Retry-After` says when to try again."),
            ("500", "Something broke."),
            ("503", "The server is ending, or its engine broke down."),
        ];
        let described = refusals.map(|(status, what)| {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
            let response = ResponseBuilder::new().description(what).content("application/json", content);
            (status.to_string(), RefOr::T(response.build()))
        });
        described.into()
    }
}
