//! The table of senders, in the order of their names. Senders that need code of their own have a
//! file of their name.

use std::borrow::Cow;
use std::time::Duration;

#[cfg(feature = "asymmetric")]
use http::header::CONTENT_TYPE;
#[cfg(feature = "asymmetric")]
use http::{HeaderName, HeaderValue};
use http::{Method, StatusCode};

use crate::answer::Answer;
use crate::config::ConfigError;
#[cfg(any(feature = "jwt", feature = "asymmetric"))]
use crate::delivery::Signed;
use crate::encoding::Encoding;
#[cfg(feature = "asymmetric")]
use crate::headers::{LONGEST_HEADER, required};
#[cfg(feature = "asymmetric")]
use crate::pointer::member_is;
use crate::pointer::{Mark, member};
use crate::rejection::{Reason, Rejection};
#[cfg(feature = "asymmetric")]
use crate::scheme::MessageRules;
#[cfg(all(feature = "jwt", feature = "asymmetric"))]
use crate::scheme::body;
use crate::scheme::{
    Handshake, Scheme, SchemeBuilder, Source, basic, challenge_mac, echo, header, json, numbered_headers, printable,
    query,
};
#[cfg(feature = "jwt")]
use crate::scheme::{JwtRules, bearer};
use crate::secrets::KeyFormat;
use crate::text::Text;
#[cfg(feature = "jwt")]
use crate::time::Tolerance;
use crate::urlencoded::is_form;

use super::adyen::adyen_payments;
#[cfg(all(feature = "jwt", feature = "certificates"))]
use super::apple_app_store;
use super::asana;
use super::braintree::braintree;
use super::cloudevents;
use super::contentful;
#[cfg(feature = "asymmetric")]
use super::ebay;
use super::gitlab::gitlab;
#[cfg(feature = "jwt")]
use super::google;
use super::hubspot::{self, hubspot_v3};
use super::mailgun::mailgun;
use super::mercado_pago::mercado_pago;
use super::notion;
#[cfg(feature = "paypal")]
use super::paypal;
use super::paystack;
use super::standard_webhooks::svix;
use super::table::senders;
use super::tiktok_shop::tiktok_shop;
use super::twilio::{self, twilio};
use super::{meta, okta, standard_webhooks};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The longest body that may be Slack's question for an address, three short texts that take 129
/// bytes in Slack's document: longer bodies, as most events are, are not searched for it.
const MAX_SLACK_QUESTION: usize = 512;

/// The tolerance for senders whose documents name none.
const OURS: Duration = seconds(300);

