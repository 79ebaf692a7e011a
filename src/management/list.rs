//! Listings: a source of items, filtered by name, sorted, cut to a page, and written as JSON.
//!
//! Owns the one way in which every list of the API is answered. A page costs the JSON of its own
//! items only; a list without pages is written in pieces while it is sent.

use std::cmp::Ordering;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_lite::stream;
use serde_json::{Value, json};

use super::object::{Columns, Object};
use super::query::{self, ListQuery, Page, Params};
use crate::base::reply::ApiError;

/// Items written at once of a list without pages.
const PIECE: usize = 256;

/// Something that can be listed, or shown on its own.
pub(super) trait Item: Send {
    /// What the `name` filter is held against.
    fn name(&self) -> &str;

    /// The order of a list if no other was asked for; in another it decides between equals.
    fn order(&self, other: &Self) -> Ordering;

    /// Writes the fields.
    fn fill(&self, object: &mut Object<'_>);

    /// What it is sorted by for the field at `path`, if that can be told without its JSON.
    fn key(&self, path: &str) -> Option<Key> {
        let _ = path;
        None
    }

    /// The fields as JSON.
    fn json(&self, columns: &Columns) -> Value {
        let mut object = Object::new(columns);
        self.fill(&mut object);
        Value::Object(object.finish())
    }
}

/// What an item is made of. It tells what lists go by, so that of very many only those of a page become items.
pub(super) trait Source: Copy {
    /// What is made of it.
    type Item: Item + 'static;

    /// As [`Item::name`].
    fn name(&self) -> &str;

    /// As [`Item::key`].
    fn key(&self, path: &str) -> Option<Key>;

    /// The item.
    fn item(self) -> Self::Item;
}

/// The sources of a list, in the order of [`Item::order`].
pub(super) struct Ordered<S> {
    /// How many there are.
    pub(super) total: usize,
    /// Whether that is the order of names, too.
    pub(super) by_name: bool,
    /// They.
    pub(super) sources: S,
}

/// Answers with the items that the query wants. A page makes only its own items, whatever it is sorted by.
///
/// # Errors
/// 400 if there is no such page.
pub(super) fn list_in_order<S: Source>(
    ordered: Ordered<impl DoubleEndedIterator<Item = S>>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let Ordered {
        total,
        by_name,
        sources,
    } = ordered;
    let matches = |source: &S| {
        let filter = query.name.as_ref();
        filter.is_none_or(|filter| filter.is_match(source.name()))
    };
    let found = sources.filter(matches);
    let Some(page) = query.page else {
        let items = found.map(S::item).collect();
        return shown(total, items, query);
    };
    let sort = query.sort.as_deref();
    if let Some(path) = sort.filter(|&by| !(by_name && by == "name")) {
        let (filtered, sorted) = Sorted::by(path, query.descending, page).of(found);
        let on_page = sorted.into_iter().skip(page.first());
        let on_page = on_page.map(|source| source.item().json(&query.columns));
        return answer(total, filtered, page, on_page.collect());
    }
    let found: Box<dyn Iterator<Item = S>> = match query.descending {
        true => Box::new(found.rev()),
        false => Box::new(found),
    };
    let mut on_page = Vec::new();
    let mut filtered = 0;
    for source in found {
        if filtered >= page.first() && on_page.len() < page.size {
            on_page.push(source.item().json(&query.columns));
        }
        filtered += 1;
        // Without a filter it is known how many follow.
        if query.name.is_none() && on_page.len() == page.size {
            filtered = total;
            break;
        }
    }
    answer(total, filtered, page, on_page)
}

/// Answers with the items that the query wants.
///
/// # Errors
/// 400 if there is no such page.
pub(super) fn list<I: Item + 'static>(
    mut items: Vec<I>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let total = items.len();
    if let Some(filter) = &query.name {
        items.retain(|item| filter.is_match(item.name()));
    }
    shown(total, items, query)
}

