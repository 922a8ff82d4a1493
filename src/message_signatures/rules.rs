//! The rules for a genuine signature, and the reading of one.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use http::HeaderName;
use http::request::Parts;

use crate::algorithm::Algorithm;
use crate::headers::{LONGEST_HEADER, required};
use crate::public_url::PublicUrl;
use crate::rejection::{Reason, Rejection};
use crate::text::Text;
use crate::time::{TimeFormat, Tolerance, ended};

use super::base::{self, Message};
use super::fields::{bytes, inner_list, member, members, parameters, whole_string};
use super::malformed;

const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

/// What a sender's HTTP Message Signatures (RFC 9421) must be: see
/// [`Scheme::message_signature`](crate::Scheme::message_signature).
///
/// The one who signs chooses what a signature covers, so the rules say what it must cover at
/// least: by default `content-digest`, with which the body is compared. A signature must say when
/// it was created.
///
/// # Examples
///
/// ```
/// use tower_webhook::scheme::MessageRules;
///
/// let rules = MessageRules::ed25519().covering(["content-digest", "@method", "@target-uri"]);
/// ```
#[derive(Clone)]
#[must_use]
pub struct MessageRules {
    pub(crate) kind: Kind,
    /// The components that must be covered, each as it is written: `"@query-param";name="a"`.
    covered: Vec<Cow<'static, str>>,
    pub(crate) tolerance: Tolerance,
    tag: Option<Cow<'static, str>>,
}

/// By which algorithm a sender signs.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    HmacSha256,
    Public(Algorithm),
}

/// A signature that covers what it must, and is not yet proven.
pub(crate) struct Offered {
    pub(crate) base: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    #[cfg_attr(not(feature = "fetch"), allow(dead_code))]
    pub(crate) keyid: Option<String>,
    pub(crate) created: SystemTime,
    pub(crate) created_text: Text,
}

macro_rules! algorithms {
    ($($name:ident($kind:expr) = $about:literal;)*) => {
        impl MessageRules {$(
            #[doc = concat!("Describes signatures of ", $about)]
            pub fn $name() -> Self {
                Self::new($kind)
            }
        )*}
    };
}

algorithms! {
    hmac_sha256(Kind::HmacSha256) = "`hmac-sha256`.";
    ed25519(Kind::Public(Algorithm::Ed25519)) = "`ed25519`.";
    ecdsa_p256(Kind::Public(Algorithm::EcdsaP256Fixed)) = "`ecdsa-p256-sha256`.";
    ecdsa_p384(Kind::Public(Algorithm::EcdsaP384Fixed)) = "`ecdsa-p384-sha384`.";
    rsa_pss_sha512(Kind::Public(Algorithm::RsaPssSha512)) = "`rsa-pss-sha512`.";
    rsa_v1_5_sha256(Kind::Public(Algorithm::RsaPkcs1Sha256)) = "`rsa-v1_5-sha256`.";
}

impl Kind {
    /// Returns the name in the registry of RFC 9421.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::Public(Algorithm::Ed25519) => "ed25519",
            Self::Public(Algorithm::EcdsaP256Fixed) => "ecdsa-p256-sha256",
            Self::Public(Algorithm::EcdsaP384Fixed) => "ecdsa-p384-sha384",
            Self::Public(Algorithm::RsaPssSha512) => "rsa-pss-sha512",
            Self::Public(_) => "rsa-v1_5-sha256",
        }
    }
}

impl MessageRules {
    fn new(kind: Kind) -> Self {
        let tolerance = Tolerance::within(Duration::from_secs(300));
        Self { kind, covered: vec![Cow::Borrowed("content-digest")], tolerance, tag: None }
    }

