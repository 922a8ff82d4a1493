//! The same sender with other settings: secrets as they may have been meant, and other addresses.

use std::collections::HashSet;

use http::header::HOST;
use http::request::Parts;
use zeroize::Zeroizing;

use crate::any_provider::AnyProvider;
use crate::clues::Clues;
use crate::encoding::Encoding;
use crate::provider::Provider as _;
use crate::scheme::SchemeBuilder;
use crate::secrets::{MAX_SECRETS, Secret};
use crate::senders::{self, SenderConfig};
use crate::text::Text;

use super::explanation::{Finding, Mistake};
use super::known::Known;

/// The sender with another setting, and what is wrong if it verifies.
pub(super) struct OtherSettings {
    pub(super) provider: AnyProvider,
    pub(super) finding: Finding,
}

/// What a provider was made from.
pub(super) struct Origin {
    maker: Maker,
    pub(super) secrets: Vec<Secret>,
    public_url: Option<String>,
}

enum Maker {
    Config(Box<SenderConfig>),
    Builder(Box<SchemeBuilder>, Text),
}

impl Origin {
    /// Returns what the provider was made from, if it is known.
    pub(super) fn of(known: &Known, clues: &Clues) -> Option<Self> {
        if let Some(config) = &known.config {
            let (secrets, public_url) = (config.secrets.clone(), config.public_url.clone());
            return Some(Self { maker: Maker::Config(Box::new(config.clone())), secrets, public_url });
        }
        let builder: &SchemeBuilder = clues.builder.as_ref()?.downcast_ref()?;
        let maker = Maker::Builder(Box::new(builder.clone()), known.provider.name().clone());
        Some(Self { maker, secrets: clues.secrets.clone(), public_url: clues.public_url.clone() })
    }

    fn with_secret(&self, secret: Secret) -> Option<AnyProvider> {
        match &self.maker {
            Maker::Config(config) => config.as_ref().clone().with_secrets([secret]).build().ok(),
            Maker::Builder(builder, name) => {
                builder.as_ref().clone().secret(secret).build(name.clone()).ok().map(AnyProvider::new)
            }
        }
    }

    fn at(&self, public_url: &str) -> Option<AnyProvider> {
        match &self.maker {
            Maker::Config(config) => {
                let mut config = config.as_ref().clone().with_public_url(public_url);
                config.trust_forwarded_headers = false;
                config.build().ok()
            }
            Maker::Builder(builder, name) => {
                builder.as_ref().clone().with_public_url(public_url).build(name.clone()).ok().map(AnyProvider::new)
            }
        }
    }
}

/// Returns the sender with other secrets, the likeliest first.
pub(super) fn with_other_secrets(known: &Known, origin: &Origin) -> Vec<OtherSettings> {
    let mut found = Vec::new();
    // A sender that has none would only be one without a secret.
    if origin.secrets.is_empty() {
        return found;
    }
    let mut push = |secret: Secret, finding: Finding| {
        found.extend(origin.with_secret(secret).map(|provider| OtherSettings { provider, finding }));
    };
    for secret in origin.secrets.iter().take(MAX_SECRETS) {
        for (secret, finding) in readings(secret) {
            push(secret, finding);
        }
    }
    for (name, secret) in &known.other_secrets {
        let finding = || {
            Finding::new(
                Mistake::OtherSecret,
                format!("the sender signs with {name}"),
                "set it here as well until the sender uses the new one, or give the sender the secret that is set here",
            )
        };
        push(secret.clone(), finding());
        for (secret, _) in readings(secret) {
            push(secret, finding());
        }
    }
    found
}

/// Returns the ways in which a secret that was given may have been meant.
fn readings(secret: &Secret) -> Vec<(Secret, Finding)> {
    let mut found = Readings { seen: Vec::new(), secrets: Vec::new() };
    match secret.as_given() {
        Ok(text) => found.of_text(text),
        Err(bytes) => {
            found.written(bytes);
            if let Ok(text) = std::str::from_utf8(bytes) {
                found.of_text(text);
                // By the sender's own rule for texts.
                found.text(text.to_owned(), Reading::Whole.finding());
            }
        }
    }
    found.secrets
}

#[derive(Clone, Copy)]
enum Reading {
    Base64,
    Hex,
    Whole,
    Encoded,
    Prefixed,
    Stripped,
}