/// Answers with one item: the fields of it that are asked for.
pub(super) fn one(item: &impl Item, params: &Params) -> Response {
    axum::Json(item.json(&query::columns(params))).into_response()
}

/// Those of the items that are on the page, or all.
fn shown<I: Item + 'static>(
    total: usize,
    mut items: Vec<I>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let Some(page) = query.page else {
        sort(&mut items, &query, usize::MAX);
        return Ok(stream_all(items, query.columns));
    };
    let filtered = items.len();
    sort(&mut items, &query, page.first().saturating_add(page.size));
    let shown = items.iter().skip(page.first()).take(page.size);
    let shown = shown.map(|item| item.json(&query.columns)).collect();
    answer(total, filtered, page, shown)
}

/// A selection of the first few of a list in another order than its own.
struct Sorted<'q> {
    path: &'q str,
    column: Columns,
    descending: bool,
    /// How many are wanted.
    needed: usize,
}

/// A source with what it is sorted by, and its place in the order of its own.
type Ranked<S> = (Key, usize, S);

impl<'q> Sorted<'q> {
    /// The pages up to this one.
    fn by(path: &'q str, descending: bool, page: Page) -> Self {
        Sorted {
            path,
            column: Columns::parse(path),
            descending,
            needed: page.first().saturating_add(page.size),
        }
    }

    fn key<S: Source>(&self, source: S) -> Key {
        if self.path == "name" {
            return Key::Absent;
        }
        let quick = source.key(self.path);
        quick.unwrap_or_else(|| Key::of(&source.item().json(&self.column), self.path))
    }

    fn compare<S: Source>(&self, (a, i, x): &Ranked<S>, (b, j, y): &Ranked<S>) -> Ordering {
        let by_name = || match self.path {
            "name" => x.name().cmp(y.name()),
            _ => Ordering::Equal,
        };
        let order = a.cmp(b).then_with(by_name).then_with(|| i.cmp(j));
        match self.descending {
            true => order.reverse(),
            false => order,
        }
    }

    /// How many sources there are, and the first of them. No more than twice as many as are wanted are kept
    /// at a time.
    fn of<S: Source>(&self, sources: impl Iterator<Item = S>) -> (usize, Vec<S>) {
        let compare = |a: &Ranked<S>, b: &Ranked<S>| self.compare(a, b);
        let last = self.needed.saturating_sub(1);
        let mut kept: Vec<Ranked<S>> = Vec::new();
        // Once there are enough: what comes behind this one need not be kept.
        let mut bounded = false;
        let mut count = 0;
        for source in sources {
            let ranked = (self.key(source), count, source);
            count += 1;
            let bound = kept.get(last).filter(|_| bounded);
            if bound.is_some_and(|bound| compare(&ranked, bound).is_gt()) {
                continue;
            }
            kept.push(ranked);
            if kept.len() >= self.needed.saturating_mul(2) {
                kept.select_nth_unstable_by(last, compare);
                kept.truncate(self.needed);
                bounded = true;
            }
        }
        kept.sort_unstable_by(compare);
        kept.truncate(self.needed);
        (
            count,
            kept.into_iter().map(|(_, _, source)| source).collect(),
        )
    }
}

/// The page that has these items.
fn answer(
    total: usize,
    filtered: usize,
    page: Page,
    shown: Vec<Value>,
) -> Result<Response, ApiError> {
    let Page { number, size } = page;
    let pages = filtered.div_ceil(size).max(1);
    if number > pages {
        return Err(ApiError::no_such_page(number, size, total));
    }
    let body = json!({
        "total_count": total,
        "filtered_count": filtered,
        "item_count": shown.len(),
        "page": number,
        "page_size": size,
        "page_count": pages,
        "items": shown,
    });
    Ok(axum::Json(body).into_response())
}

