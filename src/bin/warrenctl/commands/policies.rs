//! Policies, operator policies and parameters.

use serde_json::{Value, json};

use super::{Context, json as parse};
use crate::args::{Command, PolicyArgs};
use crate::client::part;
use crate::fault::Fault;

const COLUMNS: [&str; 6] = [
    "vhost",
    "name",
    "pattern",
    "apply-to",
    "definition",
    "priority",
];

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
        Command::SetPolicy(policy) => set(context, "policies", "all", policy).await?,
        Command::SetOperatorPolicy(policy) => {
            set(context, "operator-policies", "queues", policy).await?;
        }
        Command::ClearPolicy { name } => clear(context, "policies", name).await?,
        Command::ClearOperatorPolicy { name } => clear(context, "operator-policies", name).await?,
        Command::ListPolicies => {
            output.intro(&format!("Listing policies for vhost \"{vhost}\""));
            context.list(&format!("policies/{at}"), &COLUMNS).await?;
        }
        Command::ListOperatorPolicies => {
            output.intro(&format!("Listing operator policies for vhost \"{vhost}\""));
            context
                .list(&format!("operator-policies/{at}"), &COLUMNS)
                .await?;
        }
        Command::Explain { name, exchange } => {
            let (kind, kinds) = match exchange {
                true => ("exchange", "exchanges"),
                false => ("queue", "queues"),
            };
            output.intro(&format!(
                "Settings in force for {kind} \"{name}\" in vhost \"{vhost}\""
            ));
            let path = format!("warren/{kinds}/{at}/{}/explain", part(name));
            let answer = client.get(&path).await?;
            let settings = answer.get("settings").and_then(Value::as_array);
            let settings = settings.cloned().unwrap_or_default();
            context.show(&["key", "value", "source"], settings)?;
        }
        Command::SetQueueArgument {
            queue,
            argument,
            value,
        } => {
            if !argument.starts_with("x-") {
                return Err(Fault::Usage(format!(
                    "\"{argument}\" is no argument of a queue: is x-{argument} meant?"
                )));
            }
            output.intro(&format!(
                "Setting argument \"{argument}\" of queue \"{queue}\" in vhost \"{vhost}\""
            ));
            let value = parse("the value", value)?;
            let path = argument_path(&at, queue, argument);
            client.put(&path, json!({"value": value})).await?;
        }
        Command::ClearQueueArgument { queue, argument } => {
            output.intro(&format!(
                "Clearing argument \"{argument}\" of queue \"{queue}\" in vhost \"{vhost}\""
            ));
            client.delete(&argument_path(&at, queue, argument)).await?;
        }
        Command::SetParameter {
            component,
            name,
            value,
        } => {
            output.intro(&format!(
                "Setting parameter \"{name}\" for component \"{component}\""
            ));
            let value = parse("the value", value)?;
            let path = format!("parameters/{}/{at}/{}", part(component), part(name));
            let body =
                json!({"component": component, "vhost": vhost, "name": name, "value": value});
            client.put(&path, body).await?;
        }
        Command::ClearParameter { component, name } => {
            output.intro(&format!(
                "Clearing parameter \"{name}\" for component \"{component}\""
            ));
            let path = format!("parameters/{}/{at}/{}", part(component), part(name));
            client.delete(&path).await?;
        }
        Command::ListParameters => {
            output.intro(&format!("Listing parameters for vhost \"{vhost}\""));
            let all = client.list("parameters").await?;
            let here = |p: &Value| p.get("vhost").and_then(Value::as_str) == Some(vhost);
            let found = all.into_iter().filter(here).collect();
            context.show(&["component", "name", "value"], found)?;
        }
        Command::SetGlobalParameter { name, value } => {
            output.intro(&format!("Setting global parameter \"{name}\""));
            let value = parse("the value", value)?;
            let body = json!({"name": name, "value": value});
            client
                .put(&format!("global-parameters/{}", part(name)), body)
                .await?;
        }
        Command::ClearGlobalParameter { name } => {
            output.intro(&format!("Clearing global parameter \"{name}\""));
            client
                .delete(&format!("global-parameters/{}", part(name)))
                .await?;
        }
        Command::ListGlobalParameters => {
            output.intro("Listing global parameters");
            context
                .list("global-parameters", &["name", "value"])
                .await?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn argument_path(at: &str, queue: &str, argument: &str) -> String {
    let (queue, argument) = (part(queue), part(argument));
    format!("warren/queues/{at}/{queue}/arguments/{argument}")
}

async fn set(
    context: &Context<'_>,
    kind: &str,
    apply_to: &str,
    policy: &PolicyArgs,
) -> Result<(), Fault> {
    let definition = parse("the definition", &policy.definition)?;
    context.output.intro(&format!(
        "Setting policy \"{}\" for pattern \"{}\" to \"{}\" with priority \"{}\" for vhost \"{}\"",
        policy.name, policy.pattern, policy.definition, policy.priority, context.vhost
    ));
    let body = json!({
        "pattern": policy.pattern,
        "definition": definition,
        "priority": policy.priority,
        "apply-to": policy.apply_to.as_deref().unwrap_or(apply_to),
    });
    let path = format!("{kind}/{}/{}", part(context.vhost), part(&policy.name));
    context.client.put(&path, body).await.map(drop)
}

async fn clear(context: &Context<'_>, kind: &str, name: &str) -> Result<(), Fault> {
    context.output.intro(&format!(
        "Clearing policy \"{name}\" on vhost \"{}\"",
        context.vhost
    ));
    let path = format!("{kind}/{}/{}", part(context.vhost), part(name));
    context.client.delete(&path).await.map(drop)
}
