//! What holds for any input: the entry points of the fuzzers with their seeds, and bodies split in
//! every way.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, Request};
use tower_webhook::testing::fuzz::TARGETS;
use tower_webhook::testing::{ScriptedBody, Step};

use super::chance::Chance;
use super::subjects;
use super::wire::{WAYS, Wire};

/// How many inputs each target gets besides its seeds.
const INPUTS: usize = 2000;

fn fuzz_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The seeds of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = fs::read_dir(fuzz_folder().join("seeds").join(target));
    let folder = folder.unwrap_or_else(|error| panic!("the seeds of {target} are not there: {error}"));
    let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn every_fuzz_target_takes_its_seeds_and_what_becomes_of_them() {
    for (seed, (name, target)) in (1..).zip(TARGETS) {
        let seeds = seeds(name);
        seeds.iter().for_each(|seed| target(seed));
        let mut chance = Chance::new(seed);
        for _ in 0..INPUTS {
            let mut input = if seeds.is_empty() || chance.below(8) == 0 {
                (0..chance.below(100)).map(|_| chance.byte()).collect()
            } else {
                chance.pick(&seeds).clone()
            };
            for _ in 0..chance.below(5) {
                alter(&mut input, &seeds, &mut chance);
            }
            target(&input);
        }
        println!("{name}: {} seeds, {INPUTS} inputs more", seeds.len());
    }
}

fn alter(input: &mut Vec<u8>, seeds: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(input.len());
    match chance.below(6) {
        0 if !input.is_empty() => input[at] = chance.byte(),
        1 if !input.is_empty() => drop(input.remove(at)),
        2 if !input.is_empty() => input[at] ^= 1 << chance.below(8),
        3 => input.truncate(at),
        4 if !seeds.is_empty() => {
            let other = chance.pick(seeds);
            input.extend_from_slice(&other[chance.below(other.len())..]);
        }
        5 if !input.is_empty() => {
            let end = (at + 1 + chance.below(8)).min(input.len());
            let part = input[at..end].repeat(1 + chance.below(20));
            input.splice(at..at, part);
        }
        _ => input.insert(at, *chance.pick(b" .=,:{}[]\"\\-+0aZ\n\0\xff")),
    }
}

#[test]
fn every_fuzz_target_is_in_the_fuzzers_workspace_and_has_seeds() {
    let manifest = fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        let target = fs::read_to_string(fuzz_folder().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("testing::fuzz::{name}(data)")), "{name}");
        assert!(!seeds(name).is_empty(), "{name}");
    }
}

/// A body in frames of any size, with pauses, empty frames, and trailers at the end.
fn frames(body: &Bytes, chance: &mut Chance) -> ScriptedBody {
    let (mut steps, mut rest) = (Vec::new(), body.clone());
    let largest = *chance.pick(&[1, 2, 7, 64, 1000]);
    while !rest.is_empty() {
        match chance.below(6) {
            0 => steps.push(Step::Pause),
            1 => steps.push(Step::Data(Bytes::new())),
            _ => steps.push(Step::Data(rest.split_to((1 + chance.below(largest)).min(rest.len())))),
        }
    }
    if chance.below(2) == 0 {
        steps.push(Step::Trailers(HeaderMap::new()));
    }
    ScriptedBody::new(steps)
}

#[test]
fn how_a_body_is_split_never_changes_what_becomes_of_its_request() {
    let mut splits = 0;
    for (seed, subject) in (100..).zip(subjects::all()) {
        let mut chance = Chance::new(seed);
        for round in 0..300 {
            let genuine = chance.pick(&subject.genuine);
            let mut wire = Wire::new(genuine);
            if round % 3 > 0 {
                let (_, tamper) = chance.pick(WAYS);
                tamper(&mut wire, &Wire::new(genuine), &mut chance);
            }
            let Some(request) = wire.request() else { continue };
            let mut whole = subject.judge(request.clone()).summary();
            if matches!(&*subject.name, "neon" | "fireblocks") {
                // The id of an unknown key, in a header or in a token's, causes one fetch, and then none for a
                // while.
                whole = subject.judge(request.clone()).summary();
            }
            let (head, body) = request.into_parts();
            let framed = Request::from_parts(head, frames(&body, &mut chance));
            assert_eq!(subject.judge_framed(framed).summary(), whole, "{}", subject.name);
            splits += 1;
        }
    }
    println!("{splits} splits");
    assert!(splits > 800);
}
