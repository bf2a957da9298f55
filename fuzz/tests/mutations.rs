//! Runs the fuzz targets on stable Rust: the saved inputs, then mutations of them, for one second
//! each or for `BLOCKYARD_TEST_LONG` minutes.

#![allow(clippy::print_stdout, reason = "reports the number of inputs of long runs")]

#[allow(dead_code, unreachable_pub, reason = "the tests of the binary use the rest")]
#[path = "../../tests/src/attack.rs"]
mod attack;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use blockyard_fuzz::{TARGETS, Target};

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { drive(stringify!($name)); })*

        #[test]
        fn every_target_is_listed() {
            let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(known, [$(stringify!($name)),*]);
        }
    };
}

targets!(manifest, bundle, smith, origin, redactor, registry, project, lock, blocks, host_sql, guest_sql);

/// Tokens of the input formats, which mutations insert at random positions.
const WORDS: [&str; 34] = [
    "\"$ref\": \"#\"",
    "\"$secret\"",
    "\"type\": \"object\"",
    "{",
    "}",
    "[",
    "]",
    "null",
    "-1",
    "1e999",
    "\"\"",
    "\\u0000",
    "\u{202e}",
    "://",
    "@",
    "%2e",
    "[::ffff:127.0.0.1]",
    "*.",
    "{config.url}",
    "\n",
    "\"\"\"",
    "[[bundle]]",
    "\0asm",
    "'''",
    "'",
    "\"",
    "`",
    "\\",
    "e'",
    "--",
    "/*",
    "*/",
    "$$",
    "$a$",
];

/// Small attacks with a short run time, from which mutations of components start.
const COMPONENTS: [&str; 8] = [
    "trap",
    "log-flood",
    "loop-in-parts",
    "forged-handle",
    "wait-past-the-deadline",
    "counter-across-calls",
    "table-growth",
    "not-a-bundle-wrong-export",
];

fn drive(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    let corpus = inputs(name);
    assert!(!corpus.is_empty(), "`{name}` has no saved inputs");
    for (path, input) in &corpus {
        run(name, *target, input, Some(path));
    }
    let minutes: Option<f64> = std::env::var("BLOCKYARD_TEST_LONG").ok().and_then(|text| text.parse().ok());
    let time = minutes.map_or(Duration::from_secs(1), |minutes| Duration::from_secs_f64(minutes * 60.0));
    // Long runs use a different sequence each time, short runs always the same one.
    let seed = if minutes.is_some() { u64::from(std::process::id()) | 1 << 40 } else { 7 };
    let mut random = Random(seed);
    let end = Instant::now() + time;
    let mut runs = 0_u64;
    while Instant::now() < end {
        let mut input = corpus[random.below(corpus.len())].1.clone();
        for _ in 0..=random.below(6) {
            let other = &corpus[random.below(corpus.len())].1;
            mutate(&mut input, other, &mut random);
        }
        run(name, *target, &input, None);
        runs += 1;
    }
    println!("{name}: {runs} inputs");
}

/// Runs one input. A failing input is saved to a file.
fn run(name: &str, target: Target, input: &[u8], path: Option<&Path>) {
    let began = Instant::now();
    let found = std::panic::catch_unwind(|| target(input)).is_err();
    if found || began.elapsed() > Duration::from_secs(60) {
        let path = path.map_or_else(|| keep(name, input), Path::to_owned);
        panic!(
            "{name}: {} after {:?}: {}",
            if found { "failed" } else { "took too long" },
            began.elapsed(),
            path.display()
        );
    }
}

fn keep(name: &str, input: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("blockyard-fuzz-{name}-{}", std::process::id()));
    fs::write(&path, input).expect("a writable temporary folder");
    path
}

fn inputs(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut inputs: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (entry.path(), fs::read(entry.path()).expect("an input")))
        .collect();
    if name == "bundle" {
        inputs.extend(COMPONENTS.iter().map(|name| (attack::folder().join(name), attack::attack(name))));
    }
    inputs.sort();
    inputs
}

fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let length = random.below(32);
    let range = at..(at + length).min(input.len());
    match random.below(7) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = u8::try_from(random.below(256)).expect("a byte"),
        2 => drop(input.drain(range)),
        3 => {
            let copied = input[range].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, copied);
        }
        4 => {
            let word = WORDS[random.below(WORDS.len())].bytes();
            input.splice(at..at, word);
        }
        5 if !other.is_empty() => {
            let from = random.below(other.len());
            let part = other[from..(from + length).min(other.len())].to_vec();
            input.splice(range, part);
        }
        // Values that are significant as lengths, in WebAssembly and in text formats.
        _ if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'9'][random.below(7)],
        _ => {}
    }
}

/// xorshift pseudorandom number generator, deterministic for a given seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(usize::MAX) % end.max(1)
    }
}
