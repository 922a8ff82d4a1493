//! The kinds of schemes: each begins with how its sender signs.

#[cfg(feature = "asymmetric")]
use crate::algorithm::Algorithm;
#[cfg(feature = "jwt")]
use crate::jwt::JwtRules;
use crate::mac::MacKind;
#[cfg(feature = "asymmetric")]
use crate::message_signatures::MessageRules;

use super::any_form::AnyForm;
use super::builder::SchemeBuilder;
use super::form::Form;
#[cfg(feature = "jwt")]
use super::jwt::JwtProof;
use super::mac::MacProof;
#[cfg(feature = "asymmetric")]
use super::message_signature::MessageProof;
#[cfg(feature = "asymmetric")]
use super::public_key::PublicKeyProof;
use super::scheme::Scheme;
use super::source::Source;
use super::token::TokenProof;

impl Scheme {
    /// Describes a sender that signs with HMAC-SHA256.
    #[inline]
    pub fn hmac_sha256() -> SchemeBuilder {
        Self::mac(MacKind::SHA256)
    }

    /// Describes a sender that signs with HMAC-SHA384.
    #[inline]
    pub fn hmac_sha384() -> SchemeBuilder {
        Self::mac(MacKind::SHA384)
    }

    /// Describes a sender that signs with HMAC-SHA512.
    #[inline]
    pub fn hmac_sha512() -> SchemeBuilder {
        Self::mac(MacKind::SHA512)
    }

    /// Describes a sender that signs with HMAC-SHA1. No forgery of it is known, but no new sender
    /// should choose it.
    #[inline]
    pub fn hmac_sha1_for_legacy_senders_only() -> SchemeBuilder {
        Self::mac(MacKind::SHA1)
    }

    /// Describes a sender that signs with SHA-256 of the secret followed by the text. This is
    /// **no** HMAC: anyone who has seen one signed text can append to it and sign the result,
    /// without the secret. The body has to be one JSON value with nothing behind it, which
    /// closes that way for JSON.
    #[inline]
    pub fn sha256_of_secret_and_text_for_legacy_senders_only() -> SchemeBuilder {
        Self::mac(MacKind::SECRET_THEN_TEXT_SHA256)
    }

    /// Describes a sender that repeats a shared secret at this place. It proves who sends and
    /// covers nothing: body and headers are as trustworthy as the connection.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::Scheme;
    /// use tower_webhook::scheme::header;
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// let acme = Scheme::token(header("x-acme-token")).secret("a long random text").build("acme")?;
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn token(place: Source) -> SchemeBuilder {
        SchemeBuilder::new(move |settings| {
            let proof = TokenProof::new(&place, settings)?;
            Form::new(settings, proof).map(AnyForm::other)
        })
    }

    /// Describes a sender that signs with a JSON web token at this place, by these rules. Its keys
    /// are [secrets](SchemeBuilder::secret), a [set](SchemeBuilder::with_jwks) that its issuer
    /// publishes, or public keys. A handler gets the claims
    /// as [`JwtClaims`](crate::scheme::JwtClaims). Feature `jwt`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::scheme::{self, Jwks, JwtRules, bearer, header};
    /// use tower_webhook::{Encoding, Scheme};
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// // A token with the hash of the body, signed with a shared secret.
    /// let rules = JwtRules::hs256().with_issuer("acme").with_body_sha256("sha256", Encoding::Hex);
    /// let acme = Scheme::jwt(header("x-acme-signature"), rules).secret("a long random text").build("acme")?;
    ///
    /// // A bearer token, signed with a key that its issuer publishes.
    /// # let fetch = |_| async { Err::<http::Response<bytes::Bytes>, _>("offline") };
    /// let keys = Jwks::builder("https://acme.example/keys").fetch(fetch).build()?;
    /// let rules = JwtRules::rs256().with_audience("https://hooks.example.com").with_required_expiry();
    /// let acme = Scheme::jwt(bearer(), rules).with_jwks(keys.clone()).build("acme")?;
    ///
    /// // The whole body is a token.
    /// let rules = JwtRules::es256().with_event_claim("type").with_id_claim("jti");
    /// let acme = Scheme::jwt(scheme::body(), rules).with_jwks(keys).build("acme")?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "jwt")]
    #[inline]
    pub fn jwt(place: Source, rules: JwtRules) -> SchemeBuilder {
        SchemeBuilder::new(move |settings| {
            let proof = JwtProof::new(&place, rules.clone(), settings)?;
            Form::new(settings, proof).map(AnyForm::other)
        })
    }

