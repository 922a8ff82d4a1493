//! The gateway's configuration file.

use std::error::Error;
use std::fmt;
use std::path::Path;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tower_webhook::AnyProvider;
use tower_webhook::senders::SenderConfig;

use super::inbox::{Admin, Keys};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Default)]
pub struct Config {
    pub listen: String,
    pub public_url: Option<String>,
    pub admin: Option<Admin>,
    pub keys: Keys,
    pub endpoints: Vec<Endpoint>,
    /// The file, to tell where in it a mistake is.
    text: String,
}

#[derive(Default)]
pub struct Endpoint {
    pub path: String,
    pub deduplicate: Option<String>,
    pub keys: Keys,
    pub sender: SenderConfig,
}

/// Reads an object whose keys are a struct's own, or one of those of its parts. Serde's `flatten`
/// would neither refuse unknown keys nor say where a mistake is.
macro_rules! object {
    ($object:ident { $($key:ident)* } and $($part:ident)*) => {
        impl<'de> Deserialize<'de> for $object {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                struct Object;

                impl<'de> Visitor<'de> for Object {
                    type Value = $object;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<$object, A::Error> {
                        let mut object = $object::default();
                        while let Some(key) = map.next_key::<String>()? {
                            match &*key {
                                $(stringify!($key) => object.$key = map.next_value()?,)*
                                $(_ if object.$part.read_key(&key, &mut map)? => {})*
                                _ => return Err(A::Error::custom(format!("unknown field `{key}`"))),
                            }
                        }
                        Ok(object)
                    }
                }

                deserializer.deserialize_map(Object)
            }
        }
    };
}

object! { Config { listen public_url admin endpoints } and keys }
object! { Endpoint { path deduplicate } and keys sender }

impl Config {
    /// Reads a file. An unknown or mistaken key is reported with its line and column.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut config: Self = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for endpoint in &mut config.endpoints {
            endpoint.sender.public_url = endpoint.sender.public_url.take().or_else(|| config.public_url.clone());
            // In the file, the roots are a path.
            if let Some(roots) = endpoint.sender.certificate.as_mut().and_then(|rules| rules.roots.as_mut()) {
                let path = folder.join(&*roots);
                *roots = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        config.text = text;
        Ok(config)
    }

    /// Builds the provider of the endpoint at this position.
    pub fn provider(&self, index: usize) -> Result<AnyProvider> {
        let built = self.endpoints[index].sender.clone().build();
        Ok(built.map_err(|error| error.located_in(&self.text, &format!("/endpoints/{index}")))?)
    }
}
