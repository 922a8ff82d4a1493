//! Any sender by its name, and from a configuration.

#[cfg(any(feature = "sns", feature = "jwt"))]
use std::time::Duration;

use crate::any_provider::AnyProvider;
use crate::config::{ConfigError, ConfigErrorKind};
use crate::provider::Facts;
use crate::scheme::Scheme;
#[cfg(feature = "sns")]
use crate::time::Tolerance;

use super::builtin::ALL;
use super::config::SenderConfig;
#[cfg(feature = "sns")]
use super::config::{BasicAuth, Confirmation};
#[cfg(feature = "jwt")]
use super::connect::Connect;
#[cfg(feature = "sns")]
use super::sns::{Confirm, Sns};
use super::table::Sender;

/// Returns every sender that [`by_name`] knows, in the order of their names.
///
/// # Examples
///
/// ```
/// for sender in tower_webhook::senders::all() {
///     println!("{}: {} ({})", sender.name, sender.title, sender.document);
/// }
/// ```
// Inline, as what leads here is: the functions of the whole table are compiled in programs that look a sender up.
#[inline]
pub fn all() -> impl Iterator<Item = &'static Sender> {
    ALL.iter()
}

impl Facts {
    /// Returns the built-in sender of this name, with the address of its document.
    #[must_use]
    #[inline]
    pub fn sender(&self) -> Option<&'static Sender> {
        all().find(|sender| self.name == sender.name)
    }
}

/// Returns the sender of this name with this configuration.
///
/// # Errors
///
/// Where there is no such sender, or the configuration is not one for it.
#[inline]
pub fn by_name(name: &str, config: SenderConfig) -> Result<Scheme, ConfigError> {
    match all().find(|sender| sender.name == name) {
        Some(sender) => sender.build(config),
        None => {
            let message = "there is no sender of this name; see `senders::all`, and the features it needs";
            Err(ConfigError::missing(message).with_setting("provider"))
        }
    }
}

impl SenderConfig {
    /// Builds the provider.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such sender, or something is missing or wrong for it or
    /// means nothing to it. [`ConfigError::setting`] tells which setting is at fault.
    #[inline]
    pub fn build(mut self) -> Result<AnyProvider, ConfigError> {
        let name = self.provider.take().ok_or_else(|| ConfigError::missing("`provider` is missing"))?;
        let body_limit = self.body_limit_bytes.take();
        let keys = if self.secrets.is_empty() { "public_keys" } else { "secrets" };
        let provider = match &*name {
            "scheme" => self.build_scheme().map(AnyProvider::new),
            "aws_sns" => self.build_sns(),
            #[cfg(feature = "jwt")]
            "cloudblue_connect" => self.build_connect().map(AnyProvider::new),
            #[cfg(not(feature = "jwt"))]
            "cloudblue_connect" => {
                Err(ConfigError::unavailable("`cloudblue_connect` needs the feature `jwt`").with_setting("provider"))
            }
            _ => by_name(&name, self).map(AnyProvider::new),
        };
        let provider = provider.map_err(|error| match error.kind() {
            ConfigErrorKind::Key if error.setting().is_none() => error.with_setting(keys),
            _ => error,
        })?;
        Ok(match body_limit {
            Some(bytes) => provider.with_body_limit(bytes),
            None => provider,
        })
    }

    /// Builds a sender that is a scheme, whichever it is.
    #[cfg(all(feature = "inspect", feature = "testing"))]
    #[inline]
    pub(crate) fn build_any_scheme(mut self) -> Result<Scheme, ConfigError> {
        match self.provider.take().as_deref() {
            Some("scheme") => self.build_scheme(),
            Some(name) => by_name(name, self),
            None => Err(ConfigError::missing("`provider` is missing")),
        }
    }

