//! The broker itself: what runs, how it is, and whether it is well.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::Context;
use crate::args::Command;
use crate::client::part;
use crate::fault::Fault;
use crate::output::Formatter;

/// Between two tries to reach a broker that starts.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// Whether `command` was one of these.
pub(super) async fn run(context: &Context<'_>, command: &Command) -> Result<bool, Fault> {
    let Context { client, output, .. } = context;
    match command {
        Command::Status => status(context).await?,
        Command::Ping | Command::CheckRunning => {
            client.get("whoami").await?;
            output.text("Ping succeeded")?;
        }
        Command::Version => {
            let overview = client.get("overview").await?;
            let version = overview.get("product_version").and_then(Value::as_str);
            output.text(version.unwrap_or_default())?;
        }
        Command::SetClusterName { name } => {
            output.intro(&format!("Setting cluster name to {name}"));
            client.put("cluster-name", json!({"name": name})).await?;
        }
        Command::Environment => {
            let settings = client.get("config/effective").await?;
            match output.formatter {
                Formatter::Table => {
                    let mut lines = Map::new();
                    flatten("", &settings, &mut lines);
                    output.value(&Value::Object(lines))?;
                }
                _ => output.value(&settings)?,
            }
        }
        Command::AwaitStartup => await_startup(context).await?,
        Command::Alarms => {
            let nodes = client.list("nodes").await?;
            let raised: Vec<&str> = nodes.iter().flat_map(alarms).collect();
            match raised.is_empty() {
                true if output.is_for_people() => output.text("No alarm is raised.")?,
                _ if output.formatter == Formatter::Json => output.value(&json!(raised))?,
                _ => raised.iter().try_for_each(|alarm| output.text(alarm))?,
            }
        }
        Command::Listeners => {
            let overview = client.get("overview").await?;
            let listeners = overview.get("listeners").and_then(Value::as_array);
            let listeners = listeners.cloned().unwrap_or_default();
            context.show(&["protocol", "ip_address", "port"], listeners)?;
        }
        Command::CheckAlarms => check(context, "alarms").await?,
        Command::CheckPortListener { port } => {
            check(context, &format!("port-listener/{port}")).await?;
        }
        Command::CheckProtocolListener { protocol } => {
            check(context, &format!("protocol-listener/{}", part(protocol))).await?;
        }
        Command::CheckCertificateExpiration { within, unit } => {
            check(
                context,
                &format!("certificate-expiration/{within}/{}", part(unit)),
            )
            .await?;
        }
        Command::CheckVirtualHosts => check(context, "virtual-hosts").await?,
        Command::CheckPortConnectivity => check_connectivity(context).await?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Settings as `table.key`, as an operator would look for them.
fn flatten(name: &str, value: &Value, into: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                match name {
                    "" => flatten(field, value, into),
                    name => flatten(&format!("{name}.{field}"), value, into),
                }
            }
        }
        value => drop(into.insert(name.to_owned(), value.clone())),
    }
}

async fn status(context: &Context<'_>) -> Result<(), Fault> {
    let overview = context.client.get("overview").await?;
    let nodes = context.client.list("nodes").await?;
    let mut facts = serde_json::Map::new();
    for field in [
        "product_name",
        "product_version",
        "rabbitmq_version",
        "node",
        "cluster_name",
    ] {
        facts.insert(
            field.to_owned(),
            overview.get(field).cloned().unwrap_or(Value::Null),
        );
    }
    for node in nodes.iter().filter_map(Value::as_object) {
        for field in [
            "uptime",
            "os_pid",
            "mem_used",
            "mem_limit",
            "disk_free",
            "disk_free_limit",
            "fd_used",
            "fd_total",
        ] {
            if let Some(value) = node.get(field) {
                facts.insert(field.to_owned(), value.clone());
            }
        }
        let raised: Vec<Value> = alarms(&Value::Object(node.clone()))
            .into_iter()
            .map(Value::from)
            .collect();
        facts.insert("alarms".to_owned(), Value::Array(raised));
    }
    for field in ["object_totals", "queue_totals"] {
        let totals = overview.get(field).and_then(Value::as_object);
        let plain = totals
            .into_iter()
            .flatten()
            .filter(|(_, value)| value.is_number());
        for (name, value) in plain {
            facts.insert(name.clone(), value.clone());
        }
    }
    Ok(context.output.value(&Value::Object(facts))?)
}

fn alarms(node: &Value) -> Vec<&'static str> {
    let raised = |field| node.get(field).and_then(Value::as_bool) == Some(true);
    let all = [("mem_alarm", "memory"), ("disk_free_alarm", "disk")];
    all.into_iter()
        .filter(|(field, _)| raised(*field))
        .map(|(_, name)| name)
        .collect()
}

async fn check(context: &Context<'_>, which: &str) -> Result<(), Fault> {
    match context.client.get(&format!("health/checks/{which}")).await {
        Ok(_) => Ok(context.output.text("The check passed.")?),
        Err(Fault::Refused {
            status: 503,
            reason,
        }) => Err(Fault::Unhealthy(reason)),
        Err(fault) => Err(fault),
    }
}

async fn check_connectivity(context: &Context<'_>) -> Result<(), Fault> {
    let overview = context.client.get("overview").await?;
    for listener in overview
        .get("listeners")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let address = listener.get("ip_address").and_then(Value::as_str);
        let port = listener.get("port").and_then(Value::as_u64);
        let (Some(address), Some(port)) = (address, port.and_then(|p| u16::try_from(p).ok()))
        else {
            continue;
        };
        tokio::net::TcpStream::connect((address, port))
            .await
            .map_err(|e| {
                Fault::Unhealthy(format!("cannot connect to {address} port {port}: {e}"))
            })?;
    }
    Ok(context.output.text("Every listener takes connections.")?)
}

async fn await_startup(context: &Context<'_>) -> Result<(), Fault> {
    let until = Instant::now() + Duration::from_secs(context.timeout_s);
    loop {
        match context.client.get("whoami").await {
            Ok(_) => return Ok(context.output.text("The broker is up.")?),
            Err(Fault::Unavailable(reason)) if Instant::now() >= until => {
                return Err(Fault::Unavailable(reason));
            }
            Err(Fault::Unavailable(_)) => tokio::time::sleep(RETRY_EVERY).await,
            Err(fault) => return Err(fault),
        }
    }
}
