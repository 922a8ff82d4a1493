//! Sends test events as a sender would.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Request};
use serde_json::json;
use tower_webhook::testing::{SampleSender, SigningKey};
use tower_webhook::{Clock as _, SystemClock};
use zeroize::Zeroizing;

use crate::NO;
use crate::listen::client;
use crate::output::{BAD, FAINT, Failure, GOOD, Output};
use crate::sender::{self, SenderArgs};
use crate::serve::with_sources;

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n\n    WEBHOOK_SECRET=s3cret tower-webhook send github http://127.0.0.1:8080/hooks --event push \
    --body push.json\n\n\
    Exit status: 0 if every answer is 2xx, 1 if one is not, 3 if there is none."
)]
pub struct Args {
    /// The sender to play
    provider: String,
    /// Where to send the event
    url: reqwest::Url,
    /// The event's name, which goes where the sender puts it
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// The id of the event or delivery. The default is a new one for each
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The body, from this file, byte for byte. The default is a small one in the sender's form
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The private key that plays the sender's, in PEM (PKCS #8), for senders that sign with one.
    /// The receiver needs the public one, which is told
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<PathBuf>,
    /// A further header
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The method, if the sender uses others than POST
    #[arg(long, default_value = "POST")]
    method: Method,
    /// How many events are sent
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    count: u64,
    /// How many events are sent a second. The default is one after another
    #[arg(long, value_name = "NUMBER")]
    rate: Option<f64>,
    /// How long an answer may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    timeout: u64,
    #[command(flatten)]
    sender: SenderArgs,
}

pub async fn run(args: Args, output: &Output) -> Result<ExitCode, Failure> {
    let mut config = args.sender.config(Some(&args.provider))?;
    let key = args.private_key_file.as_deref().map(read_key).transpose()?;
    if let Some(key) = &key {
        config.public_keys = vec![key.public_key().to_owned()];
        output.warn(
            || format!("the receiver needs the public key {}", key.public_key()),
            || json!({ "public_key": key.public_key() }),
        );
    }
    let sender = SampleSender::new(config.clone()).map_err(|error| args.sender.hint(&config, &error))?;
    let sender = match key {
        Some(key) => sender.with_key(key),
        None => sender,
    };
    let body = args.body.as_deref().map(sender::read).transpose()?.map(Bytes::from);
    let headers = args.header.iter().map(|header| read_header(header)).collect::<Result<Vec<_>, _>>()?;
    let client = client(Duration::from_secs(args.timeout))?;
    let pause = match args.rate {
        None => None,
        Some(rate) if rate > 0.0 && rate.is_finite() => Some(
            Duration::try_from_secs_f64(1.0 / rate).map_err(|error| Failure::mistake(format!("--rate: {error}")))?,
        ),
        Some(_) => return Err(Failure::mistake("--rate: it is not above 0")),
    };
    let mut ticks = pause.map(tokio::time::interval);
    let mut all_taken = true;
    for number in 0..args.count {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let id = args.id.clone().unwrap_or_else(|| format!("test_{}_{number}", millis()));
        let mut request = Request::builder().method(args.method.clone()).uri(target(&args.url));
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let request = request.body(body.clone()).map_err(Failure::mistake)?;
        let request = sender.sign(request, args.event.as_deref(), &id, SystemClock.now());
        let request = request.map_err(|error| Failure::mistake(format!("{}: {error}", args.provider)))?;
        all_taken &= send(&client, &args.url, request, output, &args.provider).await?;
    }
    Ok(if all_taken { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// Sends a request, and returns whether the answer is 2xx.
async fn send(
    client: &reqwest::Client,
    url: &reqwest::Url,
    request: Request<Bytes>,
    output: &Output,
    provider: &str,
) -> Result<bool, Failure> {
    let (head, body) = request.into_parts();
    let mut url = url.clone();
    // What is signed may be in the address.
    url.set_path(head.uri.path());
    url.set_query(head.uri.query());
    let bytes = body.len();
    #[allow(clippy::disallowed_methods, reason = "it measures a duration and judges no time")]
    let started = Instant::now();
    let sent = client.request(head.method, url).headers(head.headers).body(body).send().await;
    let answer = sent.map_err(|error| Failure::outside(with_sources(&error.without_url())))?;
    let (status, millis) = (answer.status(), started.elapsed().as_millis());
    let style = if status.is_success() { GOOD } else { BAD };
    output.tell(
        || format!("{provider}: {bytes} bytes → {style}{}{style:#} {FAINT}{millis} ms{FAINT:#}", status.as_u16()),
        || json!({ "provider": provider, "bytes": bytes, "status": status.as_u16(), "millis": millis }),
    );
    Ok(status.is_success())
}

fn target(url: &reqwest::Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

fn read_key(path: &Path) -> Result<SigningKey, Failure> {
    let pem = Zeroizing::new(sender::read(path)?);
    let pem = std::str::from_utf8(&pem).unwrap_or_default();
    SigningKey::from_pem(pem).map_err(|error| Failure::mistake(format!("{}: {error}", path.display())))
}

fn read_header(text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let mistaken = || Failure::mistake(format!("--header {text}: it is not NAME: VALUE"));
    let (name, value) = text.split_once(':').ok_or_else(mistaken)?;
    Ok((name.trim().parse().map_err(|_| mistaken())?, value.trim().parse().map_err(|_| mistaken())?))
}

pub fn millis() -> u128 {
    SystemClock.now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis())
}
