//! What is wrong with a request, in words.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// Why a request was refused, and what would fix it.
///
/// It displays as one line, the causes first, and then the cures. It holds no secret, no signature
/// and no part of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    #[serde(rename = "proven")]
    is_proven: bool,
    findings: Vec<Finding>,
}

impl Explanation {
    pub(super) fn proven(findings: Vec<Finding>) -> Self {
        Self { is_proven: true, findings }
    }

    pub(super) fn likely(findings: Vec<Finding>) -> Self {
        Self { is_proven: false, findings }
    }

    /// Returns whether the request verified without these mistakes. Otherwise the explanation is
    /// what the request looks like.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Returns the mistakes: one, or two that came together.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns whether this mistake is among them.
    #[must_use]
    pub fn has(&self, mistake: Mistake) -> bool {
        self.findings.iter().any(|finding| finding.mistake == mistake)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_proven {
            f.write_str("probably ")?;
        }
        let mut separator = "";
        for finding in &self.findings {
            write!(f, "{separator}{}", finding.cause)?;
            separator = ", and ";
        }
        separator = ": ";
        for finding in &self.findings {
            write!(f, "{separator}{}", finding.cure)?;
            separator = "; ";
        }
        Ok(())
    }
}

/// One mistake: its cause, and its cure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    mistake: Mistake,
    cause: Cow<'static, str>,
    cure: Cow<'static, str>,
}

impl Finding {
    pub(super) fn new(
        mistake: Mistake,
        cause: impl Into<Cow<'static, str>>,
        cure: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { mistake, cause: cause.into(), cure: cure.into() }
    }

    /// Returns the kind of mistake.
    #[must_use]
    pub fn mistake(&self) -> Mistake {
        self.mistake
    }

    /// Returns what is wrong.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn cure(&self) -> &str {
        &self.cure
    }
}

macro_rules! mistakes {
    ($($(#[$doc:meta])* $mistake:ident = $name:literal,)*) => {
        /// A kind of mistake that gets genuine requests refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Mistake {
            $($(#[$doc])* $mistake,)*
        }

        impl Mistake {
            /// All mistakes, for tables.
            pub const ALL: &'static [Self] = &[$(Self::$mistake,)*];

            /// Returns the name, in `snake_case`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$mistake => $name,)*
                }
            }
        }
    };
}

mistakes! {
    /// The body was parsed and written anew: its spaces, keys, escapes or numbers differ.
    BodyReserialized = "body_reserialized",
    /// A line break, white space or a byte order mark at an end of the body.
    BodyEdges = "body_edges",
    /// The body was compressed, decompressed or encoded.
    BodyCoding = "body_coding",
    /// The secret is used as text where it is base64, or the like.
    SecretEncoding = "secret_encoding",
    /// The secret has white space or quotes around it.
    SecretWhiteSpace = "secret_white_space",
    /// The secret is that of another environment.
    OtherEnvironment = "other_environment",
    /// The sender signs with a secret that was replaced, or that belongs elsewhere.
    OtherSecret = "other_secret",
    /// The signature is in another encoding, alphabet or padding, or lacks its prefix.
    SignatureEncoding = "signature_encoding",
    /// The clock of this machine or of the sender is wrong, or the request was held up.
    Clock = "clock",
    /// The address that was signed isn't the one that is known here.
    Address = "address",
    /// The signature is in another header.
    OtherHeader = "other_header",
    /// A header came twice, or a proxy joined two.
    JoinedHeaders = "joined_headers",
    /// The request is from another sender than the route expects.
    OtherSender = "other_sender",
    /// The request is for another route.
    OtherRoute = "other_route",
    /// The request is for another topic, account, audience or webhook.
    OtherRecipient = "other_recipient",
    /// Something in front of the layer has read or changed the request.
    LayerOrder = "layer_order",
    /// The request isn't a delivery: a browser, a scanner, a redirect.
    NoWebhook = "no_webhook",
    /// The request verifies now: a secret or a key has come in the meantime.
    Passing = "passing",
}
