//! Every path of the API, with its verbs, and the handler behind it.

use axum::Router;
use axum::routing::{any, delete, get, post};

use super::resources::{bindings, exchanges, health, messages, nodes, overview, queues, vhosts};
use super::{Context, pages};

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
        .route("/cluster-name", get(overview::cluster_name))
        .route("/nodes", get(nodes::all))
        .route("/nodes/{node}", get(nodes::get))
        .route("/vhosts", get(vhosts::all))
        .route("/vhosts/{vhost}", get(vhosts::get))
        .route("/rebalance/queues", post(overview::rebalance))
        .route("/healthchecks/node", get(health::in_service))
        .route("/healthchecks/node/{node}", get(health::node))
}

fn of_the_topology() -> Router<Context> {
    let between = "/bindings/{vhost}/e/{source}/{kind}/{destination}";
    Router::new()
        .route("/exchanges", get(exchanges::all))
        .route("/exchanges/{vhost}", get(exchanges::of_vhost))
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
        .route("/queues/{vhost}", get(queues::of_vhost))
        .route(
            "/queues/{vhost}/{name}",
            get(queues::get).put(queues::declare).delete(queues::delete),
        )
        .route("/queues/{vhost}/{name}/contents", delete(queues::purge))
        .route("/queues/{vhost}/{name}/actions", post(queues::act))
        .route("/queues/{vhost}/{name}/get", post(messages::get))
        .route("/queues/{vhost}/{name}/bindings", get(bindings::of_queue))
        .route("/bindings", get(bindings::all))
        .route("/bindings/{vhost}", get(bindings::of_vhost))
        .route(between, get(bindings::between).post(bindings::bind))
        .route(
            &format!("{between}/{{properties_key}}"),
            get(bindings::get).delete(bindings::unbind),
        )
}

fn checks() -> Router<Context> {
    Router::new()
        .route("/port-listener/{port}", get(health::port_listener))
        .route(
            "/protocol-listener/{protocols}",
            get(health::protocol_listener),
        )
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
