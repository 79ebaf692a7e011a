//! Users, their permissions and limits.

use serde_json::{Value, json};

use super::{Context, json as parse, password};
use crate::args::Command;
use crate::client::part;
use crate::fault::Fault;

const PERMISSION: [&str; 4] = ["user", "configure", "write", "read"];
const TOPIC_PERMISSION: [&str; 4] = ["user", "exchange", "write", "read"];

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
        Command::AddUser {
            name,
            secret: given,
        } => {
            let secret = password(given.as_ref())?;
            if exists(context, name).await? {
                return Err(Fault::Data(format!("User \"{name}\" already exists")));
            }
            output.intro(&format!("Adding user \"{name}\""));
            let body = json!({"password": secret, "tags": ""});
            client.put(&format!("users/{}", part(name)), body).await?;
        }
        Command::DeleteUser { name } => {
            output.intro(&format!("Deleting user \"{name}\""));
            client.delete(&format!("users/{}", part(name))).await?;
        }
        Command::ChangePassword {
            name,
            secret: given,
        } => {
            let secret = password(given.as_ref())?;
            output.intro(&format!("Changing password for user \"{name}\""));
            change(context, name, json!({"password": secret})).await?;
        }
        Command::ClearPassword { name } => {
            output.intro(&format!("Clearing password for user \"{name}\""));
            change(context, name, json!({"password_hash": ""})).await?;
        }
        Command::SetUserTags { name, tags } => {
            output.intro(&format!(
                "Setting tags for user \"{name}\" to [{}]",
                tags.join(", ")
            ));
            let known = client.get(&format!("users/{}", part(name))).await?;
            let body = json!({
                "password_hash": known.get("password_hash"),
                "hashing_algorithm": known.get("hashing_algorithm"),
                "tags": tags.join(","),
            });
            client.put(&format!("users/{}", part(name)), body).await?;
        }
        Command::ListUsers => {
            output.intro("Listing users");
            let mut users = client.list("users").await?;
            for user in &mut users {
                if let Some(fields) = user.as_object_mut()
                    && let Some(name) = fields.remove("name")
                {
                    fields.insert("user".to_owned(), name);
                }
            }
            context.show(&["user", "tags"], users)?;
        }
        Command::AuthenticateUser {
            name,
            secret: given,
        } => {
            let secret = password(given.as_ref())?;
            output.intro(&format!("Authenticating user \"{name}\""));
            match client.authenticates(name, &secret).await? {
                true => output.text("Success")?,
                false => {
                    return Err(Fault::Refused {
                        status: 401,
                        reason: format!("user \"{name}\" is unknown or has another password"),
                    });
                }
            }
        }
        Command::HashPassword { secret: given } => {
            let secret = password(given.as_ref())?;
            let answer = client
                .get(&format!("auth/hash_password/{}", part(&secret)))
                .await?;
            output.text(answer.get("ok").and_then(Value::as_str).unwrap_or_default())?;
        }
        Command::SetPermissions {
            name,
            configure,
            write,
            read,
        } => {
            output.intro(&format!(
                "Setting permissions for user \"{name}\" in vhost \"{vhost}\""
            ));
            let body = json!({"configure": configure, "write": write, "read": read});
            client
                .put(&format!("permissions/{at}/{}", part(name)), body)
                .await?;
        }
        Command::ClearPermissions { name } => {
            output.intro(&format!(
                "Clearing permissions for user \"{name}\" in vhost \"{vhost}\""
            ));
            client
                .delete(&format!("permissions/{at}/{}", part(name)))
                .await?;
        }
        Command::ListPermissions => {
            output.intro(&format!("Listing permissions for vhost \"{vhost}\""));
            context
                .list(&format!("vhosts/{at}/permissions"), &PERMISSION)
                .await?;
        }
        Command::ListUserPermissions { name } => {
            output.intro(&format!("Listing permissions for user \"{name}\""));
            let path = format!("users/{}/permissions", part(name));
            context
                .list(&path, &["vhost", "configure", "write", "read"])
                .await?;
        }
        Command::SetTopicPermissions {
            name,
            exchange,
            write,
            read,
        } => {
            output.intro(&format!(
                "Setting topic permissions on \"{exchange}\" for user \"{name}\" in vhost \"{vhost}\""
            ));
            let body = json!({"exchange": exchange, "write": write, "read": read});
            client
                .put(&format!("topic-permissions/{at}/{}", part(name)), body)
                .await?;
        }
        Command::ClearTopicPermissions { name, exchange } => {
            output.intro(&format!(
                "Clearing topic permissions for user \"{name}\" in vhost \"{vhost}\""
            ));
            let mut path = format!("topic-permissions/{at}/{}", part(name));
            if let Some(exchange) = exchange {
                path.push('/');
                path.push_str(&part(exchange));
            }
            client.delete(&path).await?;
        }
        Command::ListTopicPermissions => {
            output.intro(&format!("Listing topic permissions for vhost \"{vhost}\""));
            let path = format!("vhosts/{at}/topic-permissions");
            context.list(&path, &TOPIC_PERMISSION).await?;
        }
        Command::ListUserTopicPermissions { name } => {
            output.intro(&format!("Listing topic permissions for user \"{name}\""));
            let path = format!("users/{}/topic-permissions", part(name));
            context
                .list(&path, &["vhost", "exchange", "write", "read"])
                .await?;
        }
        Command::SetUserLimits { name, limits } => {
            output.intro(&format!(
                "Setting user limits to {limits} for user \"{name}\""
            ));
            set_limits(context, &format!("user-limits/{}", part(name)), limits).await?;
        }
        Command::ClearUserLimits { name, limit } => {
            output.intro(&format!("Clearing limits of user \"{name}\""));
            let path = format!("user-limits/{}", part(name));
            clear_limits(context, &path, Some(limit).filter(|limit| *limit != "all")).await?;
        }
        Command::ListUserLimits { name } => {
            output.intro("Listing user limits");
            let path = match name {
                Some(name) => format!("user-limits/{}", part(name)),
                None => "user-limits".to_owned(),
            };
            context.list(&path, &["user", "value"]).await?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

async fn exists(context: &Context<'_>, name: &str) -> Result<bool, Fault> {
    match context.client.get(&format!("users/{}", part(name))).await {
        Ok(_) => Ok(true),
        Err(Fault::Refused { status: 404, .. }) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Changes a user who exists, leaving the tags.
async fn change(context: &Context<'_>, name: &str, mut body: Value) -> Result<(), Fault> {
    let path = format!("users/{}", part(name));
    let known = context.client.get(&path).await?;
    if let (Some(fields), Some(tags)) = (body.as_object_mut(), known.get("tags")) {
        fields.insert("tags".to_owned(), tags.clone());
    }
    context.client.put(&path, body).await.map(drop)
}

/// Sets each limit of a JSON object.
pub(super) async fn set_limits(
    context: &Context<'_>,
    path: &str,
    limits: &str,
) -> Result<(), Fault> {
    let limits = parse("the limits", limits)?;
    let Some(limits) = limits.as_object() else {
        return Err(Fault::Data(
            "limits are a JSON object: {\"max-connections\": 10}".to_owned(),
        ));
    };
    for (name, value) in limits {
        let body = json!({"value": value});
        context
            .client
            .put(&format!("{path}/{}", part(name)), body)
            .await?;
    }
    Ok(())
}

/// Clears one limit, or all there are.
pub(super) async fn clear_limits(
    context: &Context<'_>,
    path: &str,
    only: Option<&String>,
) -> Result<(), Fault> {
    let found = context.client.list(path).await?;
    let names = found
        .iter()
        .filter_map(|limits| limits.get("value")?.as_object())
        .flat_map(|limits| limits.keys());
    for name in names.filter(|name| only.is_none_or(|only| only == *name)) {
        context
            .client
            .delete(&format!("{path}/{}", part(name)))
            .await?;
    }
    Ok(())
}
