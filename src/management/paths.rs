//! From the path a client asks for to the one that is routed.
//!
//! Owns the prefix that stands before every path, and that a slash at the end means nothing.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To this one behind the prefix.
    Inside(Uri),
    /// To the prefix itself, whose pages are at the path with a slash.
    Root,
    /// To nothing: it does not begin with the prefix.
    Outside,
}

/// Takes `prefix` off the path of `uri`, and the slash at its end.
pub(super) fn place(uri: &Uri, prefix: &str) -> Place {
    let Some(path) = uri.path().strip_prefix(prefix) else {
        return Place::Outside;
    };
    if path.is_empty() {
        return Place::Root;
    }
    if !path.starts_with('/') {
        return Place::Outside;
    }
    let path = match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    };
    let query = uri.query().map(|query| format!("?{query}"));
    let target = format!("{path}{}", query.unwrap_or_default());
    // A part of a URI is a URI.
    PathAndQuery::try_from(target).map_or(Place::Outside, |target| Place::Inside(target.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, prefix: &str) -> Place {
        place(&path.parse().unwrap(), prefix)
    }

    fn inside(path: &str) -> Place {
        Place::Inside(path.parse().unwrap())
    }

    #[test]
    fn a12_a_slash_at_the_end_means_nothing() {
        assert_eq!(
            found("/api/queues/%2F/?page=1", ""),
            inside("/api/queues/%2F?page=1")
        );
        assert_eq!(found("/", ""), inside("/"));
        assert_eq!(found("/api//", ""), inside("/api"));
    }

    #[test]
    fn a12_paths_stand_behind_a_prefix() {
        assert_eq!(
            found("/warren/api/overview", "/warren"),
            inside("/api/overview")
        );
        assert_eq!(found("/warren/", "/warren"), inside("/"));
        assert_eq!(found("/warren", "/warren"), Place::Root);
        assert_eq!(found("/api/overview", "/warren"), Place::Outside);
        assert_eq!(found("/warrens/api", "/warren"), Place::Outside);
    }
}
