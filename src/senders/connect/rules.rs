//! What is demanded of a genuine token, and of the body beside it.

use std::time::SystemTime;

use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;

use crate::json::{self, Object};
use crate::jwt::{Algorithm, TimeRules, Times, Token, bearer, malformed};
use crate::rejection::{Reason, Rejection};

use super::{DEFAULT_LEEWAY, TokenHeader};

static AUTHENTICATION: HeaderName = HeaderName::from_static("authentication");

/// The claims that speak of the token and not of the event (RFC 7519, section 4.1). A body has no part in them, so
/// a member of such a name in it is another thing.
pub(super) const REGISTERED: [&str; 7] = ["exp", "iat", "nbf", "jti", "iss", "sub", "aud"];

#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) header: TokenHeader,
    pub(super) times: TimeRules,
    /// The names of claims, each with a value that it may have.
    pub(super) pins: Vec<(&'static str, String)>,
    pub(super) required: Vec<String>,
    pub(super) exempt: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            header: TokenHeader::default(),
            times: TimeRules { leeway: DEFAULT_LEEWAY, requires_exp: true, issued: None },
            pins: Vec::new(),
            required: Vec::new(),
            exempt: Vec::new(),
        }
    }
}

impl TokenHeader {
    pub(super) fn name(self) -> &'static HeaderName {
        match self {
            Self::Authorization => &AUTHORIZATION,
            Self::Authentication => &AUTHENTICATION,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Authorization => Self::Authentication,
            Self::Authentication => Self::Authorization,
        }
    }
}

impl Rules {
    /// The token of a request, its form and header judged and nothing else.
    pub(super) fn token<'a>(&self, head: &'a Parts) -> Result<Token<'a>, Rejection> {
        let text = bearer(head, self.header.name())?;
        if head.headers.contains_key(self.header.other().name()) {
            return Err(Rejection::new(Reason::DuplicateHeader)
                .with_detail("Authorization and Authentication are both there, and either may hold a token"));
        }
        let token = Token::split(text)?;
        token.header(Algorithm::HS256)?;
        Ok(token)
    }

    /// The claims of a token, judged by what they may say whoever signed them. They are worth what was verified before.
    pub(super) fn claims(&self, token: &Token<'_>, now: SystemTime) -> Result<(Object, Times), Rejection> {
        let claims = token.claims()?;
        let times = self.times.check(&claims, now)?;
        match self.required.iter().all(|name| claims.contains(name)) {
            true => Ok((claims, times)),
            false => Err(malformed("it leaves a claim that is required to the body")),
        }
    }

    /// Whether the claims are for us. Only asked of verified ones, since the answer tells who we are.
    pub(super) fn check_pins(&self, claims: &Object) -> Result<(), Rejection> {
        for (name, _) in &self.pins {
            let said = claims.parse::<String>(name);
            if !self.pins.iter().any(|(pinned, value)| pinned == name && said.as_ref() == Some(value)) {
                return Err(Rejection::new(Reason::NotForUs)
                    .with_detail("the token is for another webhook, product or account"));
            }
        }
        Ok(())
    }

    /// Whether the body contradicts no claim.
    pub(super) fn agree(&self, claims: &Object, body: &Object) -> bool {
        body.iter().all(|(name, member)| match claims.get(name) {
            Some(claim) => self.is_exempt(name) || json::equal(claim, member),
            None => true,
        })
    }

    fn is_exempt(&self, name: &str) -> bool {
        REGISTERED.contains(&name) || self.exempt.iter().any(|exempt| exempt == name)
    }
}
