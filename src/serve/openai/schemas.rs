//! Schemas of fields that take one of several forms, which no derive words with their bounds.

use std::ops::RangeInclusive;

use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

/// A text that is not empty.
pub(super) fn text() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).into()
}

/// A token's id.
pub(super) fn id() -> Schema {
    let most = Some(f64::from(u32::MAX));
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0.0)).maximum(most).into()
}

/// So many of these.
pub(super) fn list(item: Schema, count: RangeInclusive<usize>) -> Schema {
    ArrayBuilder::new()
        .items(RefOr::T(item))
        .min_items(Some(*count.start()))
        .max_items(Some(*count.end()))
        .into()
}

/// Any of these.
pub(super) fn any_of<const N: usize>(forms: [Schema; N]) -> RefOr<Schema> {
    let any = forms.into_iter().fold(AnyOfBuilder::new(), |any, form| any.item(form));
    RefOr::T(any.into())
}
