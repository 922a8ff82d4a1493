//! Receives requests, tells of each whether it is genuine or what is wrong, and forwards those that
//! are.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use serde_json::json;
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower_webhook::inspect::{Diagnosis, Exchange, Explanation, Inspector, Recorder};
use tower_webhook::provider::Provider as _;
use tower_webhook::senders::SenderConfig;
use tower_webhook::testing::SampleSender;
use tower_webhook::{Clock as _, Delivery, Reason, Rejection, SystemClock, WebhookLayer};

use crate::output::{BAD, CURE, FAINT, Failure, GOOD, Output, plain, size};
use crate::send;
use crate::sender::{OLD, SenderArgs};
use crate::serve::{self, with_sources};

#[derive(clap::Args)]
#[command(after_help = "Deliveries are told on stdout, refusals and their explanations on stderr.\n\nExample:\n\n    \
    WEBHOOK_SECRET=whsec_.. tower-webhook listen --provider stripe --forward http://127.0.0.1:3000/webhooks/stripe")]
pub struct Args {
    /// The sender to expect
    #[arg(long, short, value_name = "NAME")]
    provider: Option<String>,
    /// The address to listen on. Others than of this machine need --allow-remote
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4040")]
    listen: SocketAddr,
    /// Listen on an address that other machines can reach
    #[arg(long)]
    allow_remote: bool,
    /// Where to send what verifies, with its headers and bytes unchanged
    #[arg(long, value_name = "URL")]
    forward: Option<reqwest::Url>,
    /// How long the target may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    forward_timeout: u64,
    /// The address of this machine for the page that shows what arrives. By default any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    page: SocketAddr,
    /// Show no page
    #[arg(long)]
    no_page: bool,
    #[command(flatten)]
    sender: SenderArgs,
}

#[derive(Clone)]
struct Listener {
    output: Output,
    forward: Option<(reqwest::Client, reqwest::Url)>,
}

pub async fn run(args: Args, output: &Output) -> Result<ExitCode, Failure> {
    if !args.listen.ip().is_loopback() && !args.allow_remote {
        return Err(Failure::mistake(format!("{} can be reached by other machines: add --allow-remote", args.listen)));
    }
    let config = args.sender.config(args.provider.as_deref())?;
    let provider = config.clone().build().map_err(|error| args.sender.hint(&config, &error))?;
    let test_sender = test_sender(config.clone());
    let mut diagnosis = Diagnosis::default().with_config(config);
    if let Some(old) = args.sender.old_secrets()? {
        diagnosis = diagnosis.with_other_secrets(OLD, old);
    }
    let client = client(Duration::from_secs(args.forward_timeout))?;
    let target = args.forward.map(|url| (client, url));
    let recorder = match target.clone() {
        None => Recorder::new(),
        Some(target) => Recorder::new().with_replay(move |exchange| replay(target.clone(), exchange)),
    };
    let listener = Listener { output: *output, forward: target };
    let (limit, name, out) = (provider.body_limit(), provider.name().clone(), *output);
    let layer = WebhookLayer::new(provider)
        .on_reject(move |rejection| refused(out, rejection))
        .with_diagnosis(diagnosis.on_explained(move |rejection, explanation| explained(out, rejection, explanation)));
    // The body is there before it is judged, so that it can be explained whatever it is refused for.
    let app = Router::new()
        .fallback(any(on_delivery).layer(recorder.around(layer)))
        .layer(middleware::from_fn(move |request, next| whole(limit, request, next)))
        .with_state(listener);
    let listener =
        TcpListener::bind(args.listen).await.map_err(|error| Failure::outside(format!("{}: {error}", args.listen)))?;
    let address = listener.local_addr().map_err(Failure::outside)?;
    // Not on the address that senders reach, which a tunnel may show to the world.
    let mut inspector = Inspector::from(&recorder);
    if let Some(sender) = test_sender {
        let app = app.clone();
        let host = address.to_string();
        inspector =
            inspector.with_test_events(move |event| test_event(sender.clone(), app.clone(), host.clone(), event));
    }
    let page = if args.no_page { None } else { Some(serve_page(&inspector, args.page).await?) };
    output.warn(
        || {
            let page = page.map(|page| format!(", page on http://{page}/")).unwrap_or_default();
            format!("listening on http://{address} for {name}{page}")
        },
        || {
            let page = page.map(|page| format!("http://{page}/"));
            json!({ "type": "listening", "url": format!("http://{address}"), "page": page, "provider": name })
        },
    );
    serve::server::serve(listener, app).await;
    Ok(ExitCode::SUCCESS)
}

/// Serves the page on this machine, and returns where.
async fn serve_page(inspector: &Inspector, address: SocketAddr) -> Result<SocketAddr, Failure> {
    let listener =
        TcpListener::bind(address).await.map_err(|error| Failure::outside(format!("--page {address}: {error}")))?;
    let address = listener.local_addr().map_err(Failure::outside)?;
    let page = inspector.router_on_loopback(address).map_err(Failure::mistake)?;
    // It ends with the command.
    tokio::spawn(async move { axum::serve(listener, page).await });
    Ok(address)
}

/// Returns what signs test events, unless that takes a key that only the sender has.
fn test_sender(config: SenderConfig) -> Option<Arc<SampleSender>> {
    let sender = SampleSender::new(config).ok()?;
    sender.sign(http::Request::post("/").body(None).ok()?, None, "test", SystemClock.now()).ok()?;
    Some(Arc::new(sender))
}

