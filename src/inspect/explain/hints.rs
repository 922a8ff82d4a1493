//! What a request looks like where nothing is proven.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, USER_AGENT};
use http::request::Parts;

use crate::any_provider::AnyProvider;
use crate::provider::Provider as _;
use crate::rejection::{Reason, Rejection};
use crate::secrets::Secret;

use super::explanation::{Explanation, Finding, Mistake};
use super::{bodies, clock};

/// Returns what follows from the reason itself.
pub(super) fn of_reason(rejection: &Rejection) -> Option<Explanation> {
    let detail = rejection.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    Some(match rejection.reason() {
        // Some senders' messages are asked for their recipient before they are verified.
        Reason::NotForUs => Explanation::likely(vec![Finding::new(
            Mistake::OtherRecipient,
            format!("the request is meant for another topic, account, audience or webhook{detail}"),
            "compare the id that is set here with the one at the sender; a test webhook has one of its own",
        )]),
        Reason::NoDelivery => Explanation::proven(vec![Finding::new(
            Mistake::LayerOrder,
            "no webhook layer stands in front of the handler, or it stands behind the layer that needs it",
            "put the layer on this route, after the route's methods, with the inbox or the deduplication inside it",
        )]),
        _ => return None,
    })
}

/// Returns what the request looks like.
pub(super) fn of_request(
    rejection: &Rejection,
    provider: &AnyProvider,
    secrets: &[Secret],
    others: &[&'static str],
    head: &Parts,
    body: Option<&Bytes>,
) -> Option<Explanation> {
    let expected = provider.name();
    let finding = of_body(head, body)
        .or_else(|| {
            let names = others.get(..others.len().min(3))?.join(" or ");
            (!names.is_empty()).then(|| {
                Finding::new(
                    Mistake::OtherSender,
                    format!("this is a request of {names}, and the route expects {expected}"),
                    format!("give {names} the address of its own route, or make this one `{names}`"),
                )
            })
        })
        .or_else(|| environment(secrets, body?))
        .or_else(|| of_time(rejection))
        .or_else(|| {
            (rejection.reason() == Reason::MethodNotAllowed).then(|| {
                Finding::new(
                    Mistake::NoWebhook,
                    format!("this is no delivery of {expected} but a {} of {}", head.method, client(head)),
                    "nothing, if a browser or a scanner came by; a redirect to https or to another path turns a POST \
                     into a GET: give the sender the last address",
                )
            })
        })
        .or_else(|| {
            (rejection.reason() == Reason::MissingSignature).then(|| {
                Finding::new(
                    Mistake::NoWebhook,
                    format!("this is no delivery of {expected} but a request of {}", client(head)),
                    "set a secret at the sender, and have the proxy pass its headers; otherwise nothing: somebody \
                     tried the address",
                )
            })
        })?;
    Some(Explanation::likely(vec![finding]))
}

/// A body that isn't the one that the head announces.
fn of_body(head: &Parts, body: Option<&Bytes>) -> Option<Finding> {
    let body = body?;
    let announced: Option<usize> = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(announced) = announced.filter(|announced| *announced != body.len()) {
        let cause = if body.is_empty() {
            format!("the body was read before the layer could: {announced} bytes were announced, and none came")
        } else {
            format!(
                "the body was changed before the layer got it: {announced} bytes were announced, and {} came",
                body.len()
            )
        };
        let cure = "put the layer outside of whatever reads, decompresses or limits the body, next to the route";
        return Some(Finding::new(Mistake::LayerOrder, cause, cure));
    }
    (bodies::is_gzip(head) && !body.starts_with(&[0x1f, 0x8b])).then(bodies::decompressed)
}

/// A body that names one environment, and a secret that names the other.
fn environment(secrets: &[Secret], body: &[u8]) -> Option<Finding> {
    let has = |text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
    let named = |words: &[&str]| {
        secrets.iter().any(|secret| secret.as_given().is_ok_and(|text| words.iter().any(|word| text.contains(word))))
    };
    let is_live = has("\"livemode\":true") || has("\"livemode\": true") || has("\"live\":\"true\"");
    let is_test = has("\"livemode\":false") || has("\"livemode\": false") || has("\"live\":\"false\"");
    let (sent, set) = if is_live && named(&["test", "sandbox"]) {
        ("live", "test")
    } else if is_test && named(&["live", "prod"]) {
        ("test", "live")
    } else {
        return None;
    };
    Some(Finding::new(
        Mistake::OtherEnvironment,
        format!("the body is of the {sent} environment, and the secret is called one of the {set} environment"),
        "use the secret of the environment that sends",
    ))
}

fn of_time(rejection: &Rejection) -> Option<Finding> {
    clock::is_about_time(rejection).then(|| {
        let detail = rejection.detail().unwrap_or("the time of the request isn't near this machine's");
        Finding::new(
            Mistake::Clock,
            detail.to_owned(),
            "set this machine's clock by NTP; if it is right, the request was held up on its way or sent again later",
        )
    })
}

/// Returns what a client calls itself, without what may follow.
fn client(head: &Parts) -> String {
    let agent = head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let name = agent.and_then(|agent| agent.split(['/', ' ']).next()).filter(|name| {
        (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    name.map_or_else(|| "an unknown client".to_owned(), |name| format!("the client `{name}`"))
}
