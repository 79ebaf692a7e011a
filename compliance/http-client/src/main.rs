//! Calls every function of RabbitMQ's HTTP client: each reads the answer and does what it says, or is
//! refused for a reason that stands beside it.

use std::env;
use std::fmt::Debug;
use std::process::ExitCode;

use rabbitmq_http_client::blocking_api::Client;
use rabbitmq_http_client::commons::{
    BindingDestinationType, ExchangeType, MessageTransferAcknowledgementMode, PaginationParams, PolicyTarget,
    SupportedProtocol, UserLimitTarget, VirtualHostLimitTarget,
};
use rabbitmq_http_client::error::HttpClientError;
use rabbitmq_http_client::password_hashing;
use rabbitmq_http_client::requests::{
    Amqp091ShovelDestinationParams, Amqp091ShovelParams, Amqp091ShovelSourceParams, Amqp10ShovelDestinationParams,
    Amqp10ShovelParams, Amqp10ShovelSourceParams, BindingDeletionParams, EnforcedLimitParams, ExchangeParams,
    FederationUpstreamParams, GlobalRuntimeParameterDefinition, Permissions, PolicyParams, QueueFederationParams, QueueParams,
    RuntimeParameterDefinition, StreamParams, TopicPermissions, UserParams, VirtualHostParams,
};
use rabbitmq_http_client::responses::ReachabilityProbeOutcome;
use serde_json::{Map, Value, json};

type Outcome<T> = Result<T, HttpClientError>;

const NO_STREAMS: &str = "Warren has no streams";
const NO_SHOVELS: &str = "Warren has no shovels yet";
const NO_FEDERATION: &str = "Warren has no federation yet";
const NO_ERLANG: &str = "of the memory of Erlang's processes";
const COMMERCIAL: &str = "of a commercial edition";

/// The results so far.
#[derive(Default)]
struct Results {
    failed: bool,
}

