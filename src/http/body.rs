//! Reading JSON bodies so that an error names the field.

use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::answer::ApiError;

/// A JSON object; an empty body is an empty one.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad_json",
            "the body has to be a JSON object",
        )),
        Err(error) => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad_json",
            format!("the body is not JSON: {error}"),
        )),
    }
}

/// An error that names a field.
pub(super) fn wrong(field: &str, must: &str) -> ApiError {
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "wrong_field",
        format!("{field}: {must}"),
    )
}

/// A text of at most `max` octets without control characters: it goes into SIP headers and logs.
pub(super) fn text(
    object: &Map<String, Value>,
    field: &str,
    max: usize,
) -> Result<Option<String>, ApiError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > max => {
            Err(wrong(field, &format!("must have at most {max} octets")))
        }
        Some(Value::String(text)) if text.chars().any(char::is_control) => {
            Err(wrong(field, "must not have control characters"))
        }
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(field, "must be a string")),
    }
}

/// A number of milliseconds within `range`.
pub(super) fn millis(
    object: &Map<String, Value>,
    field: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<std::time::Duration>, ApiError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .filter(|ms| range.contains(ms))
            .map(|ms| Some(std::time::Duration::from_millis(ms)))
            .ok_or_else(|| {
                let (low, high) = range.into_inner();
                wrong(
                    field,
                    &format!("must be a whole number from {low} to {high}"),
                )
            }),
    }
}
