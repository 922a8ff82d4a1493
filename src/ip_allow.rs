//! An allow-list of peer addresses, for senders that publish theirs.
//!
//! An address doesn't prove who sent a request: put the list in front of a
//! [`WebhookLayer`](crate::WebhookLayer), never in its place.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Request, Response};
use ipnet::IpNet;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::accessors::inner_service_accessors;
use crate::body::{ResponseBody, polled_again};
use crate::config::ConfigError;
use crate::grpc::Protocol;
use crate::observe;
use crate::rejection::{Reason, Rejection};

/// A [tower layer](tower_layer::Layer) that answers 403 to every request from an address that isn't
/// listed.
///
/// The peer's address is taken from the request's extensions: a `SocketAddr`, an `IpAddr`, or with
/// the feature `axum` its `ConnectInfo<SocketAddr>`. [`with_peer`](Self::with_peer) finds it
/// elsewhere. A request without one is refused.
///
/// Behind a proxy, every peer is the proxy. Name it with
/// [`with_trusted_proxies`](Self::with_trusted_proxies), and the last address in `X-Forwarded-For`
/// that isn't a trusted proxy counts instead. From any other peer that header is ignored.
///
/// # Examples
///
/// ```
/// use tower_webhook::ip_allow::IpAllowList;
///
/// # fn main() -> Result<(), tower_webhook::ConfigError> {
/// let layer = IpAllowList::new(["192.0.2.10", "198.51.100.0/24"])?.with_trusted_proxies(["10.0.0.0/8"])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct IpAllowList {
    rules: Arc<AddressRules>,
}

#[derive(Clone)]
struct AddressRules {
    allowed: Vec<IpNet>,
    proxies: Vec<IpNet>,
    forwarded: HeaderName,
    peer: Arc<FindPeer>,
}

type FindPeer = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;

/// How many addresses in `X-Forwarded-For` are looked at, from the last one backwards. No set-up
/// chains more trusted proxies than this.
const MAX_HOPS: usize = 16;

impl IpAllowList {
    /// Creates a list of these addresses (`192.0.2.10`) and networks (`192.0.2.0/24`).
    ///
    /// # Errors
    ///
    /// Returns an error if the list is empty, or if an entry is neither an address nor a network.
    pub fn new<T: AsRef<str>>(networks: impl IntoIterator<Item = T>) -> Result<Self, ConfigError> {
        let allowed = parse(networks)?;
        if allowed.is_empty() {
            return Err(ConfigError::missing("the list of allowed addresses is empty"));
        }
        let rules = AddressRules {
            allowed,
            proxies: Vec::new(),
            forwarded: HeaderName::from_static("x-forwarded-for"),
            peer: Arc::new(peer_of_extensions),
        };
        Ok(Self { rules: Arc::new(rules) })
    }

    /// Sets the addresses and networks whose `X-Forwarded-For` is trusted. By default there are
    /// none.
    ///
    /// # Errors
    ///
    /// Returns an error if an entry is neither an address nor a network.
    pub fn with_trusted_proxies<T: AsRef<str>>(
        mut self,
        networks: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        Arc::make_mut(&mut self.rules).proxies = parse(networks)?;
        Ok(self)
    }

    /// Sets how the peer's address is found. By default it is taken from the extensions.
    #[must_use]
    pub fn with_peer(mut self, peer: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.rules).peer = Arc::new(peer);
        self
    }
}

impl AddressRules {
    #[inline]
    fn check(&self, head: &Parts) -> Result<(), Rejection> {
        let refuse = |detail| Err(Rejection::new(Reason::PeerNotAllowed).with_detail(detail));
        let Some(peer) = (self.peer)(head).map(|peer| peer.to_canonical()) else {
            return refuse("the peer's address isn't known");
        };
        match self.client(head, peer) {
            Some(client) if contains(&self.allowed, client) => Ok(()),
            Some(_) => refuse("the address isn't listed"),
            None => refuse("a trusted proxy forwarded no usable address"),
        }
    }

    /// Returns the peer itself, or the last address that trusted proxies vouch for.
    fn client(&self, head: &Parts, peer: IpAddr) -> Option<IpAddr> {
        if !contains(&self.proxies, peer) {
            return Some(peer);
        }
        let lines = head.headers.get_all(&self.forwarded).iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
        for hop in hops.take(MAX_HOPS) {
            let hop = std::str::from_utf8(hop).ok()?.trim().parse::<IpAddr>().ok()?.to_canonical();
            if !contains(&self.proxies, hop) {
                return Some(hop);
            }
        }
        None
    }
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

fn parse<T: AsRef<str>>(networks: impl IntoIterator<Item = T>) -> Result<Vec<IpNet>, ConfigError> {
    let parse = |text: T| {
        let text = text.as_ref();
        let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        address.or_else(|_| text.parse::<IpNet>()).map_err(|_| {
            ConfigError::invalid("an entry of an address list is neither an address nor a network such as 192.0.2.0/24")
        })
    };
    networks.into_iter().map(parse).collect()
}

impl<S> Layer<S> for IpAllowList {
    type Service = IpAllowListService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IpAllowListService::new(inner, self.clone())
    }
}

