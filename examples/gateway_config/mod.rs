//! The gateway's configuration file.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tower_webhook::senders::{CertificateConfig, SenderConfig};
use tower_webhook::sns::Confirm;
use tower_webhook::{Connect, Secret, Secrets, Sns, Tolerance};

use crate::gateway_inbox::{Admin, OnDead, Retry};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: String,
    pub public_url: Option<String>,
    pub inbox: Option<String>,
    pub forward: Option<String>,
    pub forward_secret: Option<String>,
    pub forward_timeout_seconds: Option<f64>,
    pub forward_signature: Option<bool>,
    pub retry: Option<Retry>,
    pub lease_seconds: Option<f64>,
    pub concurrency: Option<usize>,
    pub order: Option<String>,
    pub order_on_dead: Option<OnDead>,
    pub admin: Option<Admin>,
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint. What a provider does not know is refused when it is built.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    pub path: String,
    pub provider: String,
    #[serde(default)]
    secrets: Vec<Secret>,
    #[serde(default)]
    public_keys: Vec<String>,
    public_key: Option<String>,
    public_url: Option<String>,
    #[serde(default)]
    trust_forwarded_headers: bool,
    verify_token: Option<Secret>,
    header: Option<String>,
    webhook_id: Option<String>,
    jwks_url: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
    email: Option<String>,
    /// Its roots are a path.
    certificate: Option<CertificateConfig>,
    #[serde(default)]
    accept_offered_secret: bool,
    #[serde(default)]
    allow_origins: Vec<String>,
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    any_topic: bool,
    confirm: Option<Confirmation>,
    #[serde(default, deserialize_with = "present")]
    max_age_seconds: Option<Option<u64>>,
    basic_auth: Option<BasicAuth>,
    tolerance_seconds: Option<u64>,
    pub body_limit_bytes: Option<usize>,
    pub deduplicate: Option<String>,
    pub inbox: Option<String>,
    pub forward: Option<String>,
    pub forward_secret: Option<String>,
    pub forward_timeout_seconds: Option<f64>,
    pub forward_signature: Option<bool>,
    pub retry: Option<Retry>,
    pub lease_seconds: Option<f64>,
    pub concurrency: Option<usize>,
    pub order: Option<String>,
    pub order_on_dead: Option<OnDead>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Confirmation {
    Automatic,
    Manual,
    Ignore,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BasicAuth {
    user: String,
    password: String,
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

impl Config {
    /// Reads a file. An unknown or mistaken key is reported with its line and column.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut config: Self = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for endpoint in &mut config.endpoints {
            endpoint.public_url = endpoint.public_url.take().or_else(|| config.public_url.clone());
            if let Some(roots) = endpoint.certificate.as_mut().and_then(|certificate| certificate.roots.as_mut()) {
                *roots = folder.join(&*roots).to_string_lossy().into_owned();
            }
        }
        Ok(config)
    }
}

impl Endpoint {
    /// Refuses keys that mean nothing to this provider.
    fn only(&self, known: &[&str]) -> Result<()> {
        let set = [
            ("secrets", !self.secrets.is_empty()),
            ("public_keys", !self.public_keys.is_empty()),
            ("public_key", self.public_key.is_some()),
            ("trust_forwarded_headers", self.trust_forwarded_headers),
            ("verify_token", self.verify_token.is_some()),
            ("header", self.header.is_some()),
            ("webhook_id", self.webhook_id.is_some()),
            ("jwks_url", self.jwks_url.is_some()),
            ("issuer", self.issuer.is_some()),
            ("audience", self.audience.is_some()),
            ("email", self.email.is_some()),
            ("certificate", self.certificate.is_some()),
            ("accept_offered_secret", self.accept_offered_secret),
            ("allow_origins", !self.allow_origins.is_empty()),
            ("topics", !self.topics.is_empty()),
            ("any_topic", self.any_topic),
            ("confirm", self.confirm.is_some()),
            ("max_age_seconds", self.max_age_seconds.is_some()),
            ("basic_auth", self.basic_auth.is_some()),
            ("tolerance_seconds", self.tolerance_seconds.is_some()),
        ];
        match set.iter().find(|(name, set)| *set && !known.contains(name)) {
            Some((name, _)) => Err(format!("`{name}` means nothing to {}", self.provider).into()),
            None => Ok(()),
        }
    }

