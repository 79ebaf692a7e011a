//! One file for each kind of thing the API shows: what its JSON holds, and what may be done to it.

pub(super) mod bindings;
pub(super) mod exchanges;
pub(super) mod health;
pub(super) mod messages;
pub(super) mod nodes;
pub(super) mod overview;
pub(super) mod queues;
pub(super) mod vhosts;

use axum::http::StatusCode;

/// What a PUT answers: 201 if the thing is new, else 204.
fn put(is_new: bool) -> StatusCode {
    match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::NO_CONTENT,
    }
}
