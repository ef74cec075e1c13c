//! The arrows between rooms, and who may print: ARCHITECTURE.md, enforced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The repository's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository's root")
}

/// Each crate of a workspace with what its `Cargo.toml` names, but for tests.
fn dependencies(manifest: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata");
    let packages = metadata.packages.into_iter();
    packages
        .map(|package| {
            let named = package.dependencies.into_iter().filter(|needs| needs.kind != DependencyKind::Development);
            (package.name.to_string(), named.map(|needs| needs.name).collect())
        })
        .collect()
}

fn runtime() -> BTreeMap<String, BTreeSet<String>> {
    dependencies(&root().join("Cargo.toml"))
}

/// Which of our crates a crate may name; `None` for a crate that is no room.
fn allowed(room: &str) -> Option<&'static [&'static str]> {
    Some(match room {
        "tidelock-model" | "tidelock-sdk" => &[],
        "tidelock-plan" | "tidelock-secret" | "tidelock-store" => &["tidelock-model"],
        "tidelock-source" | "tidelock-target" => &["tidelock-model", "tidelock-secret"],
        "tidelock-host" => &["tidelock-model", "tidelock-target"],
        "tidelock-reconcile" => &["tidelock-model", "tidelock-plan"],
        "tidelock-server" => &["tidelock-model", "tidelock-plan", "tidelock-reconcile"],
        "tidelock-cli" => &[
            "tidelock-host",
            "tidelock-model",
            "tidelock-plan",
            "tidelock-reconcile",
            "tidelock-secret",
            "tidelock-server",
            "tidelock-source",
            "tidelock-store",
            "tidelock-target",
        ],
        // Outside of the product: they drive the binary, and share the harness.
        "tidelock-tests" => &[],
        "xtask" => &["tidelock-tests"],
        _ => return None,
    })
}

#[test]
fn every_arrow_between_rooms_is_one_that_the_architecture_allows() {
    for (room, named) in runtime() {
        let allowed =
            allowed(&room).unwrap_or_else(|| panic!("{room} is a new room: add it to ARCHITECTURE.md and here"));
        for other in named.iter().filter(|name| name.starts_with("tidelock-") || *name == "xtask") {
            assert!(allowed.contains(&other.as_str()), "{room} -> {other} is not an arrow of ARCHITECTURE.md");
        }
    }
}

#[test]
fn each_big_dependency_is_named_by_one_room_only() {
    let owners: [(&str, &[&str]); 15] = [
        ("aes-gcm", &["tidelock-secret"]),
        ("age", &["tidelock-secret"]),
        ("gix", &["tidelock-source"]),
        ("gix-transport", &["tidelock-source"]),
        ("wasmtime", &["tidelock-host"]),
        ("cap-std", &["tidelock-target"]),
        ("cap-fs-ext", &["tidelock-target"]),
        ("rusqlite", &["tidelock-store", "tidelock-target"]),
        ("clap", &["tidelock-cli", "xtask"]),
        ("sqlparser", &["tidelock-target"]),
        ("tokio-postgres", &["tidelock-target"]),
        ("mysql_async", &["tidelock-target"]),
        ("hickory-proto", &["tidelock-target"]),
        ("hyper", &["tidelock-server"]),
        ("prometheus-client", &["tidelock-server"]),
    ];
    let runtime = runtime();
    for (dependency, owners) in owners {
        let naming: Vec<_> =
            runtime.iter().filter(|(_, named)| named.contains(dependency)).map(|(room, _)| room).collect();
        assert!(!naming.is_empty(), "nothing names {dependency}: this rule is out of date");
        for room in naming {
            assert!(owners.contains(&room.as_str()), "{room} names {dependency}, which is for {}", owners.join(", "));
        }
    }
}

#[test]
fn the_core_cannot_reach_the_outside_world() {
    let outside =
        ["tokio", "gix", "wasmtime", "rusqlite", "cap-std", "nix", "rustix", "getrandom", "tempfile", "reqwest"];
    let runtime = runtime();
    for room in ["tidelock-model", "tidelock-plan"] {
        for dependency in outside {
            assert!(!runtime[room].contains(dependency), "{room} names {dependency}, but does no IO");
        }
    }
    for dependency in outside.into_iter().filter(|name| *name != "tokio") {
        assert!(!runtime["tidelock-reconcile"].contains(dependency), "reconcile knows ports only, not {dependency}");
    }
}

#[test]
fn plugins_know_the_sdk_and_not_the_runtime() {
    let rooms: BTreeSet<String> = runtime().into_keys().collect();
    let plugins = dependencies(&root().join("plugins/Cargo.toml"));
    assert!(plugins.values().any(|named| named.contains("tidelock-sdk")), "no plugin uses the SDK");
    for (plugin, named) in plugins {
        for other in named.iter().filter(|name| *name != "tidelock-sdk") {
            assert!(!rooms.contains(other), "{plugin} -> {other}: a plugin knows the SDK, not the runtime");
        }
        assert!(!named.contains("wit-bindgen"), "{plugin} goes around the SDK");
    }
}

#[test]
fn only_the_command_line_prints() {
    let mut printing = Vec::new();
    for folder in fs::read_dir(root().join("runtime")).expect("the rooms") {
        let room = folder.expect("a room").path();
        if room.ends_with("cli") {
            continue;
        }
        for file in sources(&room.join("src")) {
            let text = fs::read_to_string(&file).expect("a source file");
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let prints =
                    ["println!(", "print!(", "eprintln!(", "eprint!(", "dbg!("].iter().any(|call| code.contains(call));
                if prints {
                    printing.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(printing.is_empty(), "only cli prints; the others report events and errors:\n{}", printing.join("\n"));
}

/// All Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        // Cargo marks its build results; `runtime/target` is a crate.
        if path.is_dir() && !path.join("CACHEDIR.TAG").is_file() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_source_file_says_why_it_exists() {
    let rooms = ["runtime", "sdk", "xtask", "tests/src", "tests/tests", "plugins"].map(|folder| root().join(folder));
    for file in rooms.iter().flat_map(|folder| sources(folder)) {
        // The tests of the module beside them, whose doc speaks for both.
        let is_tests = file.file_name().is_some_and(|name| name == "tests.rs");
        if is_tests {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        assert!(text.starts_with("//! "), "{} has no module doc", file.display());
    }
}
