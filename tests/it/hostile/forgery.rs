//! The forgery campaign: genuine requests of every sender, tampered with in every way that we know
//! of.
//!
//! A tampered request may only be delivered where it is provably the same signed content:
//! everything that [`Delivery::signed`](tower_webhook::Delivery::signed) names, the identity, and
//! what the sender's own type calls signed are byte for byte those of one genuine request. For
//! senders whose token says nothing of the body, it is the token itself.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::chance::Chance;
use super::subjects::{self, End, Proven, Subject, signed_at};
use super::wire::{WAYS, Wire};

/// How many requests are tampered with for each sender.
const ATTEMPTS: usize = 10_000;

/// Senders that do not sign the bytes of the body, besides those of the table: claims or members
/// beside it.
const BODY_UNSIGNED: &[&str] = &["aws_sns", "cloudblue_connect"];

fn body_unsigned() -> &'static [&'static str] {
    #[cfg(feature = "asymmetric")]
    return crate::senders::BODY_UNSIGNED;
    #[cfg(not(feature = "asymmetric"))]
    return &[];
}

#[derive(Default)]
struct Report {
    refused: BTreeMap<&'static str, usize>,
    same: usize,
    answered: usize,
    forged: Vec<String>,
}

fn campaign(subject: &Subject, seed: u64) -> Report {
    let mut chance = Chance::new(seed);
    let wires: Vec<Wire> = subject.genuine.iter().map(Wire::new).collect();
    let proven: Vec<Proven> = subject
        .genuine
        .iter()
        .map(|request| match subject.judge(request.clone()) {
            End::Delivered(delivery, more) => {
                let is_known = BODY_UNSIGNED.contains(&&*subject.name) || body_unsigned().contains(&&*subject.name);
                // GitLab is in the table with a token and with a signature.
                assert!(delivery.signed().body != is_known || subject.name == "gitlab", "{}", subject.name);
                subject.proven(request, &delivery, &more)
            }
            end => panic!("{}: {end:?}", subject.name),
        })
        .collect();
    let mut report = Report::default();
    let mut attempts = 0;
    while attempts < ATTEMPTS {
        let (of, other) = (chance.below(wires.len()), chance.below(wires.len()));
        let mut wire = wires[of].clone();
        let mut names = Vec::new();
        for _ in 0..1 + chance.below(3) {
            let (name, tamper) = *chance.pick(WAYS);
            tamper(&mut wire, &wires[other], &mut chance);
            names.push(name);
        }
        let Some(request) = wire.request() else { continue };
        // Later, a request whose signature has a time is no longer taken at all.
        subject.clock.set(signed_at() + Duration::from_secs([0, 0, 0, 250, 100_000][chance.below(5)]));
        if wires.contains(&wire) {
            continue;
        }
        attempts += 1;
        match subject.judge(request.clone()) {
            End::Refused(rejection) => *report.refused.entry(rejection.reason().as_str()).or_default() += 1,
            End::Answered => report.answered += 1,
            End::Delivered(delivery, more) if proven.contains(&subject.proven(&request, &delivery, &more)) => {
                report.same += 1;
            }
            End::Delivered(delivery, more) => {
                let got = format!("{:?}", subject.proven(&request, &delivery, &more));
                report.forged.push(format!("{names:?}: {request:?}: {got}, not {proven:?}"));
            }
        }
    }
    subject.clock.set(signed_at());
    report
}

#[test]
fn no_tampered_request_is_delivered_unless_its_signed_content_is_the_same() {
    let subjects = subjects::all();
    assert!(subjects.len() > 2);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(subject) = subjects.get(next.fetch_add(1, Ordering::Relaxed)) {
            judge(subject);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
    });
    println!("{} senders, {} tampered requests", subjects.len(), subjects.len() * ATTEMPTS);
}

fn judge(subject: &Subject) {
    // The same for each sender, whichever senders there are besides.
    let seed = subject.name.bytes().fold(1, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
    let report = campaign(subject, seed);
    let refused: usize = report.refused.values().sum();
    println!(
        "{}: {ATTEMPTS} tampered requests, {refused} refused, {} with the same signed content, {} answered: {:?}",
        subject.name, report.same, report.answered, report.refused
    );
    assert!(report.forged.is_empty(), "{}: {:#?}", subject.name, &report.forged[..report.forged.len().min(5)]);
    // What was changed hit what is signed in many cases, in more than one way, and not in all; a token
    // is a small target.
    let least = if body_unsigned().contains(&&*subject.name) { ATTEMPTS / 20 } else { ATTEMPTS / 4 };
    assert!(refused > least && report.refused.len() > 1, "{}: {:?}", subject.name, report.refused);
    assert!(report.same > 0, "{}: nothing was left of the genuine requests", subject.name);
}
