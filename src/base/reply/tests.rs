//! The texts of table A2, one test for each group of rows.

use super::*;

fn text(e: AmqpError) -> String {
    e.text
}

const Q: Resource<'static> = Resource::queue("q", "/");
const X: Resource<'static> = Resource::exchange("x", "/");

#[test]
fn a2_codes_and_names() {
    assert_eq!(ReplyCode::PreconditionFailed.code(), 406);
    assert_eq!(ReplyCode::PreconditionFailed.name(), "PRECONDITION_FAILED");
    for soft in [
        ReplyCode::NoRoute,
        ReplyCode::AccessRefused,
        ReplyCode::NotFound,
    ] {
        assert!(!soft.is_hard());
    }
    for hard in [
        ReplyCode::ConnectionForced,
        ReplyCode::NotAllowed,
        ReplyCode::FrameError,
    ] {
        assert!(hard.is_hard());
    }
}

#[test]
fn a2_404() {
    assert_eq!(
        text(AmqpError::no_queue("q", "/")),
        "NOT_FOUND - no queue 'q' in vhost '/'"
    );
    assert_eq!(
        text(AmqpError::no_exchange("x", "v")),
        "NOT_FOUND - no exchange 'x' in vhost 'v'"
    );
    assert_eq!(
        text(AmqpError::no_previously_declared_queue()),
        "NOT_FOUND - no previously declared queue"
    );
}

#[test]
fn a2_403() {
    assert_eq!(
        text(AmqpError::access_refused(Access::Configure, Q, "u")),
        "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'u'"
    );
    assert_eq!(
        text(AmqpError::access_refused(
            Access::Write,
            Resource::exchange("", "/"),
            "u"
        )),
        "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'u'"
    );
    assert_eq!(
        text(AmqpError::topic_access_refused(
            Access::Write,
            "k",
            "x",
            "/",
            "u"
        )),
        "ACCESS_REFUSED - write access to topic 'k' in exchange 'x' in vhost '/' refused for user \
         'u'"
    );
    assert_eq!(
        text(AmqpError::delete_system_exchange("amq.direct", "/")),
        "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed"
    );
    assert_eq!(
        text(AmqpError::reserved_queue_prefix("amq.x")),
        "ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*'"
    );
    assert_eq!(
        text(AmqpError::exclusive_use("q", "/")),
        "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"
    );
    assert_eq!(
        text(AmqpError::login_refused("PLAIN")),
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see \
         the broker logfile."
    );
}

#[test]
fn a2_405_locked() {
    assert_eq!(
        text(AmqpError::locked_queue("q", "/")),
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It \
         could be originally declared on another connection or the exclusive property value does \
         not match that of the original declaration."
    );
}

#[test]
fn a2_406_inequivalent() {
    assert_eq!(
        text(AmqpError::inequivalent_flag("durable", Q, false, true)),
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received \
         'false' but current is 'true'"
    );
    assert_eq!(
        text(AmqpError::inequivalent_type(X, "x-random", "direct")),
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': received \
         ''x-random'' but current is 'direct'"
    );
    let ten = ArgValue {
        kind: "signedint",
        value: "10",
    };
    assert_eq!(
        text(AmqpError::inequivalent_arg(
            "x-max-length",
            Q,
            Some(ten),
            None
        )),
        "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': \
         received the value '10' of type 'signedint' but current is none"
    );
    let other = ArgValue {
        kind: "longstr",
        value: "11",
    };
    assert_eq!(
        text(AmqpError::inequivalent_arg(
            "x-max-length",
            Q,
            Some(ten),
            Some(other)
        )),
        "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': \
         received '10' but current is '11'"
    );
}

#[test]
fn a2_406_invalid_arg() {
    let invalid = |fault| text(AmqpError::invalid_arg("x-a", Q, fault));
    let prefix = "PRECONDITION_FAILED - invalid arg 'x-a' for queue 'q' in vhost '/': ";
    for (fault, shown) in [
        (ArgFault::ValueNegative(-1), "{value_negative,-1}"),
        (ArgFault::ValueZero, "{value_zero,0}"),
        (
            ArgFault::ValueTooLarge(315_360_000_001),
            "{value_too_large,315360000001}",
        ),
        (ArgFault::MaxValueExceeded(256), "{max_value_exceeded,256}"),
        (
            ArgFault::ExpectedInteger("longstr"),
            "\"expected integer, got longstr\"",
        ),
        (
            ArgFault::UnacceptableType("bool"),
            "{unacceptable_type,bool}",
        ),
        (
            ArgFault::RoutingKeyButNoDlx,
            "routing_key_but_no_dlx_defined",
        ),
        (
            ArgFault::UnsupportedQueueType("z"),
            "\"unsupported queue type 'z'\"",
        ),
    ] {
        assert_eq!(invalid(fault), format!("{prefix}{shown}"));
    }
    assert_eq!(
        text(AmqpError::invalid_arg_of_type(
            "x-max-priority",
            Q,
            "rabbit_quorum_queue"
        )),
        "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'q' in vhost '/' of queue \
         type rabbit_quorum_queue"
    );
}