senders! {
    /// Webhooks of the platform, of management and of banking. The secret is hexadecimal, as the Customer Area shows it. The
    /// header's name is not in the document, it is what others found.
    secret adyen_banking = "Adyen for Platforms, Management and Banking",
        "https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures", Official:
        Scheme::hmac_sha256().signature(header("hmacsignature").base64()).with_key_format(KeyFormat::Hex).event(json("/type"));

    own adyen_payments = "Adyen payments",
        "https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures", Official:
        |config| adyen_payments(config.take_secrets()?);

    /// Tracking webhooks.
    secret aftership = "AfterShip", "https://www.aftership.com/docs/tracking/webhook/webhook-signature", Official:
        Scheme::hmac_sha256()
            .signature(header("aftership-hmac-sha256").base64())
            .event(json("/event"))
            .id(json("/event_id"));

    /// The secret is base64, as Airtable gave it when the webhook was made.
    secret airtable = "Airtable", "https://airtable.com/developers/web/api/webhooks-overview", Official:
        Scheme::hmac_sha256()
            .signature(header("x-airtable-content-mac").prefix("hmac-sha256=").hex())
            .with_key_format(KeyFormat::Base64);

    /// Times are milliseconds. The tolerance of 300 seconds is ours. The handler has to answer exactly 200.
    secret airwallex = "Airwallex",
        "https://www.airwallex.com/docs/developer-tools/webhooks/listen-for-webhook-events", Official:
        Scheme::hmac_sha256()
            .signature(header("x-signature").hex())
            .timestamp(header("x-timestamp").unix_millis().within(OURS))
            .signed("{timestamp}{body}")
            .event(json("/name"))
            .id(json("/id"));

    /// Each webhook has a signing key of its own.
    secret alchemy = "Alchemy Notify", "https://www.alchemy.com/docs/reference/notify-api-quickstart", Official:
        Scheme::hmac_sha256().signature(header("x-alchemy-signature").hex()).event(json("/type")).id(json("/id"));

    own("jwt", "certificates") apple_app_store = "Apple App Store Server Notifications",
        "https://developer.apple.com/documentation/appstoreservernotifications", Official:
        apple_app_store::from_config;

    own asana = "Asana",
        "https://developers.asana.com/docs/webhooks-guide", Official:
        asana::from_config;

    /// The secret is the webhook's secret token.
    secret ashby = "Ashby", "https://developers.ashbyhq.com/docs/authenticating-webhooks", Official:
        Scheme::hmac_sha256().signature(header("ashby-signature").prefix("sha256=").hex()).event(json("/action"));

    /// Custom log streams. The secret is the whole value of `Authorization`, as you set it; the body, an array of
    /// events, is not signed.
    /// That the header holds what you set, and nothing else, is known from others.
    secret auth0 = "Auth0 log streams", "https://auth0.com/docs/customize/log-streams/custom-log-streams", Unverified:
        Scheme::token(header("authorization"));

    /// Azure Event Grid, whose subscription has this secret in the query of its address, as `token`. Answers the validation,
    /// which has to bring the token too. A single event is told from others by topic and id.
    secret azure_event_grid = "Azure Event Grid",
        "https://learn.microsoft.com/en-us/azure/event-grid/end-point-validation-event-grid-events-schema", Official:
        Scheme::token(query("token"))
            .event(json("/0/eventType"))
            .with_identity(|body| ids_of(body, "", &["topic", "id"]))
            .with_handshake(Handshake::signed_body(|head, body, _| {
                let kind = head.headers.get("aeg-event-type").map(|kind| kind.as_bytes());
                let asks = kind == Some(b"SubscriptionValidation");
                let answer = |code: String| Answer::object(&[("validationResponse", &code)]);
                asks.then(|| challenge_in(body, "/0/data/validationCode").map(answer)).transpose()
            }));

    /// Webhooks of the Standard Webhooks form, but the secret, the app's client secret, is used as text.
    secret bigcommerce = "BigCommerce",
        "https://docs.bigcommerce.com/developer/docs/integrations/webhooks/https", Official:
        standard_webhooks::family("webhook").with_key_format(KeyFormat::Text).event(json("/scope"));

    /// Event and request id are in unsigned headers. Requests of webhooks without a secret are refused.
    secret bitbucket = "Bitbucket Cloud", "https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/", Official:
        Scheme::hmac_sha256()
            .signature(header("x-hub-signature").prefix("sha256=").hex())
            .event(header("x-event-key"))
            .id(header("x-request-uuid"));

    /// Any of two keys, each with a header of its own; their time is RFC 3339.
    secret box_com = "Box", "https://developer.box.com/guides/webhooks/v2/signatures-v2/", Official:
        Scheme::hmac_sha256()
            .signature(header("box-signature-primary").base64().or(header("box-signature-secondary")))
            .timestamp(header("box-delivery-timestamp").rfc3339().within(seconds(600)))
            .signed("{body}{timestamp}")
            .event(json("/trigger"))
            .id(json("/id"));

    own braintree = "Braintree",
        "https://developer.paypal.com/braintree/docs/guides/webhooks/overview", Official:
        |config| {
            let key = config.public_key.take().ok_or_else(|| ConfigError::missing("`public_key` is missing"))?;
            braintree(key, config.take_secrets()?)
        };

    /// Webhooks that send a signature; those that send the token itself are refused. The secret is the webhook's token.
    secret buildkite = "Buildkite", "https://buildkite.com/docs/apis/webhooks/pipelines", Official:
        timed_list("x-buildkite-signature", ',', "timestamp=", "signature=")
            .signed("{timestamp}.{body}")
            .event(json("/event"));

    /// Requests of webhooks without a secret are refused. Events of a webhook with a template of its own may have no
    /// name.
    secret cal_com = "Cal.com", "https://cal.com/docs/developing/guides/automation/webhooks", Official:
        Scheme::hmac_sha256().signature(header("x-cal-signature-256").hex()).event(json("/triggerEvent"));

    secret calendly = "Calendly", "https://developer.calendly.com/api-docs/webhook-signatures", Official:
        Scheme::hmac_sha256()
            .signature(header("calendly-webhook-signature").list(',').prefix("v1=").hex())
            .timestamp(header("calendly-webhook-signature").list(',').prefix("t=").unix_seconds().within(seconds(180)))
            .signed("{timestamp}.{body}")
            .event(json("/event"));

    /// [`CdrManager::new`](crate::CdrManager::new) is a short name for it. HMAC-SHA512, with the "Signature" field of the
    /// webhook's configuration in the platform as the secret. There is no signed time and no id: deliveries are told apart by
    /// their `callbackURL`.
    secret cdr_manager = "HORISEN CDR Manager", "https://developers.horisen.com/en/webhook-integration", Official:
        Scheme::hmac_sha512().signature(header("x-cdr-signature").base64()).with_identity_at("/callbackURL");

    /// Basic authentication: the secret is `user:password`. The body is not signed.
    secret chargebee = "Chargebee", "https://www.chargebee.com/docs/2.0/events_and_webhooks.html", Official:
        Scheme::token(basic()).event(json("/event_type")).id(json("/id")).with_identity_at("/id");

    /// The secret is the signature key of the webhook.
    secret checkout_com = "Checkout.com",
        "https://www.checkout.com/docs/workflows/set-up-your-webhook-receiver", Official:
        Scheme::hmac_sha256().signature(header("cko-signature").hex()).event(json("/type")).id(json("/id"));

    /// Notifications of their second version, by a key that is looked up by its id (or by keys that were given). Answers the
    /// HEAD that tries the address. The sender's name for an event is in the body.
    keyed("asymmetric") circle = "Circle", "https://developers.circle.com/api-reference/verify-webhook-signatures", Official:
        Scheme::ecdsa_p256()
            .signature(header("x-circle-signature").base64())
            .key_id(header("x-circle-key-id"))
            .event(json("/notificationType"))
            .id(json("/notificationId"))
            .with_handshake(Handshake::probe(false));

    /// The event's name is in an unsigned header.
    secret circleci = "CircleCI", "https://circleci.com/docs/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("circleci-signature").list(',').prefix("v1=").hex())
            .event(header("circleci-event-type"))
            .id(json("/id"));

    /// Signs as Svix does.
    secret clerk = "Clerk", "https://clerk.com/docs/webhooks/overview", Official: standard_webhooks::family("svix");

    /// The secret came in the answer to the request that made the webhook.
    secret clickup = "ClickUp", "https://developer.clickup.com/docs/webhooksignature", Official:
        Scheme::hmac_sha256().signature(header("x-signature").hex()).event(json("/event"));

    /// The secret is what Clio offered in `X-Hook-Secret` when the webhook was made: while you wait for that, add
    /// [`Handshake::offered_secret`](crate::scheme::Handshake::offered_secret), as for [`asana`](super::asana()).
    /// Header, encoding, what is signed and how the secret is offered are known from others.
    secret clio = "Clio", "https://docs.developers.clio.com/api-docs/clio-manage/webhooks/", Unverified:
        Scheme::hmac_sha256().signature(header("x-hook-signature").hex()).event(json("/meta/event"));

    own cloudevents = "CloudEvents web hook",
        "https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md", Official:
        cloudevents::from_config;

    secret coinbase_commerce = "Coinbase Commerce", "https://docs.cdp.coinbase.com/commerce-onchain/docs/webhooks-security",
        Official:
        Scheme::hmac_sha256()
            .signature(header("x-cc-webhook-signature").hex())
            .event(json("/event/type"))
            .id(json("/event/id"));

    /// The secret is the shared one of the webhook.
    secret coinify = "Coinify", "https://coinify.readme.io/docs/webhook-signature", Official:
        Scheme::hmac_sha256().signature(header("x-coinify-webhook-signature").hex());

    /// The secret is the webhook's shared secret. The topic is in an unsigned header.
    /// Headers, encoding and what is signed are known from others.
    secret commerce_layer = "Commerce Layer", "https://docs.commercelayer.io/core/callbacks-security", Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-commercelayer-signature").base64())
            .event(header("x-commercelayer-topic"));

    own contentful = "Contentful",
        "https://www.contentful.com/developers/docs/webhooks/request-verification/", Official:
        contentful::from_config;

    /// Cloud agents. The id is in an unsigned header.
    /// Headers, encoding and what is signed are known from others.
    secret cursor = "Cursor", "https://cursor.com/docs/cloud-agent/api/webhooks", Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-webhook-signature").prefix("sha256=").hex())
            .event(json("/event"))
            .id(header("x-webhook-id"));

    /// The tolerance of 300 seconds is ours. Retries go on for 7 days, after a 4xx too.
    secret customerio = "Customer.io", "https://docs.customer.io/integrations/api/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("x-cio-signature").hex())
            .timestamp(header("x-cio-timestamp").unix_seconds().within(OURS))
            .signed("v0:{timestamp}:{body}")
            .event(json("/metric"))
            .id(json("/event_id"));

    /// Interactions and webhook events. Answers the pings of both, which are signed. Every refusal is a 401: Discord probes
    /// for it with deliberately wrong signatures. The tolerance of 300 seconds is ours. Keys are hexadecimal.
    key("asymmetric") discord = "Discord", "https://discord.com/developers/docs/events/webhook-events", Official:
        Scheme::ed25519()
            .signature(header("x-signature-ed25519").hex())
            .timestamp(header("x-signature-timestamp").unix_seconds())
            .signed("{timestamp}{body}")
            .event(json("/event/type"))
            .id(json("/id"))
            .with_refusal_status(StatusCode::UNAUTHORIZED)
            .with_handshake(Handshake::signed_body(|_, body, _| Ok(discord_ping(body))));

    /// Connect signs with each of up to 100 active keys, in numbered headers; any may match. The key looks like base64 and
    /// is used as text. A delivery is told from another by envelope, recipient, event, status and `generatedDateTime`.
    secret docusign = "DocuSign Connect", "https://www.docusign.com/blog/developers/authenticating-connect-hmac", Official:
        Scheme::hmac_sha256()
            .signature(numbered_headers("x-docusign-signature-").base64())
            .event(json("/event"))
            .with_identity_from(DOCUSIGN, docusign_identity);

    /// Webhooks of the Standard Webhooks form.
    secret dodo_payments = "Dodo Payments", "https://docs.dodopayments.com/developer-resources/webhooks", Official:
        standard_webhooks::family("webhook");

    /// Answers the challenge of a GET.
    secret dropbox = "Dropbox", "https://www.dropbox.com/developers/reference/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("x-dropbox-signature").hex())
            .with_handshake(Handshake::query_echo(Method::GET, "challenge"));

    /// RSA, with the public key that Dyte publishes.
    key("asymmetric") dyte = "Dyte", "https://docs.dyte.io/guides/capabilities/webhooks/signatures", Official:
        Scheme::rsa_pkcs1_sha256().signature(header("dyte-signature").base64()).event(json("/event"));

    /// A secret that is not ASCII has to be given as EasyPost normalizes it, in NFKD.
    secret easypost = "EasyPost", "https://docs.easypost.com/guides/webhooks-guide", Official:
        Scheme::hmac_sha256()
            .signature(header("x-hmac-signature").prefix("hmac-sha256-hex=").hex())
            .event(json("/description"))
            .id(json("/id"));

    own("asymmetric") ebay = "eBay notifications",
        "https://developer.ebay.com/api-docs/commerce/notification/overview.html", Unverified:
        ebay::from_config;

    /// The secret is used as text. Its SDK accepts requests that are up to 30 minutes old.
    secret elevenlabs = "ElevenLabs", "https://elevenlabs.io/docs/overview/administration/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("elevenlabs-signature").list(',').prefix("v0=").hex())
            .timestamp(header("elevenlabs-signature").list(',').prefix("t=").unix_seconds().within(seconds(1800)))
            .signed("{timestamp}.{body}")
            .event(json("/type"));

    /// The secret is the app's client secret.
    secret envoy = "Envoy", "https://developers.envoy.com/hub/docs/create-webhooks", Official:
        Scheme::hmac_sha256().signature(header("x-envoy-signature").base64());

    /// Websets. The tolerance of 300 seconds is ours.
    secret exa = "Exa", "https://exa.ai/docs/websets/api/webhooks/verifying-signatures", Official:
        timed_list("exa-signature", ',', "t=", "v1=").signed("{timestamp}.{body}");

    /// Ed25519, with keys of fal's set, which you fetch: up to eight are tried. Request and user are signed beside the body.
    /// Headers, encodings and the text that is signed are known from others.
    key("asymmetric") fal = "fal.ai", "https://docs.fal.ai/model-endpoints/webhooks", Unverified:
        Scheme::ed25519()
            .signature(header("x-fal-webhook-signature").hex())
            .timestamp(header("x-fal-webhook-timestamp").unix_seconds().within(OURS))
            .id(header("x-fal-webhook-request-id"))
            .signed("{id}\n{header:x-fal-webhook-user-id}\n{timestamp}\n{body_sha256}")
            .event(json("/status"));

    /// Requests of webhooks without a secret are refused. A body holds several events, each with an id; the name is
    /// that of the first.
    secret fastspring = "FastSpring", "https://developer.fastspring.com/docs/message-security", Official:
        Scheme::hmac_sha256()
            .signature(header("x-fs-signature").base64())
            .event(json("/events/0/type"))
            .with_identity(|body| ids_of(body, "/events", &["id"]));

    /// SHA-1, over the member `payloadId` of the body and the address: the rest of the body is **not** signed.
    /// Header, encoding and what is signed are known from others.
    address favro = "Favro", "https://favro.com/developer/#webhook-signatures", Unverified:
        Scheme::hmac_sha1_for_legacy_senders_only()
            .signature(header("x-favro-webhook").base64())
            .id(json("/payloadId"))
            .signed_without_the_body("{id}{url}")
            .event(json("/action"));

    /// Webhooks of the second version: a detached JWS of RS512, with the keys of the workspace's region, such as
    /// `https://keys.fireblocks.io/.well-known/jwks.json`. No time is signed.
    issuer("jwt") fireblocks = "Fireblocks", "https://developers.fireblocks.com/reference/validating-webhooks", Official: |keys| {
        Scheme::jwt(header("fireblocks-webhook-signature"), JwtRules::rs512().with_detached_payload())
            .with_jwks(keys)
            .event(json("/eventType"))
            .id(json("/id"))
    };

    /// The second version of their webhooks. Requests of webhooks without a secret are refused.
    /// Header, encoding and what is signed are known from others.
    secret fireflies = "Fireflies.ai", "https://docs.fireflies.ai/graphql-api/webhooks-v2", Unverified:
        Scheme::hmac_sha256().signature(header("x-hub-signature").prefix("sha256=").hex()).event(json("/event"));

    /// Webhooks of a shop. Those of platform apps have another header.
    secret fourthwall = "Fourthwall", "https://docs.fourthwall.com/webhooks/signature-verification", Official:
        Scheme::hmac_sha256().signature(header("x-fourthwall-hmac-sha256").base64());

    /// Application webhooks, with the signing key of the app. Answers the challenge, which is signed. Times are
    /// milliseconds.
    secret front = "Front", "https://dev.frontapp.com/docs/application-webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("x-front-signature").base64())
            .timestamp(header("x-front-request-timestamp").unix_millis().within(OURS))
            .signed("{timestamp}:{body}")
            .event(json("/type"))
            .with_handshake(Handshake::signed_body(|head, _, _| {
                let challenge = head.headers.get("x-front-challenge");
                challenge.map(|text| echo(&String::from_utf8_lossy(text.as_bytes()))).transpose()
            }));

    /// Webhooks that are signed with an HMAC key, HS256. If yours are signed with a key pair, describe them by
    /// [`Scheme::jwt`](crate::Scheme::jwt) and the keys that your instance publishes.
    secret("jwt") fusionauth = "FusionAuth",
        "https://fusionauth.io/docs/extend/events-and-webhooks/signing", Official:
        Scheme::jwt(
            header("x-fusionauth-signature-jwt"),
            JwtRules::hs256().with_body_sha256("request_body_sha256", Encoding::Base64),
        )
        .event(json("/event/type"))
        .id(json("/event/id"));

    /// Webhooks whose content is `application/json`: of a form, Gitea signs only a part. Event and delivery id are in
    /// unsigned headers.
    secret gitea = "Gitea", "https://docs.gitea.com/usage/repository/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("x-gitea-signature").hex())
            .event(header("x-gitea-event"))
            .id(header("x-gitea-delivery"));

    /// Bodies are JSON, or a form with the field `payload`, and have up to 25 MB. Event and delivery id are in unsigned
    /// headers. The older `X-Hub-Signature` (SHA-1) is ignored.
    secret github = "GitHub", "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries", Official:
        Scheme::hmac_sha256()
            .signature(header("x-hub-signature-256").prefix("sha256=").hex())
            .event(header("x-github-event"))
            .id(header("x-github-delivery"));

    own gitlab = "GitLab",
        "https://docs.gitlab.com/user/project/integrations/webhooks", Official:
        |config| gitlab(config.take_secrets()?);

    /// A body holds several events, each with an id.
    secret gocardless = "GoCardless", "https://developer.gocardless.com", Official:
        Scheme::hmac_sha256()
            .signature(header("webhook-signature").hex())
            .with_identity(|body| ids_of(body, "/events", &["id"]));

    own("jwt") google_oidc = "Google Cloud Pub/Sub push",
        "https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions", Official:
        google::from_config;

    /// The webhook contact point with an HMAC secret and the usual header, under both names that Grafana uses. Without
    /// a header for the time, which has no usual name, none is signed.
    secret grafana = "Grafana Alerting",
        "https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/",
        Official:
        Scheme::hmac_sha256()
            .signature(header("x-grafana-alerting-signature").hex().or(header("x-grafana-alert-signature")))
            .event(json("/status"));

    secret heroku = "Heroku", "https://devcenter.heroku.com/articles/app-webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("heroku-webhook-hmac-sha256").base64())
            .event(json("/resource"))
            .id(json("/id"));

    /// Requests that the Event Gateway hands on. The id is in an unsigned header.
    secret hookdeck = "Hookdeck Event Gateway", "https://hookdeck.com/docs/authentication", Official:
        Scheme::hmac_sha256().signature(header("x-hookdeck-signature").base64()).id(header("x-hookdeck-eventid"));

    /// SHA-256 of the secret and the body, which is no HMAC: prefer [`hubspot_v3`]. The body has to be one JSON value.
    secret hubspot_v1 = "HubSpot, version 1",
        "https://developers.hubspot.com/docs/guides/apps/authentication/validating-requests", Official:
        Scheme::sha256_of_secret_and_text_for_legacy_senders_only()
            .signature(header("x-hubspot-signature").hex())
            .with_required_header("x-hubspot-signature-version", "v1")
            .event(json("/0/subscriptionType"))
            .with_identity(hubspot::identity);

    own hubspot_v3 = "HubSpot, version 3",
        "https://developers.hubspot.com/docs/guides/apps/authentication/validating-requests", Official:
        |config| hubspot_v3(config.take_secrets()?, config.take_address()?);

    /// A secret in a header; the body is not signed.
    secret hugging_face = "Hugging Face", "https://huggingface.co/docs/hub/webhooks", Official:
        Scheme::token(header("x-webhook-secret")).event(json("/event/scope"));

    /// SHA-1. The secret is the app's client secret. Answers the HEAD that tries the address.
    /// Header, encoding, what is signed and the HEAD are known from others.
    secret intercom = "Intercom", "https://developers.intercom.com/docs/references/webhooks/webhook-models", Unverified:
        Scheme::hmac_sha1_for_legacy_senders_only()
            .signature(header("x-hub-signature").prefix("sha1=").hex())
            .event(json("/topic"))
            .id(json("/id"))
            .with_handshake(Handshake::probe(false));

    /// Jira Cloud and Data Center. Requests of webhooks without a secret are refused, and so are those of OAuth and
    /// Connect apps, which carry a token.
    /// Header, encoding, what is signed and the header of the id are known from others.
    secret jira = "Jira", "https://developer.atlassian.com/cloud/jira/platform/webhooks/", Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-hub-signature").prefix("sha256=").hex())
            .event(json("/webhookEvent"))
            .id(header("x-atlassian-webhook-identifier"));

    /// RSA, with the public key that Kick publishes. It is the same for every app, so another app's delivery may be
    /// sent to you. The event's name is in an unsigned header, the message id is signed. The tolerance of 300 seconds
    /// is ours.
    key("asymmetric") kick = "Kick", "https://docs.kick.com/events/webhook-security", Official:
        Scheme::rsa_pkcs1_sha256()
            .signature(header("kick-event-signature").base64())
            .timestamp(header("kick-event-message-timestamp").rfc3339().within(OURS))
            .id(header("kick-event-message-id"))
            .signed("{id}.{timestamp}.{body}")
            .event(header("kick-event-type"));

    /// Times are milliseconds.
    secret knock = "Knock", "https://docs.knock.app/developer-tools/outbound-webhooks/overview", Official:
        Scheme::hmac_sha256()
            .signature(header("x-knock-signature").list(',').prefix("s=").base64())
            .timestamp(header("x-knock-signature").list(',').prefix("t=").unix_millis().within(OURS))
            .signed("{timestamp}.{body}")
            .event(json("/type"))
            .id(json("/id"));

    /// Requests of webhooks without a secret are refused.
    secret launchdarkly = "LaunchDarkly", "https://launchdarkly.com/docs/home/infrastructure/webhooks", Official:
        Scheme::hmac_sha256().signature(header("x-ld-signature").hex()).event(json("/kind")).id(json("/_id"));

    /// The handler has to answer exactly 200.
    secret lemonsqueezy = "Lemon Squeezy", "https://docs.lemonsqueezy.com/help/webhooks", Official:
        Scheme::hmac_sha256().signature(header("x-signature").hex()).event(json("/meta/event_name"));

    /// The secret is the channel secret. A body may hold several events; the name is that of the first, and it is told from
    /// others by the ids of all.
    secret line = "LINE", "https://developers.line.biz/en/docs/messaging-api/receiving-messages/", Official:
        Scheme::hmac_sha256()
            .signature(header("x-line-signature").base64())
            .event(json("/events/0/type"))
            .with_identity(|body| ids_of(body, "/events", &["webhookEventId"]));

    /// The time is a member of the body, in milliseconds; a body without it has none. Event and delivery id are in unsigned headers.
    secret linear = "Linear", "https://linear.app/developers/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("linear-signature").hex())
            .timestamp(json("/webhookTimestamp").unix_millis().within(seconds(60)).optional())
            .event(header("linear-event"))
            .id(header("linear-delivery"));

    /// The secret is the app's client secret. Answers the challenge, which is repeated every two hours, if it is a UUID, with the
    /// first of several secrets: see [`Scheme::with_challenge_key`](crate::Scheme::with_challenge_key).
    secret linkedin = "LinkedIn", "https://learn.microsoft.com/en-us/linkedin/shared/api-guide/webhook-validation",
        Official:
        Scheme::hmac_sha256()
            .signature(header("x-li-signature").hex())
            .signed("hmacsha256={body}")
            .with_handshake(Handshake::query_mac("challengeCode", |mac, code| {
                if !is_uuid(code) {
                    return Err(no_challenge());
                }
                let response = hex::encode(mac.of(code.as_bytes()).as_bytes());
                Ok(Answer::object(&[("challengeCode", code), ("challengeResponse", &response)]))
            }));

    /// Webhooks of the Standard Webhooks form.
    secret lithic = "Lithic", "https://docs.lithic.com/docs/events-api", Official:
        standard_webhooks::family("webhook").event(json("/event_type"));

    /// Webhooks of the Standard Webhooks form.
    secret liveblocks = "Liveblocks",
        "https://liveblocks.io/docs/platform/webhooks", Official: standard_webhooks::family("webhook");

    /// A token in `Authorization`, without a word before it, that holds the body's SHA-256. The secret is that of the API key.
    secret("jwt") livekit = "LiveKit", "https://docs.livekit.io/home/server/webhooks/", Official:
        Scheme::jwt(header("authorization"), JwtRules::hs256().with_body_sha256("sha256", Encoding::Base64))
            .event(json("/event"))
            .id(json("/id"));

    /// The secret is the webhook's signing key.
    secret logto = "Logto", "https://docs.logto.io/developers/webhooks/secure-webhooks", Official:
        Scheme::hmac_sha256().signature(header("logto-signature-sha-256").hex()).event(json("/event"));

    /// An HTTP Message Signature over the body's digest, by a key that is looked up by its id (or by keys that were given).
    /// The key is the same for all customers, so another one's events may be sent to you: compare `customer_handle`.
    /// What a signature covers, its algorithm and where the event is are known from others.
    keyed("asymmetric") mailchannels = "MailChannels", "https://docs.mailchannels.com/email-api/webhooks", Unverified:
        Scheme::message_signature(MessageRules::ed25519()).event(json("/0/event"));

    own mailgun = "Mailgun",
        "https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks", Official:
        |config| mailgun(config.take_secrets()?);

    /// SHA-1, over the address and the fields of the form, without separators between names and values. Answers the HEAD
    /// or GET that tries the address. The field `mandrill_events` holds an array of events.
    address mandrill = "Mailchimp Transactional (Mandrill)",
        "https://mandrill.zendesk.com/hc/en-us/articles/205583257-How-to-Authenticate-Webhook-Requests", Official:
        Scheme::hmac_sha1_for_legacy_senders_only()
            .signature(header("x-mandrill-signature").base64())
            .signed("{url}{params}")
            .only_if(", of forms", is_form)
            .with_identity(twilio::signed_fields)
            .with_handshake(Handshake::probe(true));

    own mercado_pago = "Mercado Pago",
        "https://www.mercadopago.com.br/developers/en/docs/your-integrations/notifications/webhooks", Unverified:
        |config| mercado_pago(config.take_secrets()?);

    own meta = "Meta: WhatsApp, Messenger, Instagram, Pages",
        "https://developers.facebook.com/docs/graph-api/webhooks/getting-started", Official:
        meta::from_config;

    /// Every notification repeats the client state that the subscription was made with; the rest of it is not signed.
    /// Answers the validation of the address. Notifications hold what changed: fetch it. Only a body with one notification,
    /// or with the same state in its first, is judged by that.
    secret microsoft_graph = "Microsoft Graph change notifications",
        "https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks", Official:
        Scheme::token(json("/value/0/clientState"))
            .event(json("/value/0/changeType"))
            .with_identity(|body| ids_of(body, "/value", &["id"]))
            .with_handshake(Handshake::query_echo(Method::POST, "validationToken"));

    /// Outgoing webhooks. The secret is base64, as Teams shows it once. The response's body is the reply in the
    /// channel; answer within 5 seconds.
    secret microsoft_teams = "Microsoft Teams outgoing webhooks",
        "https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/add-outgoing-webhook",
        Official:
        Scheme::hmac_sha256()
            .signature(header("authorization").prefix("HMAC ").base64())
            .with_key_format(KeyFormat::Base64)
            .event(json("/type"))
            .id(json("/id"));

    /// The secret is the webhook key.
    secret modern_treasury = "Modern Treasury", "https://docs.moderntreasury.com/platform/docs/webhooks", Official:
        Scheme::hmac_sha256().signature(header("x-signature").hex()).event(json("/event"));

    /// The next-generation webhooks; the classic ones are not signed. For 24 hours after a rotation Mollie sends the
    /// header twice, which is refused.
    secret mollie = "Mollie", "https://docs.mollie.com/reference/webhooks-new", Official:
        Scheme::hmac_sha256()
            .signature(header("x-mollie-signature").prefix("sha256=").hex())
            .event(json("/type"))
            .id(json("/id"));

    /// Webhooks that an app has made, with a token in `Authorization`, without a word before it: HS256, with the app's signing
    /// secret. The body is not signed. Answers the challenge, whether or not it comes with a token.
    secret("jwt") monday = "monday.com", "https://developer.monday.com/apps/docs/authorization-header", Official:
        Scheme::jwt(header("authorization"), JwtRules::hs256().with_required_expiry())
            .event(json("/event/type"))
            .with_handshake(Handshake::unsigned_echo("authorization", "challenge"))
            .with_handshake(Handshake::signed_question(|_, body| Handshake::echoed(body, "challenge")));

    /// Requests with a body; those without one sign their query.
    secret moonpay = "MoonPay", "https://dev.moonpay.com/api-reference/widget/webhooks/signature", Official:
        timed_list("moonpay-signature-v2", ',', "t=", "s=").signed("{timestamp}.{body}").event(json("/type"));

    secret mux = "Mux", "https://www.mux.com/docs/core/verify-webhook-signatures", Official:
        timed_list("mux-signature", ',', "t=", "v1=")
            .signed("{timestamp}.{body}")
            .event(json("/type"))
            .id(json("/id"));

    /// Neon Auth: a detached JWS of EdDSA over time and body, with the keys of your project's set. Times are milliseconds. For
    /// some events, the response's body is the answer.
    /// Headers, algorithm and the text that is signed are known from others.
    issuer("jwt") neon = "Neon Auth", "https://neon.com/docs/auth/guides/webhooks", Unverified: |keys| {
        Scheme::jwt(header("x-neon-signature"), JwtRules::eddsa().with_detached_payload())
            .with_jwks(keys)
            .key_id(header("x-neon-signature-kid"))
            .timestamp(header("x-neon-timestamp").unix_millis().within(OURS))
            .signed("{timestamp}.{body in base64url}")
            .with_piece("body in base64url", Signed::default().with_body(true), |values| {
                Ok(Encoding::Base64Url.encode(values.body).into_bytes())
            })
    };

    /// Deploy notifications with a token in a header that holds the body's SHA-256. No time is signed.
    /// The header and the names of the claims are known from others.
    secret("jwt") netlify = "Netlify", "https://docs.netlify.com/site-deploys/deploy-notifications/", Unverified:
        Scheme::jwt(
            header("x-webhook-signature"),
            JwtRules::hs256().with_issuer("netlify").with_body_sha256("sha256", Encoding::Hex),
        )
        .event(json("/state"));

    own notion = "Notion", "https://developers.notion.com/reference/webhooks", Official:
        notion::from_config;

    /// Tiendanube too. The secret is the app's client secret.
    secret nuvemshop = "Nuvemshop", "https://tiendanube.github.io/api-documentation/resources/webhook", Official:
        Scheme::hmac_sha256().signature(header("x-linkedstore-hmac-sha256").hex()).event(json("/event"));

    /// Answers the challenge of a GET. A compressed body is signed as it is sent.
    /// The header is in the sender's documents; encoding, what is signed and the challenge are known from others.
    secret nylas = "Nylas", "https://developer.nylas.com/docs/v3/notifications/webhooks/", Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-nylas-signature").hex())
            .event(json("/type"))
            .id(json("/id"))
            .with_handshake(Handshake::query_echo(Method::GET, "challenge"));

    own okta = "Okta event hooks",
        "https://developer.okta.com/docs/concepts/event-hooks", Official:
        okta::from_config;

    /// Webhooks of the Standard Webhooks form.
    secret openai = "OpenAI", "https://platform.openai.com/docs/webhooks", Official: standard_webhooks::family("webhook");

    /// Paddle's own tolerance of 5 seconds needs a good clock.
    secret paddle = "Paddle", "https://developer.paddle.com/webhooks/signature-verification", Official:
        Scheme::hmac_sha256()
            .signature(header("paddle-signature").list(';').prefix("h1=").hex())
            .timestamp(header("paddle-signature").list(';').prefix("ts=").unix_seconds().within(seconds(5)))
            .signed("{timestamp}:{body}")
            .event(json("/event_type"))
            .id(json("/event_id"));

    /// Name and id are in the body.
    secret pagerduty = "PagerDuty", "https://developer.pagerduty.com/docs/webhooks/webhook-signatures/", Official:
        Scheme::hmac_sha256()
            .signature(header("x-pagerduty-signature").list(',').prefix("v1=").hex())
            .event(json("/event/event_type"))
            .id(json("/event/id"));

    own("paypal") paypal = "PayPal",
        "https://developer.paypal.com/api/rest/webhooks/rest/", Official:
        paypal::from_config;

    own paystack = "Paystack",
        "https://paystack.com/docs/payments/webhooks/", Official:
        paystack::from_config;

    /// While a secret is rotated, the header holds two lists. The tolerance of 300 seconds is ours.
    /// Header, encoding, what is signed and the two lists are known from others.
    secret persona = "Persona", "https://docs.withpersona.com/webhooks-best-practices", Unverified:
        Scheme::hmac_sha256()
            .signature(header("persona-signature").list(',').list(' ').prefix("v1=").hex())
            .timestamp(header("persona-signature").list(',').list(' ').prefix("t=").unix_seconds().within(OURS))
            .signed("{timestamp}.{body}")
            .event(json("/data/attributes/name"));

    /// Basic authentication: the secret is `user:password`. The body is not signed.
    /// That `Authorization` is the only proof, and where the event is, are known from others.
    secret pipedrive = "Pipedrive", "https://pipedrive.readme.io/docs/guide-for-webhooks-v2", Unverified:
        Scheme::token(basic()).event(json("/meta/action"));

    /// A token in `Plaid-Verification` that holds the body's SHA-256, ES256. Plaid's keys are asked for one by one, by a POST
    /// with your credentials: see [`Jwks::lookup`](crate::scheme::Jwks::lookup).
    issuer("jwt") plaid = "Plaid", "https://plaid.com/docs/api/webhooks/webhook-verification/", Official: |keys| {
        let rules = JwtRules::es256()
            .with_issued_within(Tolerance::within(OURS))
            .with_body_sha256("request_body_sha256", Encoding::Hex);
        Scheme::jwt(header("plaid-verification"), rules).with_jwks(keys).event(json("/webhook_code"))
    };

    /// Webhooks of the Standard Webhooks form, but the secret is used as text.
    secret polar = "Polar", "https://polar.sh/docs/integrate/webhooks/delivery", Official:
        standard_webhooks::family("webhook").with_key_format(KeyFormat::Text);

    /// Basic authentication: the secret is `user:password`. The body is not signed.
    /// That `Authorization` is the only proof, and where the event is, are known from others.
    secret postmark = "Postmark", "https://postmarkapp.com/developer/webhooks/webhooks-overview", Unverified:
        Scheme::token(basic()).event(json("/RecordType"));

    /// The secret is the one of the app's key, which is in an unsigned header. A body may hold several events; the name
    /// is that of the first.
    secret pusher = "Pusher Channels", "https://pusher.com/docs/channels/server_api/webhooks/", Official:
        Scheme::hmac_sha256().signature(header("x-pusher-signature").hex()).event(json("/events/0/name"));

    /// The id is in an unsigned header.
    secret razorpay = "Razorpay", "https://razorpay.com/docs/webhooks/validate-test/", Official:
        Scheme::hmac_sha256()
            .signature(header("x-razorpay-signature").hex())
            .event(json("/event"))
            .id(header("x-razorpay-event-id"));

    /// The newer of their two signatures. The secret is the client secret of the API token. The document allows 48
    /// hours.
    /// Header, encoding, what is signed and which secret it is are known from others.
    secret recharge = "Recharge", "https://docs.getrecharge.com/docs/webhooks-overview", Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-recharge-webhook-signature").list(',').prefix("v1=").hex())
            .timestamp(
                header("x-recharge-webhook-signature").list(',').prefix("t=").unix_seconds().within(seconds(172_800)),
            )
            .signed("{timestamp}.{body}");

    /// Webhooks of the Standard Webhooks form.
    /// That headers, secret and what is signed are those of Standard Webhooks is known from others.
    secret render = "Render", "https://render.com/docs/webhooks", Unverified: standard_webhooks::family("webhook");

    /// Webhooks of the Standard Webhooks form. The event is the prediction's status.
    secret replicate = "Replicate", "https://replicate.com/docs/topics/webhooks/verify-webhook", Official:
        standard_webhooks::family("webhook").event(json("/status"));

    /// Signs as Svix does.
    secret resend = "Resend", "https://resend.com/docs/dashboard/webhooks/verify-webhooks-requests", Official:
        standard_webhooks::family("svix");

    /// The secret is the API key that has the webhook badge. Times are milliseconds.
    secret retell = "Retell AI", "https://docs.retellai.com/features/secure-webhook", Official:
        Scheme::hmac_sha256()
            .signature(header("x-retell-signature").list(',').prefix("d=").hex())
            .timestamp(header("x-retell-signature").list(',').prefix("v=").unix_millis().within(OURS))
            .signed("{body}{timestamp}")
            .event(json("/event"));

    /// The Merchant and the Business API. Times are milliseconds.
    secret revolut = "Revolut",
        "https://developer.revolut.com/docs/guides/merchant/monitor-and-observe/webhooks/verify-the-payload-signature",
        Official:
        Scheme::hmac_sha256()
            .signature(header("revolut-signature").list(',').prefix("v1=").hex())
            .timestamp(header("revolut-request-timestamp").unix_millis().within(OURS))
            .signed("v1.{timestamp}.{body}")
            .event(json("/event"));

    /// The secret is the verification token of the subscription. The body is not signed. Answers the validation.
    /// The headers of the token and of the validation are known from others.
    secret ringcentral = "RingCentral", "https://developers.ringcentral.com/guide/notifications/webhooks/quick-start", Unverified:
        Scheme::token(header("verification-token"))
            .event(json("/event"))
            .with_handshake(Handshake::header_echo(Method::POST, "validation-token", "validation-token"));

    /// Times are milliseconds, and the tolerance of 300 seconds is ours. The id is in an unsigned header; what is in
    /// the body is up to the webhook's projection.
    secret sanity = "Sanity", "https://www.sanity.io/docs/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("sanity-webhook-signature").list(',').prefix("v1=").base64url())
            .timestamp(header("sanity-webhook-signature").list(',').prefix("t=").unix_millis().within(OURS))
            .signed("{timestamp}.{body}")
            .id(header("idempotency-key"));

    /// The event webhook, with the key of its settings page. A body is an array of events. The tolerance of 300 seconds
    /// is ours.
    key("asymmetric") sendgrid = "Twilio SendGrid",
        "https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features",
        Official:
        Scheme::ecdsa_p256()
            .signature(header("x-twilio-email-event-webhook-signature").base64())
            .timestamp(header("x-twilio-email-event-webhook-timestamp").unix_seconds())
            .signed("{timestamp}{body}")
            .event(json("/0/event"))
            .with_identity(|body| ids_of(body, "", &["sg_event_id"]));

    /// The secret is the integration's client secret. Resource, id and time are in unsigned headers.
    secret sentry = "Sentry", "https://docs.sentry.io/integrations/integration-platform/webhooks/", Official:
        Scheme::hmac_sha256()
            .signature(header("sentry-hook-signature").hex())
            .event(header("sentry-hook-resource"))
            .id(header("request-id"));

    /// Webhooks of the Standard Webhooks form. The topic is in an unsigned header.
    /// That headers, secret and what is signed are those of Standard Webhooks is known from others.
    secret shipbob = "ShipBob", "https://developer.shipbob.com/2026-01/webhooks", Unverified:
        standard_webhooks::family("webhook").event(header("x-webhook-topic"));

    /// The secret is the app's client secret. Topic and event id are in unsigned headers. The newer headers, without `x-`, are
    /// accepted as well.
    secret shopify = "Shopify", "https://shopify.dev/docs/apps/build/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("x-shopify-hmac-sha256").base64())
            .event(header("x-shopify-topic"))
            .id(header("x-shopify-event-id"))
            .or(Scheme::hmac_sha256()
                .signature(header("shopify-hmac-sha256").base64())
                .event(header("shopify-topic"))
                .id(header("shopify-event-id")));

    /// The secret is the app secret. Topic and webhook id are in unsigned headers. The document shows a base64
    /// signature; what comes is hexadecimal.
    /// Header, encoding and which secret it is are known from others.
    secret shopline = "SHOPLINE",
        "https://developer.shopline.com/docs/apps/api-instructions-for-use/generate-and-verify-signatures/", Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-shopline-hmac-sha256").hex())
            .event(header("x-shopline-topic"))
            .id(header("x-shopline-webhook-id"));

    /// The secret is the signing secret of the callback. The tolerance of 300 seconds is ours.
    secret sightengine = "Sightengine", "https://sightengine.com/docs/callback-signature", Official:
        timed_list("sightengine-signature", ',', "t=", "v1=").signed("{timestamp}.{body}");

    /// Answers `url_verification`, which is signed, and the unsigned `ssl_check`. Bodies are JSON or forms; answer within 3 seconds.
    secret slack = "Slack", "https://docs.slack.dev/authentication/verifying-requests-from-slack", Official:
        Scheme::hmac_sha256()
            .signature(header("x-slack-signature").prefix("v0=").hex())
            .timestamp(header("x-slack-request-timestamp").unix_seconds())
            .signed("v0:{timestamp}:{body}")
            .event(json("/event/type"))
            .id(json("/event_id"))
            .with_handshake(Handshake::signed_body(|_, body, _| {
                static ASKS: Mark = Mark::new("/type", "url_verification");
                let asks = body.len() <= MAX_SLACK_QUESTION && ASKS.is_in(body);
                asks.then(|| challenge_in(body, "/challenge").and_then(|text| echo(&text))).transpose()
            }))
            .with_handshake(Handshake::unsigned_form("x-slack-signature", slack_ssl_check));

    /// The secret is the application management token. Answers `VERIFY`, if it is signed, with the secret that signed
    /// it. Challenges have no braces, and a body that is no JSON object is refused: the answer to a challenge is the
    /// signature of no delivery.
    secret smartcar = "Smartcar", "https://smartcar.com/docs/integrations/webhooks/payload-verification", Official:
        Scheme::hmac_sha256()
            .signature(header("sc-signature").hex())
            .event(json("/eventType"))
            .id(json("/eventId"))
            .with_handshake(Handshake::signed_body(|_, body, mac| {
                object_only(body)?;
                static ASKS: Mark = Mark::new("/eventType", "VERIFY");
                let Some(mac) = mac.filter(|_| ASKS.is_in(body)) else { return Ok(None) };
                let challenge = challenge_in(body, "/data/challenge")?;
                let answer = hex::encode(challenge_mac(mac, &challenge)?.as_bytes());
                Ok(Some(Answer::object(&[("challenge", &answer)])))
            }));

    /// The secret is the webhook's shared secret. Answers the challenge, which is repeated for as long as the webhook lives.
    /// The challenge is in the sender's document; header, encoding and what is signed are known from others.
    secret smartsheet = "Smartsheet", "https://developers.smartsheet.com/api/smartsheet/guides/webhooks", Unverified:
        Scheme::hmac_sha256()
            .signature(header("smartsheet-hmac-sha256").hex())
            .with_handshake(Handshake::header_echo(
                Method::POST,
                "smartsheet-hook-challenge",
                "smartsheet-hook-response",
            ));

    address square = "Square", "https://developer.squareup.com/docs/webhooks/step3validate", Official:
        Scheme::hmac_sha256()
            .signature(header("x-square-hmacsha256-signature").base64())
            .signed("{url}{body}")
            .event(json("/type"))
            .id(json("/event_id"));

    own standard_webhooks = "Standard Webhooks",
        "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md", Official:
        standard_webhooks::from_config;

    /// The event webhook. Times are milliseconds, and the tolerance of 300 seconds is ours.
    secret statsig = "Statsig", "https://docs.statsig.com/integrations/event_webhook", Official:
        Scheme::hmac_sha256()
            .signature(header("x-statsig-signature").prefix("v0=").hex())
            .timestamp(header("x-statsig-request-timestamp").unix_millis().within(OURS))
            .signed("v0:{timestamp}:{body}");

    /// The secret (`whsec_..`) is used as text. `v0` entries are no signatures.
    secret stripe = "Stripe", "https://docs.stripe.com/webhooks/signature", Official:
        timed_list("stripe-signature", ',', "t=", "v1=")
            .signed("{timestamp}.{body}")
            .event(json("/type"))
            .id(json("/id"));

    /// Auth hooks, of the Standard Webhooks form. Secrets may be given as the dashboard shows them, `v1,whsec_..`. The
    /// response's body is the answer to the hook; answer within 5 seconds.
    secret supabase = "Supabase Auth", "https://supabase.com/docs/guides/auth/auth-hooks", Official:
        standard_webhooks::family("webhook");

    secret surge = "Surge", "https://docs.surge.app/api-reference/webhooks/signature-validation", Official:
        timed_list("surge-signature", ',', "t=", "v1=")
            .signed("{timestamp}.{body}")
            .event(json("/type"))
            .id(json("/id"));

    own svix = "Svix",
        "https://docs.svix.com/receiving/verifying-payloads/how-manual", Official:
        |config| svix(config.take_secrets()?);

    /// While a secret is rotated, the header holds two signatures.
    /// Headers, encoding, separator and what is signed are known from others.
    secret synctera = "Synctera", "https://dev.synctera.com/docs/webhooks", Unverified:
        Scheme::hmac_sha256()
            .signature(header("synctera-signature").list('.').hex())
            .timestamp(header("request-timestamp").unix_seconds().within(OURS))
            .signed("{timestamp}.{body}");

    /// Requests of webhooks without a secret are refused.
    /// Header, encoding and what is signed are known from others.
    secret tally = "Tally", "https://tally.so/help/webhooks", Unverified:
        Scheme::hmac_sha256()
            .signature(header("tally-signature").base64())
            .event(json("/eventType"))
            .id(json("/eventId"));

    /// The hash of the body is signed. Answers `validation.webhook`, which is signed.
    /// Header, hash and validation are in the sender's document; encoding and the HMAC over the hash are known from others.
    secret tebex = "Tebex", "https://docs.tebex.io/developers/webhooks/overview", Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-signature").hex())
            .signed("{body_sha256}")
            .event(json("/type"))
            .id(json("/id"))
            .with_handshake(Handshake::signed_body(|_, body, _| {
                static ASKS: Mark = Mark::new("/type", "validation.webhook");
                let answer = |id: String| Answer::object(&[("id", &id)]);
                ASKS.is_in(body).then(|| challenge_in(body, "/id").map(answer)).transpose()
            }));

    /// A secret token in a header; the body is not signed.
    secret telegram = "Telegram", "https://core.telegram.org/bots/api#setwebhook", Official:
        Scheme::token(header("x-telegram-bot-api-secret-token"))
            .id(json("/update_id"))
            .with_identity_at("/update_id");

    key("asymmetric") telnyx = "Telnyx", "https://developers.telnyx.com/docs/messaging/messages/receiving-webhooks", Official:
        Scheme::ed25519()
            .signature(header("telnyx-signature-ed25519").base64())
            .timestamp(header("telnyx-timestamp").unix_seconds())
            .signed("{timestamp}|{body}")
            .event(json("/data/event_type"))
            .id(json("/data/id"));

    /// Notifications of HCP Terraform and Terraform Enterprise. SHA-512. Requests of configurations without a token are
    /// refused.
    secret terraform = "HCP Terraform",
        "https://developer.hashicorp.com/terraform/cloud-docs/api-docs/notification-configurations", Official:
        Scheme::hmac_sha512()
            .signature(header("x-tfe-notification-signature").hex())
            .event(json("/notifications/0/trigger"));

    /// TikTok for Developers, not TikTok Shop. The secret is the app's client secret. The tolerance of 300 seconds is
    /// ours.
    secret tiktok = "TikTok", "https://developers.tiktok.com/doc/webhooks-verification", Official:
        timed_list("tiktok-signature", ',', "t=", "s=").signed("{timestamp}.{body}").event(json("/event"));

    own tiktok_shop = "TikTok Shop", "https://partner.tiktokshop.com/docv2/page/configuration-guide", Unverified:
        |config| {
            let app_key = config.public_key.take();
            tiktok_shop(&app_key.ok_or_else(|| ConfigError::missing("`public_key` is missing"))?, config.take_secrets()?)
        };

    /// The key is the member's public key, in hexadecimal or standard base64. The event's name is in an unsigned
    /// header.
    /// Headers, encoding and what is signed are known from others.
    key("asymmetric") token_io = "Token.io",
        "https://docs.token.io/products/tpp/integration-considerations/webhooks", Unverified:
        Scheme::ed25519().signature(header("token-signature").base64url()).event(header("token-event"));

    /// SHA-1, with the OAuth secret. Answers the HEAD that tries the address. Trello's document said once that it signs the
    /// low bytes of UTF-16; a body that is not ASCII may then not verify.
    address trello = "Trello", "https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/", Official:
        Scheme::hmac_sha1_for_legacy_senders_only()
            .signature(header("x-trello-webhook").base64())
            .signed("{body}{url}")
            .event(json("/action/type"))
            .id(json("/action/id"))
            .with_handshake(Handshake::probe(false));

    own twilio = "Twilio",
        "https://www.twilio.com/docs/usage/webhooks/webhooks-security", Official:
        |config| twilio(config.take_secrets()?, config.take_address()?);

    /// EventSub. Answers `webhook_callback_verification`, which is signed. The message type and the subscription type are in
    /// unsigned headers, the message id is signed.
    secret twitch = "Twitch EventSub", "https://dev.twitch.tv/docs/eventsub/handling-webhook-events/", Official:
        Scheme::hmac_sha256()
            .signature(header("twitch-eventsub-message-signature").prefix("sha256=").hex())
            .timestamp(header("twitch-eventsub-message-timestamp").rfc3339().within(seconds(600)))
            .id(header("twitch-eventsub-message-id"))
            .signed("{id}{timestamp}{body}")
            .event(header("twitch-eventsub-subscription-type"))
            .with_handshake(Handshake::signed_body(|head, body, _| {
                match head.headers.get("twitch-eventsub-message-type").map(|kind| kind.as_bytes()) {
                    Some(b"webhook_callback_verification") => {
                        challenge_in(body, "/challenge").and_then(|text| echo(&text)).map(Some)
                    }
                    _ => Ok(None),
                }
            }));

    /// X, once Twitter: the secret is the consumer secret. Answers the hourly challenge with the first of several secrets: see
    /// [`Scheme::with_challenge_key`](crate::Scheme::with_challenge_key). Challenges have no braces, and a body that is no JSON
    /// object is refused: the answer to a challenge is the signature of no delivery.
    secret twitter = "X (Twitter) account activity",
        "https://docs.x.com/x-api/webhooks/introduction", Official:
        Scheme::hmac_sha256()
            .signature(header("x-twitter-webhooks-signature").prefix("sha256=").base64())
            .with_handshake(Handshake::query_mac("crc_token", |mac, token| {
                let response = format!("sha256={}", Encoding::Base64.encode(challenge_mac(mac, token)?.as_bytes()));
                Ok(Answer::object(&[("response_token", &response)]))
            }))
            .with_handshake(Handshake::signed_body(|_, body, _| object_only(body).map(|()| None)));

    secret typeform = "Typeform", "https://www.typeform.com/developers/webhooks/secure-your-webhooks/", Official:
        Scheme::hmac_sha256()
            .signature(header("typeform-signature").prefix("sha256=").base64())
            .event(json("/event_type"))
            .id(json("/event_id"));

    /// Uber Eats. The secret is the app's client secret.
    /// Header, encoding, what is signed and which secret it is are known from others.
    secret uber = "Uber Eats", "https://developer.uber.com/docs/eats/guides/webhooks", Unverified:
        Scheme::hmac_sha256()
            .signature(header("x-uber-signature").hex())
            .event(json("/event_type"))
            .id(json("/event_id"));

    /// RSA-PSS with SHA-512, with the public key that Utila publishes.
    /// Header, encoding and what is signed are known from others.
    key("asymmetric") utila = "Utila", "https://docs.utila.io/docs/webhooks", Unverified:
        Scheme::rsa_pss_sha512().signature(header("x-utila-signature").base64());

    /// SHA-1.
    secret vercel = "Vercel", "https://vercel.com/docs/webhooks", Official:
        Scheme::hmac_sha1_for_legacy_senders_only()
            .signature(header("x-vercel-signature").hex())
            .event(json("/type"))
            .id(json("/id"));

    /// A bearer token with the body's SHA-256, HS256, signed with the account's signature secret. A GET has no body and no
    /// hash of one. An unsigned callback, which comes now and then, gets a 503: Vonage then sends it again, signed. The
    /// tolerance of 300 seconds is ours.
    secret("jwt") vonage = "Vonage", "https://developer.vonage.com/en/getting-started/concepts/webhooks", Official:
        Scheme::jwt(
            bearer(),
            JwtRules::hs256()
                .with_issuer("Vonage")
                .with_issued_within(Tolerance::within(OURS))
                .with_body_sha256("payload_hash", Encoding::Hex)
                .with_id_claim("jti"),
        )
        .with_methods([Method::POST, Method::GET])
        .with_unsigned_status(StatusCode::SERVICE_UNAVAILABLE);

    /// Marketplace webhooks. The address is signed as it was requested, without scheme and host. The tolerance of 300 seconds
    /// is ours.
    secret walmart = "Walmart Marketplace", "https://developer.walmart.com/us-marketplace/docs/security-and-authenticity",
        Official:
        Scheme::hmac_sha256()
            .signature(header("wm_sec.signature").base64())
            .timestamp(header("wm_sec.timestamp").unix_seconds().within(OURS))
            .signed("{method}\n{path_and_query}\n{timestamp}\n{body_sha256}");

    /// SHA-1. The id in the body is that of the webhook.
    /// Header, encoding and what is signed are known from others.
    secret webex = "Webex", "https://developer.webex.com/docs/receive-and-verify-webhooks", Unverified:
        Scheme::hmac_sha1_for_legacy_senders_only()
            .signature(header("x-spark-signature").hex())
            .event(json("/event"));

    /// Webhooks that were made by an app or by the API; those of the dashboard are not signed. Times are milliseconds.
    secret webflow = "Webflow", "https://developers.webflow.com/data/docs/working-with-webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("x-webflow-signature").hex())
            .timestamp(header("x-webflow-timestamp").unix_millis().within(OURS))
            .signed("{timestamp}:{body}")
            .event(json("/triggerType"));

    /// Notifications of APIv3, by the platform key whose serial number is in a header (or by keys that were given). What they
    /// tell of is encrypted.
    keyed("asymmetric") wechat_pay = "WeChat Pay",
        "https://pay.weixin.qq.com/wiki/doc/api_external/en/wechatpay/wechatpay4_1.shtml", Official:
        Scheme::rsa_pkcs1_sha256()
            .signature(header("wechatpay-signature").base64())
            .key_id(header("wechatpay-serial"))
            .timestamp(header("wechatpay-timestamp").unix_seconds().within(OURS))
            .signed("{timestamp}\n{nonce of the attempt}\n{body}\n")
            .with_piece("nonce of the attempt", Signed::default(), |values| {
                // It tells no event from another, as each attempt has its own.
                let Some(_) = values.timestamp else { return Ok(Vec::new()) };
                let nonce = required(values.head, &WECHAT_PAY_NONCE, LONGEST_HEADER)?;
                Ok(nonce.as_bytes().to_vec())
            })
            .event(json("/event_type"))
            .id(json("/id"));

    /// The whole body is a token: take its claims as [`JwtClaims`](crate::scheme::JwtClaims), whose member `data` is JSON in a
    /// text. RS256, with the public key of the app.
    /// That the body is a token, its algorithm and where the data is are known from others.
    key("jwt", "asymmetric") wix = "Wix", "https://dev.wix.com/docs/build-apps/build-your-app/authentication/verify-wix-requests",
        Unverified:
        Scheme::jwt(body(), JwtRules::rs256());

    /// The first request of a new webhook is an unsigned form with the webhook's number, and is answered 200. Topic and
    /// delivery id are in unsigned headers, and the id is the same for two deliveries of one second.
    secret woocommerce = "WooCommerce", "https://woocommerce.github.io/code-reference/classes/WC-Webhook.html", Official:
        Scheme::hmac_sha256()
            .signature(header("x-wc-webhook-signature").base64())
            .event(header("x-wc-webhook-topic"))
            .id(header("x-wc-webhook-delivery-id"))
            .with_handshake(Handshake::unsigned_form("x-wc-webhook-signature", woocommerce_ping));

    /// Times are milliseconds.
    secret workos = "WorkOS", "https://workos.com/docs/events/data-syncing/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("workos-signature").list(',').prefix("v1=").hex())
            .timestamp(header("workos-signature").list(',').prefix("t=").unix_millis().within(seconds(180)))
            .signed("{timestamp}.{body}")
            .event(json("/event"))
            .id(json("/id"));

    /// Access Worldpay. Each signature is behind the number of its secret and the name of the hash. No time is signed.
    secret worldpay = "Worldpay", "https://developer.worldpay.com/products/access/events/signature/", Official:
        Scheme::hmac_sha256()
            .signature(header("event-signature").list(',').hex().behind('/'))
            .event(json("/eventDetails/type"))
            .id(json("/eventId"));

    /// Every refusal is a 401: Xero probes for it with deliberately wrong signatures before it delivers. The handler has to
    /// answer exactly 200, without a body, within 5 seconds.
    secret xero = "Xero", "https://developer.xero.com/documentation/webhooks/configuring-your-server", Official:
        Scheme::hmac_sha256().signature(header("x-xero-signature").base64()).with_refusal_status(StatusCode::UNAUTHORIZED);

    /// The tolerance of 300 seconds is ours. GET and DELETE have no body. The id is that of the invocation, in an unsigned header:
    /// the body of a trigger is the customer's, and an `id` in it may be that of a ticket, of which many events tell.
    secret zendesk = "Zendesk", "https://developer.zendesk.com/documentation/webhooks/verifying/", Official:
        Scheme::hmac_sha256()
            .signature(header("x-zendesk-webhook-signature").base64())
            .timestamp(header("x-zendesk-webhook-signature-timestamp").rfc3339().within(OURS))
            .signed("{timestamp}{body}")
            .with_methods([Method::POST, Method::GET, Method::PUT, Method::PATCH, Method::DELETE])
            .event(json("/type"))
            .id(header("x-zendesk-webhook-invocation-id"));

    /// Answers `endpoint.url_validation`, which is signed, with the secret that signed it. The tolerance of 300 seconds is ours. Answer within 3 seconds.
    secret zoom = "Zoom", "https://developers.zoom.us/docs/api/webhooks", Official:
        Scheme::hmac_sha256()
            .signature(header("x-zm-signature").prefix("v0=").hex())
            .timestamp(header("x-zm-request-timestamp").unix_seconds().within(OURS))
            .signed("v0:{timestamp}:{body}")
            .event(json("/event"))
            .with_handshake(Handshake::signed_body(|_, body, mac| {
                static ASKS: Mark = Mark::new("/event", "endpoint.url_validation");
                let Some(mac) = mac.filter(|_| ASKS.is_in(body)) else {
                    return Ok(None);
                };
                let plain = challenge_in(body, "/payload/plainToken")?;
                let encrypted = hex::encode(challenge_mac(mac, &plain)?.as_bytes());
                Ok(Some(Answer::object(&[("plainToken", &plain), ("encryptedToken", &encrypted)])))
            }));
}