impl Results {
    fn say(&mut self, name: &str, fault: Option<String>) {
        match fault {
            None => println!("ok {name}"),
            Some(why) => {
                self.failed = true;
                println!("not ok {name}: {}", why.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
    }

    /// It succeeds, and what it gives is right.
    fn works<T: Debug>(&mut self, name: &str, outcome: Outcome<T>, is_right: impl FnOnce(&T) -> bool) -> Option<T> {
        match outcome {
            Ok(value) if is_right(&value) => {
                self.say(name, None);
                Some(value)
            }
            Ok(value) => {
                self.say(name, Some(format!("not what was expected: {value:.600?}")));
                None
            }
            Err(e) => {
                self.say(name, Some(format!("{e} ({e:.300?})")));
                None
            }
        }
    }

    /// It succeeds.
    fn does<T: Debug>(&mut self, name: &str, outcome: Outcome<T>) -> Option<T> {
        self.works(name, outcome, |_| true)
    }

    /// It fails, and by an answer of the broker's (4xx). Once it works, the reason is wrong.
    fn refused<T: Debug>(&mut self, name: &str, because: &str, outcome: Outcome<T>) {
        let name = format!("{name}: {because}");
        match outcome {
            Err(HttpClientError::ClientErrorResponse { .. } | HttpClientError::NotFound) => self.say(&name, None),
            Err(e) => self.say(&name, Some(format!("another fault: {e}"))),
            Ok(value) => self.say(&name, Some(format!("it works now: {value:.300?}"))),
        }
    }
}

/// Names nobody else uses.
struct Names {
    vhost: String,
    user: String,
    /// A user of the frame's, with an open connection to close.
    leaving: String,
    global: String,
}

fn set(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn main() -> ExitCode {
    let stem = set("CHECK_STEM");
    let names = Names {
        vhost: format!("{stem}-v"),
        user: format!("{stem}-u"),
        leaving: set("CHECK_LEAVING"),
        global: format!("{stem}-g"),
    };
    let client = Client::new(format!("http://{}/api", set("WARREN_HTTP")), "guest".to_owned(), "guest".to_owned());
    let mut results = Results::default();
    let r = &mut results;
    vhosts(&client, r, &names);
    users(&client, r, &names);
    topology(&client, r, &names);
    messages(&client, r, &names);
    policies(&client, r, &names);
    parameters(&client, r, &names);
    definitions(&client, r, &names);
    the_node(&client, r);
    clients(&client, r, &names);
    shovels_and_federation(&client, r, &names);
    end(&client, r, &names);
    ExitCode::from(u8::from(results.failed))
}

type Http = Client<String, String, String>;

fn first() -> PaginationParams {
    PaginationParams::first_page(500)
}

fn vhosts(client: &Http, r: &mut Results, names: &Names) {
    let v = names.vhost.as_str();
    let mut params = VirtualHostParams::named(v);
    params.description = Some("one");
    r.does("create_vhost", client.create_vhost(&params));
    params.description = Some("two");
    r.does("update_vhost", client.update_vhost(&params));
    r.works("get_vhost", client.get_vhost(v), |it| it.description.as_deref() == Some("two"));
    r.works("list_vhosts", client.list_vhosts(), |all| all.iter().any(|it| it.name == v));
    r.works("list_vhosts_paged", client.list_vhosts_paged(&first()), |all| all.iter().any(|it| it.name == v));
    r.does("enable_vhost_deletion_protection", client.enable_vhost_deletion_protection(v));
    r.refused("delete_vhost", "protected", client.delete_vhost(v, false));
    r.does("disable_vhost_deletion_protection", client.disable_vhost_deletion_protection(v));
    let limit = EnforcedLimitParams::new(VirtualHostLimitTarget::MaxQueues, 90);
    r.does("set_vhost_limit", client.set_vhost_limit(v, limit));
    r.works("list_vhost_limits", client.list_vhost_limits(v), |all| all.iter().any(|it| it.vhost == v));
    r.works("list_all_vhost_limits", client.list_all_vhost_limits(), |all| all.iter().any(|it| it.vhost == v));
    r.does("clear_vhost_limit", client.clear_vhost_limit(v, VirtualHostLimitTarget::MaxQueues));
    r.works("list_vhost_limits after", client.list_vhost_limits(v), |all| all.iter().all(|it| it.limits.0.is_empty()));
}

fn users(client: &Http, r: &mut Results, names: &Names) {
    let (u, v) = (names.user.as_str(), names.vhost.as_str());
    let salt = password_hashing::salt();
    let hash = password_hashing::base64_encoded_salted_password_hash_sha256(&salt, "secret");
    r.does("create_user", client.create_user(&UserParams::new(u, &hash, "management")));
    r.works("get_user", client.get_user(u), |it| it.name == u);
    r.works("list_users", client.list_users(), |all| all.iter().any(|it| it.name == u));
    r.works("list_users_paged", client.list_users_paged(&first()), |all| all.iter().any(|it| it.name == u));
    let without = client.list_users_without_permissions();
    r.works("list_users_without_permissions", without, |all| all.iter().any(|it| it.name == u));
    r.works("current_user", client.current_user(), |it| it.name == "guest");
    let reached = client.probe_reachability();
    let fault = match reached {
        ReachabilityProbeOutcome::Reached(_) => None,
        other => Some(format!("{other:?}")),
    };
    r.say("probe_reachability", fault);
    // The hash is one that a login is held against.
    let theirs = Client::new(format!("http://{}/api", set("WARREN_HTTP")), u.to_owned(), "secret".to_owned());
    r.works("current_user of another", theirs.current_user(), |it| it.name == u);

    r.does("declare_permissions", client.declare_permissions(&Permissions::read_only(u, v)));
    r.does("grant_permissions", client.grant_permissions(&Permissions::read_only(u, v)));
    r.does("grant_full_permissions", client.grant_full_permissions(u, v));
    r.works("get_permissions", client.get_permissions(v, u), |it| it.write == ".*");
    r.works("list_permissions", client.list_permissions(), |all| all.iter().any(|it| it.user == u));
    r.works("list_permissions_in", client.list_permissions_in(v), |all| all.iter().any(|it| it.user == u));
    r.works("list_permissions_of", client.list_permissions_of(u), |all| all.len() == 1);
    let topic = TopicPermissions { user: u, vhost: v, write: "^a", read: "^b", exchange: "amq.topic" };
    r.does("declare_topic_permissions", client.declare_topic_permissions(&topic));
    r.works("list_topic_permissions", client.list_topic_permissions(), |all| all.iter().any(|it| it.user == u));
    r.works("list_topic_permissions_in", client.list_topic_permissions_in(v), |all| all.len() == 1);
    r.works("list_topic_permissions_of", client.list_topic_permissions_of(u), |all| all.len() == 1);
    r.works("get_topic_permissions_of", client.get_topic_permissions_of(v, u), |it| it.write == "^a");
    r.does("clear_topic_permissions", client.clear_topic_permissions(v, u, false));
    r.does("clear_topic_permissions again", client.clear_topic_permissions(v, u, true));

    let limit = EnforcedLimitParams::new(UserLimitTarget::MaxChannels, 9);
    r.does("set_user_limit", client.set_user_limit(u, limit));
    r.works("list_user_limits", client.list_user_limits(u), |all| all.iter().any(|it| it.username == u));
    r.works("list_all_user_limits", client.list_all_user_limits(), |all| all.iter().any(|it| it.username == u));
    r.does("clear_user_limit", client.clear_user_limit(u, UserLimitTarget::MaxChannels));
}

fn topology(client: &Http, r: &mut Results, names: &Names) {
    let v = names.vhost.as_str();
    let x = ExchangeParams::durable("x", ExchangeType::Topic, None);
    r.does("declare_exchange", client.declare_exchange(v, &x));
    r.does("declare_exchange x2", client.declare_exchange(v, &ExchangeParams::durable_fanout("x2", None)));
    r.works("get_exchange_info", client.get_exchange_info(v, "x"), |it| it.durable && it.name == "x");
    r.works("list_exchanges", client.list_exchanges(), |all| all.iter().any(|it| it.vhost == v));
    r.works("list_exchanges_paged", client.list_exchanges_paged(&first()), |all| !all.is_empty());
    r.works("list_exchanges_in", client.list_exchanges_in(v), |all| all.len() == 9);
    r.works("list_exchanges_in_paged", client.list_exchanges_in_paged(v, &first()), |all| all.len() == 9);

    let q = QueueParams::new_durable_classic_queue("q", Some(object(json!({ "x-max-length": 9 }))));
    r.does("declare_queue", client.declare_queue(v, &q));
    r.does("declare_quorum_queue", client.declare_quorum_queue(v, "qq"));
    r.does("declare_classic_queue", client.declare_classic_queue(v, "q2"));
    r.refused("declare_stream", NO_STREAMS, client.declare_stream(v, &StreamParams::new("s", "1D")));
    r.refused("get_stream_info", NO_STREAMS, client.get_stream_info(v, "s"));
    r.works("get_queue_info", client.get_queue_info(v, "q"), |it| {
        it.durable && it.queue_type == "classic" && it.arguments.0.get("x-max-length") == Some(&json!(9))
    });
    r.works("list_queues", client.list_queues(), |all| all.iter().any(|it| it.vhost == v));
    r.works("list_queues_paged", client.list_queues_paged(&first()), |all| !all.is_empty());
    r.works("list_queues_in", client.list_queues_in(v), |all| all.len() == 3);
    r.works("list_queues_in_paged", client.list_queues_in_paged(v, &PaginationParams::new(2, 2)), |all| all.len() == 1);
    r.works("list_queues_with_details", client.list_queues_with_details(), |all| all.iter().any(|it| it.vhost == v));
    r.works("list_quorum_queues", client.list_quorum_queues(), |all| all.iter().any(|it| it.vhost == v));
    r.works("list_quorum_queues_in", client.list_quorum_queues_in(v), |all| all.len() == 1);
    r.works("list_classic_queues", client.list_classic_queues(), |all| all.iter().any(|it| it.vhost == v));
    r.works("list_classic_queues_in", client.list_classic_queues_in(v), |all| all.len() == 2);
    r.works("list_streams", client.list_streams(), Vec::is_empty);
    r.works("list_streams_in", client.list_streams_in(v), Vec::is_empty);
    r.works("list_streams_paged", client.list_streams_paged(&first()), Vec::is_empty);
    r.works("list_streams_in_paged", client.list_streams_in_paged(v, &first()), Vec::is_empty);
    r.does("rebalance_queue_leaders", client.rebalance_queue_leaders());

    let arguments = Some(object(json!({ "n": 1 })));
    r.does("bind_queue", client.bind_queue(v, "q", "x", Some("a.#"), arguments.clone()));
    r.does("bind_exchange", client.bind_exchange(v, "x2", "x", Some("b"), None));
    r.works("list_bindings", client.list_bindings(), |all| all.iter().any(|it| it.vhost == v));
    let found = r.works("list_bindings_in", client.list_bindings_in(v), |all| all.len() == 5);
    r.works("list_queue_bindings", client.list_queue_bindings(v, "q"), |all| all.len() == 2);
    let from = client.list_exchange_bindings_with_source(v, "x");
    r.works("list_exchange_bindings_with_source", from, |all| all.len() == 2);
    let to = client.list_exchange_bindings_with_destination(v, "x2");
    r.works("list_exchange_bindings_with_destination", to, |all| all.len() == 1);
    let params = BindingDeletionParams {
        virtual_host: v,
        source: "x",
        destination: "q",
        destination_type: BindingDestinationType::Queue,
        routing_key: "a.#",
        arguments,
    };
    r.does("delete_binding", client.delete_binding(&params, false));
    r.works("list_queue_bindings after", client.list_queue_bindings(v, "q"), |all| all.len() == 1);
    if let Some(binding) = found.unwrap_or_default().iter().find(|it| it.routing_key == "a.#") {
        r.does("recreate_binding", client.recreate_binding(binding));
    }
    r.works("list_queue_bindings again", client.list_queue_bindings(v, "q"), |all| all.len() == 2);
}

fn messages(client: &Http, r: &mut Results, names: &Names) {
    let v = names.vhost.as_str();
    let properties = object(json!({ "priority": 3, "headers": { "h": "v" } }));
    let sent = client.publish_message(v, "x", "a.b", "hello", properties.into());
    r.works("publish_message", sent, |it| it.routed);
    let got = client.get_messages(v, "q", 5, "ack_requeue_true");
    r.works("get_messages", got, |all| {
        all.len() == 1 && all[0].payload == "hello" && all[0].properties.0.get("priority") == Some(&json!(3))
    });
    r.does("purge_queue", client.purge_queue(v, "q"));
    r.works("get_messages after", client.get_messages(v, "q", 5, "ack_requeue_true"), Vec::is_empty);
}

fn policies(client: &Http, r: &mut Results, names: &Names) {
    let v = names.vhost.as_str();
    let of = |name, length| {
        let definition = object(json!({ "max-length": length }));
        PolicyParams { vhost: v, name, pattern: "^q", apply_to: PolicyTarget::Queues, priority: 1, definition }
    };
    r.does("declare_policy", client.declare_policy(&of("p", 5)));
    r.does("declare_policies", client.declare_policies(vec![&of("p2", 6), &of("p3", 7)]));
    r.works("get_policy", client.get_policy(v, "p"), |it| it.priority == 1);
    r.works("list_policies", client.list_policies(), |all| all.iter().any(|it| it.vhost == v));
    r.works("list_policies_in", client.list_policies_in(v), |all| all.len() == 3);
    r.works("list_policies_for_target", client.list_policies_for_target(v, PolicyTarget::Queues), |all| all.len() == 3);
    let matching = client.list_matching_policies(v, "q", PolicyTarget::Queues);
    r.works("list_matching_policies", matching, |all| all.len() == 3);
    r.does("delete_policy", client.delete_policy(v, "p", false));
    r.does("delete_policy again", client.delete_policy(v, "p", true));
    r.does("delete_policies_in", client.delete_policies_in(v, vec!["p2", "p3"]));
    r.works("list_policies_in after", client.list_policies_in(v), Vec::is_empty);

    r.does("declare_operator_policy", client.declare_operator_policy(&of("p", 5)));
    r.does("declare_operator_policies", client.declare_operator_policies(vec![&of("p2", 6), &of("p3", 7)]));
    r.works("get_operator_policy", client.get_operator_policy(v, "p"), |it| it.priority == 1);
    r.works("list_operator_policies", client.list_operator_policies(), |all| all.iter().any(|it| it.vhost == v));
    r.works("list_operator_policies_in", client.list_operator_policies_in(v), |all| all.len() == 3);
    let of_target = client.list_operator_policies_for_target(v, PolicyTarget::Queues);
    r.works("list_operator_policies_for_target", of_target, |all| all.len() == 3);
    let matching = client.list_matching_operator_policies(v, "q", PolicyTarget::Queues);
    r.works("list_matching_operator_policies", matching, |all| all.len() == 3);
    r.does("delete_operator_policy", client.delete_operator_policy(v, "p", false));
    r.does("delete_operator_policies_in", client.delete_operator_policies_in(v, vec!["p2", "p3"]));
    r.works("list_operator_policies_in after", client.list_operator_policies_in(v), Vec::is_empty);
}

fn parameters(client: &Http, r: &mut Results, names: &Names) {
    let v = names.vhost.as_str();
    const COMPONENT: &str = "federation-upstream";
    let of = |name| RuntimeParameterDefinition {
        name,
        vhost: v,
        component: COMPONENT,
        value: object(json!({ "uri": "amqp://" })),
    };
    r.does("upsert_runtime_parameter", client.upsert_runtime_parameter(&of("one")));
    r.does("upsert_runtime_parameter two", client.upsert_runtime_parameter(&of("two")));
    r.works("get_runtime_parameter", client.get_runtime_parameter(COMPONENT, v, "one"), |it| it.name == "one");
    r.works("list_runtime_parameters", client.list_runtime_parameters(), |all| all.iter().any(|it| it.vhost == v));
    let of_component = client.list_runtime_parameters_of_component(COMPONENT);
    r.works("list_runtime_parameters_of_component", of_component, |all| all.iter().any(|it| it.vhost == v));
    let of_vhost = client.list_runtime_parameters_of_component_in(COMPONENT, v);
    r.works("list_runtime_parameters_of_component_in", of_vhost, |all| all.len() == 2);
    r.does("clear_runtime_parameter", client.clear_runtime_parameter(COMPONENT, v, "one", false));
    let cleared = client.clear_all_runtime_parameters_of_component(COMPONENT);
    r.does("clear_all_runtime_parameters_of_component", cleared);
    r.does("upsert_runtime_parameter again", client.upsert_runtime_parameter(&of("three")));
    r.does("clear_all_runtime_parameters", client.clear_all_runtime_parameters());
    let after = client.list_runtime_parameters_of_component_in(COMPONENT, v);
    r.works("list_runtime_parameters_of_component_in after", after, Vec::is_empty);

    let global = GlobalRuntimeParameterDefinition { name: &names.global, value: object(json!({ "a": 1 })) };
    r.does("upsert_global_runtime_parameter", client.upsert_global_runtime_parameter(&global));
    let one = client.get_global_runtime_parameter(&names.global);
    r.works("get_global_runtime_parameter", one, |it| it.name == names.global);
    let all = client.list_global_runtime_parameters();
    r.works("list_global_runtime_parameters", all, |all| all.iter().any(|it| it.name == names.global));
    r.does("clear_global_runtime_parameter", client.clear_global_runtime_parameter(&names.global));
}

fn definitions(client: &Http, r: &mut Results, names: &Names) {
    let v = names.vhost.as_str();
    let whole = r.works("export_cluster_wide_definitions", client.export_cluster_wide_definitions(), |it| it.contains(v));
    let text = client.export_cluster_wide_definitions_as_string();
    r.works("export_cluster_wide_definitions_as_string", text, |it| it.contains(v));
    let data = client.export_cluster_wide_definitions_as_data();
    r.works("export_cluster_wide_definitions_as_data", data, |it| it.find_queue(v, "q").is_some());
    let part = r.works("export_vhost_definitions", client.export_vhost_definitions(v), |it| it.contains("qq"));
    r.works("export_vhost_definitions_as_string", client.export_vhost_definitions_as_string(v), |it| it.contains("qq"));
    r.works("export_vhost_definitions_as_data", client.export_vhost_definitions_as_data(v), |it| it.queues.len() == 3);
    let json = |text: Option<String>| text.and_then(|text| serde_json::from_str::<Value>(&text).ok()).unwrap_or_default();
    r.does("import_vhost_definitions", client.import_vhost_definitions(v, json(part)));
    let whole = json(whole);
    r.does("import_definitions", client.import_definitions(whole.clone()));
    r.does("import_cluster_wide_definitions", client.import_cluster_wide_definitions(whole));
}

fn the_node(client: &Http, r: &mut Results) {
    let overview = r.works("overview", client.overview(), |it| it.product_name == "Warren");
    r.works("server_version", client.server_version(), |it| it.starts_with(|c: char| c.is_ascii_digit()));
    r.works("list_nodes", client.list_nodes(), |all| all.len() == 1);
    let node = overview.map(|it| it.node).unwrap_or_default();
    r.works("get_node_info", client.get_node_info(&node), |it| it.name == node);
    r.refused("get_node_memory_footprint", NO_ERLANG, client.get_node_memory_footprint(&node));
    r.does("list_all_cluster_plugins", client.list_all_cluster_plugins());
    r.does("list_node_plugins", client.list_node_plugins(&node));
    r.does("auth_attempts_statistics", client.auth_attempts_statistics(&node));
    let name = r.works("get_cluster_name", client.get_cluster_name(), |it| !it.name.is_empty());
    r.does("set_cluster_name", client.set_cluster_name("a-cluster"));
    r.works("get_cluster_name after", client.get_cluster_name(), |it| it.name == "a-cluster");
    r.does("set_cluster_name back", client.set_cluster_name(&name.map(|it| it.name).unwrap_or_default()));
    r.does("set_cluster_tags", client.set_cluster_tags(object(json!({ "site": "here" }))));
    r.works("get_cluster_tags", client.get_cluster_tags(), |it| it.0.get("site") == Some(&json!("here")));
    r.does("clear_cluster_tags", client.clear_cluster_tags());
    r.works("list_feature_flags", client.list_feature_flags(), |it| !it.is_empty());
    r.does("enable_feature_flag", client.enable_feature_flag("quorum_queue"));
    r.does("enable_all_stable_feature_flags", client.enable_all_stable_feature_flags());
    r.does("list_all_deprecated_features", client.list_all_deprecated_features());
    r.does("list_deprecated_features_in_use", client.list_deprecated_features_in_use());
    r.does("health_check_cluster_wide_alarms", client.health_check_cluster_wide_alarms());
    r.does("health_check_local_alarms", client.health_check_local_alarms());
    r.does("health_check_if_node_is_quorum_critical", client.health_check_if_node_is_quorum_critical());
    let port = set("WARREN_HTTP").rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
    r.does("health_check_port_listener", client.health_check_port_listener(port));
    r.does("health_check_protocol_listener", client.health_check_protocol_listener(SupportedProtocol::AMQP));
    r.refused("schema_definition_sync_status", COMMERCIAL, client.schema_definition_sync_status(Some(&node)));
    let there = client.enable_schema_definition_sync_on_node(Some(&node));
    r.refused("enable_schema_definition_sync_on_node", COMMERCIAL, there);
    let there = client.disable_schema_definition_sync_on_node(Some(&node));
    r.refused("disable_schema_definition_sync_on_node", COMMERCIAL, there);
    r.refused("enable_schema_definition_sync", COMMERCIAL, client.enable_schema_definition_sync());
    r.refused("disable_schema_definition_sync", COMMERCIAL, client.disable_schema_definition_sync());
    r.refused("warm_standby_replication_status", COMMERCIAL, client.warm_standby_replication_status());
}

/// The frame has opened connections, with a channel and a consumer each.
fn clients(client: &Http, r: &mut Results, names: &Names) {
    let (staying, closing) = (set("CHECK_STAYING"), set("CHECK_CLOSING"));
    r.works("list_connections", client.list_connections(), |all| all.iter().any(|it| it.name == staying));
    r.works("list_connections_paged", client.list_connections_paged(&first()), |all| all.len() >= 3);
    r.works("get_connection_info", client.get_connection_info(&staying), |it| it.username == "guest");
    r.works("list_connections_in", client.list_connections_in("/"), |all| all.iter().any(|it| it.name == staying));
    r.works("list_user_connections", client.list_user_connections("guest"), |all| all.len() >= 2);
    let channels = r.works("list_channels", client.list_channels(), |all| all.len() >= 3);
    r.works("list_channels_paged", client.list_channels_paged(&first()), |all| all.len() >= 3);
    r.works("list_channels_in", client.list_channels_in("/"), |all| all.len() >= 3);
    r.works("list_channels_in_paged", client.list_channels_in_paged("/", &first()), |all| all.len() >= 3);
    r.works("list_channels_on", client.list_channels_on(&staying), |all| all.len() == 1);
    let name = channels.unwrap_or_default().into_iter().next().map(|it| it.name).unwrap_or_default();
    r.works("get_channel_info", client.get_channel_info(&name), |it| it.name == name);
    r.works("list_consumers", client.list_consumers(), |all| !all.is_empty());
    r.works("list_consumers_in", client.list_consumers_in("/"), |all| !all.is_empty());
    r.does("close_connection", client.close_connection(&closing, Some("a check"), false));
    r.does("close_connection again", client.close_connection(&closing, None, true));
    r.does("close_user_connections", client.close_user_connections(&names.leaving, Some("a check"), false));

    r.refused("get_stream_connection_info", NO_STREAMS, client.get_stream_connection_info("/", "c"));
    r.refused("list_stream_connections", NO_STREAMS, client.list_stream_connections());
    r.refused("list_stream_connections_in", NO_STREAMS, client.list_stream_connections_in("/"));
    r.refused("list_stream_publishers", NO_STREAMS, client.list_stream_publishers());
    r.refused("list_stream_publishers_in", NO_STREAMS, client.list_stream_publishers_in("/"));
    r.refused("list_stream_publishers_of", NO_STREAMS, client.list_stream_publishers_of("/", "s"));
    let on = client.list_stream_publishers_on_connection("/", "c");
    r.refused("list_stream_publishers_on_connection", NO_STREAMS, on);
    r.refused("list_stream_consumers", NO_STREAMS, client.list_stream_consumers());
    r.refused("list_stream_consumers_in", NO_STREAMS, client.list_stream_consumers_in("/"));
    let on = client.list_stream_consumers_on_connection("/", "c");
    r.refused("list_stream_consumers_on_connection", NO_STREAMS, on);
}

fn shovels_and_federation(client: &Http, r: &mut Results, names: &Names) {
    let v = names.vhost.as_str();
    // What is declared is kept as a parameter, for the day it means something.
    let old = Amqp091ShovelParams {
        name: "sh",
        vhost: v,
        acknowledgement_mode: MessageTransferAcknowledgementMode::WhenConfirmed,
        reconnect_delay: Some(5),
        source: Amqp091ShovelSourceParams::queue_source("amqp://", "q"),
        destination: Amqp091ShovelDestinationParams::queue_destination("amqp://", "q2"),
    };
    r.does("declare_amqp091_shovel", client.declare_amqp091_shovel(old));
    let new = Amqp10ShovelParams {
        name: "sh",
        vhost: v,
        acknowledgement_mode: MessageTransferAcknowledgementMode::WhenConfirmed,
        reconnect_delay: Some(5),
        source: Amqp10ShovelSourceParams::new("amqp://", "q"),
        destination: Amqp10ShovelDestinationParams::new("amqp://", "q2"),
    };
    r.does("declare_amqp10_shovel", client.declare_amqp10_shovel(new));
    r.refused("list_shovels", NO_SHOVELS, client.list_shovels());
    r.refused("list_shovels_in", NO_SHOVELS, client.list_shovels_in(v));
    r.does("delete_shovel", client.delete_shovel(v, "sh", false));

    let upstream = FederationUpstreamParams::new_queue_federation_upstream(v, "up", "amqp://", QueueFederationParams::new("q"));
    r.does("declare_federation_upstream", client.declare_federation_upstream(upstream));
    r.works("get_federation_upstream", client.get_federation_upstream(v, "up"), |it| it.uri == "amqp://");
    r.works("list_federation_upstreams", client.list_federation_upstreams(), |all| all.iter().any(|it| it.name == "up"));
    r.refused("list_federation_links", NO_FEDERATION, client.list_federation_links());
    r.does("delete_federation_upstream", client.delete_federation_upstream(v, "up", false));
}

fn end(client: &Http, r: &mut Results, names: &Names) {
    let (u, v) = (names.user.as_str(), names.vhost.as_str());
    r.does("delete_queue", client.delete_queue(v, "q", false));
    r.does("delete_queue again", client.delete_queue(v, "q", true));
    r.does("delete_queues", client.delete_queues(v, &["q2", "qq"], false));
    r.refused("delete_stream", NO_STREAMS, client.delete_stream(v, "s", false));
    r.works("list_queues_in after", client.list_queues_in(v), Vec::is_empty);
    r.does("delete_exchange", client.delete_exchange(v, "x", false));
    r.does("delete_exchanges", client.delete_exchanges(v, &["x2"], false));
    r.works("list_exchanges_in after", client.list_exchanges_in(v), |all| all.len() == 7);
    r.does("clear_permissions", client.clear_permissions(v, u, false));
    r.does("delete_user", client.delete_user(u, false));
    r.does("delete_users", client.delete_users(vec![names.leaving.as_str()]));
    r.works("list_users after", client.list_users(), |all| all.iter().all(|it| it.name != u && it.name != names.leaving));
    r.does("delete_vhost", client.delete_vhost(v, false));
    r.works("list_vhosts after", client.list_vhosts(), |all| all.iter().all(|it| it.name != v));
}