/// Hands a test event to the listener, as if it had arrived.
async fn test_event(
    sender: Arc<SampleSender>,
    app: Router,
    host: String,
    event: Option<String>,
) -> Result<StatusCode, String> {
    let request = http::Request::post("/").header(HOST, host).body(None).map_err(|error| error.to_string())?;
    let id = format!("test_{}", send::millis());
    let request = sender.sign(request, event.as_deref(), &id, SystemClock.now()).map_err(|error| error.to_string())?;
    match app.oneshot(request.map(Body::from)).await {
        Ok(response) => Ok(response.status()),
        Err(never) => match never {},
    }
}

/// Sends a request that was verified to the target again.
async fn replay((client, url): (reqwest::Client, reqwest::Url), exchange: Exchange) -> Result<StatusCode, String> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = exchange.method;
    *request.uri_mut() = exchange.url.parse().unwrap_or_default();
    // Credentials were not kept.
    let kept = exchange.headers.iter().filter(|(_, value)| *value != "[redacted]");
    request.headers_mut().extend(kept.map(|(name, value)| (name.clone(), value.clone())));
    let (status, ..) = forward(&client, &url, request, exchange.body).await?;
    Ok(status)
}

/// Receives the whole body, unless it is longer than the layer takes, which then refuses it.
async fn whole(limit: usize, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match to_bytes(body, limit.saturating_add(1)).await {
        Ok(body) => next.run(Request::from_parts(head, Body::from(body))).await,
        Err(_) => Rejection::new(Reason::BodyTooLarge).into_response(),
    }
}

async fn on_delivery(State(listener): State<Listener>, delivery: Delivery, request: Request) -> Response {
    let forwarded = match &listener.forward {
        None => None,
        Some((client, url)) => Some(forward(client, url, request, delivery.body().clone()).await),
    };
    listener.output.tell(
        || {
            let event = delivery.event().map_or_else(|| "delivery".to_owned(), plain);
            let id = delivery.id().map(|id| format!(" {}", plain(id))).unwrap_or_default();
            let told = match &forwarded {
                None => String::new(),
                Some(Ok((status, ..))) => format!(" → {}", status.as_u16()),
                Some(Err(error)) => format!(" {BAD}→ {error}{BAD:#}"),
            };
            let bytes = size(delivery.body().len());
            format!("{GOOD}✓{GOOD:#} {}: {event}{id} {FAINT}{bytes}{FAINT:#}{told}", delivery.provider())
        },
        || {
            json!({
                "type": "delivery", "provider": delivery.provider(), "event": delivery.event(), "id": delivery.id(),
                "bytes": delivery.body().len(),
                "forwarded": forwarded.as_ref().map(|forwarded| match forwarded {
                    Ok((status, ..)) => json!({ "status": status.as_u16() }),
                    Err(error) => json!({ "error": error }),
                }),
            })
        },
    );
    match forwarded {
        None => StatusCode::OK.into_response(),
        Some(Ok((status, content_type, body))) => {
            let mut response = (status, body).into_response();
            if let Some(content_type) = content_type {
                response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
            }
            response
        }
        Some(Err(_)) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

fn refused(output: Output, rejection: &Rejection) {
    let provider = rejection.provider().unwrap_or("?");
    output.warn(
        || format!("{BAD}✗{BAD:#} {provider}: {}", plain(&rejection.to_string())),
        || {
            json!({
                "type": "rejection", "provider": provider, "reason": rejection.reason().as_str(),
                "status": rejection.status().as_u16(), "rejection": rejection.to_string(),
            })
        },
    );
}

/// One line, the cause first and then the cure.
fn explained(output: Output, rejection: &Rejection, explanation: &Explanation) {
    let provider = rejection.provider().unwrap_or("?");
    output.warn(
        || format!("  {CURE}{provider}: {}{CURE:#}", plain(&explanation.to_string())),
        || json!({ "type": "explanation", "provider": provider, "explanation": explanation }),
    );
}

/// A client that goes where it is told and nowhere else.
pub fn client(timeout: Duration) -> Result<reqwest::Client, Failure> {
    let client = reqwest::Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(concat!("tower-webhook/", env!("CARGO_PKG_VERSION")));
    client.build().map_err(|error| Failure::outside(with_sources(&error)))
}

/// Headers that belong to one connection.
const OF_CONNECTION: [HeaderName; 7] = [CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

type Forwarded = (StatusCode, Option<http::HeaderValue>, Bytes);

async fn forward(
    client: &reqwest::Client,
    url: &reqwest::Url,
    request: Request,
    body: Bytes,
) -> Result<Forwarded, String> {
    let (mut head, _) = request.into_parts();
    OF_CONNECTION.iter().for_each(|name| {
        head.headers.remove(name);
    });
    // The target's own query, or else the sender's.
    let mut url = url.clone();
    if url.query().is_none() {
        url.set_query(head.uri.query());
    }
    let sent = client.request(head.method, url).headers(head.headers).body(body).send().await;
    let answer = sent.map_err(|error| with_sources(&error.without_url()))?;
    let (status, content_type) = (answer.status(), answer.headers().get(http::header::CONTENT_TYPE).cloned());
    let body = answer.bytes().await.map_err(|error| with_sources(&error.without_url()))?;
    Ok((status, content_type, body))
}
