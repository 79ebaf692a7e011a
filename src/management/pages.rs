//! The pages, embedded in the binary.
//!
//! Owns how they are sent. They load nothing from elsewhere, and the browser is told to allow nothing
//! else.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::version::WARREN;

/// Scripts, styles, pictures and connections: from here only. Nobody may frame the pages.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Name below `/`, and text.
macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("pages/", $name)))),*]
    };
}

const PAGES: &[(&str, &str)] = pages![
    "index.html",
    "api.js",
    "app.js",
    "chart.js",
    "dom.js",
    "forms.js",
    "icon.svg",
    "list.js",
    "style.css",
    "views/channels.js",
    "views/connections.js",
    "views/definitions.js",
    "views/exchanges.js",
    "views/messages.js",
    "views/overview.js",
    "views/policies.js",
    "views/queue.js",
    "views/queues.js",
    "views/users.js",
    "views/vhosts.js",
];

/// The routes of all pages; `/` is the first.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new();
    for &(name, text) in PAGES {
        let page = move |headers: HeaderMap| async move { answer(&headers, name, text) };
        router = router.route(&format!("/{name}"), get(page));
        if name == "index.html" {
            router = router.route("/", get(page));
        }
    }
    router
}

fn answer(asked: &HeaderMap, name: &str, text: &'static str) -> Response {
    // Weak, as the same text may be sent compressed or not.
    let etag = format!("W/\"{WARREN}-{:08x}\"", crc32c::crc32c(text.as_bytes()));
    let known = asked.get(header::IF_NONE_MATCH);
    let mut response = match known.is_some_and(|known| known == etag.as_str()) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, content_type(name))], text).into_response(),
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn files(dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found);
            } else {
                let name = path.strip_prefix("src/management/pages").unwrap();
                found.push(name.display().to_string());
            }
        }
    }

    #[test]
    fn every_file_of_the_pages_is_embedded() {
        let mut there = Vec::new();
        files(Path::new("src/management/pages"), &mut there);
        let mut embedded: Vec<_> = PAGES.iter().map(|(name, _)| (*name).to_owned()).collect();
        there.sort();
        embedded.sort();
        assert_eq!(embedded, there);
        for (name, _) in PAGES {
            assert_ne!(content_type(name), "application/octet-stream", "{name}");
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        for (name, text) in PAGES {
            for (at, _) in text.match_indices("//") {
                let before = &text[..at];
                let outside = ["http:", "https:"].iter().any(|s| before.ends_with(s));
                let namespace = text[at..].starts_with("//www.w3.org/");
                assert!(!outside || namespace, "{name}: {}", &text[at..at + 40]);
            }
        }
    }

    #[test]
    fn a_page_that_is_known_is_not_sent_again() {
        let first = answer(&HeaderMap::new(), "app.js", "1");
        let etag = first.headers()[header::ETAG].clone();
        let asked = HeaderMap::from_iter([(header::IF_NONE_MATCH, etag)]);
        assert_eq!(
            answer(&asked, "app.js", "1").status(),
            StatusCode::NOT_MODIFIED
        );
        assert_eq!(answer(&asked, "app.js", "2").status(), StatusCode::OK);
    }
}
