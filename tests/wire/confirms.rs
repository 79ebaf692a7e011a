//! Publisher confirms (A5.2, A5.3).

use crate::broker::{Broker, shared};
use crate::client::Client;
use crate::say;

fn confirming(broker: &std::sync::Arc<Broker>) -> Client {
    let mut client = broker.client(1);
    client.method(1, say::confirm_select());
    client.expect(1, say::SELECT_OK);
    client
}

/// Takes acks until all publishes from `first` to `last` are confirmed, each once.
#[track_caller]
fn expect_confirms(client: &mut Client, first: u64, last: u64) {
    let mut open: Vec<u64> = (first..=last).collect();
    while !open.is_empty() {
        let mut ack = client.expect(1, say::ACK);
        let (tag, multiple) = (ack.u64(), ack.u8());
        assert!(multiple <= 1, "bits {multiple}");
        assert!(open.contains(&tag), "{tag} was not open: {open:?}");
        open.retain(|&n| match multiple {
            1 => n > tag,
            _ => n != tag,
        });
    }
}

#[test]
fn a5_2_every_publish_is_confirmed_once() {
    let mut client = confirming(&shared());
    let queue = client.declare_queue(1, "a5.2.durable", say::DURABLE);
    let publish = say::publish_as(1, "", &queue, 0, say::PERSISTENT, b"x");
    // Alone, then in batches, then without waiting in between.
    let mut last = 0;
    for count in [1, 1, 1000, 3] {
        client.send(&publish.repeat(count));
        expect_confirms(&mut client, last + 1, last + count as u64);
        last += count as u64;
    }
    for _ in 0..100 {
        client.send(&publish);
    }
    expect_confirms(&mut client, last + 1, last + 100);
    client.check_quiet(1);
    client.method(1, say::queue_delete(&queue));
    assert_eq!(client.expect(1, (50, 41)).u32(), 1105);
    client.close();
}

#[test]
fn a5_2_transient_and_unroutable_are_confirmed_too() {
    let mut client = confirming(&shared());
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    client.send(&say::publish(1, "", &queue, b"transient"));
    expect_confirms(&mut client, 1, 1);
    client.send(&say::publish(1, "", "a5.nowhere", b"unroutable"));
    expect_confirms(&mut client, 2, 2);
    client.send(&say::publish_as(
        1,
        "amq.fanout",
        "",
        0,
        say::PERSISTENT,
        b"",
    ));
    expect_confirms(&mut client, 3, 3);
    client.close();
}

#[test]
fn a5_2_a_return_comes_before_its_ack() {
    let mut client = confirming(&shared());
    let queue = client.declare_queue(1, "a5.2.returns", say::DURABLE);
    let kept = say::publish_as(1, "", &queue, 0, say::PERSISTENT, b"kept");
    for n in 0..50u64 {
        // Alone, and among others that must reach the disk.
        let lost = [n as u8; 3];
        let back = say::publish_as(1, "", "a5.nowhere", say::MANDATORY, say::PLAIN, &lost);
        client.send(&[kept.clone(), back, kept.clone()].concat());
        let mut returned = false;
        let mut confirmed = 3 * n;
        while confirmed < 3 * n + 3 {
            let frame = client.frame();
            if frame.id() == say::ACK {
                let mut ack = frame.fields();
                let tag = ack.u64();
                assert!(
                    returned || tag < 3 * n + 2,
                    "ack of {tag} before the return"
                );
                confirmed = confirmed.max(tag);
            } else {
                assert_eq!(frame.id(), say::RETURN, "{frame:?}");
                client.frame();
                assert_eq!(client.frame().payload, lost);
                returned = true;
            }
        }
    }
    client.method(1, say::queue_delete(&queue));
    client.expect(1, (50, 41));
    client.close();
}

#[test]
fn a5_2_select_twice_is_fine_and_counts_on() {
    let mut client = confirming(&shared());
    client.send(&say::publish(1, "", "a5.nowhere", b"1"));
    expect_confirms(&mut client, 1, 1);
    client.method(1, say::confirm_select());
    client.expect(1, say::SELECT_OK);
    client.send(&say::publish(1, "", "a5.nowhere", b"2"));
    expect_confirms(&mut client, 2, 2);
    client.close();
}

#[test]
fn a5_2_publishes_before_select_do_not_count() {
    let mut client = shared().client(1);
    let mut octets = say::publish(1, "", "a5.nowhere", b"before");
    octets.extend(say::confirm_select().on(1));
    octets.extend(say::publish(1, "", "a5.nowhere", b"after"));
    client.send(&octets);
    client.expect(1, say::SELECT_OK);
    expect_confirms(&mut client, 1, 1);
    client.check_quiet(1);
    client.close();
}

#[test]
fn a5_2_select_without_an_answer_selects() {
    let mut client = shared().client(1);
    client.method(1, crate::octets::method((85, 10)).u8(1));
    client.send(&say::publish(1, "", "a5.nowhere", b"x"));
    expect_confirms(&mut client, 1, 1);
    client.close();
}

#[test]
fn a2_a_failed_channel_confirms_nothing_after_its_close() {
    let broker = shared();
    for _ in 0..20 {
        let mut client = confirming(&broker);
        client.open_channel(2);
        let queue = client.declare_queue(1, "a5.2.fails", say::DURABLE);
        let mut octets = say::publish_as(1, "", &queue, 0, say::PERSISTENT, b"x");
        octets.extend(say::queue_declare("a5.missing", say::PASSIVE).on(1));
        client.send(&octets);
        let mut frame = client.frame();
        while frame.id() == say::ACK {
            frame = client.frame();
        }
        assert_eq!(frame.id(), say::CHANNEL_CLOSE, "{frame:?}");
        // Its answer waits for the disk, and so comes behind a confirm that waited for it.
        client.declare_queue(2, "a5.2.later", say::DURABLE);
        client.method(2, say::queue_delete("a5.2.later"));
        client.expect(2, (50, 41));
        client.method(2, say::queue_delete(&queue));
        client.expect(2, (50, 41));
        client.close();
    }
}
