//! Every path of the API, with its verbs, and the handler behind it.

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, delete, get, post, put};

use super::resources::policies::{OfOperators, OfUsers};
use super::resources::{
    bindings, browse, channels, connections, consumers, definitions, exchanges, explain, health,
    limits, messages, nodes, overview, parameters, permissions, policies, queues, users, vhosts,
};
use super::{Context, pages};
use crate::auth::{Permission, TopicPermission};

/// The API and the pages.
pub(super) fn api(context: Context) -> Router {
    Router::new()
        .nest("/api", paths())
        .merge(pages::routes())
        .with_state(context)
}

fn paths() -> Router<Context> {
    Router::new()
        .merge(of_the_node())
        .merge(of_the_topology())
        .merge(of_clients())
        .merge(of_users())
        .merge(of_policies())
        .merge(of_definitions())
        .nest("/warren", own())
        .nest("/health/checks", checks())
        .merge(absent())
}

/// What RabbitMQ has only with Erlang, in a cluster or by plugins Warren does not have.
fn absent() -> Router<Context> {
    let paths = [
        "/nodes/{node}/memory",
        "/nodes/{node}/memory/{*rest}",
        "/queues/quorum/{*rest}",
        "/shovels",
        "/shovels/{*rest}",
        "/federation-links",
        "/federation-links/{*rest}",
        "/stream/{*rest}",
        "/traces",
        "/traces/{*rest}",
        "/trace-files",
        "/top/{*rest}",
    ];
    let add = |router: Router<Context>, path| router.route(path, any(overview::absent));
    paths.into_iter().fold(Router::new(), add)
}

fn of_the_node() -> Router<Context> {
    Router::new()
        .route("/overview", get(overview::get))
        .route("/whoami", get(overview::who_am_i))
        .route("/version", get(overview::version))
        .route("/extensions", get(overview::extensions))
        .route(
            "/cluster-name",
            get(overview::cluster_name).put(overview::set_cluster_name),
        )
        .route("/config/effective", get(overview::effective_config))
        .route("/reset", delete(overview::reset))
        .route("/reset/{node}", delete(overview::reset_node))
        .route("/nodes", get(nodes::all))
        .route("/nodes/{node}", get(nodes::get))
        .route("/vhosts", get(vhosts::all))
        .route(
            "/vhosts/{vhost}",
            get(vhosts::get).put(vhosts::set).delete(vhosts::delete),
        )
        .route("/vhosts/{vhost}/start/{node}", post(vhosts::start))
        .route(
            "/vhosts/{vhost}/deletion/protection",
            post(vhosts::protect_from_deletion).delete(vhosts::allow_deletion),
        )
        .route("/feature-flags", get(overview::feature_flags))
        .route(
            "/feature-flags/{name}/enable",
            put(overview::enable_feature),
        )
        .route("/deprecated-features", get(overview::deprecated_features))
        .route(
            "/deprecated-features/used",
            get(overview::deprecated_features),
        )
        .route("/auth", get(overview::auth))
        .route("/auth/attempts/{node}", get(overview::auth_attempts))
        .route("/rebalance/queues", post(overview::rebalance))
        .route("/healthchecks/node", get(health::in_service))
        .route("/healthchecks/node/{node}", get(health::node))
}

fn of_the_topology() -> Router<Context> {
    let between = "/bindings/{vhost}/e/{source}/{kind}/{destination}";
    Router::new()
        .route("/exchanges", get(exchanges::all))
        .route("/exchanges/{vhost}", get(exchanges::all))
        .route(
            "/exchanges/{vhost}/{name}",
            get(exchanges::get)
                .put(exchanges::declare)
                .delete(exchanges::delete),
        )
        .route("/exchanges/{vhost}/{name}/publish", post(messages::publish))
        .route(
            "/exchanges/{vhost}/{name}/bindings/source",
            get(bindings::of_source),
        )
        .route(
            "/exchanges/{vhost}/{name}/bindings/destination",
            get(bindings::of_destination),
        )
        .route("/queues", get(queues::all))
        .route("/queues/detailed", get(queues::all))
        .route("/queues/{vhost}", get(queues::all))
        .route(
            "/queues/{vhost}/{name}",
            get(queues::get).put(queues::declare).delete(queues::delete),
        )
        .route("/queues/{vhost}/{name}/contents", delete(queues::purge))
        .route("/queues/{vhost}/{name}/actions", post(queues::act))
        .route("/queues/{vhost}/{name}/get", post(messages::get))
        .route("/aliveness-test/{vhost}", get(messages::alive))
        .route("/queues/{vhost}/{name}/bindings", get(bindings::of_queue))
        .route("/bindings", get(bindings::all))
        .route("/bindings/{vhost}", get(bindings::all))
        .route(between, get(bindings::between).post(bindings::bind))
        .route(
            &format!("{between}/{{properties_key}}"),
            get(bindings::get).delete(bindings::unbind),
        )
}

fn of_clients() -> Router<Context> {
    Router::new()
        .route("/connections", get(connections::all))
        .route(
            "/connections/{name}",
            get(connections::get).delete(connections::close),
        )
        .route(
            "/connections/username/{user}",
            get(connections::of_user).delete(connections::close_of_user),
        )
        .route("/connections/{name}/channels", get(channels::of_connection))
        .route("/channels", get(channels::all))
        .route("/channels/{name}", get(channels::get))
        .route("/consumers", get(consumers::all))
        .route("/consumers/{vhost}", get(consumers::all))
        .route("/vhosts/{vhost}/connections", get(connections::all))
        .route("/vhosts/{vhost}/channels", get(channels::all))
}

