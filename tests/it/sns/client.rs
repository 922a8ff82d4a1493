//! The default client, against servers on loopback.