#[cfg(feature = "asymmetric")]
const WECHAT_PAY_NONCE: HeaderName = HeaderName::from_static("wechatpay-nonce");

/// Time and signatures as fields of one header, the signatures in hexadecimal.
#[inline]
fn timed_list(name: &str, separator: char, time: &'static str, signature: &'static str) -> SchemeBuilder {
    let fields = |prefix| -> Source { header(name).list(separator).prefix(prefix) };
    Scheme::hmac_sha256().signature(fields(signature).hex()).timestamp(fields(time).unix_seconds())
}

/// The ids of every event in a batch, by these of their members, if each event has them. The same
/// events in other company are another delivery.
#[inline]
fn ids_of(body: &[u8], array: &str, members: &[&str]) -> Option<Text> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let events = json.pointer(array)?.as_array().filter(|events| !events.is_empty())?;
    let id_of = |event: &serde_json::Value| {
        let texts = members.iter().map(|member| event.get(member)?.as_str().filter(|text| !text.is_empty()));
        Some(texts.collect::<Option<Vec<_>>>()?.join(" "))
    };
    Some(events.iter().map(id_of).collect::<Option<Vec<_>>>()?.join("\n").into())
}

/// What tells one DocuSign event from another. A repetition has the same.
const DOCUSIGN: [&str; 5] =
    ["/data/envelopeId", "/data/recipientId", "/event", "/data/envelopeSummary/status", "/generatedDateTime"];