fn of_policies() -> Router<Context> {
    policies_at::<OfUsers>("/policies").merge(policies_at::<OfOperators>("/operator-policies"))
}

fn policies_at<K: policies::Kind>(path: &str) -> Router<Context> {
    Router::new()
        .route(path, get(policies::all::<K>))
        .route(&format!("{path}/{{vhost}}"), get(policies::all::<K>))
        .route(
            &format!("{path}/{{vhost}}/{{name}}"),
            get(policies::get::<K>)
                .put(policies::set::<K>)
                .delete(policies::delete::<K>),
        )
}

/// What RabbitMQ does not have.
fn own() -> Router<Context> {
    Router::new()
        .route("/queues/{vhost}/{name}/explain", get(explain::queue))
        .route("/queues/{vhost}/{name}/messages", get(browse::list))
        .route(
            "/queues/{vhost}/{name}/messages/{id}",
            delete(browse::delete),
        )
        .route("/queues/{vhost}/{name}/move", post(browse::relocate))
        .route(
            "/queues/{vhost}/{name}/arguments/{argument}",
            put(explain::set_argument).delete(explain::clear_argument),
        )
        .route("/exchanges/{vhost}/{name}/explain", get(explain::exchange))
        .route("/exchanges/{vhost}/{name}/route", post(explain::route))
}

fn of_definitions() -> Router<Context> {
    Router::new()
        .route("/definitions", get(definitions::get).post(definitions::put))
        .route(
            "/all-configuration",
            get(definitions::get).post(definitions::put),
        )
        .route(
            "/definitions/{vhost}",
            get(definitions::get_vhost).post(definitions::put_vhost),
        )
        .route("/parameters", get(parameters::all))
        .route("/parameters/{component}", get(parameters::of_component))
        .route("/parameters/{component}/{vhost}", get(parameters::of_vhost))
        .route(
            "/parameters/{component}/{vhost}/{name}",
            get(parameters::get)
                .put(parameters::set)
                .delete(parameters::delete),
        )
        .route("/global-parameters", get(parameters::all_global))
        .route(
            "/global-parameters/{name}",
            get(parameters::get_global)
                .put(parameters::set_global)
                .delete(parameters::delete_global),
        )
}

fn of_users() -> Router<Context> {
    Router::new()
        .route("/users", get(users::all))
        .route(
            "/users/without-permissions",
            get(users::without_permissions),
        )
        .route("/users/bulk-delete", post(users::delete_all))
        .route(
            "/users/{user}",
            get(users::get).put(users::set).delete(users::delete),
        )
        .route(
            "/users/{user}/permissions",
            get(permissions::of_user::<Arc<Permission>>),
        )
        .route(
            "/users/{user}/topic-permissions",
            get(permissions::of_user::<Arc<TopicPermission>>),
        )
        .route(
            "/vhosts/{vhost}/permissions",
            get(permissions::of_vhost::<Arc<Permission>>),
        )
        .route(
            "/vhosts/{vhost}/topic-permissions",
            get(permissions::of_vhost::<Arc<TopicPermission>>),
        )
        .route("/permissions", get(permissions::all::<Arc<Permission>>))
        .route(
            "/permissions/{vhost}/{user}",
            get(permissions::get)
                .put(permissions::set)
                .delete(permissions::delete),
        )
        .route(
            "/topic-permissions",
            get(permissions::all::<Arc<TopicPermission>>),
        )
        .route(
            "/topic-permissions/{vhost}/{user}",
            get(permissions::topics_between)
                .put(permissions::set_topic)
                .delete(permissions::delete_topics),
        )
        .route(
            "/topic-permissions/{vhost}/{user}/{exchange}",
            delete(permissions::delete_topic),
        )
        .route("/vhost-limits", get(limits::of_vhosts))
        .route("/vhost-limits/{vhost}", get(limits::of_vhost))
        .route(
            "/vhost-limits/{vhost}/{limit}",
            put(limits::set_of_vhost).delete(limits::clear_of_vhost),
        )
        .route("/user-limits", get(limits::of_users))
        .route("/user-limits/{user}", get(limits::of_user))
        .route(
            "/user-limits/{user}/{limit}",
            put(limits::set_of_user).delete(limits::clear_of_user),
        )
        .route("/auth/hash_password/{password}", get(users::hash_password))
}

fn checks() -> Router<Context> {
    Router::new()
        .route("/port-listener/{port}", get(health::port_listener))
        .route(
            "/protocol-listener/{protocols}",
            get(health::protocol_listener),
        )
        .route(
            "/certificate-expiration/{within}/{unit}",
            get(health::certificate_expiration),
        )
        .route("/alarms", get(health::alarms))
        .route("/local-alarms", get(health::alarms))
        .route("/virtual-hosts", get(health::virtual_hosts))
        .route("/node-is-quorum-critical", get(health::single_node))
        .route("/node-is-mirror-sync-critical", get(health::single_node))
        .route("/reached-target-cluster-size", get(health::single_node))
        .route("/is-in-service", get(health::in_service))
        .route("/ready-to-serve-clients", get(health::in_service))
        .route("/metadata-store/initialized", get(health::in_service))
        .route(
            "/metadata-store/initialized/with-data",
            get(health::in_service),
        )
}
