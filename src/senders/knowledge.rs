//! How the senders behave around their requests, as far as their documents, or pages that cite
//! them, say.
//!
//! A setting that is not there is unknown. Durations count from the first attempt to the last.
#![allow(dead_code, reason = "some senders are behind features")]

use std::time::Duration;

use http::StatusCode as S;

use crate::behavior::ExpectedAnswer::{AnySuccess, Body, Status};
use crate::behavior::Repeats::{Never, OnAnyFailure, OnServerError};
use crate::behavior::{Behavior, ExpectedAnswer};

const UNKNOWN: Behavior = Behavior::UNKNOWN;
const REPEATED: Behavior = UNKNOWN.with_repeats(OnAnyFailure);
const ON_5XX: Behavior = UNKNOWN.with_repeats(OnServerError);
const ONLY_200: ExpectedAnswer = Status(&[S::OK]);
/// Svix's own schedule, for those who send through it.
const SVIX: Behavior = REPEATED.with_repeats_for(seconds(99_305)).with_patience(seconds(15)).with_expected(AnySuccess);
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn minutes(count: u64) -> Duration {
    seconds(60 * count)
}

const fn hours(count: u64) -> Duration {
    minutes(60 * count)
}

const fn days(count: u64) -> Duration {
    hours(24 * count)
}

/// Defines what is known of each sender by the name of its function, so that a program has what is
/// known of those alone that it uses.
macro_rules! known {
    ($($name:ident = $behavior:expr;)*) => {
        $(
            #[allow(non_upper_case_globals, reason = "they are named as the senders are")]
            pub(crate) static $name: Behavior = $behavior;
        )*

        #[cfg(any(feature = "sns", test))]
        static KNOWN: &[(&str, &Behavior)] = &[$((stringify!($name), &$name)),*];
    };
}

/// Returns what is known of the sender of this name.
#[cfg(any(feature = "sns", test))]
pub(crate) fn of(name: &str) -> &'static Behavior {
    KNOWN.iter().find(|(known, _)| *known == name).map_or(&Behavior::UNKNOWN, |(_, behavior)| behavior)
}

