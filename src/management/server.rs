//! HTTP servers: threads, listeners, connections.
//!
//! Owns the limits of a connection and the order in which it all ends. Knows no path: it is handed a
//! router.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tracing::{debug, warn};

use super::access::Peer;
use super::paths::{self, Place};
use crate::base::limits::{
    HTTP_COMPRESSED_MIN_BYTES, HTTP_CONNECTIONS_MAX, HTTP_HEAD_MAX_BYTES, HTTP_HEAD_TIMEOUT,
    HTTP_REQUEST_TIMEOUT,
};
use crate::base::reply::ApiError;
use crate::config::{InForce, Management};

/// Pause after a failed accept, so that it does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The threads that HTTP is served on, apart from those of the connections.
pub(super) struct HttpThreads(Runtime);

impl HttpThreads {
    /// Two: while a long list is written, a health check is answered.
    pub(super) fn start() -> io::Result<Self> {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("warren-http")
            .enable_all()
            .build()
            .map(HttpThreads)
    }

    /// Ends the threads. The servers must have been stopped.
    pub(super) fn stop(self) {
        self.0.shutdown_background();
    }
}

/// What holds for every path of a server.
#[derive(Debug, Clone, Default)]
pub(super) struct HttpSettings {
    /// In front of every path, such as `/warren`; a proxy may put it there.
    pub(super) prefix: String,
    /// The settings that say whose pages may ask; if there are none, nobody's.
    pub(super) cors: Option<InForce>,
}

/// A running server.
pub(super) struct HttpServer {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl HttpServer {
    /// Serves `router` on `listener`, which must not block, by `threads`.
    pub(super) fn start(
        threads: &HttpThreads,
        listener: std::net::TcpListener,
        router: Router,
        settings: HttpSettings,
    ) -> io::Result<Self> {
        let _entered = threads.0.enter();
        let listener = TcpListener::from_std(listener)?;
        let server = HttpServer {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let (stop, tasks) = (server.stop.clone(), server.tasks.clone());
        let prefix = Arc::from(settings.prefix.trim_end_matches('/'));
        let router = wrap(router, settings.cors);
        server.tasks.spawn_on(
            async move {
                let accepting = accept(listener, router, prefix, &stop, &tasks);
                stop.run_until_cancelled(accepting).await;
            },
            threads.0.handle(),
        );
        Ok(server)
    }

    /// Stops accepting, and lets requests end that are being answered, at most for `grace`.
    pub(super) async fn stop(&self, grace: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait())
            .await
            .is_err()
        {
            warn!("some HTTP requests did not end in time and were cut off");
        }
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    prefix: Arc<str>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    loop {
        // Who comes when all places are taken waits in the kernel's backlog.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let service = (router.clone(), Arc::clone(&prefix));
                let serving = serve(stream, peer, service, stop.clone());
                tasks.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(e) => {
                warn!(error = %e, "cannot accept HTTP connections");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    (router, prefix): (Router, Arc<str>),
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let place = paths::place(request.uri(), &prefix);
        let elsewhere = match &place {
            Place::Inside(uri) => {
                *request.uri_mut() = uri.clone();
                None
            }
            Place::Root => Some(Redirect::permanent(&format!("{prefix}/")).into_response()),
            Place::Outside => Some(ApiError::not_found().into_response()),
        };
        let router = router.clone();
        async move {
            match elsewhere {
                Some(response) => Ok(response),
                None => router.call(request).await,
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEAD_TIMEOUT)
        .max_buf_size(HTTP_HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = served {
        debug!(%peer, error = %e, "HTTP connection ended");
    }
}

/// The router with what every answer has.
fn wrap(router: Router, cors: Option<InForce>) -> Router {
    router
        .fallback(|| async { ApiError::not_found() })
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn(with_reason))
        .layer(compression())
        .layer(middleware::from_fn_with_state(cors, finish))
}

/// Answers are compressed for who accepts that, but for what is too short to gain by it. A list that is sent in
/// pieces is compressed piece by piece.
fn compression() -> CompressionLayer<impl Predicate> {
    const NO_GAIN: NotForContentType = NotForContentType::IMAGES;
    CompressionLayer::new()
        // Most of what there is to gain, at a fraction of the processor time.
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(HTTP_COMPRESSED_MIN_BYTES).and(NO_GAIN))
}

async fn in_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(HTTP_REQUEST_TIMEOUT, next.run(request))
        .await
        .unwrap_or_else(|_| ApiError::timeout().into_response())
}

/// A method that the path does not know. The router adds which it does.
async fn other_method(method: Method) -> StatusCode {
    match method {
        Method::OPTIONS => StatusCode::OK,
        _ => StatusCode::METHOD_NOT_ALLOWED,
    }
}

/// Faults that the router or the framework tells, such as a path that is no UTF-8, in the form that all have.
async fn with_reason(request: Request, next: Next) -> Response {
    const TOLD_MAX_BYTES: usize = 4096;
    let response = next.run(request).await;
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let told = axum::body::to_bytes(body, TOLD_MAX_BYTES).await;
    let told = told.unwrap_or_default();
    let name = status.canonical_reason().unwrap_or("Error");
    let reason = match String::from_utf8_lossy(&told) {
        told if told.is_empty() => name.into(),
        told => told,
    };
    let error = name.to_lowercase().replace(' ', "_");
    let body = json!({ "error": error, "reason": reason }).to_string();
    parts.headers.remove(header::CONTENT_LENGTH);
    let kind = HeaderValue::from_static("application/json");
    parts.headers.insert(header::CONTENT_TYPE, kind);
    Response::from_parts(parts, Body::from(body))
}

/// Sets the headers that caches and browsers go by.
async fn finish(
    State(settings): State<Option<InForce>>,
    request: Request<Body>,
    next: Next,
) -> Result<Response, Infallible> {
    let asked = request.headers().clone();
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::VARY,
        HeaderValue::from_static("accept, accept-encoding, origin"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache"));
    if let Some(methods) = headers.get(header::ALLOW) {
        let methods = [methods.as_bytes(), b",OPTIONS"].concat();
        if let Ok(methods) = HeaderValue::from_bytes(&methods) {
            headers.insert(header::ALLOW, methods);
        }
    }
    let cors = settings.map(|settings| settings.load_full());
    if let Some(cors) = cors.as_deref().map(|config| &config.management)
        && let Some(origin) = allowed(cors, &asked)
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let yes = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        if is_preflight {
            preflight(cors, &asked, headers);
        }
    }
    Ok(response)
}

/// The origin of a page whose scripts may use the API: one of those listed, or any with `*`.
fn allowed(cors: &Management, asked: &HeaderMap) -> Option<HeaderValue> {
    let origin = asked.get(header::ORIGIN)?;
    let listed = |allowed: &String| allowed == "*" || origin == allowed.as_str();
    cors.cors_allow_origins
        .iter()
        .any(listed)
        .then(|| origin.clone())
}

fn preflight(cors: &Management, asked: &HeaderMap, headers: &mut HeaderMap) {
    let mut copy = |from: HeaderName, to: HeaderName| {
        if let Some(value) = asked.get(from) {
            headers.insert(to, value.clone());
        }
    };
    copy(
        header::ACCESS_CONTROL_REQUEST_HEADERS,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
    );
    if let Some(methods) = headers.get(header::ALLOW).cloned() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, cors.cors_max_age_s.into());
}
