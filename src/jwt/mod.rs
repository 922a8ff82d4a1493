//! JSON web tokens in compact form: cut apart, judged by the one algorithm that the key has, and
//! read.
//!
//! The order is that of cost and trust: form and header, then the signature, then the claims. The
//! algorithm is the key's; what the token says of it is only compared. Nothing in a token can
//! bring, name or locate a key, except that a `kid` may choose among keys that are known already.

mod backend;
#[cfg(feature = "certificates")]
mod chain;
mod claims;
mod jwks;
mod rules;
mod times;

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderName;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;

use crate::encoding::Encoding;
use crate::headers::{self, single};
use crate::json::Object;
use crate::rejection::{Reason, Rejection};
use crate::secrets::Keyring;

use crate::mac::{Digest, Mac, MacKind, matching_key};

#[cfg(any(feature = "asymmetric", feature = "testing"))]
pub(crate) use backend::of_signature;
pub(crate) use backend::{Backend, PublicKey};
#[cfg(feature = "certificates")]
pub use chain::ChainRoots;
pub use claims::JwtClaims;
pub(crate) use claims::ProvenClaims;
pub(crate) use jsonwebtoken::Algorithm;
pub(crate) use rules::ClaimedToken;
pub use rules::JwtRules;
#[cfg(feature = "testing")]
pub(crate) use rules::TEST_KID;
pub(crate) use times::{TimeRules, Times};

pub use jwks::Jwks;

/// The longest token read. CloudBlue Connect repeats a whole event in its tokens; what is longer
/// than this does not fit the header buffers of common servers and proxies either.
pub(crate) const LONGEST_TOKEN: usize = 16 * 1024;
/// The longest first part. It names an algorithm, a type and perhaps a key id; only whole
/// certificates need more.
const LONGEST_HEADER_PART: usize = 1024;
/// The two spellings of a header of HS256 that common encoders write, of which nothing need be
/// read.
const PLAIN_HS256: [&[u8]; 2] = [
    b"eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9", // {"typ":"JWT","alg":"HS256"}
    b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", // {"alg":"HS256","typ":"JWT"}
];
/// Room for the authentication scheme and the spaces before a token.
const SCHEME_ROOM: usize = 16;

/// The token in a header `name: Bearer <token>`: exactly one line, the scheme in any case.
pub(crate) fn bearer<'a>(head: &'a Parts, name: &HeaderName) -> Result<&'a [u8], Rejection> {
    let value = single(head, name, LONGEST_TOKEN + SCHEME_ROOM)?.ok_or_else(|| missing(name))?;
    headers::bearer(value).ok_or_else(|| malformed(format!("{name} is not Bearer and a token")))
}

/// Refuses a request without a token.
#[cold]
pub(crate) fn missing(name: &HeaderName) -> Rejection {
    Rejection::new(Reason::MissingSignature).with_detail(format!("none in `{name}`"))
}

/// Adds `WWW-Authenticate: Bearer` where the answer is a 401, as HTTP demands (RFC 9110, section
/// 15.5.2). It says nothing of what was wrong.
pub(crate) fn challenge(rejection: Rejection) -> Rejection {
    match rejection.status() {
        http::StatusCode::UNAUTHORIZED => rejection.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
        _ => rejection,
    }
}

