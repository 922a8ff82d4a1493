//! The kinds of proof: a new one is a file, and a line in the list below.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::request::Parts;

use crate::mac::Mac;
use crate::provider::{Outcome, Recognition};
use crate::secrets::Keys;
use crate::time::Tolerance;

use super::custom::CustomProof;
use super::form::{Attempt, Form};
use super::handshake::Handshake;
#[cfg(feature = "jwt")]
use super::jwt::JwtProof;
use super::mac::MacProof;
use super::proof::{Judged, Proof as _};
#[cfg(feature = "asymmetric")]
use super::public_key::PublicKeyProof;
use super::token::TokenProof;

macro_rules! kinds {
    ($($(#[$feature:meta])? $kind:ident($proof:ty),)*) => {
        /// A form of a scheme, by any kind of proof.
        #[derive(Clone)]
        pub(super) enum AnyForm {
            $($(#[$feature])? $kind(Arc<Form<$proof>>),)*
        }

        /// A request being verified by a form of a scheme.
        pub(super) enum AnyAttempt {
            $($(#[$feature])? $kind(Attempt<$proof>),)*
        }

        impl AnyForm {
            /// See [`Form::begin`].
            #[inline]
            pub(super) fn begin<T: Send + 'static>(
                &self,
                head: &Parts,
                now: SystemTime,
                wrap: impl FnOnce(AnyAttempt) -> T + Send + 'static,
            ) -> Judged<T> {
                match self {
                    $($(#[$feature])? Self::$kind(form) => form.begin(head, now, |it| wrap(AnyAttempt::$kind(it))),)*
                }
            }
        }

        impl AnyAttempt {
            pub(super) fn receive(&mut self, head: &Parts, chunk: &[u8]) {
                match self {
                    $($(#[$feature])? Self::$kind(attempt) => attempt.receive(head, chunk),)*
                }
            }

            #[inline]
            pub(super) fn finish(
                &mut self,
                handshakes: &[Handshake],
                head: &Parts,
                body: &Bytes,
                rest: &[u8],
            ) -> Judged<Outcome> {
                match self {
                    $($(#[$feature])? Self::$kind(attempt) => attempt.finish(handshakes, head, body, rest),)*
                }
            }
        }

        /// Evaluates an expression for a form of any kind.
        macro_rules! of_form {
            ($any:expr, $form:ident => $value:expr) => {
                match $any {
                    $($(#[$feature])? AnyForm::$kind($form) => $value,)*
                }
            };
        }
    };
}

kinds! {
    Mac(MacProof),
    Token(TokenProof),
    #[cfg(feature = "asymmetric")]
    PublicKey(PublicKeyProof),
    #[cfg(feature = "jwt")]
    Jwt(JwtProof),
    Custom(CustomProof),
}
#[cfg(feature = "testing")]
pub(super) use of_form;

impl AnyForm {
    pub(super) fn is_for(&self, head: &Parts) -> bool {
        of_form!(self, form => form.is_for(head))
    }

    pub(super) fn methods(&self) -> &[Method] {
        of_form!(self, form => &form.methods)
    }

    pub(super) fn is_timed(&self) -> bool {
        of_form!(self, form => form.is_timed())
    }

    pub(super) fn recognizes(&self, head: &Parts) -> Recognition {
        of_form!(self, form => form.proof.recognizes(head))
    }

    pub(super) fn recognizes_body(&self, head: &Parts, body: &[u8]) -> bool {
        of_form!(self, form => form.proof.recognizes_body(head, body))
    }

    pub(super) fn mac_keys(&self) -> Option<&Keys<Mac>> {
        of_form!(self, form => form.proof.mac_keys())
    }

    /// Sets the tolerance, and returns whether there is one to be set.
    pub(super) fn set_tolerance(&mut self, tolerance: Tolerance) -> bool {
        let own = of_form!(self, form => Arc::make_mut(form).tolerance_mut());
        own.map(|own| *own = tolerance).is_some()
    }
}