    /// Sets what a signature must cover at least: names of headers in lower case, and `@method`,
    /// `@target-uri`, `@authority`, `@scheme`, `@request-target`, `@path`, `@query`. Without
    /// `content-digest`, the body is not signed.
    pub fn covering<T: Into<Cow<'static, str>>>(mut self, components: impl IntoIterator<Item = T>) -> Self {
        self.covered = components.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how far from now a signature may have been created. The default is 300 seconds on both
    /// sides.
    pub fn with_tolerance(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Requires this `tag`, by which an application tells its signatures from others.
    pub fn with_tag(mut self, tag: impl Into<Cow<'static, str>>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Returns whether a signature must cover this component.
    pub(crate) fn covers(&self, component: &str) -> bool {
        self.covered.iter().any(|own| own == component)
    }

    /// Returns whether a signature must cover the address.
    pub(crate) fn covers_address(&self) -> bool {
        self.covers("@target-uri") || self.covers("@request-target") || (self.covers("@path") && self.covers("@query"))
    }

    pub(crate) fn covered(&self) -> impl Iterator<Item = &str> {
        self.covered.iter().map(|own| &**own)
    }

    /// Returns every signature of the request that is one by these rules; at least one. If there
    /// are several signatures, those of others are left alone.
    pub(crate) fn read(
        &self,
        head: &Parts,
        public_url: Option<&PublicUrl>,
        now: SystemTime,
    ) -> Result<Vec<Offered>, Rejection> {
        let text = |name: &HeaderName| match required(head, name, LONGEST_HEADER) {
            Err(absent) if absent.reason() == Reason::MissingHeader => {
                Err(Rejection::new(Reason::MissingSignature).with_detail(format!("none in `{name}`")))
            }
            value => value?.to_str().map_err(|_| malformed(format!("`{name}` is not well formed"))),
        };
        let unreadable = |name| move || malformed(format!("`{name}` is not well formed"));
        let inputs = members(text(&SIGNATURE_INPUT)?).ok_or_else(unreadable(SIGNATURE_INPUT))?;
        let signatures = members(text(&SIGNATURE)?).ok_or_else(unreadable(SIGNATURE))?;
        let message = Message {
            head,
            public_url,
            #[cfg(test)]
            status: None,
        };
        let (mut offered, mut fault) = (Vec::new(), None);
        for (label, input) in &inputs {
            let signature = || {
                let missing = || malformed(format!("`signature` has no `{label}`, or more than one"));
                let signature = member(&signatures, label).ok_or_else(missing)?;
                member(&inputs, label).ok_or_else(|| malformed(format!("`signature-input` has `{label}` twice")))?;
                self.one(&message, input, bytes(signature).ok_or_else(unreadable(SIGNATURE))?, now)
            };
            match signature() {
                Ok(signature) => offered.push(signature),
                Err(rejection) => fault = fault.or(Some(rejection)),
            }
        }
        match fault {
            _ if !offered.is_empty() => Ok(offered),
            Some(fault) => Err(fault),
            None => Err(Rejection::new(Reason::MissingSignature).with_detail("none in `signature-input`")),
        }
    }

    fn one(
        &self,
        message: &Message<'_>,
        input: &str,
        signature: Vec<u8>,
        now: SystemTime,
    ) -> Result<Offered, Rejection> {
        let unreadable = || malformed("`signature-input` is not well formed");
        let (components, own) = inner_list(input).ok_or_else(unreadable)?;
        let own = parameters(own).ok_or_else(unreadable)?;
        let string = |name| member(&own, name).map(|text| whole_string(text).ok_or_else(unreadable)).transpose();
        let time = |name| {
            let text = member(&own, name);
            let time = text.map(|text| TimeFormat::UnixSeconds.parse(text.as_bytes()).ok_or_else(unreadable));
            Ok::<_, Rejection>(text.zip(time.transpose()?))
        };
        if string("alg")?.is_some_and(|alg| alg != self.kind.name()) {
            return Err(Rejection::new(Reason::UnacceptableAlgorithm)
                .with_detail("the alg in `signature-input` is not the key's algorithm"));
        }
        if self.tag.is_some() && string("tag")?.as_deref() != self.tag.as_deref() {
            return Err(Rejection::new(Reason::NotForUs).with_detail("the tag in `signature-input` is another one"));
        }
        let is_covered = |wanted: &&str| components.iter().any(|(name, own)| own.is_empty() && name == wanted);
        if let Some(lacking) = self.covered().find(|wanted| !is_covered(wanted)) {
            return Err(malformed(format!("the signature in `signature-input` does not cover `{lacking}`")));
        }
        let (text, created) = time("created")?.ok_or_else(|| malformed("`signature-input` has no created"))?;
        self.tolerance.check("the created in `signature-input`", created, now)?;
        if let Some((_, expires)) = time("expires")?.filter(|(_, expires)| *expires <= now) {
            return Err(ended("the expires in `signature-input`", expires, now, Duration::ZERO));
        }
        let base = base::write(message, &components, input)?;
        Ok(Offered { base, signature, keyid: string("keyid")?, created, created_text: text.to_owned().into() })
    }

    /// Signs as the sender would, if the head has everything else.
    #[cfg(feature = "testing")]
    pub(crate) fn sign(
        &self,
        head: &mut Parts,
        public_url: Option<&PublicUrl>,
        now: SystemTime,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, crate::sign::SignError>,
    ) -> Result<(), crate::sign::SignError> {
        use crate::sign::{SignError, set_header};

        let created = TimeFormat::UnixSeconds.format(now).ok_or_else(|| SignError::new("the time lies before 1970"))?;
        let list: Vec<_> = self.covered().map(|component| format!("\"{component}\"")).collect();
        let tag = self.tag.as_ref().map_or(String::new(), |tag| format!(";tag=\"{tag}\""));
        let input =
            format!("({});created={created};keyid=\"{TEST_KEYID}\";alg=\"{}\"{tag}", list.join(" "), self.kind.name());
        let components: Vec<_> = self.covered().map(|component| (component.to_owned(), "")).collect();
        let message = Message {
            head,
            public_url,
            #[cfg(test)]
            status: None,
        };
        let base = base::write(&message, &components, &input)
            .map_err(|_| SignError::new("the request lacks something that is signed"))?;
        let signature = crate::encoding::Encoding::Base64.encode(&sign(&base)?);
        set_header(head, SIGNATURE_INPUT, format!("sig1={input}"))?;
        set_header(head, SIGNATURE, format!("sig1=:{signature}:"))
    }
}

/// The id of the key that tests sign with.
#[cfg(feature = "testing")]
const TEST_KEYID: &str = "test-key";

impl fmt::Debug for MessageRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRules").field("covered", &self.covered).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use crate::encoding::Encoding;
    use crate::mac::{Mac, MacKind};
    use crate::public_key::{PublicKey, Verifies as _};
    use crate::secrets::Secret;

    use super::*;

    /// RFC 9421, appendix B.1: the keys.
    const RSA_PSS: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHqgDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5WUtzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI2wIDAQAB";
    const ECC_P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lfw0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==";
    const ED25519: &str = "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=";
    const SHARED: &str = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";

    /// Appendix B.2: input and signature of each example, without the label.
    const B21: [&str; 2] = [
        r#"();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#,
        "d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==",
    ];
    const B22: [&str; 2] = [
        r#"("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#,
        "LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==",
    ];
    const B23: [&str; 2] = [
        r#"("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#,
        "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==",
    ];
    const B24: [&str; 2] = [
        r#"("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256""#,
        "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==",
    ];
    const B25: [&str; 2] = [
        r#"("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
        "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
    ];
    const B26: [&str; 2] = [
        r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
    ];

    const CREATED: u64 = 1_618_884_473;
    const BODY: &[u8] = br#"{"hello": "world"}"#;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(CREATED)
    }

