//! Messages in queues, without consuming them; and where a message would go.

use serde_json::{Map, Value, json};

use super::{Context, json as parse};
use crate::args::{Command, LookArgs, MoveArgs, RouteCommand};
use crate::client::part;
use crate::fault::Fault;

/// Whether `command` was one of these.
pub(super) async fn run(context: &Context<'_>, command: &Command) -> Result<bool, Fault> {
    let Context {
        client,
        output,
        vhost,
        ..
    } = context;
    let at = part(vhost);
    match command {
        Command::Peek { queue, look } => {
            output.intro(&format!(
                "Messages of queue \"{queue}\" in vhost \"{vhost}\""
            ));
            show(context, queue, "", look).await?;
        }
        Command::Search {
            queue,
            text,
            regex,
            look,
        } => {
            output.intro(&format!(
                "Messages with \"{text}\" of queue \"{queue}\" in vhost \"{vhost}\""
            ));
            let filter = format!("&search={}&use_regex={regex}", part(text));
            show(context, queue, &filter, look).await?;
        }
        Command::Move { queue, to } => relocate(context, queue, to).await?,
        Command::DeleteMessage { queue, id } => {
            output.intro(&format!(
                "Deleting message {id} of queue \"{queue}\" in vhost \"{vhost}\""
            ));
            let path = format!("warren/queues/{at}/{}/messages/{}", part(queue), part(id));
            client.delete(&path).await?;
        }
        Command::Route {
            what:
                RouteCommand::Explain {
                    exchange,
                    routing_key,
                    headers,
                },
        } => explain(context, exchange, routing_key, headers).await?,
        _ => return Ok(false),
    }
    Ok(true)
}

const COLUMNS: [&str; 8] = [
    "id",
    "exchange",
    "routing_key",
    "redelivered",
    "in_queue_since",
    "properties",
    "payload_bytes",
    "payload",
];

/// One request looks at so many messages at most; a search goes on where it ended.
async fn show(
    context: &Context<'_>,
    queue: &str,
    filter: &str,
    look: &LookArgs,
) -> Result<(), Fault> {
    let path = format!(
        "warren/queues/{}/{}/messages",
        part(context.vhost),
        part(queue)
    );
    let mut found = Vec::new();
    let mut place = format!("skip={}", look.skip);
    while found.len() < look.count {
        let query = format!(
            "{place}&count={}&truncate={}{filter}",
            look.count - found.len(),
            look.truncate
        );
        let mut answer = context.client.get(&format!("{path}?{query}")).await?;
        if let Some(Value::Array(messages)) = answer.get_mut("messages") {
            found.append(messages);
        }
        match answer.get("next").and_then(Value::as_str) {
            Some(next) => place = format!("from={}", part(next)),
            None => break,
        }
    }
    context.show(&COLUMNS, found)
}