    /// Describes a sender that signs with HTTP Message Signatures (RFC 9421) by these rules, and
    /// the body by its digest (RFC 9530). Keys are [secrets](SchemeBuilder::secret), public
    /// keys, or looked up by their id.
    /// Feature `asymmetric`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_webhook::Scheme;
    /// use tower_webhook::scheme::MessageRules;
    ///
    /// # fn main() -> Result<(), tower_webhook::ConfigError> {
    /// let acme = Scheme::message_signature(MessageRules::ed25519().covering(["content-digest", "@method", "@target-uri"]))
    ///     .with_public_url("https://hooks.example.com")
    ///     .with_public_key("MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=")
    ///     .build("acme")?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "asymmetric")]
    #[inline]
    pub fn message_signature(rules: MessageRules) -> SchemeBuilder {
        SchemeBuilder::new(move |settings| {
            let proof = MessageProof::new(rules.clone(), settings)?;
            Form::new(settings, proof).map(AnyForm::other)
        })
    }

    #[inline]
    fn mac(kind: MacKind) -> SchemeBuilder {
        SchemeBuilder::new(move |settings| {
            let proof = MacProof::new(kind, settings)?;
            Form::new(settings, proof).map(AnyForm::Mac)
        })
    }

    #[cfg(feature = "asymmetric")]
    #[inline]
    fn public(algorithm: Algorithm) -> SchemeBuilder {
        SchemeBuilder::new(move |settings| {
            let proof = PublicKeyProof::new(algorithm, settings)?;
            Form::new(settings, proof).map(AnyForm::other)
        })
    }
}

/// Defines a constructor for each algorithm of public keys.
macro_rules! public_keys {
    ($($name:ident($algorithm:ident) = $about:literal;)*) => {
        #[cfg(feature = "asymmetric")]
        impl Scheme {$(
            #[doc = concat!("Describes a sender that signs with ", $about)]
            /// Keys are set by [`with_public_key`](SchemeBuilder::with_public_key).
            pub fn $name() -> SchemeBuilder {
                Self::public(Algorithm::$algorithm)
            }
        )*}
    };
}

public_keys! {
    ed25519(Ed25519) = "Ed25519.";
    ecdsa_p256(EcdsaP256) = "ECDSA on P-256 and SHA-256, the signature in DER.";
    ecdsa_p384(EcdsaP384) = "ECDSA on P-384 and SHA-384, the signature in DER.";
    ecdsa_p256_sha1_for_legacy_senders_only(EcdsaP256Sha1) = "ECDSA on P-256 and SHA-1, the signature in DER. \
        Whoever can have a text of their choice signed may make two texts of one SHA-1, so no new sender should choose it.";
    rsa_pkcs1_sha256(RsaPkcs1Sha256) = "RSA PKCS#1 v1.5 and SHA-256, with keys of 2048 bits and more.";
    rsa_pkcs1_sha384(RsaPkcs1Sha384) = "RSA PKCS#1 v1.5 and SHA-384, with keys of 2048 bits and more.";
    rsa_pkcs1_sha512(RsaPkcs1Sha512) = "RSA PKCS#1 v1.5 and SHA-512, with keys of 2048 bits and more.";
    rsa_pss_sha256(RsaPssSha256) = "RSA-PSS and SHA-256, with keys of 2048 bits and more.";
    rsa_pss_sha384(RsaPssSha384) = "RSA-PSS and SHA-384, with keys of 2048 bits and more.";
    rsa_pss_sha512(RsaPssSha512) = "RSA-PSS and SHA-512, with keys of 2048 bits and more.";
}