    pub fn cdr_manager(&self) -> Result<tower_webhook::Scheme> {
        self.only(&["secrets"])?;
        Ok(tower_webhook::CdrManager::new(Secrets::new(self.secrets.clone()))?)
    }

    pub fn connect(&self) -> Result<Connect> {
        self.only(&["secrets", "webhook_id", "tolerance_seconds"])?;
        let mut connect = Connect::new(Secrets::new(self.secrets.clone()))?;
        if let Some(id) = &self.webhook_id {
            connect = connect.with_webhook_id(id);
        }
        if let Some(seconds) = self.tolerance_seconds {
            connect = connect.with_leeway(Duration::from_secs(seconds));
        }
        Ok(connect)
    }

    pub fn sns(&self) -> Result<Sns> {
        self.only(&["topics", "any_topic", "confirm", "max_age_seconds", "basic_auth", "certificate"])?;
        let mut sns = Sns::builder().topics(self.topics.clone());
        if self.any_topic {
            sns = sns.insecure_any_topic();
        }
        sns = sns.confirm(match self.confirm.unwrap_or(Confirmation::Automatic) {
            Confirmation::Automatic => Confirm::Automatic,
            Confirmation::Manual => Confirm::Manual,
            Confirmation::Ignore => Confirm::Ignore,
        });
        sns = match self.max_age_seconds {
            None => sns,
            Some(None) => sns.insecure_any_age(),
            Some(Some(seconds)) => {
                // Ahead, only the clocks can differ.
                let skew = Duration::from_secs(300);
                sns.tolerance(Tolerance::past_and_future(Duration::from_secs(seconds), skew))
            }
        };
        if let Some(BasicAuth { user, password }) = &self.basic_auth {
            sns = sns.basic_auth(user, password);
        }
        if let Some(certificate) = &self.certificate {
            sns = sns.certificates(certificates(certificate)?);
        }
        Ok(sns.build()?)
    }

    pub fn sender(&self) -> Result<tower_webhook::Scheme> {
        self.only(&[
            "secrets",
            "public_keys",
            "public_key",
            "trust_forwarded_headers",
            "verify_token",
            "header",
            "webhook_id",
            "jwks_url",
            "issuer",
            "audience",
            "email",
            "certificate",
            "accept_offered_secret",
            "allow_origins",
            "tolerance_seconds",
        ])?;
        let mut config = SenderConfig::default();
        config.secrets = self.secrets.clone();
        config.public_keys = self.public_keys.clone();
        config.public_key = self.public_key.clone();
        config.public_url = self.public_url.clone();
        config.trust_forwarded_headers = self.trust_forwarded_headers;
        config.verify_token = self.verify_token.clone();
        config.header = self.header.clone();
        config.webhook_id = self.webhook_id.clone();
        config.jwks_url = self.jwks_url.clone();
        config.issuer = self.issuer.clone();
        config.audience = self.audience.clone();
        config.email = self.email.clone();
        config.certificate = self.certificate.as_ref().map(certificates).transpose()?;
        config.accept_offered_secret = self.accept_offered_secret;
        config.allow_origins = self.allow_origins.clone();
        config.tolerance_seconds = self.tolerance_seconds;
        Ok(tower_webhook::senders::by_name(&self.provider, config)?)
    }
}

/// Replaces the path of the roots by what is in that file.
fn certificates(certificate: &CertificateConfig) -> Result<CertificateConfig> {
    let mut config = certificate.clone();
    if let Some(path) = &config.roots {
        let pem = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        config = config.with_roots(pem);
    }
    Ok(config)
}