    #[inline]
    fn build_scheme(mut self) -> Result<Scheme, ConfigError> {
        let missing = || ConfigError::missing("`scheme` is missing").with_setting("scheme");
        let config = self.scheme.take().ok_or_else(missing)?;
        let (name, is_asymmetric) = (config.name().clone(), config.is_asymmetric());
        #[cfg(feature = "jwt")]
        let has_issuer = config.is_jwt() && is_asymmetric && self.jwks_url.is_some();
        #[cfg(not(feature = "jwt"))]
        let has_issuer = false;
        let mut builder = config.builder().map_err(|error| error.with_setting("scheme"))?;
        if let Some(address) = self.address() {
            builder = address.set(builder);
        }
        if has_issuer {
            #[cfg(feature = "jwt")]
            {
                builder = builder.with_jwks(self.take_jwks(None)?);
            }
        } else if is_asymmetric {
            // Without the feature, the algorithm was refused above.
            #[cfg(feature = "asymmetric")]
            {
                builder = builder.with_public_key(self.take_public_keys()?);
            }
        } else {
            builder = builder.secret(self.take_secrets()?);
        }
        let mut scheme = builder.build(name).map_err(|error| match (error.kind(), error.setting()) {
            // Keys and address are beside the scheme.
            (ConfigErrorKind::Key, _) | (_, Some("/public_url")) => error,
            _ => error.with_setting("scheme"),
        })?;
        if let Some(tolerance) = self.take_tolerance() {
            scheme = scheme.with_tolerance(tolerance).map_err(|error| error.with_setting("tolerance_seconds"))?;
        }
        self.finish("this scheme")?;
        Ok(scheme)
    }

    #[cfg(feature = "sns")]
    #[inline]
    fn build_sns(mut self) -> Result<AnyProvider, ConfigError> {
        let mut sns = Sns::builder().topics(std::mem::take(&mut self.topics));
        if std::mem::take(&mut self.any_topic) {
            sns = sns.insecure_any_topic();
        }
        if let Some(confirm) = self.confirm.take() {
            sns = sns.confirm(match confirm {
                Confirmation::Automatic => Confirm::Automatic,
                Confirmation::Manual => Confirm::Manual,
                Confirmation::Ignore => Confirm::Ignore,
            });
        }
        sns = match self.max_age_seconds.take() {
            None => sns,
            Some(None) => sns.insecure_any_age(),
            Some(Some(seconds)) => {
                // Ahead, only the clocks can differ.
                let skew = Duration::from_secs(300);
                sns.tolerance(Tolerance::past_and_future(Duration::from_secs(seconds), skew))
            }
        };
        if let Some(BasicAuth { user, password }) = self.basic_auth.take() {
            sns = sns.basic_auth(user, password);
        }
        if let Some(certificate) = self.certificate.take() {
            sns = sns.certificates(certificate);
        }
        self.finish("aws_sns")?;
        sns.build().map(AnyProvider::new)
    }

    #[cfg(not(feature = "sns"))]
    #[inline]
    fn build_sns(self) -> Result<AnyProvider, ConfigError> {
        Err(ConfigError::unavailable("`aws_sns` needs the feature `sns`").with_setting("provider"))
    }

