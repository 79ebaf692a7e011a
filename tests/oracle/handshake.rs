//! The handshake of a client that wants nothing of it but a connection.

use std::time::Duration;

use super::client::Client;
use super::play::until;
use super::step::{Action, Arguments, Step};
use super::wire::Item;

/// Of AMQP 0-9-1.
pub(crate) const PROTOCOL_HEADER: &[u8] = b"AMQP\0\0\x09\x01";
/// What clients announce unless a scenario says otherwise.
const CAPABILITIES: &str = "{publisher_confirms:t:true,exchange_exchange_bindings:t:true,\
    basic.nack:t:true,consumer_cancel_notify:t:true,connection.blocked:t:true,\
    authentication_failure_close:t:true}";

/// Does it, up to the answer to connection.open or to whatever ends it; gives what came last.
pub(crate) fn handshake(
    client: &mut Client,
    frame_max: usize,
    mut arguments: Arguments,
    limit: Duration,
) -> Result<Vec<Item>, String> {
    let user = arguments.string("user", "guest")?;
    let password = arguments.string("password", "guest")?;
    let vhost = arguments.string("vhost", "/")?;
    let channel_max = arguments.number("channel_max", 2047_u16)?;
    let heartbeat = arguments.number("heartbeat", 0_u16)?;
    let capabilities = arguments.take("capabilities");
    let capabilities = capabilities.as_deref().unwrap_or(CAPABILITIES);
    arguments.done()?;
    let steps = [
        (
            "connection.tune",
            format!(
                "connection.start-ok mechanism=PLAIN locale=en_US \
                 response=\"\\x00{user}\\x00{password}\" \
                 client_properties={{capabilities:F:{capabilities}}}"
            ),
        ),
        (
            "",
            format!(
                "connection.tune-ok channel_max={channel_max} frame_max={frame_max} \
                 heartbeat={heartbeat}"
            ),
        ),
        (
            "connection.open-ok",
            format!("connection.open virtual_host=\"{vhost}\""),
        ),
    ];
    let mut items = Vec::new();
    client.write(PROTOCOL_HEADER);
    items.extend(client.wait(0, &until("connection.start"), limit));
    for (reply, sent) in steps {
        if let Action::Method(_, payload, _) = Step::parse(&format!("c0 {sent}"))?.action {
            client.frame(1, 0, &payload);
        }
        if !reply.is_empty() {
            items = client.wait(0, &until(reply), limit);
            if items.last().is_none_or(|item| item.name != reply) {
                break;
            }
        }
    }
    Ok(items)
}
