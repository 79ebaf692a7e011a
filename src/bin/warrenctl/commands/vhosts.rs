//! Virtual hosts.

use serde_json::{Map, Value, json};

use super::Context;
use super::users::{clear_limits, set_limits};
use crate::args::Command;
use crate::client::part;
use crate::fault::Fault;
use crate::listing;

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
        Command::AddVhost {
            name,
            description,
            tags,
            default_queue_type,
        } => {
            output.intro(&format!("Adding vhost \"{name}\""));
            let mut body = json!({"description": description, "tags": tags});
            if let (Some(fields), Some(kind)) = (body.as_object_mut(), default_queue_type) {
                fields.insert("default_queue_type".to_owned(), kind.as_str().into());
            }
            client.put(&format!("vhosts/{}", part(name)), body).await?;
        }
        Command::DeleteVhost { name } => {
            output.intro(&format!("Deleting vhost \"{name}\""));
            client.delete(&format!("vhosts/{}", part(name))).await?;
        }
        Command::ListVhosts { columns } => {
            output.intro(listing::VHOSTS.title);
            listing::VHOSTS
                .run(client, *output, "vhosts", columns)
                .await?;
        }
        Command::UpdateVhostMetadata {
            name,
            description,
            tags,
            default_queue_type,
        } => {
            output.intro(&format!("Updating metadata of vhost \"{name}\""));
            let path = format!("vhosts/{}", part(name));
            let known = client.get(&path).await?;
            let given = [
                ("description", description),
                ("tags", tags),
                ("default_queue_type", default_queue_type),
            ];
            let body: Map<String, Value> = given
                .into_iter()
                .filter_map(|(field, given)| {
                    let value = match given {
                        Some(given) => Value::from(given.as_str()),
                        None => known.get(field)?.clone(),
                    };
                    Some((field.to_owned(), value))
                })
                .collect();
            client.put(&path, Value::Object(body)).await?;
        }
        Command::SetVhostLimits { limits } => {
            output.intro(&format!(
                "Setting vhost limits to {limits} for vhost \"{vhost}\""
            ));
            set_limits(context, &format!("vhost-limits/{at}"), limits).await?;
        }
        Command::ClearVhostLimits => {
            output.intro(&format!("Clearing limits of vhost \"{vhost}\""));
            clear_limits(context, &format!("vhost-limits/{at}"), None).await?;
        }
        Command::ListVhostLimits => {
            output.intro("Listing limits of vhosts");
            context.list("vhost-limits", &["vhost", "value"]).await?;
        }
        Command::TraceOn | Command::TraceOff => {
            let on = matches!(command, Command::TraceOn);
            let what = if on { "Starting" } else { "Stopping" };
            output.intro(&format!("{what} tracing for vhost \"{vhost}\""));
            let body = json!({"tracing": on});
            client.put(&format!("vhosts/{at}"), body).await?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}
