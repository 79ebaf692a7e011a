//! What stands behind the `?` of a request.
//!
//! Owns the names and ranges of the parameters that all listings share (A12).

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use regex::{Regex, RegexBuilder};

use super::object::Columns;
use super::rates::Windows;
use crate::base::limits::{HTTP_PAGE_SIZE, HTTP_PAGE_SIZE_MAX, PATTERN_COMPILED_MAX_BYTES};
use crate::base::reply::ApiError;

/// The parameters as they came.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let same = |(key, _): &&(String, String)| key == name;
        self.0.iter().find(same).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter that may come several times.
    pub(super) fn all<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p str> {
        let same = move |(key, _): &&(String, String)| key == name;
        self.0.iter().filter(same).map(|(_, value)| value.as_str())
    }

    /// Whether a flag such as `if-unused` is on.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// A number, if the parameter is there and is one.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(pairs)| Params(pairs))
            .map_err(|e| ApiError::bad_request(e.body_text()))
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    /// From 1.
    pub(super) number: usize,
    /// Items on a page.
    pub(super) size: usize,
}

impl Page {
    /// How many items come before it.
    pub(super) fn first(self) -> usize {
        (self.number - 1).saturating_mul(self.size)
    }
}

/// What of a list is wanted, and in which order.
#[derive(Debug)]
pub(super) struct ListQuery {
    pub(super) page: Option<Page>,
    pub(super) name: Option<Regex>,
    pub(super) columns: Columns,
    /// The path of the field to sort by.
    pub(super) sort: Option<String>,
    pub(super) descending: bool,
    /// What is wanted of the past.
    pub(super) windows: Windows,
}

impl ListQuery {
    pub(super) fn read(params: &Params) -> Result<Self, ApiError> {
        Ok(ListQuery {
            page: page(params)?,
            name: name_filter(params)?,
            columns: columns(params),
            sort: params
                .get("sort")
                .filter(|s| !s.is_empty())
                .map(str::to_owned),
            descending: params.flag("sort_reverse"),
            windows: Windows::read(params),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for ListQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Self::read(&Params::from_request_parts(parts, state).await?)
    }
}

/// `columns`, for a list or a single object.
pub(super) fn columns(params: &Params) -> Columns {
    Columns::parse(params.get("columns").unwrap_or_default())
}

fn page(params: &Params) -> Result<Option<Page>, ApiError> {
    let number = |name| match params.get(name) {
        None | Some("") => Ok(None),
        Some(text) => text
            .parse::<u64>()
            .map(Some)
            .map_err(|_| ApiError::page_parameters()),
    };
    let Some(page) = number("page")? else {
        return Ok(None);
    };
    let page_size = number("page_size")?;
    let fits = |size: &usize| (1..=HTTP_PAGE_SIZE_MAX).contains(size);
    let size = usize::try_from(page_size.unwrap_or(HTTP_PAGE_SIZE as u64))
        .ok()
        .filter(fits);
    match (usize::try_from(page).ok().filter(|&n| n > 0), size) {
        (Some(number), Some(size)) => Ok(Some(Page { number, size })),
        _ => Err(ApiError::page_range(page, page_size)),
    }
}

/// A part of the name, or with `use_regex` a regular expression; either without regard to case.
fn name_filter(params: &Params) -> Result<Option<Regex>, ApiError> {
    let Some(name) = params.get("name").filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let pattern = match params.flag("use_regex") {
        true => name.to_owned(),
        false => regex::escape(name),
    };
    RegexBuilder::new(&pattern)
        .case_insensitive(true)
        .size_limit(PATTERN_COMPILED_MAX_BYTES)
        .build()
        .map(Some)
        .map_err(|fault| no_regex("name", &fault))
}

/// The fault of a parameter that should be a regular expression, on one line.
pub(super) fn no_regex(parameter: &str, fault: &regex::Error) -> ApiError {
    let told = fault.to_string();
    let last = told.lines().last().unwrap_or_default();
    let reason = last.trim().trim_start_matches("error: ");
    ApiError::bad_request(format!("{parameter} is no regular expression: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ListQuery, ApiError> {
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        ListQuery::read(&Params(pairs.iter().map(own).collect()))
    }

    #[test]
    fn a12_pages_have_ranges() {
        assert_eq!(read(&[]).unwrap().page, None);
        assert_eq!(read(&[("page_size", "5")]).unwrap().page, None);
        let page = |number, size| Some(Page { number, size });
        assert_eq!(read(&[("page", "3")]).unwrap().page, page(3, 100));
        let read_page = |n, size| read(&[("page", n), ("page_size", size)]);
        assert_eq!(read_page("1", "500").unwrap().page, page(1, 500));
        for (n, size, error) in [
            ("0", "", "invalid_pagination_parameters"),
            ("1", "501", "invalid_pagination_parameters"),
            ("1", "0", "invalid_pagination_parameters"),
            ("x", "", "bad_request"),
            ("-1", "", "bad_request"),
        ] {
            assert_eq!(read_page(n, size).unwrap_err().error, error, "{n} {size}");
        }
    }

    #[test]
    fn a12_names_are_matched_in_part_and_without_case() {
        let matches = |filter: &[(&str, &str)], name| {
            let filter = read(filter).unwrap().name.unwrap();
            filter.is_match(name)
        };
        assert!(matches(&[("name", "ORD")], "my.orders"));
        assert!(!matches(&[("name", "o.d")], "orders"));
        assert!(matches(
            &[("name", "^o.d"), ("use_regex", "true")],
            "Orders"
        ));
        let fault = read(&[("name", "("), ("use_regex", "true")]).err().unwrap();
        assert_eq!(
            fault.reason,
            "name is no regular expression: unclosed group"
        );
        let huge = [("name", "(\\w{500}){500}"), ("use_regex", "true")];
        assert!(read(&huge).is_err(), "compiled beyond its limit");
    }
}
