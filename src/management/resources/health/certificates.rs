//! The check of the time that certificates have left.

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::super::super::Context;
use super::super::super::access::{Access, Management};
use super::super::super::node::Listening;
use super::super::timestamp;
use super::answer;
use crate::base::clock;
use crate::base::reply::ApiError;
use crate::net::{self, CertificateEnds};

const DAY_S: u64 = 86_400;

/// GET /health/checks/certificate-expiration/:within/:unit: fails if a certificate ends within
/// that time.
pub(in super::super::super) async fn certificate_expiration(
    State(context): State<Context>,
    _: Access<Management>,
    Path((within, unit)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let until_s = (clock::now_ms() / 1000).saturating_add(seconds(&within, &unit)?);
    let listening = context.node.listening.iter();
    let over_tls: Vec<&Listening> = listening.filter(|at| at.protocol == "amqp/ssl").collect();
    if over_tls.is_empty() {
        return Ok(answer(None, json!({})));
    }
    let settings = context.config.load().tls.clone();
    let read = tokio::task::spawn_blocking(move || net::certificate_ends(&settings));
    let ends = read
        .await
        .map_err(|e| ApiError::bad_request(e.to_string()))?;
    let found = ends.iter().filter_map(|ends| expiring(ends, until_s));
    let mut expired = Vec::new();
    for found in found {
        expired.extend(over_tls.iter().map(|at| {
            let mut one = json!({
                "node": context.node.name(),
                "protocol": at.protocol,
                "interface": at.address.ip().to_string(),
                "port": at.address.port(),
            });
            if let (Some(one), Some(found)) = (one.as_object_mut(), found.as_object()) {
                one.extend(found.clone());
            }
            one
        }));
    }
    Ok(match expired.is_empty() {
        true => answer(None, json!({})),
        false => answer(Some("Certificates expiring"), json!({ "expired": expired })),
    })
}

fn seconds(within: &str, unit: &str) -> Result<u64, ApiError> {
    let within: u64 = within
        .parse()
        .map_err(|_| ApiError::bad_request("Invalid expiration value."))?;
    let unit_s = match unit.to_ascii_lowercase().as_str() {
        "days" => DAY_S,
        "weeks" => 7 * DAY_S,
        "months" => 365 * DAY_S / 12,
        "years" => 365 * DAY_S,
        _ => {
            return Err(ApiError::bad_request(
                "Time unit not recognised. Supported units: days, weeks, months, years.",
            ));
        }
    };
    Ok(within.saturating_mul(unit_s))
}

/// What of a certificate and its authorities ends before a time, or cannot be read.
fn expiring(ends: &CertificateEnds, until_s: u64) -> Option<Value> {
    let of = |ends: &Result<Vec<u64>, String>| -> Vec<String> {
        match ends {
            Err(fault) => vec![fault.clone()],
            Ok(ends) => {
                let early = ends.iter().filter(|&&end_s| end_s < until_s);
                early.map(|&end_s| date_and_time(end_s)).collect()
            }
        }
    };
    let (cert, ca) = (of(&ends.cert), of(&ends.ca));
    (!cert.is_empty() || !ca.is_empty()).then(|| {
        json!({
            "certfile": ends.cert_file.display().to_string(),
            "cacertfile": ends.ca_file.display().to_string(),
            "certfile_expires_on": cert,
            "cacertfile_expires_on": ca,
        })
    })
}

/// As `2026-01-31 12:00:00`.
fn date_and_time(at_s: u64) -> String {
    let written = timestamp(at_s.saturating_mul(1000));
    written.replacen('T', " ", 1).chars().take(19).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a12_certificates_that_end_in_time_are_told() {
        let ends = CertificateEnds {
            cert_file: "cert.pem".into(),
            cert: Ok(vec![1_798_761_599, 4_000_000_000]),
            ca_file: "ca.pem".into(),
            ca: Ok(vec![4_000_000_000]),
        };
        assert_eq!(expiring(&ends, 1_798_761_599), None);
        let found = expiring(&ends, 1_798_761_600).unwrap();
        assert_eq!(found["certfile_expires_on"], json!(["2026-12-31 23:59:59"]));
        assert_eq!(found["cacertfile_expires_on"], json!([]));
        let unreadable = CertificateEnds {
            ca: Err("no such file".into()),
            ..ends
        };
        let found = expiring(&unreadable, 0).unwrap();
        assert_eq!(found["cacertfile_expires_on"], json!(["no such file"]));
    }

    #[test]
    fn a12_units_of_time() {
        assert_eq!(seconds("2", "Weeks").unwrap(), 14 * DAY_S);
        assert_eq!(seconds("12", "months").unwrap(), 365 * DAY_S);
        assert!(seconds("-1", "days").is_err() && seconds("1", "hours").is_err());
    }
}
