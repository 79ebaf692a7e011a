//! One file for each kind of thing the API shows: what its JSON holds, and what may be done to it.

pub(super) mod bindings;
pub(super) mod browse;
pub(super) mod channels;
pub(super) mod connections;
pub(super) mod consumers;
pub(super) mod definitions;
pub(super) mod exchanges;
pub(super) mod explain;
mod figures;
pub(super) mod health;
pub(super) mod limits;
pub(super) mod messages;
pub(super) mod nodes;
pub(super) mod overview;
pub(super) mod parameters;
pub(super) mod permissions;
pub(super) mod policies;
pub(super) mod queues;
pub(super) mod users;
pub(super) mod vhosts;

use axum::http::StatusCode;

pub(super) use channels::name_of as channel_name;

use crate::base::reply::ApiError;

/// What a PUT answers: 201 if the thing is new, else 204.
fn put(is_new: bool) -> StatusCode {
    match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::NO_CONTENT,
    }
}

/// What a DELETE answers: 404 if there was nothing.
fn gone(was_there: bool) -> Result<StatusCode, ApiError> {
    match was_there {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found()),
    }
}

/// A time as RabbitMQ writes it: `2026-01-31T12:00:00.000+00:00`.
fn timestamp(ms: u64) -> String {
    let (days, ms) = (ms / 86_400_000, ms % 86_400_000);
    // Days to a date, with years that begin in March so that a leap day is the last.
    let era_day = days + 719_468;
    let (era, day) = (era_day / 146_097, era_day % 146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let (seconds, ms) = (ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a12_times_are_written_as_dates() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(timestamp(951_782_400_123), "2000-02-29T00:00:00.123+00:00");
        assert_eq!(
            timestamp(1_798_761_599_999),
            "2026-12-31T23:59:59.999+00:00"
        );
        assert_eq!(
            timestamp(1_709_251_200_000),
            "2024-03-01T00:00:00.000+00:00"
        );
    }
}