/// Sorts, but no further than the first `needed` items: of 100,000 only the page must be in order.
fn sort<I: Item>(items: &mut Vec<I>, query: &ListQuery, needed: usize) {
    let by = query.sort.as_deref().filter(|&path| path != "name");
    let mut keyed: Vec<(Key, I)> = match by {
        None => items.drain(..).map(|item| (Key::Absent, item)).collect(),
        Some(path) => {
            let column = Columns::parse(path);
            let key = |item: &I| {
                let quick = item.key(path);
                quick.unwrap_or_else(|| Key::of(&item.json(&column), path))
            };
            items.drain(..).map(|item| (key(&item), item)).collect()
        }
    };
    let compare = |(a, x): &(Key, I), (b, y): &(Key, I)| {
        let by_name = || match query.sort.is_some() && by.is_none() {
            true => x.name().cmp(y.name()),
            false => Ordering::Equal,
        };
        let order = a.cmp(b).then_with(by_name).then_with(|| x.order(y));
        match query.descending {
            true => order.reverse(),
            false => order,
        }
    };
    if needed < keyed.len() {
        keyed.select_nth_unstable_by(needed, compare);
        keyed.truncate(needed);
    }
    keyed.sort_unstable_by(compare);
    items.extend(keyed.into_iter().map(|(_, item)| item));
}

/// What an item is sorted by, in Erlang's order: numbers before all others, texts after.
#[derive(Debug, PartialEq)]
pub(super) enum Key {
    /// There is no such field.
    Absent,
    /// A number.
    Number(f64),
    /// A text, or the text of something else.
    Other(String),
}

impl Key {
    fn of(object: &Value, path: &str) -> Self {
        let found = path.split('.').try_fold(object, |at, part| at.get(part));
        match found {
            None | Some(Value::Null) => Key::Absent,
            Some(Value::Number(n)) => n.as_f64().map_or(Key::Absent, Key::Number),
            Some(Value::String(text)) => Key::Other(text.clone()),
            Some(other) => Key::Other(other.to_string()),
        }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Key::Number(a), Key::Number(b)) => a.total_cmp(b),
            (Key::Other(a), Key::Other(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Key::Absent => 0,
            Key::Number(_) => 1,
            Key::Other(_) => 2,
        }
    }
}