    /// The request of appendix B.2, with this signature.
    fn request([input, signature]: [&str; 2]) -> Parts {
        let request = Request::post("/foo?param=Value&Pet=dog")
            .header("host", "example.com")
            .header("date", "Tue, 20 Apr 2021 02:07:55 GMT")
            .header("content-type", "application/json")
            .header(
                "content-digest",
                "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
            )
            .header("content-length", "18")
            .header("signature-input", format!("sig={input}"))
            .header("signature", format!("sig=:{signature}:"));
        request.body(()).unwrap().into_parts().0
    }

    /// The response of appendix B.2, as a request that has its headers.
    fn response() -> Parts {
        let response = Response::builder()
            .header("content-type", "application/json")
            .header(
                "content-digest",
                "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:",
            )
            .header("content-length", "23");
        let mut head = Request::new(()).into_parts().0;
        head.headers = response.body(()).unwrap().into_parts().0.headers;
        head
    }

    fn verifies(kind: Kind, key: &str, offered: &Offered) -> bool {
        match kind {
            Kind::HmacSha256 => {
                let key = Encoding::Base64.decode(key.as_bytes()).unwrap();
                *Mac::new(MacKind::SHA256, &key).of(&offered.base).as_bytes() == *offered.signature
            }
            Kind::Public(algorithm) => {
                PublicKey::new(algorithm, &Secret::new(key)).unwrap().verifies(&offered.base, &offered.signature)
            }
        }
    }

