//! Where a server leaves the peer's address.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;

pub(super) fn from_extensions(head: &Parts) -> Option<IpAddr> {
    let extensions = &head.extensions;
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(peer)) = extensions.get::<axum::extract::ConnectInfo<SocketAddr>>() {
        return Some(peer.ip());
    }
    extensions.get::<SocketAddr>().map(SocketAddr::ip).or_else(|| extensions.get::<IpAddr>().copied())
}
