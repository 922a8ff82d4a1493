//! The rules for a genuine token, and for the body that comes with it.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;

use crate::json::{self, Object};
use crate::jwt::{Algorithm, TimeRules, Times, Token, bearer, malformed};
use crate::rejection::{Reason, Rejection};

/// The default allowed clock skew. Tokens are valid for about ten minutes, so half a minute is
/// small beside that and more than synchronized clocks need.
pub const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);

pub(super) static AUTHENTICATION: HeaderName = HeaderName::from_static("authentication");

/// The claims about the token rather than the event (RFC 7519, section 4.1). A member with such a
/// name in the body is unrelated.
pub(super) const REGISTERED: [&str; 7] = ["exp", "iat", "nbf", "jti", "iss", "sub", "aud"];

/// The header that holds the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenHeader {
    /// Whichever of the two is there. A request with both is refused.
    #[default]
    Either,
    /// `Authorization`, as the document's text says.
    Authorization,
    /// `Authentication`, as the document's sample request spells it.
    Authentication,
}

#[derive(Clone, Debug)]
pub(super) struct TokenRules {
    pub(super) header: TokenHeader,
    pub(super) times: TimeRules,
    /// Names of claims, each with an accepted value.
    pub(super) pins: Vec<(&'static str, String)>,
    pub(super) required: Vec<String>,
    pub(super) exempt: Vec<String>,
}

impl Default for TokenRules {
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
    /// Returns the header that holds the token of this request.
    pub(super) fn of(self, headers: &HeaderMap) -> &'static HeaderName {
        match self {
            Self::Either if headers.contains_key(&AUTHENTICATION) => &AUTHENTICATION,
            Self::Either | Self::Authorization => &AUTHORIZATION,
            Self::Authentication => &AUTHENTICATION,
        }
    }
}

impl TokenRules {
    /// Returns the token of a request. Only its form and header are checked.
    pub(super) fn token<'a>(&self, head: &'a Parts) -> Result<Token<'a>, Rejection> {
        let text = bearer(head, self.header.of(&head.headers))?;
        if head.headers.contains_key(&AUTHORIZATION) && head.headers.contains_key(&AUTHENTICATION) {
            return Err(Rejection::new(Reason::DuplicateHeader)
                .with_detail("both Authorization and Authentication are present, and either may hold a token"));
        }
        let token = Token::split(text)?;
        token.header(Algorithm::HS256)?;
        Ok(token)
    }

    /// Returns the claims of a token, checked by the rules that need no key. They are as
    /// trustworthy as the token.
    pub(super) fn claims(&self, token: &Token<'_>, now: SystemTime) -> Result<(Object, Times), Rejection> {
        let claims = token.claims()?;
        let times = self.times.check(&claims, now)?;
        if let Some(name) = self.required.iter().find(|name| !claims.contains(name)) {
            return Err(malformed(format!("the token has no {name}, which `with_required_claims` requires")));
        }
        Ok((claims, times))
    }

    /// Checks that the claims are for us. Only verified claims are checked, since the outcome
    /// reveals who we are.
    pub(super) fn check_pins(&self, claims: &Object) -> Result<(), Rejection> {
        for (name, _) in &self.pins {
            let claim = claims.parse::<String>(name);
            if !self.pins.iter().any(|(pinned, value)| pinned == name && claim.as_ref() == Some(value)) {
                return Err(Rejection::new(Reason::NotForUs)
                    .with_detail(format!("the token's {name} is not the one set by `with_{name}`")));
            }
        }
        Ok(())
    }

    /// Returns whether the body contradicts no claim.
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