/// Envelope, recipient, event, status and time; a part that is not there is empty, but for the
/// envelope.
#[inline]
fn docusign_identity(values: &[Option<Cow<'_, str>>]) -> Option<Text> {
    values.first()?.as_deref().filter(|envelope| !envelope.is_empty())?;
    let parts: Vec<_> = values.iter().map(|part| part.as_deref().unwrap_or_default()).collect();
    Some(parts.join(" ").into())
}

/// `webhook_id=` and a number, and nothing else.
#[inline]
fn woocommerce_ping(body: &[u8]) -> Result<Option<Answer>, Rejection> {
    let number = body.strip_prefix(b"webhook_id=").unwrap_or_default();
    let is_ping = (1..=20).contains(&number.len()) && number.iter().all(u8::is_ascii_digit);
    Ok(is_ping.then(|| Answer::empty(StatusCode::OK)))
}

/// A member of a body that is a challenge.
#[inline]
fn challenge_in(body: &[u8], pointer: &str) -> Result<String, Rejection> {
    let malformed = || Rejection::new(Reason::MalformedBody).with_detail("the challenge is missing");
    let text = member(body, pointer).map_err(|_| malformed())?.ok_or_else(malformed)?;
    if text.is_empty() {
        return Err(malformed());
    }
    printable(text.as_bytes())
}

/// Refuses a body that a challenge could be.
#[inline]
fn object_only(body: &[u8]) -> Result<(), Rejection> {
    match body.trim_ascii_start() {
        [b'{', ..] => Ok(()),
        _ => Err(Rejection::new(Reason::MalformedBody).with_detail("it is no JSON object")),
    }
}

#[inline]
fn no_challenge() -> Rejection {
    Rejection::new(Reason::MalformedHeader).with_detail("the challenge is not one of this sender")
}

fn is_uuid(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

/// `ssl_check=1` and the verification token that Slack deprecated, and nothing else.
#[inline]
fn slack_ssl_check(body: &[u8]) -> Result<Option<Answer>, Rejection> {
    let rest = body
        .strip_prefix(b"ssl_check=1&token=")
        .or_else(|| body.strip_suffix(b"&ssl_check=1")?.strip_prefix(b"token="));
    let is_check =
        rest.is_some_and(|token| (1..=128).contains(&token.len()) && token.iter().all(u8::is_ascii_alphanumeric));
    Ok(is_check.then(|| Answer::empty(StatusCode::OK)))
}

/// An interaction's ping has the type 1; so has every webhook *event*, beside a member `event`. The
/// ping of webhook events has the type 0.
#[cfg(feature = "asymmetric")]
#[inline]
fn discord_ping(body: &[u8]) -> Option<Answer> {
    if member_is(body, "/type", "1") && !has_member(body, "event") {
        return Some(Answer::json(r#"{"type":1}"#));
    }
    member_is(body, "/type", "0").then(|| {
        Answer::empty(StatusCode::NO_CONTENT).with_header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
    })
}

#[cfg(feature = "asymmetric")]
#[inline]
fn has_member(body: &[u8], name: &str) -> bool {
    let members = serde_json::from_slice::<std::collections::BTreeMap<String, serde::de::IgnoredAny>>(body);
    members.is_ok_and(|members| members.contains_key(name)) || member(body, "/event").is_err()
}
