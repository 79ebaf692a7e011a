//! Queues, exchanges, bindings, connections, channels, consumers, and definitions.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use serde_json::Value;

use super::Context;
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
        Command::ListQueues { columns } => {
            listing::QUEUES
                .run_in(client, *output, ("queues", vhost), columns)
                .await?;
        }
        Command::ListExchanges { columns } => {
            listing::EXCHANGES
                .run_in(client, *output, ("exchanges", vhost), columns)
                .await?;
        }
        Command::ListBindings { columns } => {
            listing::BINDINGS
                .run_in(client, *output, ("bindings", vhost), columns)
                .await?;
        }
        Command::ListConsumers { columns } => {
            listing::CONSUMERS
                .run_in(client, *output, ("consumers", vhost), columns)
                .await?;
        }
        Command::ListConnections { columns } => {
            output.intro(listing::CONNECTIONS.title);
            listing::CONNECTIONS
                .run(client, *output, "connections", columns)
                .await?;
        }
        Command::ListChannels { columns } => {
            output.intro(listing::CHANNELS.title);
            listing::CHANNELS
                .run(client, *output, "channels", columns)
                .await?;
        }
        Command::DeleteQueue {
            name,
            if_empty,
            if_unused,
        } => {
            output.intro(&format!("Deleting queue \"{name}\" on vhost \"{vhost}\""));
            let path = format!(
                "queues/{at}/{}?if-empty={if_empty}&if-unused={if_unused}",
                part(name)
            );
            client.delete(&path).await?;
        }
        Command::PurgeQueue { name } => {
            output.intro(&format!("Purging queue \"{name}\" in vhost \"{vhost}\""));
            client
                .delete(&format!("queues/{at}/{}/contents", part(name)))
                .await?;
        }
        Command::CloseConnection { name, reason } => {
            output.intro(&format!("Closing connection \"{name}\", reason: {reason}"));
            close(context, name, reason).await?;
        }
        Command::CloseAllConnections { reason, only_vhost } => {
            let path = match only_vhost {
                true => format!("vhosts/{at}/connections"),
                false => "connections".to_owned(),
            };
            close_all(context, &path, reason).await?;
        }
        Command::CloseAllUserConnections { name, reason } => {
            let path = format!("connections/username/{}", part(name));
            close_all(context, &path, reason).await?;
        }
        Command::ExportDefinitions { file } => {
            let definitions = client.get("definitions").await?;
            let text = format!("{definitions:#}\n");
            match file.as_str() {
                "-" => std::io::stdout().lock().write_all(text.as_bytes())?,
                path => {
                    output.intro(&format!("Exporting definitions to {path}"));
                    write_private(path, text.as_bytes())?;
                }
            }
        }
        Command::ImportDefinitions { file } => {
            let mut text = String::new();
            match file.as_str() {
                "-" => std::io::stdin().lock().read_to_string(&mut text)?,
                path => std::fs::File::open(path)?.read_to_string(&mut text)?,
            };
            let definitions = super::json(file, &text)?;
            output.intro(&format!("Importing definitions from {file}"));
            client.post("definitions", definitions).await?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Writes a file that only its owner can read: definitions hold password hashes. One that is there stays as readable
/// as it is.
fn write_private(path: &str, content: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(content)
}

async fn close(context: &Context<'_>, name: &str, reason: &str) -> Result<(), Fault> {
    let path = format!("connections/{}", part(name));
    context.client.delete_because(&path, reason).await.map(drop)
}

async fn close_all(context: &Context<'_>, path: &str, reason: &str) -> Result<(), Fault> {
    context
        .output
        .intro(&format!("Closing connections, reason: {reason}"));
    for connection in context.client.list(path).await? {
        let Some(name) = connection.get("name").and_then(Value::as_str) else {
            continue;
        };
        match close(context, name, reason).await {
            // It ended by itself meanwhile.
            Err(Fault::Refused { status: 404, .. }) => {}
            other => other?,
        }
    }
    Ok(())
}
