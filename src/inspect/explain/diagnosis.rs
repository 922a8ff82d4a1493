//! Explanations of what a layer refuses, made after the answer and beside the other requests.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::inspect::recorder::Seen;
use crate::layer::{Diagnose, Refused};
use crate::observe;
use crate::provider::Provider;
use crate::rejection::Rejection;
use crate::secrets::Secrets;
use crate::senders::SenderConfig;

use super::clock;
use super::explainer::Explainer;
use super::explanation::Explanation;

/// How many rejections are explained one after another, once none was for a while. A mistake in a
/// configuration shows in each request, so a few are enough.
const BURST: u32 = 10;

/// How many rejections are explained per second after that, so that a flood of them takes no more
/// than a part of one core.
const PER_SECOND: u32 = 1;

/// How many rejections are explained at the same time. Each holds a body of at most
/// [`MAX_DIAGNOSED`](crate::layer::MAX_DIAGNOSED) bytes.
const MAX_RUNNING: usize = 2;

/// Explains why a layer refuses requests: for
/// [`WebhookLayer::with_diagnosis`](crate::WebhookLayer::with_diagnosis).
///
/// Rejections are explained on a thread of their own while the sender gets its answer, which is the
/// same with and without. The first ten are explained, then one a second. An explanation goes to
/// the log (feature `tracing`) and to [`on_explained`](Self::on_explained). It needs a tokio
/// runtime, and does nothing without one.
///
/// # Examples
///
/// ```
/// use tower_webhook::inspect::Diagnosis;
/// use tower_webhook::{WebhookLayer, senders};
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let diagnosis = Diagnosis::default()
///     .with_other_secrets("the secret of before June", "0ld s3cret")
///     .on_explained(|rejection, explanation| eprintln!("{rejection}\n{explanation}"));
/// let layer = WebhookLayer::new(senders::github("s3cret")?).with_diagnosis(diagnosis);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Diagnosis {
    /// What to tell the explainer, whose provider is the layer's.
    prepare: Vec<Arc<Prepare>>,
    on_explained: Option<Arc<OnExplained>>,
    state: Arc<State>,
}

type Prepare = dyn Fn(Explainer) -> Explainer + Send + Sync;
type OnExplained = dyn Fn(&Rejection, &Explanation) + Send + Sync;

#[derive(Default)]
struct State {
    tokens: Mutex<Tokens>,
    running: AtomicUsize,
}

/// The explanations that are left, and when there were so many.
#[derive(Default)]
struct Tokens {
    spent: u32,
    since: Option<SystemTime>,
}

impl Diagnosis {
    /// Sets what the layer's provider was made from, so that other settings can be tried for
    /// providers that are no [`Scheme`](crate::Scheme): see [`Explainer::with_config`].
    #[must_use]
    pub fn with_config(self, config: SenderConfig) -> Self {
        self.with(move |explainer| explainer.with_config(config.clone()))
    }

    /// Adds secrets that aren't accepted: see [`Explainer::with_other_secrets`].
    #[must_use]
    pub fn with_other_secrets(self, name: impl Into<Cow<'static, str>>, secrets: impl Into<Secrets>) -> Self {
        let (name, secrets) = (name.into(), secrets.into());
        self.with(move |explainer| explainer.with_other_secrets(name.clone(), secrets.clone()))
    }

    /// Adds a sender that is expected elsewhere: see [`Explainer::with_other_sender`].
    #[must_use]
    pub fn with_other_sender(self, name: impl Into<Cow<'static, str>>, provider: impl Provider) -> Self {
        let (name, provider) = (name.into(), Arc::new(provider));
        self.with(move |explainer| explainer.with_other_sender(name.clone(), provider.clone()))
    }

    /// Sets a hook that is called with each explanation. It must not block.
    #[must_use]
    pub fn on_explained(mut self, hook: impl Fn(&Rejection, &Explanation) + Send + Sync + 'static) -> Self {
        self.on_explained = Some(Arc::new(hook));
        self
    }

    fn with(mut self, prepare: impl Fn(Explainer) -> Explainer + Send + Sync + 'static) -> Self {
        self.prepare.push(Arc::new(prepare));
        self
    }
}

impl Tokens {
    fn take(&mut self, now: SystemTime) -> bool {
        let passed = self.since.and_then(|since| now.duration_since(since).ok()).unwrap_or_default();
        let regained = u32::try_from(passed.as_secs()).unwrap_or(u32::MAX).saturating_mul(PER_SECOND);
        if regained > 0 || self.since.is_none_or(|since| since > now) {
            self.spent = self.spent.saturating_sub(regained);
            self.since = Some(now);
        }
        let is_left = self.spent < BURST;
        self.spent += u32::from(is_left);
        is_left
    }
}

/// One explanation in the making.
struct Running(Arc<State>);

impl Running {
    fn start(state: &Arc<State>) -> Option<Self> {
        let running = Self(state.clone());
        (state.running.fetch_add(1, Ordering::Relaxed) < MAX_RUNNING).then_some(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Diagnose for Diagnosis {
    fn admits(&self, rejection: &Rejection, now: SystemTime) -> bool {
        let is_ours = rejection.reason().is_transient() && !clock::is_about_time(rejection);
        !is_ours && self.state.tokens.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }

    fn diagnose(&self, refused: Refused) {
        let (Ok(runtime), Some(running)) = (tokio::runtime::Handle::try_current(), Running::start(&self.state)) else {
            return;
        };
        let this = self.clone();
        let explained = observe::in_current_span(async move {
            let Refused { provider, head, body, rejection, now } = refused;
            let explainer = this.prepare.iter().fold(Explainer::new(provider), |explainer, prepare| prepare(explainer));
            let explained = explainer.explain_rejection(&rejection, &head, body.as_ref(), now).await;
            drop(running);
            let Some(explanation) = explained else { return };
            if let Some(seen) = head.extensions.get::<Seen>() {
                let findings = explanation.findings().iter();
                let lines = findings.map(|finding| format!("{}: {}", finding.cause(), finding.cure())).collect();
                seen.explain(lines, body);
            }
            observe::explained(rejection.provider().unwrap_or_default(), &explanation);
            if let Some(hook) = &this.on_explained {
                hook(&rejection, &explanation);
            }
        });
        // Hundreds of digests would hold up the requests that share a thread with them.
        let handle = runtime.clone();
        runtime.spawn_blocking(move || handle.block_on(explained));
    }
}

impl fmt::Debug for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diagnosis").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn after_a_burst_one_a_second_is_explained_whatever_the_clock_does() {
        let mut tokens = Tokens::default();
        let at = |millis: u64| UNIX_EPOCH + Duration::from_millis(1_000_000 + millis);
        assert_eq!((0..100).filter(|_| tokens.take(at(0))).count(), 10);
        assert!(!tokens.take(at(999)) && tokens.take(at(1000)) && !tokens.take(at(1500)));
        // 1.5 seconds later, and less than two since a token came.
        assert!(tokens.take(at(2400)) && !tokens.take(at(2500)));
        assert!(!tokens.take(UNIX_EPOCH), "a clock that was set back gives nothing");
        assert!(tokens.take(UNIX_EPOCH + Duration::from_secs(1)));
        assert_eq!((0..100).filter(|_| tokens.take(at(1_000_000))).count(), 10);
    }
}