    #[cfg(feature = "jwt")]
    #[inline]
    pub(crate) fn build_connect(mut self) -> Result<Connect, ConfigError> {
        self.provider = None;
        let secrets = self.take_secrets()?;
        let mut connect = Connect::new(secrets)?;
        if let Some(id) = self.webhook_id.take() {
            connect = connect.with_webhook_id(id);
        }
        if let Some(seconds) = self.tolerance_seconds.take() {
            connect = connect.with_leeway(Duration::from_secs(seconds));
        }
        self.finish("cloudblue_connect")?;
        Ok(connect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<AnyProvider, String> {
        let config = serde_json::from_str::<SenderConfig>(json).map_err(|error| error.to_string())?;
        config.build().map_err(|error| error.located_in(json, "").to_string())
    }

    #[test]
    fn debug_prints_no_secret() {
        let config: SenderConfig = serde_json::from_str(
            r#"{"secrets": ["hunter1"], "verify_token": "hunter2", "public_url": "https://u:hunter3@h",
                "basic_auth": {"user": "u", "password": "hunter4"},
                "scheme": {"name": "a", "algorithm": "token", "signature": {"header": "x"}, "handshakes": [{"subscribe": "hunter5"}]}}"#,
        )
        .unwrap();
        let shown = format!("{config:?} {:?} {:?}", config.scheme, config.basic_auth);
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let scheme = |keys: &str| {
            format!("{{\"provider\": \"scheme\", \"secrets\": [\"s\"], \"scheme\":\n{{\"name\": \"acme\", {keys}}}}}")
        };
        let signed = |keys: &str| {
            scheme(&format!(
                r#""algorithm": "hmac_sha256", "signature": {{"header": "x-s", "encoding": "hex"}}, {keys}"#
            ))
        };
        let own = str::to_owned;
        let mut wrong = Vec::new();
        for (json, message, place) in [
            (own("{\n\"sekrets\": []}"), "unknown field `sekrets`", "line 2 column 9"),
            (own("{\"secrets\": [],\n\"secrets\": []}"), "duplicate field `secrets`", "line 2 column 9"),
            (own("{\"provider\": \"github\",\n\"tolerance_seconds\": \"1\"}"), "invalid type", "line 2 column 24"),
            (own("{\"secrets\": [\"s\"]}"), "`provider` is missing", "line 1 column 1"),
            (own("{\n\"provider\": \"nobody\"}"), "there is no sender of this name", "line 2 column 13"),
            (own("{\"provider\": \"github\"}"), "`secrets` is missing or empty", "line 1 column 1"),
            (own("{\"provider\": \"github\",\n\"secrets\": [\"\"]}"), "a secret is empty", "line 2 column 12"),
            (
                own("{\"provider\": \"github\", \"secrets\": [\"s\"],\n\"header\": \"x\"}"),
                "`header` means nothing to github",
                "line 2 column 11",
            ),
            (
                own("{\"provider\": \"github\", \"secrets\": [\"s\"],\n\"tolerance_seconds\": 1}"),
                "no timestamp",
                "line 2 column 22",
            ),
            (own("{\"provider\": \"scheme\"}"), "`scheme` is missing", "line 1 column 1"),
            (scheme(r#""algorithm": "md5""#), "unknown variant `md5`", "line 2 column 35"),
            (scheme(r#""algorithm": "hmac_sha256""#), "missing field `signature`", "line 2 column 44"),
            (
                scheme(r#""algorithm": "hmac_sha256", "signature": {"header": "x-s"}"#),
                "`encoding` is missing",
                "line 2 column 59",
            ),
            (
                scheme(r#""algorithm": "hmac_sha256", "signature": {"header": "a b", "encoding": "hex"}"#),
                "a header name is not valid",
                "line 2 column 70",
            ),
            (signed(r#""id": {"header": "x", "query": "y"}"#), "`header` and `query` are two places", "line 2"),
            (signed(r#""id": {"header": "x", "encoding": "hex"}"#), "`encoding` means nothing here", "line 2"),
            (signed(r#""event": {}"#), "there is no place", "line 2"),
            (signed(r#""event": {"json": "type"}"#), "a JSON pointer starts with /", "line 2"),
            (signed(r#""timestamp": {"header": "x"}"#), "`format` is missing", "line 2"),
            (signed(r#""signed": "{bdoy}""#), "unknown {bdoy}", "line 2 column 107"),
            (signed(r#""signed": "{json:a}""#), "a JSON pointer starts with /", "line 2 column 107"),
            (signed(r#""required_headers": {"a b": "c"}"#), "a header name is not valid", "line 2 column 117"),
            (signed(r#""signed": "{method}""#), "body", "line 2"),
            (signed(r#""body_is_not_signed": true"#), "`signed` is missing", "line 2"),
            (signed(r#""methods": ["a b"]"#), "a method's name is not valid", "line 2"),
            (signed(r#""refusal_status": 200"#), "400 to 499", "line 2"),
            (signed(r#""handshakes": [{"probe": ["PUT"]}]"#), "a probe is HEAD", "line 2"),
            (signed(r#""handshakes": [{"guess": 1}]"#), "unknown variant `guess`", "line 2"),
            (
                format!(
                    r#"{{"provider": "scheme", "public_keys": ["{KEY}"], "scheme": {{"name": "a", "algorithm": "token", "signature": {{"header": "x"}}}}}}"#
                ),
                "`secrets` is missing",
                "line 1 column 1",
            ),
        ] {
            let told = read(&json).map(|_| ()).expect_err(&json);
            if !told.contains(message) || !told.contains(place) {
                wrong.push(format!("{json}\n{told}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }

    #[test]
    fn what_means_nothing_to_a_sender_is_refused_by_name_too() {
        let secret = || SenderConfig::default().with_secrets(["s"]);
        assert!(by_name("github", secret().with_tolerance_seconds(1)).is_err(), "GitHub signs no time");
        assert!(by_name("stripe", secret().with_tolerance_seconds(1)).is_ok());
        assert!(by_name("stripe", secret().with_header("x")).is_err());
        assert!(by_name("nobody", secret()).is_err());
    }
}
