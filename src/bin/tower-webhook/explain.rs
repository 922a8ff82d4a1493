//! Explains a saved request.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tower_webhook::provider::{Begin, Outcome, Provider as _};
use tower_webhook::{AnyProvider, Clock as _, Reason, Rejection, SystemClock, inspect};

use crate::NO;
use crate::output::{BAD, CURE, Failure, GOOD, Output};
use crate::sender::{self, SenderArgs};

#[derive(clap::Args)]
#[command(
    after_help = "The file has the request as it goes over the wire in HTTP/1.1:\n\n    POST /hooks HTTP/1.1\n    \
    x-hub-signature-256: sha256=..\n\n    {\"ref\": \"main\"}\n\nExit status: 0 if it verifies, 1 if it is refused."
)]
pub struct Args {
    /// The file with the request, or - for stdin
    file: PathBuf,
    /// The sender that the request should be from
    #[arg(long, short, value_name = "NAME")]
    provider: Option<String>,
    /// When the request came, as 2026-11-26T12:00:00Z. Without it, the time is judged by this
    /// machine's clock
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[command(flatten)]
    sender: SenderArgs,
}

pub async fn run(args: Args, output: &Output) -> Result<ExitCode, Failure> {
    let config = args.sender.config(args.provider.as_deref())?;
    let explainer = args.sender.explainer(&config)?;
    let provider = config.clone().build().map_err(|error| args.sender.hint(&config, &error))?;
    let file = if args.file.as_os_str() == "-" {
        let mut file = Vec::new();
        std::io::stdin().read_to_end(&mut file).map_err(Failure::outside)?;
        file
    } else {
        sender::read(&args.file)?
    };
    let request =
        inspect::read_request(&file).map_err(|error| Failure::mistake(format!("{}: {error}", args.file.display())))?;
    let now = match &args.at {
        None => SystemClock.now(),
        Some(text) => OffsetDateTime::parse(text, &Rfc3339)
            .map(SystemTime::from)
            .map_err(|_| Failure::mistake("--at: it is not a time such as 2026-11-26T12:00:00Z"))?,
    };
    let (head, body) = request.into_parts();
    let rejection = match verify(&provider, &head, &body, now).await {
        Ok(answer) => {
            output.tell(
                || format!("{GOOD}✓{GOOD:#} {}: {answer}", provider.name()),
                || json!({ "provider": provider.name(), "verified": true }),
            );
            return Ok(ExitCode::SUCCESS);
        }
        Err(rejection) => rejection,
    };
    let explanation = explainer.explain_rejection(&rejection, &head, Some(&body), now).await;
    output.tell(
        || {
            let mut text = format!("{BAD}✗{BAD:#} {}: {rejection}", provider.name());
            match &explanation {
                None => text += "\n  nothing that is known would have verified: another secret, most likely",
                Some(explanation) => {
                    let sureness = if explanation.is_proven() { "" } else { "probably " };
                    for finding in explanation.findings() {
                        text += &format!(
                            "\n  cause: {sureness}{}\n  cure:  {CURE}{}{CURE:#}",
                            finding.cause(),
                            finding.cure()
                        );
                    }
                }
            }
            text
        },
        || {
            json!({
                "provider": provider.name(), "verified": false, "reason": rejection.reason().as_str(),
                "rejection": rejection.to_string(), "explanation": explanation,
            })
        },
    );
    Ok(ExitCode::from(NO))
}

/// Verifies a request, and returns what would have become of it.
async fn verify(
    provider: &AnyProvider,
    head: &Parts,
    body: &Bytes,
    now: SystemTime,
) -> Result<&'static str, Rejection> {
    let Begin::Verify(mut verification) = provider.begin(head, &move || now)?.wait().await? else {
        return Ok("a question of the sender, which is answered");
    };
    match provider.finish(&mut verification, head, body, body)?.wait().await? {
        Outcome::Deliver(_) => Ok("the request verifies"),
        Outcome::Answer(_) => Ok("a question of the sender, which is answered"),
        _ => Err(Reason::NoDelivery.into()),
    }
}