impl Reading {
    fn finding(self) -> Finding {
        let (cause, cure) = match self {
            Self::Base64 => (
                "the secret is used as text, and the sender's key is what it holds in base64",
                "decode it: `Secret::from_base64`",
            ),
            Self::Hex => (
                "the secret is used as text, and the sender's key is what it holds in hexadecimal",
                "decode it: `Secret::from_hex`",
            ),
            Self::Whole => (
                "the secret is decoded, and the sender's key is the text itself",
                "give it as the sender shows it: `Secret::new`, or `Secret::from_bytes` with its text",
            ),
            Self::Encoded => (
                "the secret was decoded, and the sender's key is the text in its encoding",
                "give it exactly as the sender shows it",
            ),
            Self::Prefixed => (
                "the secret lacks the prefix that is a part of it at the sender",
                "give it exactly as the sender shows it, `whsec_` included",
            ),
            Self::Stripped => (
                "the prefix of the secret is no part of the sender's key",
                "give it without the prefix, or by `Secret::from_base64` if the rest is base64",
            ),
        };
        Finding::new(Mistake::SecretEncoding, cause, cure)
    }
}

struct Readings {
    seen: Vec<Zeroizing<Vec<u8>>>,
    secrets: Vec<(Secret, Finding)>,
}

impl Readings {
    fn is_new(&mut self, kind: &[u8], key: &[u8]) -> bool {
        let key = Zeroizing::new([kind, key].concat());
        let is_new = !self.seen.iter().any(|seen| **seen == *key);
        self.seen.push(key);
        is_new
    }

    fn text(&mut self, text: impl Into<String>, finding: Finding) {
        let text = Zeroizing::new(text.into());
        if !text.is_empty() && self.is_new(b"text ", text.as_bytes()) {
            self.secrets.push((Secret::new(text.as_str()), finding));
        }
    }

    fn bytes(&mut self, bytes: impl Into<Vec<u8>>, finding: Finding) {
        let bytes = Zeroizing::new(bytes.into());
        if !bytes.is_empty() && self.is_new(b"bytes ", &bytes) {
            self.secrets.push((Secret::from_bytes(bytes.to_vec()), finding));
        }
    }

    fn of_text(&mut self, text: &str) {
        let white_space = || {
            Finding::new(
                Mistake::SecretWhiteSpace,
                "the secret has white space or quotes around it, which are no part of it at the sender",
                "set it without them; a file or an environment variable often ends with a line break",
            )
        };
        let bare = text.trim().trim_matches(['"', '\'']).trim();
        if bare != text {
            self.text(bare, white_space());
            self.bytes(bare, white_space());
        }
        let no_line_break = text.replace("\\n", "").replace(char::is_whitespace, "");
        if no_line_break != text {
            self.text(no_line_break.clone(), white_space());
            self.bytes(no_line_break, white_space());
        }
        for (longer, what) in [(format!("{text}\n"), "a line break"), (format!("{text} "), "a space")] {
            let finding = Finding::new(
                Mistake::SecretWhiteSpace,
                format!("the sender's secret ends with {what}, and the one here doesn't"),
                "set the secret at the sender again, without it",
            );
            self.bytes(longer, finding);
        }
        for (one, other) in [("test", "live"), ("test", "prod"), ("sandbox", "production"), ("dev", "prod")] {
            for (one, other) in [(one, other), (other, one)] {
                for (from, to) in [(format!("_{one}_"), format!("_{other}_")), (format!("{one}_"), format!("{other}_"))]
                {
                    if text.contains(&from) {
                        let finding = Finding::new(
                            Mistake::OtherEnvironment,
                            format!("the secret is called one of `{one}`, and the sender signs with that of `{other}`"),
                            "use the secret of the environment that sends",
                        );
                        self.text(text.replace(&from, &to), finding.clone());
                        self.bytes(text.replace(&from, &to), finding);
                    }
                }
            }
        }
        self.bytes(bare, Reading::Whole.finding());
        let body = bare.strip_prefix("v1,").unwrap_or(bare);
        let unprefixed = body.strip_prefix("whsec_").or_else(|| body.split_once('_').map(|(_, rest)| rest));
        for (text, is_stripped) in [(Some(bare), false), (unprefixed, true)] {
            let Some(text) = text else { continue };
            if is_stripped {
                self.text(text, Reading::Stripped.finding());
                self.bytes(text, Reading::Stripped.finding());
            }
            let base64 = if is_stripped { Reading::Stripped } else { Reading::Base64 };
            if let Some(bytes) = base64_of(text) {
                self.bytes(bytes, base64.finding());
            }
            if let Some(bytes) = Encoding::HexAnyCase.decode(text.as_bytes()) {
                self.bytes(bytes, Reading::Hex.finding());
            }
        }
        self.written(bare.as_bytes());
        self.text(format!("whsec_{bare}"), Reading::Prefixed.finding());
        self.bytes(format!("whsec_{bare}"), Reading::Prefixed.finding());
        for other_case in [bare.to_lowercase(), bare.to_uppercase()] {
            self.text(other_case.clone(), Reading::Encoded.finding());
            self.bytes(other_case, Reading::Encoded.finding());
        }
    }