impl fmt::Debug for IpAllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpAllowList")
            .field("allowed", &self.rules.allowed)
            .field("proxies", &self.rules.proxies)
            .finish_non_exhaustive()
    }
}

/// Returns the address that the server left in the extensions.
#[inline]
fn peer_of_extensions(head: &Parts) -> Option<IpAddr> {
    let extensions = &head.extensions;
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(peer)) = extensions.get::<axum::extract::ConnectInfo<SocketAddr>>() {
        return Some(peer.ip());
    }
    extensions.get::<SocketAddr>().map(SocketAddr::ip).or_else(|| extensions.get::<IpAddr>().copied())
}

/// The service of an [`IpAllowList`]: it passes on the requests of listed peers.
#[derive(Clone)]
pub struct IpAllowListService<S> {
    inner: S,
    rules: Arc<AddressRules>,
}

impl<S> IpAllowListService<S> {
    /// Wraps a service.
    pub fn new(inner: S, list: IpAllowList) -> Self {
        Self { inner, rules: list.rules }
    }

    inner_service_accessors!();
}

impl<S, B, R> Service<Request<B>> for IpAllowListService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = IpAllowListFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let state = match self.rules.check(&head) {
            Ok(()) => AllowState::Handle { handling: self.inner.call(Request::from_parts(head, body)) },
            Err(rejection) => {
                observe::refused_peer(&rejection);
                let protocol = Protocol::of(&head.method, head.version, &head.headers);
                AllowState::Refuse { response: Some(protocol.translate(rejection.into_http_response())) }
            }
        };
        IpAllowListFuture { state }
    }
}

pin_project! {
    /// The future of [`IpAllowListService`].
    #[derive(Debug)]
    pub struct IpAllowListFuture<F> {
        #[pin]
        state: AllowState<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = AllowStateProj]
    enum AllowState<F> {
        Handle { #[pin] handling: F },
        Refuse { response: Option<Response<Bytes>> },
    }
}

impl<F, R, E> Future for IpAllowListFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            AllowStateProj::Handle { handling } => {
                handling.poll(cx).map_ok(|response| response.map(ResponseBody::inner))
            }
            AllowStateProj::Refuse { response } => {
                let Some(response) = response.take() else { polled_again() };
                Poll::Ready(Ok(response.map(ResponseBody::fixed)))
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for IpAllowListService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpAllowListService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::Request;

    use super::*;

    fn allowed(list: &IpAllowList, peer: &str, forwarded: &[&str]) -> bool {
        let mut request = Request::new(());
        request.extensions_mut().insert(peer.parse::<SocketAddr>().unwrap());
        for line in forwarded {
            request.headers_mut().append("x-forwarded-for", line.parse().unwrap());
        }
        list.rules.check(&request.into_parts().0).is_ok()
    }

    #[test]
    fn addresses_and_networks_are_matched() {
        let list = IpAllowList::new(["192.0.2.10", "198.51.100.0/24", "2001:db8::/32"]).unwrap();
        for (peer, expected) in [
            ("192.0.2.10:1", true),
            ("192.0.2.11:1", false),
            ("198.51.100.255:1", true),
            ("[2001:db8::1]:1", true),
            ("[2001:db9::1]:1", false),
            ("[::ffff:192.0.2.10]:1", true),
        ] {
            assert_eq!(allowed(&list, peer, &[]), expected, "{peer}");
        }
    }

    #[test]
    fn forwarded_addresses_count_from_trusted_proxies_only() {
        let list = IpAllowList::new(["192.0.2.10"]).unwrap().with_trusted_proxies(["10.0.0.0/8"]).unwrap();
        let proxy = "10.0.0.1:1";
        assert!(allowed(&list, proxy, &["192.0.2.10"]));
        assert!(allowed(&list, proxy, &["203.0.113.1, 192.0.2.10, 10.0.0.2"]));
        assert!(allowed(&list, proxy, &["203.0.113.1", "192.0.2.10"]));
        assert!(!allowed(&list, proxy, &["192.0.2.10, 203.0.113.1"]), "only the last untrusted hop counts");
        assert!(!allowed(&list, proxy, &["192.0.2.10, nonsense"]));
        assert!(!allowed(&list, proxy, &[]));
        assert!(!allowed(&list, proxy, &["10.0.0.3"]));
        assert!(!allowed(&list, "203.0.113.1:1", &["192.0.2.10"]), "an untrusted peer forwards nothing");
    }

    #[test]
    fn an_unknown_peer_an_empty_list_and_a_bad_entry_are_refused() {
        let list = IpAllowList::new(["0.0.0.0/0", "::/0"]).unwrap();
        assert!(list.rules.check(&Request::new(()).into_parts().0).is_err());
        assert!(IpAllowList::new::<&str>([]).is_err());
        assert!(IpAllowList::new(["example.test"]).is_err());
        assert!(IpAllowList::new(["192.0.2.0/33"]).is_err());
    }
}