// In the order of their names.
#[rustfmt::skip]
known! {
    adyen_banking = REPEATED.with_repeats_for(days(30)).with_patience(seconds(10)).with_expected(AnySuccess);
    adyen_payments = REPEATED.with_repeats_for(days(30)).with_patience(seconds(10))
        .with_expected(Body("[accepted]"));
    aftership = UNKNOWN;
    airtable = UNKNOWN;
    airwallex = REPEATED.with_repeats_for(days(3)).with_expected(ONLY_200)
        .with_unique_bodies("`id` names the event");
    alchemy = REPEATED.with_expected(ONLY_200);
    apple_app_store = REPEATED.with_repeats_for(hours(157))
        .with_expected(Status(&[S::OK, S::CREATED, S::ACCEPTED, S::NON_AUTHORITATIVE_INFORMATION, S::NO_CONTENT,
            S::RESET_CONTENT, S::PARTIAL_CONTENT]))
        .with_unique_bodies("`notificationUUID` names the notification");
    asana = REPEATED.with_repeats_for(days(1)).with_patience(seconds(10)).with_expected(AnySuccess);
    ashby = UNKNOWN;
    auth0 = REPEATED;
    aws_sns = ON_5XX.with_repeats_for(hours(1)).with_patience(seconds(15)).with_expected(AnySuccess)
        .with_largest_body(2 * MIB);
    azure_event_grid = REPEATED.with_repeats_for(days(1)).with_patience(seconds(30))
        .with_expected(Status(&[S::OK, S::CREATED, S::ACCEPTED, S::NON_AUTHORITATIVE_INFORMATION, S::NO_CONTENT]))
        .with_largest_body(MIB).with_unique_bodies("each event has an `id` and an `eventTime`");
    bigcommerce = REPEATED.with_repeats_for(hours(48)).with_expected(AnySuccess);
    bitbucket = ON_5XX.with_patience(seconds(10)).with_largest_body(256 * KIB);
    box_com = REPEATED.with_repeats_for(hours(2)).with_patience(seconds(30)).with_expected(AnySuccess)
        .with_unique_bodies("`id` names the event");
    braintree = REPEATED.with_patience(seconds(30)).with_expected(AnySuccess);
    buildkite = UNKNOWN;
    cal_com = UNKNOWN.with_expected(AnySuccess);
    calendly = REPEATED.with_repeats_for(days(1)).with_expected(AnySuccess);
    cdr_manager = UNKNOWN;
    chargebee = REPEATED.with_patience(minutes(1)).with_expected(AnySuccess)
        .with_unique_bodies("`id` names the event");
    checkout_com = REPEATED;
    circle = UNKNOWN;
    circleci = REPEATED.with_patience(seconds(10)).with_expected(AnySuccess)
        .with_unique_bodies("`id` names the event");
    clerk = SVIX;
    clickup = UNKNOWN;
    clio = UNKNOWN;
    cloudblue_connect = REPEATED.with_patience(minutes(5)).with_expected(AnySuccess).with_interactive(true);
    cloudevents = UNKNOWN.with_expected(Status(&[S::OK, S::CREATED, S::ACCEPTED, S::NO_CONTENT]));
    coinbase_commerce = REPEATED.with_repeats_for(days(3)).with_expected(ONLY_200)
        .with_unique_bodies("`event.id` names the event");
    coinify = UNKNOWN;
    commerce_layer = REPEATED.with_patience(seconds(5)).with_expected(AnySuccess);
    contentful = UNKNOWN.with_patience(seconds(30));
    cursor = UNKNOWN;
    customerio = REPEATED.with_repeats_for(days(7)).with_patience(seconds(4))
        .with_unique_bodies("`event_id` names the event");
    discord = REPEATED.with_repeats_for(minutes(10)).with_patience(seconds(3))
        .with_expected(Status(&[S::NO_CONTENT, S::OK])).with_interactive(true);
    docusign = REPEATED.with_repeats_for(days(7)).with_largest_body(25 * MIB)
        .with_unique_bodies("`generatedDateTime`, in the JSON form");
    dodo_payments = UNKNOWN;
    dropbox = REPEATED.with_patience(seconds(10)).with_expected(AnySuccess);
    dyte = UNKNOWN;
    easypost = UNKNOWN;
    ebay = UNKNOWN;
    elevenlabs = UNKNOWN;
    envoy = REPEATED.with_repeats_for(minutes(10)).with_expected(AnySuccess);
    exa = UNKNOWN;
    fal = UNKNOWN;
    fastspring = REPEATED.with_expected(ONLY_200).with_unique_bodies("each event of a batch has an `id`");
    favro = UNKNOWN;
    fireblocks = UNKNOWN;
    fireflies = REPEATED.with_patience(seconds(10)).with_expected(AnySuccess);
    fourthwall = UNKNOWN;
    front = ON_5XX.with_patience(seconds(10));
    fusionauth = UNKNOWN;
    gitea = UNKNOWN.with_repeats(Never).with_patience(seconds(5)).with_expected(AnySuccess);
    github = UNKNOWN.with_repeats(Never).with_patience(seconds(10)).with_expected(AnySuccess)
        .with_largest_body(25 * MIB);
    gitlab = UNKNOWN.with_patience(seconds(10)).with_expected(AnySuccess);
    gocardless = REPEATED.with_expected(Status(&[S::NO_CONTENT, S::OK]))
        .with_unique_bodies("each event of a batch has an `id`");
    google_oidc = REPEATED.with_repeats_for(days(7))
        .with_expected(Status(&[S::OK, S::PROCESSING, S::CREATED, S::ACCEPTED, S::NO_CONTENT]))
        .with_largest_body(14 * MIB);
    grafana = UNKNOWN;
    heroku = UNKNOWN;
    hookdeck = REPEATED.with_expected(AnySuccess);
    hubspot_v1 = ON_5XX.with_patience(seconds(5)).with_expected(AnySuccess);
    hubspot_v3 = ON_5XX.with_patience(seconds(5)).with_expected(AnySuccess);
    hugging_face = UNKNOWN;
    intercom = REPEATED.with_repeats_for(minutes(1)).with_patience(seconds(5))
        .with_unique_bodies("`id` names the notification");
    jira = ON_5XX.with_repeats_for(minutes(30));
    kick = REPEATED.with_expected(ONLY_200);
    knock = REPEATED.with_expected(AnySuccess).with_unique_bodies("`id` names the event");
    launchdarkly = UNKNOWN.with_unique_bodies("`_id` names the entry of the audit log");
    lemonsqueezy = REPEATED.with_repeats_for(seconds(155)).with_expected(ONLY_200);
    line = UNKNOWN.with_patience(seconds(2)).with_unique_bodies("each event has a `webhookEventId`");
    linear = REPEATED.with_repeats_for(minutes(421)).with_patience(seconds(5)).with_expected(ONLY_200)
        .with_largest_body(5 * MIB).with_unique_bodies("`webhookTimestamp` counts milliseconds");
    linkedin = UNKNOWN;
    lithic = REPEATED;
    liveblocks = UNKNOWN;
    livekit = UNKNOWN;
    logto = UNKNOWN;
    mailchannels = UNKNOWN;
    mailgun = REPEATED.with_repeats_for(hours(8)).with_expected(ONLY_200).with_largest_body(25 * MIB);
    mandrill = UNKNOWN.with_largest_body(25 * MIB);
    mercado_pago = UNKNOWN;
    meta = REPEATED.with_repeats_for(days(7)).with_largest_body(3 * MIB);
    microsoft_graph = REPEATED.with_repeats_for(hours(4)).with_patience(seconds(3)).with_expected(AnySuccess);
    microsoft_teams = UNKNOWN.with_patience(seconds(5)).with_interactive(true);
    modern_treasury = UNKNOWN;
    mollie = REPEATED.with_repeats_for(hours(26)).with_patience(seconds(15)).with_expected(ONLY_200);
    monday = REPEATED.with_repeats_for(minutes(30));
    moonpay = UNKNOWN;
    mux = REPEATED.with_expected(AnySuccess);
    neon = UNKNOWN;
    netlify = UNKNOWN;
    notion = UNKNOWN;
    nuvemshop = REPEATED.with_repeats_for(hours(48)).with_patience(seconds(3)).with_expected(AnySuccess);
    nylas = ON_5XX.with_repeats_for(minutes(20)).with_patience(seconds(10)).with_expected(ONLY_200);
    okta = ON_5XX.with_patience(seconds(3)).with_expected(Status(&[S::OK, S::NO_CONTENT]))
        .with_unique_bodies("`eventId` names the event");
    openai = REPEATED.with_unique_bodies("`id` names the event");
    paddle = REPEATED.with_patience(seconds(5)).with_expected(ONLY_200)
        .with_unique_bodies("`event_id` and `notification_id`");
    pagerduty = UNKNOWN.with_unique_bodies("`event.id` names the event");
    paypal = REPEATED.with_repeats_for(days(3)).with_expected(AnySuccess)
        .with_unique_bodies("`id` names the event");
    paystack = REPEATED.with_repeats_for(days(3)).with_patience(seconds(30)).with_expected(ONLY_200);
    pce = ON_5XX.with_patience(seconds(15)).with_expected(AnySuccess);
    persona = REPEATED.with_patience(seconds(5))
        .with_expected(Status(&[S::OK, S::CREATED, S::ACCEPTED, S::NO_CONTENT]));
    pipedrive = REPEATED.with_repeats_for(seconds(183)).with_expected(AnySuccess);
    plaid = REPEATED.with_repeats_for(days(1)).with_patience(seconds(10)).with_expected(ONLY_200);
    polar = REPEATED.with_patience(seconds(10)).with_expected(AnySuccess);
    postmark = UNKNOWN;
    pusher = UNKNOWN;
    razorpay = REPEATED.with_repeats_for(days(1)).with_patience(seconds(5)).with_expected(AnySuccess);
    recharge = ON_5XX.with_repeats_for(hours(48)).with_patience(seconds(5)).with_expected(ONLY_200);
    render = UNKNOWN;
    replicate = UNKNOWN;
    resend = SVIX;
    retell = REPEATED.with_patience(seconds(10)).with_expected(AnySuccess);
    revolut = REPEATED.with_repeats_for(minutes(30));
    ringcentral = UNKNOWN;
    sanity = REPEATED.with_repeats_for(minutes(1)).with_patience(seconds(30));
    sendgrid = REPEATED.with_repeats_for(days(1)).with_expected(AnySuccess).with_largest_body(768 * KIB)
        .with_unique_bodies("each event has an `sg_event_id`");
    sentry = UNKNOWN.with_patience(seconds(1));
    shipbob = UNKNOWN;
    shopify = REPEATED.with_repeats_for(hours(4)).with_patience(seconds(5)).with_expected(AnySuccess);
    shopline = REPEATED.with_repeats_for(hours(48)).with_patience(seconds(5));
    sightengine = UNKNOWN;
    slack = REPEATED.with_repeats_for(minutes(6)).with_patience(seconds(3)).with_expected(AnySuccess)
        .with_interactive(true);
    smartcar = REPEATED.with_patience(seconds(15)).with_expected(AnySuccess);
    smartsheet = UNKNOWN;
    square = REPEATED.with_repeats_for(days(3)).with_patience(seconds(10)).with_expected(AnySuccess)
        .with_unique_bodies("`event_id` names the event");
    standard_webhooks = UNKNOWN.with_expected(AnySuccess);
    statsig = UNKNOWN;
    stripe = REPEATED.with_repeats_for(days(3)).with_expected(AnySuccess)
        .with_unique_bodies("`id` names the event");
    supabase = ON_5XX.with_repeats_for(seconds(19)).with_patience(seconds(5))
        .with_expected(Status(&[S::OK, S::ACCEPTED, S::NO_CONTENT])).with_interactive(true);
    surge = UNKNOWN.with_unique_bodies("`id` names the event");
    svix = SVIX;
    synctera = REPEATED.with_repeats_for(hours(55)).with_patience(seconds(5));
    tally = REPEATED.with_patience(seconds(10)).with_expected(AnySuccess);
    tebex = UNKNOWN.with_expected(AnySuccess);
    telegram = REPEATED.with_repeats_for(days(1)).with_expected(AnySuccess)
        .with_unique_bodies("`update_id` counts the updates of a bot").with_interactive(true);
    telna = ON_5XX.with_repeats_for(hours(1)).with_patience(seconds(15)).with_expected(ONLY_200);
    telnyx = UNKNOWN;
    terraform = UNKNOWN;
    tiktok = REPEATED.with_repeats_for(days(3));
    tiktok_shop = REPEATED.with_repeats_for(minutes(932)).with_patience(seconds(3)).with_expected(ONLY_200)
        .with_unique_bodies("`tts_notification_id` names the notification");
    token_io = REPEATED.with_repeats_for(days(3)).with_expected(ONLY_200);
    trello = REPEATED.with_unique_bodies("`action.id` names the event");
    twilio = UNKNOWN.with_patience(seconds(15)).with_interactive(true);
    twitch = UNKNOWN.with_expected(AnySuccess);
    twitter = UNKNOWN.with_patience(seconds(10)).with_expected(ONLY_200);
    typeform = REPEATED.with_repeats_for(minutes(35)).with_unique_bodies("`event_id` names the event");
    uber = ON_5XX.with_expected(ONLY_200);
    utila = UNKNOWN;
    vercel = UNKNOWN.with_unique_bodies("`id` names the event");
    vonage = UNKNOWN.with_patience(seconds(5)).with_expected(AnySuccess).with_interactive(true);
    walmart = UNKNOWN.with_patience(seconds(3));
    webex = UNKNOWN;
    webflow = REPEATED.with_repeats_for(minutes(30)).with_patience(seconds(30));
    wechat_pay = UNKNOWN;
    wix = REPEATED.with_patience(Duration::from_millis(1250));
    woocommerce = UNKNOWN.with_repeats(Never).with_patience(minutes(1)).with_expected(AnySuccess);
    workos = REPEATED.with_repeats_for(days(3)).with_patience(seconds(5)).with_expected(ONLY_200)
        .with_unique_bodies("`id` names the event");
    worldpay = UNKNOWN;
    xero = REPEATED.with_repeats_for(days(1)).with_patience(seconds(5)).with_expected(ONLY_200);
    zendesk = UNKNOWN.with_patience(seconds(10));
    zoom = ON_5XX.with_repeats_for(minutes(85)).with_patience(seconds(3))
        .with_expected(Status(&[S::OK, S::NO_CONTENT]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::senders;

    #[test]
    fn every_sender_of_the_table_has_a_row_and_every_row_a_sender() {
        let own = ["aws_sns", "cloudblue_connect", "pce", "telna"];
        for sender in senders::all() {
            assert!(KNOWN.iter().any(|(name, _)| *name == sender.name), "{}", sender.name);
        }
        #[cfg(all(feature = "sns", feature = "jwt", feature = "asymmetric", feature = "paypal"))]
        for (name, _) in KNOWN {
            assert!(own.contains(name) || senders::all().any(|sender| sender.name == *name), "{name}");
        }
        assert!(KNOWN.is_sorted_by_key(|(name, _)| *name) && own.iter().all(|name| *of(name) != Behavior::UNKNOWN));
    }
}