fn stream_all<I: Item + 'static>(items: Vec<I>, columns: Columns) -> Response {
    let mut left = items.into_iter().peekable();
    let mut opened = false;
    let pieces = std::iter::from_fn(move || {
        if opened && left.peek().is_none() {
            return None;
        }
        let mut piece = Vec::new();
        for item in left.by_ref().take(PIECE) {
            piece.push(if opened { b',' } else { b'[' });
            opened = true;
            // Writing JSON into memory cannot fail.
            let _ = serde_json::to_writer(&mut piece, &item.json(&columns));
        }
        if !opened {
            opened = true;
            piece.push(b'[');
        }
        if left.peek().is_none() {
            piece.push(b']');
        }
        Some(Ok::<_, std::convert::Infallible>(Bytes::from(piece)))
    });
    let body = Body::from_stream(stream::iter(pieces));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::management::query::Params;
    use axum::extract::FromRequestParts;

    #[derive(Debug, Clone)]
    struct Thing(String, i64);

    impl Source for &Thing {
        type Item = Thing;
        fn name(&self) -> &str {
            &self.0
        }
        fn key(&self, path: &str) -> Option<Key> {
            (path == "n.quick").then_some(Key::Number(self.1 as f64))
        }
        fn item(self) -> Thing {
            self.clone()
        }
    }

    impl Item for Thing {
        fn name(&self) -> &str {
            &self.0
        }
        fn order(&self, other: &Self) -> Ordering {
            self.0.cmp(&other.0)
        }
        fn fill(&self, object: &mut Object<'_>) {
            object
                .put("name", self.0.as_str())
                .put("n", json!({ "rate": self.1, "quick": self.1 }));
        }
    }

    fn things(count: i64) -> Vec<Thing> {
        // Neither in the order of names nor of numbers.
        let mixed = (0..count).map(|i| (i * 7919) % count);
        mixed
            .map(|i| Thing(format!("t{i:06}"), (count - i) / 2))
            .collect()
    }

    async fn ask(items: Vec<Thing>, query: &str) -> Result<Value, ApiError> {
        let request = axum::http::Request::get(format!("/x?{query}"));
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let params = Params::from_request_parts(&mut parts, &()).await?;
        let response = list(items, ListQuery::read(&params)?)?;
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        Ok(serde_json::from_slice(&body.unwrap()).unwrap())
    }

    /// The same of a source in order.
    async fn ask_in_order(items: Vec<Thing>, query: &str) -> Result<Value, ApiError> {
        let request = axum::http::Request::get(format!("/x?{query}"));
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let params = Params::from_request_parts(&mut parts, &()).await?;
        let ordered = Ordered {
            total: items.len(),
            by_name: true,
            sources: items.iter(),
        };
        let response = list_in_order(ordered, ListQuery::read(&params)?)?;
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        Ok(serde_json::from_slice(&body.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn a12_a_source_in_order_gives_the_same_pages() {
        for sort in [
            "",
            "sort=name",
            "sort_reverse=true",
            "sort=name&sort_reverse=true",
            "sort=n.rate",
            "sort=n.quick&sort_reverse=true",
            "sort=nothing",
        ] {
            for filter in ["", "name=t0001", "name=none"] {
                for page in [
                    "",
                    "page=1&page_size=150",
                    "page=3&page_size=40",
                    "page=9",
                    "page=1&page_size=1",
                ] {
                    let query = format!("{sort}&{filter}&{page}");
                    let mut items = things(1000);
                    let expected = ask(things(1000), &query).await.map_err(|e| e.reason);
                    items.sort_by(Item::order);
                    let found = ask_in_order(items, &query).await.map_err(|e| e.reason);
                    assert_eq!(found, expected, "{query}");
                }
            }
        }
    }

    fn names(of: &Value) -> Vec<&str> {
        let items = of.as_array().unwrap().iter();
        items.map(|item| item["name"].as_str().unwrap()).collect()
    }

    #[tokio::test]
    async fn a12_a_page_is_what_a_cut_of_the_whole_list_would_be() {
        for sort in [
            "",
            "sort=name",
            "sort=n.rate",
            "sort=n.rate&sort_reverse=true",
        ] {
            let whole = ask(things(1000), sort).await.unwrap();
            let mut paged = Vec::new();
            for page in 1..=7 {
                let query = format!("{sort}&page={page}&page_size=150");
                let answer = ask(things(1000), &query).await.unwrap();
                assert_eq!(answer["total_count"], 1000);
                assert_eq!(answer["page_count"], 7);
                paged.extend(answer["items"].as_array().unwrap().clone());
            }
            assert_eq!(whole, Value::Array(paged), "{sort}");
        }
    }

    #[tokio::test]
    async fn a12_filter_sort_and_columns() {
        let answer = ask(things(50), "page=1&page_size=3&name=T00001&columns=name").await;
        let answer = answer.unwrap();
        assert_eq!(answer["filtered_count"], 10);
        assert_eq!(
            answer["items"],
            json!([
                {"name": "t000010"}, {"name": "t000011"}, {"name": "t000012"}
            ])
        );
        let answer = ask(things(4), "sort=n.rate&sort_reverse=true")
            .await
            .unwrap();
        assert_eq!(names(&answer), ["t000000", "t000002", "t000001", "t000003"]);
        let fault = ask(things(4), "page=5").await.unwrap_err();
        assert_eq!(
            fault.reason,
            "Page out of range, page: 5 page size: 100, len: 4"
        );
        assert_eq!(ask(vec![], "page=1").await.unwrap()["items"], json!([]));
        assert_eq!(ask(vec![], "").await.unwrap(), json!([]));
    }
}
