//! One JSON object of an answer, and which of its fields were asked for (`columns`).
//!
//! Owns the selection: a field nobody asked for is not computed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The fields of an object that are wanted: `name`, or of inner objects `message_stats.publish`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Columns(Option<BTreeMap<String, Columns>>);

impl Columns {
    /// All fields.
    pub(super) const ALL: Columns = Columns(None);

    /// The fields of a list such as `name,message_stats.publish_details.rate`; of an empty one all.
    pub(super) fn parse(list: &str) -> Self {
        let mut columns = Columns::ALL;
        for path in list.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let mut at = &mut columns;
            for part in path.split('.') {
                let inner = at.0.get_or_insert_with(BTreeMap::new);
                at = inner.entry(part.to_owned()).or_default();
            }
        }
        columns
    }

    /// Whether any part of a field is wanted.
    pub(super) fn wants(&self, field: &str) -> bool {
        self.0
            .as_ref()
            .is_none_or(|inner| inner.contains_key(field))
    }

    fn of(&self, field: &str) -> Option<&Columns> {
        match &self.0 {
            None => Some(self),
            Some(inner) => inner.get(field),
        }
    }

    /// Takes out of `value` what is not wanted.
    fn trim(&self, value: &mut Value) {
        let Some(wanted) = &self.0 else {
            return;
        };
        match value {
            Value::Object(map) => map.retain(|key, value| match wanted.get(key) {
                None => false,
                Some(inner) => {
                    inner.trim(value);
                    true
                }
            }),
            Value::Array(items) => items.iter_mut().for_each(|item| self.trim(item)),
            _ => {}
        }
    }
}

/// An object in the making.
pub(super) struct Object<'c> {
    columns: &'c Columns,
    fields: Map<String, Value>,
}

impl<'c> Object<'c> {
    pub(super) fn new(columns: &'c Columns) -> Self {
        Object {
            columns,
            fields: Map::new(),
        }
    }

    /// Whether any of these fields is wanted: what is dear to find is asked for first.
    pub(super) fn wants_any(&self, fields: &[&str]) -> bool {
        fields.iter().any(|field| self.columns.wants(field))
    }

    /// Sets a field, if it is wanted.
    pub(super) fn put(&mut self, field: &str, value: impl Into<Value>) -> &mut Self {
        self.put_with(field, || value.into())
    }

    /// Sets a field to what `value` gives, which is asked only if the field is wanted.
    pub(super) fn put_with(&mut self, field: &str, value: impl FnOnce() -> Value) -> &mut Self {
        if let Some(columns) = self.columns.of(field) {
            let mut value = value();
            columns.trim(&mut value);
            self.fields.insert(field.to_owned(), value);
        }
        self
    }

    pub(super) fn finish(self) -> Map<String, Value> {
        self.fields
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(list: &str) -> Value {
        let columns = Columns::parse(list);
        let mut object = Object::new(&columns);
        object
            .put("name", "q")
            .put("messages", 3)
            .put("stats", json!({"a": 1, "b": {"rate": 0.5, "n": 2}}))
            .put("list", json!([{"x": 1, "y": 2}]));
        Value::Object(object.finish())
    }

    #[test]
    fn a12_columns_choose_fields_to_any_depth() {
        assert_eq!(filled("name"), json!({"name": "q"}));
        assert_eq!(
            filled("stats.b.rate"),
            json!({"stats": {"b": {"rate": 0.5}}})
        );
        assert_eq!(
            filled("name,list.y"),
            json!({"name": "q", "list": [{"y": 2}]})
        );
        assert_eq!(filled("nonsense"), json!({}));
        assert_eq!(filled("").as_object().map(Map::len), Some(4));
        assert_eq!(filled("stats.a,stats"), json!({"stats": {"a": 1}}));
    }

    #[test]
    fn what_is_not_wanted_is_not_computed() {
        let columns = Columns::parse("name");
        let mut object = Object::new(&columns);
        object.put_with("dear", || panic!("computed"));
        assert!(!object.wants_any(&["dear"]));
    }
}
