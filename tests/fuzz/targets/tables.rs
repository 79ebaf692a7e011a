//! Field tables: every value of a table that was taken can be looked at, and survives being copied, sorted,
//! stored, and turned into JSON and back.
//!
//! Input: the octets of a table, without the length in front.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::Value as Json;
use warren::codec::{Null, RawTable, TableBuilder, Value};
use warren_fuzz::bounded;

fn copy(table: &RawTable) -> RawTable {
    let mut copy = TableBuilder::new();
    for (key, value) in table.iter() {
        copy.insert_raw(key, value);
    }
    copy.finish()
}

fn is_number(value: &Value<'_>) -> bool {
    !matches!(value, Value::F32(n) if n.is_nan()) && !matches!(value, Value::F64(n) if n.is_nan())
}

fuzz_target!(|octets: &[u8]| {
    let raw = Bytes::copy_from_slice(octets);
    let Ok(table) = bounded(0, 0, 1024, || RawTable::new(raw)) else {
        return;
    };
    let shown = bounded(octets.len(), 64, 4096, || format!("{:?}", table.view()));

    // A copy differs at most where one meaning has two codes: `L` and `l`, and the octets of true.
    let copied = copy(&table);
    assert_eq!(copied.octets().len(), octets.len());
    assert_eq!(format!("{:?}", copied.view()), shown);
    assert_eq!(copy(&copied).octets(), copied.octets());
    let again = RawTable::new(copied.octets().clone()).expect("a copy is well formed");

    for (key, value) in table.iter() {
        assert!(value.equivalent(&value) || !is_number(&value));
        if let Ok(key) = std::str::from_utf8(key) {
            let first = table.iter().find(|(k, _)| *k == key.as_bytes());
            let (got, first) = (table.get(key), first.map(|(_, value)| value));
            assert_eq!(format!("{got:?}"), format!("{first:?}"));
        }
    }

    let sorted = table.sorted();
    let keys = || sorted.iter().map(|(key, _)| key);
    assert!(keys().is_sorted());
    assert_eq!(keys().count(), table.iter().count());
    assert_eq!(sorted.sorted(), sorted);
    assert_eq!(RawTable::new(sorted.octets().clone()).as_ref(), Ok(&sorted));

    let stored = rmp_serde::to_vec(&again).expect("octets can be stored");
    let back: RawTable = rmp_serde::from_slice(&stored).expect("what was stored");
    assert_eq!(back, again);

    let json = bounded(octets.len(), 512, 4096, || table.view().to_json());
    // A key can get too long when what is no UTF-8 in it is replaced, and a time can be too late.
    if let Ok(back) = RawTable::from_json(&json, Null::Void) {
        RawTable::new(back.octets().clone()).expect("what was built is well formed");
        assert_eq!(Json::from(back.view().to_json()), Json::from(json));
    }
});
