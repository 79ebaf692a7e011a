//! Of the driver itself: text and octets both ways, names, files.

use super::names::Names;
use super::script::{Line, Scenario};
use super::spec::{self, Kind};
use super::step::{Action, Step};
use super::value::{Octets, Text, shown};

fn encoded(text: &str, kind: Kind) -> Vec<u8> {
    let mut out = Vec::new();
    let mut text = Text(text);
    text.field(kind, &mut out).unwrap();
    assert_eq!(text.0, "");
    out
}

#[test]
fn a_table_is_shown_as_it_is_written() {
    let table = "{a:t:true,b:b:-1,c:B:200,d:s:-2,e:u:5,f:I:-3,g:i:6,h:l:-4,i:L:7,j:f:0.5,k:d:-1.5,\
                 l:D:2/314,m:S:x,n:S:\"a b\\xff\",o:x:00ff,p:A:[S:a,I:1,A:[]],q:F:{r:V},s:T:5,t:V}";
    assert_eq!(
        Octets(&encoded(table, Kind::Table))
            .field(Kind::Table)
            .unwrap(),
        table
    );
}

#[test]
fn a_string_is_shown_as_it_is_written() {
    let texts = [
        "a.b-c",
        "\"\"",
        "\"a b\"",
        "\"\\x00\\xff\\n\\\"\\\\ü\"",
        "\"b\"*200",
    ];
    for text in texts {
        let octets = encoded(text, Kind::LongStr);
        assert_eq!(Octets(&octets).field(Kind::LongStr).unwrap(), text);
    }
    assert_eq!(shown(b"it's"), "\"it's\"");
}

#[test]
fn bits_share_an_octet() {
    let step = Step::parse("c1.2 queue.declare queue=q passive=true exclusive=true").unwrap();
    assert_eq!((step.connection, step.channel), (1, 2));
    let Action::Method(method, payload, awaited) = step.action else {
        panic!("no method");
    };
    assert_eq!((method.name, awaited), ("queue.declare", true));
    assert_eq!(payload, b"\0\x32\0\x0a\0\0\x01q\x05\0\0\0\0");
}

#[test]
fn a_step_that_makes_no_sense_is_a_fault() {
    let steps = [
        "queue.declare",
        "c1.1 queue.create",
        "c1.1 queue.declare name=q",
        "c1.1 queue.declare queue",
        "c1.1 queue.declare arguments={a:I:x}",
        "c1.1 queue.declare arguments={a:I:1",
        "c1.1 expect many",
        "cx open",
        "alarm",
        "alarm maybe",
    ];
    for step in steps {
        assert!(Step::parse(step).is_err(), "{step}");
    }
}

#[test]
fn names_go_both_ways() {
    let mut names = Names::new("A0.test");
    let (one, two) = (
        "amq.gen-AAAAAAAAAAAAAAAAAAAAAA",
        "amq.gen-BBBBBBBBBBBBBBBBBBBBBB",
    );
    let told = format!("queue '{}q' {one} {two} {one} amq.gen-own", names.prefix());
    assert_eq!(
        names.normal(&told),
        "queue '$q' amq.gen-1 amq.gen-2 amq.gen-1 amq.gen-own"
    );
    assert_eq!(
        names.real("amq.gen-2 amq.gen-3"),
        format!("{two} amq.gen-3")
    );
    assert_eq!(Names::new("A0.other").prefix().len(), names.prefix().len());
}

#[test]
fn every_answer_is_a_method() {
    for method in spec::all() {
        let class = method.name.split('.').next().unwrap();
        for reply in &method.replies {
            assert!(
                spec::by_name(&format!("{class}.{reply}")).is_some(),
                "{class}.{reply}"
            );
        }
    }
}

#[test]
fn a_scenario_knows_its_row() {
    let step = Line::Step("c1 open".into(), vec!["connection.open-ok".into()]);
    let scenario = Scenario {
        name: "A1.7-open".into(),
        lines: vec![Line::Other("# why".into()), step],
    };
    assert_eq!(scenario.row(), "A1");
    assert_eq!(scenario.transcript(), "c1 open\n  connection.open-ok\n");
}