async fn relocate(context: &Context<'_>, queue: &str, to: &MoveArgs) -> Result<(), Fault> {
    let (kind, target) = match (&to.to_queue, &to.to_exchange) {
        (Some(queue), _) => ("queue", queue),
        (None, Some(exchange)) => ("exchange", exchange),
        (None, None) => return Err(Fault::Usage("--to-queue or --to-exchange".to_owned())),
    };
    let verb = if to.copy { "Copying" } else { "Moving" };
    context.output.intro(&format!(
        "{verb} messages of queue \"{queue}\" to {kind} \"{target}\" in vhost \"{}\"",
        context.vhost
    ));
    let path = format!("warren/queues/{}/{}/move", part(context.vhost), part(queue));
    let mut body = Map::from_iter([
        (format!("to_{kind}"), json!(target)),
        ("copy".to_owned(), json!(to.copy)),
        ("use_regex".to_owned(), json!(to.regex)),
    ]);
    for (field, given) in [
        ("routing_key", &to.routing_key),
        ("search", &to.search),
        ("id", &to.id),
    ] {
        body.extend(given.as_ref().map(|given| (field.to_owned(), json!(given))));
    }
    let (mut moved, mut unroutable) = (0, 0);
    let full = loop {
        if let Some(count) = to.count {
            body.insert("count".to_owned(), json!(count as u64 - moved));
        }
        let answer = context.client.post(&path, body.clone().into()).await?;
        let number = |field| answer.get(field).and_then(Value::as_u64).unwrap_or(0);
        moved += number("moved");
        unroutable += number("unroutable");
        let full = answer.get("full").and_then(Value::as_str);
        let next = answer.get("next").and_then(Value::as_str);
        let enough = to.id.is_some() || to.count.is_some_and(|count| moved >= count as u64);
        match next {
            Some(next) if full.is_none() && !enough => {
                body.insert("from".to_owned(), json!(next));
            }
            _ => break full.map(str::to_owned),
        }
    };
    let done = json!({"moved": moved, "unroutable": unroutable});
    context.output.value(&done)?;
    match (full, &to.id) {
        (Some(full), _) => Err(Fault::Refused {
            status: 409,
            reason: format!("queue \"{full}\" is full: the others stay where they are"),
        }),
        (None, Some(id)) if moved == 0 => Err(Fault::Refused {
            status: 404,
            reason: format!("message {id} was not moved"),
        }),
        _ => Ok(()),
    }
}

async fn explain(
    context: &Context<'_>,
    exchange: &str,
    routing_key: &str,
    headers: &str,
) -> Result<(), Fault> {
    let headers = parse("headers", headers)?;
    context.output.intro(&format!(
        "Route of a message to exchange \"{exchange}\" with key \"{routing_key}\" in vhost \"{}\"",
        context.vhost
    ));
    let path = format!(
        "warren/exchanges/{}/{}/route",
        part(context.vhost),
        part(exchange)
    );
    let body = json!({"routing_key": routing_key, "properties": {"headers": headers}});
    let answer = context.client.post(&path, body).await?;
    if !context.output.is_for_people() {
        return Ok(context.output.value(&answer)?);
    }
    let list = |of: &Value, field: &str| -> Vec<Value> {
        let items = of.get(field).and_then(Value::as_array);
        items.cloned().unwrap_or_default()
    };
    for step in list(&answer, "steps") {
        for line in told(&step, &list(&step, "passed")) {
            context.output.text(&line)?;
        }
    }
    let queues = list(&answer, "queues");
    let queues: Vec<&str> = queues.iter().filter_map(Value::as_str).collect();
    context.output.text(&match queues.is_empty() {
        true => "It reaches no queue.".to_owned(),
        false => format!("It reaches: {}", queues.join(", ")),
    })?;
    Ok(())
}

/// One exchange, for people.
fn told(step: &Value, passed: &[Value]) -> Vec<String> {
    let text = |of: &Value, field: &str| {
        let text = of.get(field).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let is = |field| step.get(field).and_then(Value::as_bool) == Some(true);
    let mut lines = vec![format!(
        "exchange {} ({}), by {}: {} of {} bindings",
        text(step, "exchange"),
        text(step, "type"),
        text(step, "came_by"),
        passed.len(),
        step.get("bindings").unwrap_or(&Value::Null),
    )];
    lines.extend(passed.iter().map(|binding| {
        let arguments = binding.get("arguments").filter(|a| **a != json!({}));
        let arguments = arguments.map(|a| format!(" {a}")).unwrap_or_default();
        format!(
            "  to {} {} by binding key \"{}\"{arguments}",
            text(binding, "destination_type"),
            text(binding, "destination"),
            text(binding, "routing_key"),
        )
    }));
    if is("held_back") {
        lines.push("  held back until its delay is over".to_owned());
    }
    if is("by_chance") {
        lines.push("  chosen by chance: another time it may be another".to_owned());
    }
    if let Some(alternate) = step.get("alternate_exchange").filter(|a| !a.is_null()) {
        let (name, becomes) = (text(alternate, "name"), text(alternate, "is"));
        lines.push(format!("  alternate exchange {name}: {becomes}"));
    }
    lines
}
