//! What a guest can do wrong in any export.

use std::hint::black_box;

use crate::exports::tidelock::hostile::handles;
use crate::tidelock::log::log;
use crate::tidelock::machine::propose::{self, AfterCrash, Common};
use crate::tidelock::machine::read;

/// Commits the misdeed of that name; other words are innocent.
pub fn commit(word: &str) {
    match word {
        "loop" => loop {
            black_box(0);
        },
        "recurse" => {
            black_box(recurse(0, black_box(u64::MAX)));
        }
        "recurse-wide" => {
            black_box(recurse_wide(0));
        }
        "grow-memory" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        "panic" => panic!("out of \u{1b}[31mluck"),
        "trap" => core::arch::wasm32::unreachable(),
        "huge-string" => log::log(log::Level::Info, &"x".repeat(40 << 20)),
        "huge-list" => drop(read::stat(&vec![String::new(); 2_000_000], false)),
        "log-flood" => {
            for i in 0..100_000 {
                log::log(log::Level::Info, &format!("{i} {}", "x".repeat(1000)));
            }
        }
        "empty-log-flood" => {
            for _ in 0..500_000 {
                log::log(log::Level::Info, "");
            }
        }
        "escapes" => log::log(log::Level::Error, "all \u{1b}[2J\u{1b}]0;owned\u{7} is\u{202e} well\r\u{9b}"),
        "call-flood" => loop {
            log::log(log::Level::Debug, "");
        },
        "handles" => loop {
            std::mem::forget(black_box(handles::Thing::new(crate::Thing)));
        },
        _ => {}
    }
}

/// Deep calls on the Wasm stack; nothing of it lies in memory.
#[inline(never)]
fn recurse(depth: u64, end: u64) -> u64 {
    if depth == end {
        return depth;
    }
    (recurse(depth + 1, end) ^ depth).wrapping_mul(31).rotate_left(5)
}

/// Deep calls with large frames: the stack that compilers keep in memory ends first.
#[inline(never)]
fn recurse_wide(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    if depth == black_box(u64::MAX) {
        return depth;
    }
    recurse_wide(depth + 1) + room[(depth % 64) as usize]
}

/// What can be done wrong while it may look.
pub fn during_observe(word: &str) {
    match word {
        "token-flood" => {
            for i in 0_u64.. {
                let paths: Vec<String> = (0..1000).map(|j| format!("/etc/flood-{i}-{j}")).collect();
                drop(read::stat(&paths, false));
            }
        }
        "outside-grant" => {
            for path in ["/outside/secret", "/etc/../outside/secret", "/outside", "etc/motd", "/etc/link-out/secret"] {
                let path = path.to_string();
                let stat = read::stat(std::slice::from_ref(&path), true);
                let content = read::content(&path, 100);
                let list = read::list(&path);
                log::log(log::Level::Info, &format!("{path}: {stat:?} {content:?} {list:?}"));
            }
            let ended = read::probe(&["/bin/cat".to_string(), "/outside/secret".to_string()], 1000);
            log::log(log::Level::Info, &format!("probe: {ended:?}"));
        }
        "own-files" => {
            let content = read::content("/etc/tidelock/tidelock.db", 100);
            log::log(log::Level::Info, &format!("own: {content:?}"));
        }
        "slow-probe" => {
            drop(read::probe(&["/bin/sleep".to_string(), "60".to_string()], 60_000));
        }
        "propose" => {
            let common = Common {
                change: 0,
                precondition: None,
                together: None,
                after_crash: AfterCrash::Observe,
                extras: vec![],
            };
            drop(propose::remove(&common, "/etc/motd", false));
        }
        _ => {}
    }
}
