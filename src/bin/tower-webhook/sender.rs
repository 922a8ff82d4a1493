//! The arguments that describe a sender. Secrets come from files or the environment.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tower_webhook::inspect::Explainer;
use tower_webhook::senders::SenderConfig;
use tower_webhook::{Secret, Secrets};

use crate::output::Failure;

/// The environment variable with the secret. Another one is chosen by `--secret-env`.
const SECRET: &str = "WEBHOOK_SECRET";

/// The environment variable with a secret that is not accepted any more.
const OLD_SECRET: &str = "WEBHOOK_OLD_SECRET";

#[derive(clap::Args)]
pub struct SenderArgs {
    /// The secret, from this file; a line break at its end is left out. May be there several times
    #[arg(long, value_name = "FILE", help_heading = "Sender")]
    secret_file: Vec<PathBuf>,
    /// The secret, from this environment variable
    #[arg(long, value_name = "NAME", default_value = SECRET, help_heading = "Sender")]
    secret_env: String,
    /// The secret itself. Others can see it in the list of processes and the history of the shell
    #[arg(long, value_name = "TEXT", help_heading = "Sender")]
    secret: Vec<String>,
    /// A secret that was replaced, from this file (or from WEBHOOK_OLD_SECRET): requests that it
    /// signed are explained
    #[arg(long, value_name = "FILE", help_heading = "Sender")]
    old_secret_file: Vec<PathBuf>,
    /// The address that the sender was given, for senders that sign it
    #[arg(long, value_name = "URL", help_heading = "Sender")]
    public_url: Option<String>,
    /// A public key of the sender
    #[arg(long, value_name = "KEY", help_heading = "Sender")]
    public_key: Vec<String>,
    /// Further settings as a JSON file, with the keys of an endpoint of the gateway
    #[arg(long, value_name = "FILE", help_heading = "Sender")]
    config: Option<PathBuf>,
    /// A further setting, such as webhook_id=WH-1
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Sender")]
    set: Vec<String>,
}

pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::outside(format!("{}: {error}", path.display())))
}

fn read_secret(path: &Path) -> Result<Secret, Failure> {
    let text = String::from_utf8(read(path)?);
    let text = text.map_err(|_| Failure::mistake(format!("{}: the secret is not UTF-8", path.display())))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
}

impl SenderArgs {
    /// Returns the configuration of this sender, or of the one that the file names.
    pub fn config(&self, provider: Option<&str>) -> Result<SenderConfig, Failure> {
        let mut settings: Map<String, Value> = match &self.config {
            None => Map::new(),
            Some(path) => serde_json::from_slice(&read(path)?)
                .map_err(|error| Failure::mistake(format!("{}: {error}", path.display())))?,
        };
        // Those of an endpoint that are not of its sender.
        for key in ["path", "deduplicate"] {
            settings.remove(key);
        }
        for setting in &self.set {
            let (key, value) = setting
                .split_once('=')
                .ok_or_else(|| Failure::mistake(format!("--set {setting}: it is not KEY=VALUE")))?;
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            settings.insert(key.to_owned(), value);
        }
        if let Some(provider) = provider {
            settings.insert("provider".to_owned(), provider.into());
        }
        if let Some(url) = &self.public_url {
            settings.insert("public_url".to_owned(), url.as_str().into());
        }
        if !self.public_key.is_empty() {
            settings.insert("public_keys".to_owned(), self.public_key.clone().into());
        }
        let mut config: SenderConfig = serde_json::from_value(Value::Object(settings)).map_err(Failure::mistake)?;
        if config.provider.is_none() {
            return Err(Failure::mistake("name the sender with --provider; `tower-webhook senders` lists them"));
        }
        let given = self.secrets()?;
        if !given.is_empty() {
            config.secrets = given;
        }
        Ok(config)
    }

    fn secrets(&self) -> Result<Vec<Secret>, Failure> {
        let mut secrets = self.secret_file.iter().map(|path| read_secret(path)).collect::<Result<Vec<_>, _>>()?;
        secrets.extend(self.secret.iter().map(Secret::from));
        if secrets.is_empty() {
            secrets.extend(std::env::var(&self.secret_env).ok().map(Secret::from));
        }
        Ok(secrets)
    }

    /// Returns an explainer that knows the secrets that were replaced, too.
    pub fn explainer(&self, config: &SenderConfig) -> Result<Explainer, Failure> {
        let explainer = Explainer::from_config(config.clone()).map_err(|error| self.hint(config, &error))?;
        Ok(match self.old_secrets()? {
            Some(old) => explainer.with_other_secrets(OLD, old),
            None => explainer,
        })
    }

    pub fn old_secrets(&self) -> Result<Option<Secrets>, Failure> {
        let mut old = self.old_secret_file.iter().map(|path| read_secret(path)).collect::<Result<Vec<_>, _>>()?;
        old.extend(std::env::var(OLD_SECRET).ok().map(Secret::from));
        Ok((!old.is_empty()).then(|| Secrets::new(old)))
    }

    /// Tells where a secret may come from, if that is what is missing.
    pub fn hint(&self, config: &SenderConfig, error: &tower_webhook::ConfigError) -> Failure {
        let name = config.provider.as_deref().unwrap_or_default();
        if error.setting() == Some("/secrets") && config.secrets.is_empty() {
            return Failure::mistake(format!(
                "{name}: there is no secret; set it in the environment as {}, or give its file with --secret-file",
                self.secret_env
            ));
        }
        Failure::mistake(format!("{name}: {error}"))
    }
}

/// What an explanation calls secrets that were replaced.
pub const OLD: &str = "a secret that was replaced";