#[test]
fn a2_406_publish() {
    assert_eq!(
        text(AmqpError::message_too_large(17, 16)),
        "PRECONDITION_FAILED - message size 17 is larger than configured max size 16"
    );
    assert_eq!(
        text(AmqpError::message_too_large(536_870_913, 536_870_912)),
        "PRECONDITION_FAILED - message size 536870913 is larger than max size 536870912"
    );
    assert_eq!(
        text(AmqpError::expiration_leftover("1x", "x")),
        "PRECONDITION_FAILED - invalid expiration '1x': {leftover_string,\"x\"}"
    );
    assert_eq!(
        text(AmqpError::unacceptable_header("CC", "longstr")),
        "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}"
    );
    assert_eq!(
        text(AmqpError::unknown_delivery_tag(7)),
        "PRECONDITION_FAILED - unknown delivery tag 7"
    );
}

#[test]
fn a2_530_540_504_320() {
    assert_eq!(
        text(AmqpError::consumer_tag_reuse("t")),
        "NOT_ALLOWED - attempt to reuse consumer tag 't'"
    );
    assert_eq!(
        text(AmqpError::prefetch_size(1)),
        "NOT_IMPLEMENTED - prefetch_size!=0 (1)"
    );
    assert_eq!(
        text(AmqpError::immediate_unsupported()),
        "NOT_IMPLEMENTED - immediate=true"
    );
    assert_eq!(
        text(AmqpError::channel_limit(2, 2)),
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)"
    );
    assert_eq!(
        text(AmqpError::second_channel_open()),
        "CHANNEL_ERROR - second 'channel.open' seen"
    );
    assert_eq!(
        text(AmqpError::vhost_not_found("v")),
        "NOT_ALLOWED - vhost v not found"
    );
    assert_eq!(
        text(AmqpError::shutdown()),
        "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
    );
    assert_eq!(text(AmqpError::internal()), "INTERNAL_ERROR");
}

#[test]
fn a1_8_frames() {
    assert_eq!(
        text(AmqpError::frame_too_large(3, 131_073, 131_064)),
        "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064}"
    );
    assert_eq!(
        text(AmqpError::invalid_frame_end(3, b"abc", 65)),
        "FRAME_ERROR - type 3, all octets = <<\"abc\">>: {invalid_frame_end_marker,65}"
    );
    assert_eq!(
        text(AmqpError::unknown_frame(9, &[0; 17])),
        "FRAME_ERROR - type 9, first 16 octets = <<0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0>>: unknown_frame"
    );
    assert_eq!(
        text(AmqpError::unexpected_frame(8, b"")),
        "UNEXPECTED_FRAME - type 8, all octets = <<>>"
    );
    assert_eq!(
        text(AmqpError::content_header_class(60, 50)),
        "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead"
    );
    assert_eq!(
        text(AmqpError::body_size_exceeds_max(536_870_913)),
        "FRAME_ERROR - content body size 536870913 exceeds maximum allowed size 536870912"
    );
}

#[test]
fn a2_text_is_cut_to_255_octets() {
    let long = "é".repeat(127);
    let e = AmqpError::no_queue(&long, "/");
    assert!(e.text.len() <= 255 && e.text.len() >= 253);
    assert!(e.text.ends_with("..."));
    let exact = AmqpError::forced(&"a".repeat(255 - "CONNECTION_FORCED - ".len()));
    assert_eq!(exact.text.len(), 255);
    assert!(exact.text.ends_with('a'));
}

#[test]
fn a2_method_is_kept_once_said() {
    let e = AmqpError::unknown_method(60, 99).at(10, 10);
    assert_eq!((e.class_id, e.method_id), (60, 99));
    let e = AmqpError::requeue_false().at(60, 110);
    assert_eq!((e.class_id, e.method_id), (60, 110));
}