/// A token in its three parts. Nothing of it is proven.
#[derive(Clone, Copy)]
pub(crate) struct Token<'a> {
    /// What is signed: the first two parts with the dot between them.
    message: &'a [u8],
    header: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Token<'a> {
    /// Cuts a token of exactly three parts, and of at most [`LONGEST_TOKEN`] bytes.
    pub(crate) fn split(text: &'a [u8]) -> Result<Self, Rejection> {
        Self::split_within(text, LONGEST_TOKEN)
    }

    /// As [`split`](Self::split), for a token that is in a body and may be as long as it.
    pub(crate) fn split_within(text: &'a [u8], longest: usize) -> Result<Self, Rejection> {
        if text.len() > longest {
            return Err(Rejection::new(Reason::MalformedHeader).with_detail("the token is longer than 16 KiB"));
        }
        // As a `str`, for its search for one byte is fast.
        let mut parts = std::str::from_utf8(text).unwrap_or_default().split('.').map(str::as_bytes);
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("the token has not three parts"));
        };
        Ok(Self { message: &text[..header.len() + 1 + payload.len()], header, payload, signature })
    }

    /// Judges the token's header: it names `algorithm`, has no critical extension and brings no
    /// key.
    pub(crate) fn header(&self, algorithm: Algorithm) -> Result<Header, Rejection> {
        self.header_with(algorithm, false)
    }

    /// As [`header`](Self::header), for a token that may be one that has to bring certificates.
    pub(crate) fn header_with(&self, algorithm: Algorithm, brings_certificates: bool) -> Result<Header, Rejection> {
        if algorithm == Algorithm::HS256 && PLAIN_HS256.contains(&self.header) {
            return Ok(Header::default());
        }
        let longest = if brings_certificates { LONGEST_TOKEN } else { LONGEST_HEADER_PART };
        if self.header.len() > longest {
            return Err(malformed(format!("the token's header is longer than {} KiB", longest / 1024)));
        }
        let header = decode(self.header).as_ref().and_then(Object::read);
        let header = header.ok_or_else(|| malformed("the token's header is no JSON object in base64url"))?;
        if header.parse::<String>("alg").and_then(|named| named.parse().ok()) != Some(algorithm) {
            return Err(unacceptable("the token's alg is not the key's algorithm"));
        }
        if header.contains("crit") {
            return Err(unacceptable("the token's header has crit, a critical extension"));
        }
        let is_key = |member: &&str| header.contains(member) && !(brings_certificates && *member == "x5c");
        if ["jwk", "jku", "x5c", "x5u"].iter().any(is_key) {
            return Err(unacceptable(
                "the token's header has jwk, jku, x5c or x5u, a key of its own or the address of one",
            ));
        }
        Ok(Header { kid: header.parse("kid"), x5c: header.parse("x5c").unwrap_or_default() })
    }

    /// Verifies HS256 with any of the keys, and says which one made the signature.
    pub(crate) fn verify_hs256(&self, keys: &Keyring<Mac>) -> Result<usize, Rejection> {
        self.verify_mac(keys, MacKind::SHA256)
    }

    /// As [`verify_hs256`](Self::verify_hs256), by keys of this kind.
    pub(crate) fn verify_mac(&self, keys: &Keyring<Mac>, kind: MacKind) -> Result<usize, Rejection> {
        let mut signature = Digest::zero(kind.digest_len);
        if !Encoding::Base64Url.decode_exact(self.signature, signature.as_mut_bytes()) {
            return Err(malformed(format!("the token's signature is not {} bytes in base64url", kind.digest_len)));
        }
        let codes = keys.iter().map(|key| key.of(self.message));
        matching_key(codes, [signature].iter()).ok_or_else(|| Reason::SignatureMismatch.into())
    }

    /// Returns whether the second part is empty.
    pub(crate) fn is_detached(&self) -> bool {
        self.payload.is_empty()
    }

    /// Returns the text of the token with this second part.
    pub(crate) fn with_payload(&self, payload: &[u8]) -> Vec<u8> {
        let payload = Encoding::Base64Url.encode(payload);
        [self.header, payload.as_bytes(), self.signature].join(&b'.')
    }

    /// Returns what is signed, and the signature.
    #[cfg(feature = "asymmetric")]
    pub(crate) fn signed(&self) -> Result<(&'a [u8], Vec<u8>), Rejection> {
        let signature = Encoding::Base64Url.decode(self.signature);
        Ok((self.message, signature.ok_or_else(|| malformed("the token's signature is not base64url"))?))
    }

    /// Verifies with a public key, by the key's algorithm.
    pub(crate) fn verify_public(&self, key: &PublicKey) -> Result<(), Rejection> {
        match key.made(self.signature, self.message) {
            Some(true) => Ok(()),
            Some(false) => Err(Reason::SignatureMismatch.into()),
            None => Err(malformed("the token's signature is not base64url")),
        }
    }

    /// The claims. They are worth what was verified before.
    pub(crate) fn claims(&self) -> Result<Object, Rejection> {
        let claims = decode(self.payload).as_ref().and_then(Object::read);
        claims.ok_or_else(|| malformed("the token's claims are no JSON object in base64url, or one is there twice"))
    }
}

