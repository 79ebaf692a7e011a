//! Runtime parameters: values by component and name in a vhost, and global ones by name (A11).
//!
//! Owns what is kept of those that nothing here acts on yet. Policies, operator policies and vhost
//! limits, which RabbitMQ counts among the parameters, are kept by their own parts.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tracing::info;

use super::Broker;
use super::rows::{Row, key};
use super::vhost::{Change, Durably};
use crate::base::limits::SHORTSTR_MAX;
use crate::base::reply::ParameterFault;
use crate::base::{AmqpError, LogPos, Name};
use crate::store::Table;

/// Components of RabbitMQ's plugins, whose parameters are kept for the day they have a meaning.
const COMPONENTS: &[&str] = &["federation-upstream", "federation-upstream-set", "shovel"];

/// The global parameter that names the broker.
const CLUSTER_NAME: &str = "cluster_name";

/// Where a parameter stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ParameterKey {
    /// The vhost.
    pub vhost: Name,
    /// What it is for.
    pub component: String,
    /// Its name.
    pub name: Name,
}

/// All parameters.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    local: BTreeMap<ParameterKey, Json>,
    global: BTreeMap<Name, Json>,
}

impl Parameters {
    /// Those of vhosts.
    pub fn local(&self) -> impl Iterator<Item = (&ParameterKey, &Json)> {
        self.local.iter()
    }

    /// One of a vhost.
    pub fn get(&self, key: &ParameterKey) -> Option<&Json> {
        self.local.get(key)
    }

    /// The global ones.
    pub fn global(&self) -> impl Iterator<Item = (&Name, &Json)> {
        self.global.iter()
    }

    /// A global one.
    pub fn get_global(&self, name: &Name) -> Option<&Json> {
        self.global.get(name)
    }

    /// Name of the broker as clients and pages see it.
    pub fn cluster_name(&self) -> &str {
        let set = self.global.get(CLUSTER_NAME.as_bytes());
        set.and_then(Json::as_str).unwrap_or("warren")
    }

    pub(super) fn restore(local: Vec<ParameterRow>, global: Vec<GlobalParameterRow>) -> Self {
        let value = |json: &str| serde_json::from_str(json).unwrap_or_default();
        Parameters {
            local: local
                .into_iter()
                .map(|row| (row.at, value(&row.value)))
                .collect(),
            global: global
                .into_iter()
                .map(|row| (row.name, value(&row.value)))
                .collect(),
        }
    }
}

/// Why a parameter is not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// It is not valid; the text is RabbitMQ's.
    #[error("{0}")]
    Invalid(String),
    /// There is no such vhost.
    #[error("virtual host '{0}' does not exist")]
    NoVhost(Name),
    /// The log has failed.
    #[error(transparent)]
    Log(#[from] AmqpError),
}

/// Checks where a parameter is to stand.
pub(super) fn check(at: &ParameterKey) -> Result<(), ParameterError> {
    let invalid = |fault: ParameterFault<'_>| Err(ParameterError::Invalid(fault.to_string()));
    if !COMPONENTS.contains(&at.component.as_str()) {
        return invalid(ParameterFault::NoComponent(&at.component));
    }
    check_name(&at.name)
}

/// Checks the name of a parameter.
pub(super) fn check_name(name: &Name) -> Result<(), ParameterError> {
    match name.is_empty() || name.len() > SHORTSTR_MAX {
        true => Err(ParameterError::Invalid(ParameterFault::Name.to_string())),
        false => Ok(()),
    }
}

impl Broker {
    /// The parameters as they are now.
    pub fn parameters(&self) -> Arc<Parameters> {
        self.parameters.load_full()
    }

    /// Sets a parameter of a vhost.
    ///
    /// # Errors
    /// Nothing is known of the component, or there is no such vhost.
    pub fn set_parameter(
        &self,
        at: ParameterKey,
        value: Json,
        by: &str,
    ) -> Result<Durably<()>, ParameterError> {
        check(&at)?;
        let vhost = self.vhost(&at.vhost);
        let vhost = vhost.ok_or_else(|| ParameterError::NoVhost(at.vhost.clone()))?;
        let row = ParameterRow {
            at: at.clone(),
            value: value.to_string(),
        };
        let _one_at_a_time = self.parameter_changes.lock();
        let done = vhost.change(by, |change| {
            change.put(Table::Parameters, &row);
            change.changed = true;
            Ok(())
        })?;
        info!(target: "audit", by, vhost = %at.vhost, component = at.component, name = %at.name, "parameter set");
        self.tell_parameter("parameter.set", &at, Some(&value), by);
        let mut parameters = Parameters::clone(&self.parameters.load());
        parameters.local.insert(at, value);
        self.parameters.store(Arc::new(parameters));
        Ok(done)
    }

    fn tell_parameter(
        &self,
        event: &'static str,
        at: &ParameterKey,
        value: Option<&Json>,
        by: &str,
    ) {
        self.events.tell(event, |headers| {
            headers
                .text("component", &at.component)
                .text("vhost", &at.vhost)
                .text("name", &at.name)
                .by(by);
            if let Some(value) = value {
                headers.json("value", value);
            }
        });
    }

