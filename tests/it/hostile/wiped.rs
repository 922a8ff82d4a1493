//! Secrets are gone from memory once their owner is: looked for in the whole of this process.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use bytes::Bytes;
use http::Request;
use tower_webhook::{CdrManager, Secret, Secrets, testing};

/// A secret that is nowhere in the program as such, so that what is found is a copy of it.
struct Masked([u8; 40]);

const MASK: u8 = 0x5a;

impl Masked {
    fn new(seed: u64) -> Self {
        let mut chance = super::chance::Chance::new(seed);
        Self(std::array::from_fn(|_| (b'a' + chance.byte() % 26) ^ MASK))
    }

    /// In one piece of memory from the start: a text that grows leaves copies of itself behind.
    fn text(&self) -> String {
        let mut text = String::with_capacity(self.0.len());
        self.0.iter().for_each(|byte| text.push(char::from(byte ^ MASK)));
        text
    }

    fn is_at(&self, memory: &[u8]) -> bool {
        memory.iter().zip(&self.0).all(|(byte, masked)| byte ^ MASK == *masked)
    }

    /// Where the secret is in this process, by the names of the regions.
    fn found(&self) -> Vec<String> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut memory = File::open("/proc/self/mem").unwrap();
        let mut found = Vec::new();
        for line in maps.lines().filter(|line| line.contains(" rw") && !line.contains("/dev/")) {
            let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
            // This is a copy of what is looked for, too.
            let mut region = zeroize::Zeroizing::new(vec![0; usize::try_from(to - from).unwrap()]);
            // A region may be gone by now; a thread's guard page cannot be read.
            let read = memory.seek(SeekFrom::Start(from)).and_then(|_| memory.read_exact(&mut region));
            if read.is_err() {
                continue;
            }
            let first = self.0[0] ^ MASK;
            let hits = (0..region.len() - self.0.len()).filter(|&at| region[at] == first && self.is_at(&region[at..]));
            let name = line.split_whitespace().nth(5).unwrap_or("anonymous");
            found.extend(hits.map(|at| format!("{name} at {at:#x} of {line}")));
        }
        found
    }
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "memory is searched by /proc, which only Linux has")]
fn a_secret_is_nowhere_in_memory_once_its_provider_is_dropped() {
    let (one, two) = (Masked::new(71), Masked::new(72));
    // Clones share one copy, so there are two.
    let (secret, again) = (Secret::new(one.text()), Secret::new(one.text()));
    let secrets = Secrets::new([secret.clone(), Secret::from_bytes(two.text())]);
    assert!(one.found().len() >= 2 && !two.found().is_empty(), "the search finds nothing");
    drop((secret, again));
    let provider = CdrManager::new(secrets).unwrap();
    let request = Request::post("/").body(Bytes::from_static(b"hello")).unwrap();
    assert!(testing::sign(&provider, request).is_ok());
    drop(provider);
    for secret in [one, two] {
        let found = secret.found();
        assert!(found.is_empty(), "{found:#?}");
    }
}