/// What a token's header says, beyond what [`Token::header`] judged.
#[derive(Debug, Default)]
pub(crate) struct Header {
    /// The id of the key, to be compared with the ids of known keys and to be used for nothing
    /// else.
    pub(crate) kid: Option<String>,
    /// The certificates that the token brings, if it may: the first is that of its key.
    pub(crate) x5c: Vec<String>,
}

fn decode(part: &[u8]) -> Option<Bytes> {
    Encoding::Base64Url.decode(part).map(Bytes::from)
}

/// A token that is not in the form of tokens.
pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::new(Reason::MalformedSignature).with_detail(detail)
}

fn unacceptable(detail: &'static str) -> Rejection {
    Rejection::new(Reason::UnacceptableAlgorithm).with_detail(detail)
}

/// Writes the part of a token that is signed.
#[cfg(any(test, feature = "testing"))]
fn message(header: &str, payload: &[u8]) -> String {
    format!("{}.{}", Encoding::Base64Url.encode(header.as_bytes()), Encoding::Base64Url.encode(payload))
}

/// Writes a token and signs it with HS256.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn encode_hs256(header: &str, claims: &str, key: &Mac) -> String {
    let message = message(header, claims.as_bytes());
    format!("{message}.{}", Encoding::Base64Url.encode(key.of(message.as_bytes()).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A: the claims, and tokens of HS256, RS256 and ES256 that hold them.
    const CLAIMS: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const HS256_HEADER: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9";
    const HS256_SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const HS256_KEY: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    const RS256_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const RS256_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    const ES256_SIGNATURE: &str =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    const ES256_KEY: [&str; 2] =
        ["f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"];

    fn mac(key: &[u8]) -> Mac {
        Mac::new(MacKind::SHA256, key)
    }

    fn ring(keys: &[&[u8]]) -> Keyring<Mac> {
        Keyring::new(keys.iter().map(|key| Ok(mac(key)))).unwrap().unwrap()
    }

    fn verify_hs256(token: &str, keys: &[&[u8]]) -> Result<usize, Reason> {
        let verify = || {
            let token = Token::split(token.as_bytes())?;
            token.header(Algorithm::HS256)?;
            let key = token.verify_hs256(&ring(keys))?;
            token.claims()?;
            Ok(key)
        };
        verify().map_err(|rejection: Rejection| rejection.reason())
    }

    fn signed(header: &str, claims: &str) -> String {
        encode_hs256(header, claims, &mac(b"key"))
    }

    #[test]
    fn the_rfc_token_of_hs256_verifies_with_any_of_several_keys() {
        let key = Encoding::Base64Url.decode(HS256_KEY.as_bytes()).unwrap();
        let token = format!("{HS256_HEADER}.{CLAIMS}.{HS256_SIGNATURE}");
        assert_eq!(verify_hs256(&token, &[&key]), Ok(0));
        assert_eq!(verify_hs256(&token, &[b"other", &key]), Ok(1));
        assert_eq!(verify_hs256(&token, &[b"other"]), Err(Reason::SignatureMismatch));
        let claims = Token::split(token.as_bytes()).unwrap().claims().unwrap();
        assert_eq!(claims.parse::<String>("iss").as_deref(), Some("joe"));
        assert_eq!(claims.get("exp"), Some(&b"1300819380"[..]));
    }

    #[test]
    fn the_rfc_tokens_of_rs256_and_es256_verify_with_their_own_key_alone() {
        let backend = Backend::prove().unwrap();
        let rsa = PublicKey::rsa(backend, Algorithm::RS256, RS256_MODULUS, "AQAB").unwrap();
        let ec = PublicKey::ec(backend, Algorithm::ES256, ES256_KEY[0], ES256_KEY[1]).unwrap();
        let tokens = [
            (&rsa, format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}.{RS256_SIGNATURE}")),
            (&ec, format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}.{ES256_SIGNATURE}")),
        ];
        for (key, text) in &tokens {
            let token = Token::split(text.as_bytes()).unwrap();
            assert!(token.header(key.algorithm()).is_ok());
            assert!(token.verify_public(key).is_ok());
            let changed = text.replacen(CLAIMS, "e30", 1);
            let verdict = Token::split(changed.as_bytes()).unwrap().verify_public(key);
            assert_eq!(verdict.unwrap_err().reason(), Reason::SignatureMismatch);
            for (other, _) in tokens.iter().filter(|(other, _)| other.algorithm() != key.algorithm()) {
                assert_eq!(token.header(other.algorithm()).unwrap_err().reason(), Reason::UnacceptableAlgorithm);
                assert!(token.verify_public(other).is_err());
            }
            let unsigned = Token::split(format!("{}.", text.rsplit_once('.').unwrap().0).as_bytes())
                .unwrap()
                .verify_public(key)
                .unwrap_err();
            assert_eq!(unsigned.reason(), Reason::SignatureMismatch);
        }
    }

    #[test]
    fn the_algorithm_is_the_keys_whatever_the_token_says() {
        for alg in ["none", "None", "HS384", "HS512", "RS256", "ES256", "hs256", "HS256 ", "", "EdDSA"] {
            let token = signed(&format!(r#"{{"alg":"{alg}"}}"#), "{}");
            assert_eq!(verify_hs256(&token, &[b"key"]), Err(Reason::UnacceptableAlgorithm), "{alg:?}");
        }
        for header in ["{}", r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, r#"{"alg":1}"#, r#"{"ALG":"HS256"}"#] {
            assert_eq!(verify_hs256(&signed(header, "{}"), &[b"key"]), Err(Reason::UnacceptableAlgorithm), "{header}");
        }
    }

    #[test]
    fn extensions_that_are_critical_and_keys_that_are_brought_along_are_refused() {
        for member in [
            r#""crit":["exp"]"#,
            r#""crit":[]"#,
            r#""crit":null"#,
            r#""jku":"https://keys.example.test/""#,
            r#""x5u":"https://keys.example.test/""#,
            r#""x5c":["AA=="]"#,
            r#""jwk":{"kty":"oct","k":"a2V5"}"#,
        ] {
            let token = signed(&format!(r#"{{"alg":"HS256",{member}}}"#), "{}");
            assert_eq!(verify_hs256(&token, &[b"key"]), Err(Reason::UnacceptableAlgorithm), "{member}");
        }
        let token = signed(r#"{"alg":"HS256","typ":"JWT","kid":"../../etc/passwd","x5t":"AA"}"#, "{}");
        assert_eq!(verify_hs256(&token, &[b"key"]), Ok(0));
        assert_eq!(
            Token::split(token.as_bytes()).unwrap().header(Algorithm::HS256).unwrap().kid.as_deref(),
            Some("../../etc/passwd")
        );
    }

    #[test]
    fn the_headers_that_are_known_say_what_they_are_known_for() {
        for (known, text) in
            PLAIN_HS256.iter().zip([r#"{"typ":"JWT","alg":"HS256"}"#, r#"{"alg":"HS256","typ":"JWT"}"#])
        {
            assert_eq!(Encoding::Base64Url.encode(text.as_bytes()).as_bytes(), *known);
            assert_eq!(verify_hs256(&signed(text, "{}"), &[b"key"]), Ok(0));
            let token = Token { message: b"", header: known, payload: b"", signature: b"" };
            assert!(token.header(Algorithm::RS256).is_err());
        }
    }

    #[test]
    fn what_is_not_three_parts_of_unpadded_base64url_is_no_token() {
        let good = signed(r#"{"alg":"HS256"}"#, "{}");
        assert_eq!(verify_hs256(&good, &[b"key"]), Ok(0));
        let parts: Vec<_> = good.split('.').collect();
        let (header, payload, signature) = (parts[0], parts[1], parts[2]);
        for bad in [
            String::new(),
            "..".into(),
            header.into(),
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            format!("{good}."),
            format!(".{good}"),
            format!("{good}.{signature}"),
            format!("{header}.{payload}.{signature}="),
            format!("{header}=.{payload}.{signature}"),
            format!("{header}.{payload}.{}", &signature[1..]),
            format!("{header}.{payload}. {signature}"),
            format!("{header} .{payload}.{signature}"),
            format!("{header}.{payload}.{}", signature.replace(['-', '_'], "+")),
        ] {
            if bad != good {
                assert_eq!(verify_hs256(&bad, &[b"key"]), Err(Reason::MalformedSignature), "{bad}");
            }
        }
        for header in ["", "[]", r#"{"alg":"HS256"}x"#, r#"{"alg":"HS256","alg":"HS256"}"#, r#"{"alg":"HS256"#] {
            assert_eq!(verify_hs256(&signed(header, "{}"), &[b"key"]), Err(Reason::MalformedSignature), "{header}");
        }
        for claims in ["", "null", "[]", r#"{"a":1,"a":1}"#, "{} {}"] {
            let token = signed(r#"{"alg":"HS256"}"#, claims);
            assert_eq!(verify_hs256(&token, &[b"key"]), Err(Reason::MalformedSignature), "{claims}");
        }
    }

    #[test]
    fn the_bounds_are_exact() {
        let token = |filling: usize| signed(r#"{"alg":"HS256"}"#, &format!(r#"{{"f":"{}"}}"#, "x".repeat(filling)));
        let mut filling = 12_000;
        while token(filling).len() < LONGEST_TOKEN {
            filling += 1;
        }
        assert_eq!(token(filling).len(), LONGEST_TOKEN);
        assert_eq!(verify_hs256(&token(filling), &[b"key"]), Ok(0));
        assert_eq!(verify_hs256(&token(filling + 1), &[b"key"]), Err(Reason::MalformedHeader));
        let header = format!(r#"{{"alg":"HS256","x":"{}"}}"#, "x".repeat(LONGEST_HEADER_PART));
        assert_eq!(verify_hs256(&signed(&header, "{}"), &[b"key"]), Err(Reason::MalformedSignature));
    }

    #[test]
    fn a_bearer_token_is_one_header_of_any_case() {
        let read = |values: &[&str]| {
            let mut request = http::Request::get("/");
            for value in values {
                request = request.header("authorization", *value);
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            let token = bearer(&head, &http::header::AUTHORIZATION).map(<[u8]>::to_vec);
            token.map_err(|rejection| Box::new(challenge(rejection).into_http_response()))
        };
        for good in ["Bearer abc", "bearer abc", "BEARER   abc"] {
            assert_eq!(read(&[good]).unwrap(), b"abc");
        }
        for (bad, status) in [
            (&[][..], 401),
            (&["abc"], 401),
            (&["Bearer"], 401),
            (&["Bearerabc"], 401),
            (&["Basic abc"], 401),
            (&["Bearer abc", "Bearer abc"], 400),
            (&[&format!("Bearer {}", "x".repeat(LONGEST_TOKEN + 100))], 400),
        ] {
            let reply = read(bad).unwrap_err();
            assert_eq!(reply.status(), status);
            assert_eq!(reply.headers().get("www-authenticate").is_some(), status == 401);
        }
    }
}