    /// What these bytes are when they are written.
    fn written(&mut self, bytes: &[u8]) {
        let base64 = Encoding::Base64.encode(bytes);
        for text in [
            base64.clone(),
            base64.trim_end_matches('=').to_owned(),
            Encoding::Base64Url.encode(bytes),
            Encoding::Hex.encode(bytes),
            Encoding::Hex.encode(bytes).to_uppercase(),
            format!("whsec_{base64}"),
        ] {
            self.text(text.clone(), Reading::Encoded.finding());
            self.bytes(text, Reading::Encoded.finding());
        }
    }
}

/// Decodes base64 in either alphabet, with or without padding.
fn base64_of(text: &str) -> Option<Vec<u8>> {
    let url_safe = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    Encoding::Base64Url.decode(url_safe.as_bytes())
}

/// Returns the sender with other addresses of this service.
pub(super) fn with_other_addresses(origin: &Origin, head: &Parts) -> Vec<OtherSettings> {
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let set = origin.public_url.as_deref().map(|base| base.trim_end_matches('/'));
    let (set_scheme, rest) = set.and_then(|base| base.split_once("://")).unwrap_or(("https", ""));
    let (set_host, set_path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let hosts = [Some(set_host), header(HOST.as_str()), header("x-forwarded-host"), header("x-original-host")];
    let mut found = Vec::new();
    let mut seen = HashSet::from([set.unwrap_or_default().to_owned()]);
    let mut push = |base: String, cause: String| {
        if !seen.insert(base.clone()) {
            return;
        }
        let cure = "set `public_url` to the address that the sender was given, scheme, port and path included";
        let finding = Finding::new(Mistake::Address, cause, cure);
        found.extend(origin.at(&base).map(|provider| OtherSettings { provider, finding }));
    };
    let shown = |base: &str| base.rsplit_once('@').map_or_else(|| base.to_owned(), |(_, host)| format!("..@{host}"));
    let mut paths = vec![set_path.to_owned(), String::new()];
    paths.extend(header("x-forwarded-prefix").map(|prefix| prefix.trim_end_matches('/').to_owned()));
    paths.extend(set_path.rsplit_once('/').map(|(shorter, _)| shorter.to_owned()));
    let schemes = if set_scheme == "http" { ["https", "http"] } else { ["http", "https"] };
    for host in hosts.into_iter().flatten().filter(|host| !host.is_empty()) {
        let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
        let www = bare.strip_prefix("www.").map_or_else(|| format!("www.{bare}"), str::to_owned);
        let ports = ["443", "80", "8080", "8443", "3000"].map(|port| format!("{bare}:{port}"));
        let hosts = [host.to_owned(), bare.to_owned(), www, host.to_lowercase()].into_iter().chain(ports);
        for host in hosts {
            for scheme in schemes {
                for path in &paths {
                    let base = format!("{scheme}://{host}{path}");
                    let cause = format!("the sender signed an address that starts with `{}`", shown(&base));
                    push(base, cause);
                }
            }
        }
    }
    found
}

/// Returns the built-in senders, made from the same secrets, that a head looks like; or those that
/// can't be made so, by their names.
pub(super) fn look_alikes(
    own: &str,
    origin: Option<&Origin>,
    head: &Parts,
) -> Vec<(&'static str, Option<AnyProvider>)> {
    let with_secrets = |name: &str| {
        let origin = origin?;
        let mut other = SenderConfig::default().with_provider(name).with_secrets(origin.secrets.iter().cloned());
        other.public_url.clone_from(&origin.public_url);
        other.build().ok()
    };
    senders::recognized(head).filter(|name| *name != own).map(|name| (name, with_secrets(name))).collect()
}