    #[test]
    fn the_requests_of_the_rfc_verify_and_nothing_that_differs() {
        let none = [""; 0];
        for (rules, key, vector) in [
            (MessageRules::rsa_pss_sha512().covering(none), RSA_PSS, B21),
            (MessageRules::rsa_pss_sha512().covering(["@authority", "content-digest"]), RSA_PSS, B22),
            (MessageRules::rsa_pss_sha512().covering(["@method", "@path", "@query", "content-digest"]), RSA_PSS, B23),
            (MessageRules::hmac_sha256().covering(["date", "@authority"]), SHARED, B25),
            (MessageRules::ed25519().covering(["@method", "@path", "content-length"]), ED25519, B26),
        ] {
            let offered = rules.read(&request(vector), None, now()).unwrap();
            assert!(verifies(rules.kind, key, &offered[0]), "{}", vector[0]);
            let mut changed = rules.read(&request(vector), None, now()).unwrap();
            *changed[0].base.last_mut().unwrap() ^= 1;
            assert!(!verifies(rules.kind, key, &changed[0]), "{}", vector[0]);
        }
        assert!(super::super::check_digest(&request(B23), BODY).is_ok());
        let other = super::super::check_digest(&request(B23), b"{\"hello\": \"World\"}");
        assert_eq!(other.unwrap_err().reason(), Reason::BodyMismatch);
    }

    #[test]
    fn the_response_of_the_rfc_has_the_base_that_was_signed() {
        let head = response();
        let message = Message { head: &head, public_url: None, status: Some(200) };
        let (components, _) = inner_list(B24[0]).unwrap();
        let base = base::write(&message, &components, B24[0]).unwrap();
        let signature = Encoding::Base64.decode(B24[1].as_bytes()).unwrap();
        let key = PublicKey::new(Algorithm::EcdsaP256Fixed, &Secret::new(ECC_P256)).unwrap();
        assert!(key.verifies(&base, &signature));
        assert!(super::super::check_digest(&head, b"{\"message\": \"good dog\"}").is_ok());
    }

    #[test]
    fn a_signature_that_is_not_by_the_rules_is_refused_for_what_it_lacks() {
        let read = |rules: &MessageRules, input: &str, at: u64| {
            let read = rules.read(&request([input, B25[1]]), None, SystemTime::UNIX_EPOCH + Duration::from_secs(at));
            read.map(|offered| offered.len()).map_err(|rejection| rejection.reason())
        };
        let rules = MessageRules::hmac_sha256().covering(["date"]);
        let malformed = Err(Reason::MalformedSignature);
        for (input, expected) in [
            (r#"("date");created=1618884473"#, Ok(1)),
            (r#"("date");created=1618884473;alg="hmac-sha256""#, Ok(1)),
            (r#"("date");created=1618884473;alg="ed25519""#, Err(Reason::UnacceptableAlgorithm)),
            (r#"("date")"#, malformed),
            (r#"("host");created=1618884473"#, malformed),
            (r#"("date" "date");created=1618884473"#, malformed),
            (r#"("date";sf);created=1618884473"#, malformed),
            (r#"("date" "Host");created=1618884473"#, malformed),
            (r#"("date" "@status");created=1618884473"#, malformed),
            (r#"("date" "@query-param";name="none");created=1618884473"#, malformed),
            (r#"("date" "x-none");created=1618884473"#, Err(Reason::MissingHeader)),
            (r#"("date" "@target-uri");created=1618884473"#, Err(Reason::MissingHeader)),
            (r#"("date");created="1618884473""#, malformed),
            (r#"("date");created=1618884473;expires=1618884473"#, Err(Reason::Stale)),
            (r#"("date");created=1618884473;expires=1618884474"#, Ok(1)),
            (r#""date";created=1618884473"#, malformed),
            ("", malformed),
        ] {
            assert_eq!(read(&rules, input, CREATED), expected, "{input}");
        }
        assert_eq!(read(&rules, B25[0], CREATED + 301), Err(Reason::Stale));
        assert_eq!(read(&rules, B25[0], CREATED - 301), Err(Reason::Premature));
        assert_eq!(read(&rules.with_tag("acme"), B25[0], CREATED), Err(Reason::NotForUs));
    }

    #[test]
    fn the_address_is_the_public_one_if_it_is_set() {
        let base = PublicUrl::base("https://Hooks.example.com:443").unwrap();
        let head = request(B25);
        let write = |components: &str, url| {
            let message = Message { head: &head, public_url: url, status: None };
            let (components, _) = inner_list(components).unwrap();
            base::write(&message, &components, "()").map(|base| String::from_utf8(base).unwrap())
        };
        assert_eq!(write(r#"("@authority")"#, None).unwrap().lines().next(), Some("\"@authority\": example.com"));
        let all = write(r#"("@authority" "@scheme" "@target-uri" "@request-target")"#, Some(&base)).unwrap();
        assert_eq!(
            all,
            "\"@authority\": hooks.example.com\n\"@scheme\": https\n\
             \"@target-uri\": https://Hooks.example.com:443/foo?param=Value&Pet=dog\n\
             \"@request-target\": /foo?param=Value&Pet=dog\n\"@signature-params\": ()"
        );
    }
}