    /// Takes a parameter of a vhost away. Whether there was one.
    pub fn clear_parameter(
        &self,
        at: &ParameterKey,
        by: &str,
    ) -> Result<Durably<bool>, ParameterError> {
        let vhost = self.vhost(&at.vhost);
        let vhost = vhost.ok_or_else(|| ParameterError::NoVhost(at.vhost.clone()))?;
        let _one_at_a_time = self.parameter_changes.lock();
        let mut parameters = Parameters::clone(&self.parameters.load());
        if parameters.local.remove(at).is_none() {
            return Ok(vhost.unchanged(false));
        }
        let done = vhost.change(by, |change| {
            let row = ParameterRow {
                at: at.clone(),
                value: String::new(),
            };
            change.delete(Table::Parameters, &row);
            change.changed = true;
            Ok(true)
        })?;
        info!(target: "audit", by, vhost = %at.vhost, component = at.component, name = %at.name, "parameter cleared");
        self.tell_parameter("parameter.cleared", at, None, by);
        self.parameters.store(Arc::new(parameters));
        Ok(done)
    }

    /// Names the broker.
    ///
    /// # Errors
    /// The log has failed.
    pub fn set_cluster_name(&self, name: &str, by: &str) -> Result<Durably<bool>, ParameterError> {
        self.set_global_parameter(&CLUSTER_NAME.into(), Some(name.into()), by)
    }

    /// Sets a global parameter, or with `None` takes it away. Whether there was one before.
    pub fn set_global_parameter(
        &self,
        name: &Name,
        value: Option<Json>,
        by: &str,
    ) -> Result<Durably<bool>, ParameterError> {
        check_name(name)?;
        let _one_at_a_time = self.parameter_changes.lock();
        let mut parameters = Parameters::clone(&self.parameters.load());
        let mut records = self.log().batch();
        let told = value.clone();
        let known = match value {
            Some(value) => {
                let row = GlobalParameterRow {
                    name: name.clone(),
                    value: value.to_string(),
                };
                records.put(Table::GlobalParameters, &row.key(), &row.value());
                parameters.global.insert(name.clone(), value).is_some()
            }
            None if parameters.global.remove(name).is_some() => {
                let row = GlobalParameterRow {
                    name: name.clone(),
                    value: String::new(),
                };
                records.delete(Table::GlobalParameters, &row.key());
                true
            }
            None => {
                return Ok(Durably {
                    value: false,
                    end: LogPos::NONE,
                });
            }
        };
        let appended = self.log().append(records);
        let end = appended.map_err(|_| AmqpError::internal())?.end();
        info!(target: "audit", by, %name, "global parameter changed");
        let event = match told {
            Some(_) => "parameter.set",
            None => "parameter.cleared",
        };
        self.events.tell(event, |headers| {
            headers
                .text("component", "global")
                .text("name", name)
                .by(by);
            if let Some(value) = &told {
                headers.json("value", value);
            }
        });
        self.parameters.store(Arc::new(parameters));
        Ok(Durably { value: known, end })
    }

    /// The rows of a vhost that is deleted go with it; what is shown of them, after that by
    /// [`Self::parameters_left`].
    pub(super) fn forget_parameters(&self, vhost: &Name, change: &mut Change<'_>) {
        for (at, _) in self.parameters.load().local() {
            if at.vhost == *vhost {
                let row = ParameterRow {
                    at: at.clone(),
                    value: String::new(),
                };
                change.delete(Table::Parameters, &row);
                change.tell("parameter.cleared", move |headers| {
                    headers
                        .text("component", &row.at.component)
                        .text("vhost", &row.at.vhost)
                        .text("name", &row.at.name);
                });
            }
        }
    }

    /// A vhost is deleted.
    pub(super) fn parameters_left(&self, vhost: &Name) {
        let _one_at_a_time = self.parameter_changes.lock();
        let mut parameters = Parameters::clone(&self.parameters.load());
        parameters.local.retain(|at, _| at.vhost != *vhost);
        self.parameters.store(Arc::new(parameters));
    }
}

/// A parameter in the catalogue.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ParameterRow {
    at: ParameterKey,
    /// JSON.
    value: String,
}

impl Row for ParameterRow {
    const NAME: &'static str = "parameter";

    fn key(&self) -> Vec<u8> {
        let ParameterKey {
            vhost,
            component,
            name,
        } = &self.at;
        key(&[vhost.as_bytes(), component.as_bytes(), name.as_bytes()])
    }
}

/// A global parameter in the catalogue.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GlobalParameterRow {
    name: Name,
    /// JSON.
    value: String,
}

impl Row for GlobalParameterRow {
    const NAME: &'static str = "global parameter";

    fn key(&self) -> Vec<u8> {
        key(&[self.name.as_bytes()])
    }
}
