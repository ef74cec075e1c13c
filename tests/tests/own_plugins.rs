//! A newcomer's own plugins: what `sdk/README.md` shows is built, accepted and used as it
//! stands there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidelock_tests::{Site, site};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository's root")
}

/// The first block of a language under a heading of the SDK's README.
fn block(heading: &str, language: &str) -> String {
    let readme = fs::read_to_string(root().join("sdk/README.md")).expect("the SDK's README");
    let under = readme.split_once(&format!("## {heading}\n")).expect("the heading").1;
    let block = under.split_once(&format!("```{language}\n")).expect("a block").1;
    block.split_once("```").expect("its end").0.to_owned()
}

/// A crate of its own, with what the README has under a heading as it stands there.
fn plugin(site: &Site, name: &str, heading: &str) -> PathBuf {
    let code = block(heading, "rust");
    let sdk = root().join("sdk").display().to_string();
    let manifest =
        block("Building", "toml").replace("../tidelock/sdk", &sdk).replace("\"texts\"", &format!("{name:?}"));
    site.world().write(&format!("{name}/Cargo.toml"), manifest);
    site.world().write(&format!("{name}/src/lib.rs"), format!("//! An example.\n{code}"));
    // The versions that our own plugins are built with.
    fs::copy(root().join("plugins/Cargo.lock"), site.world().path(name).join("Cargo.lock")).expect("a lock");
    site.world().path(name)
}

/// Runs a plugin's own tests, as `cargo test` in its folder does.
fn test(plugin: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(plugin)
        .args(["test", "--quiet", "--lib"])
        .env("CARGO_TARGET_DIR", root().join("target/own-plugins"));
    let output = cargo.output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && said.contains("1 passed");
    assert!(passed, "{said}{}", String::from_utf8_lossy(&output.stderr));
}

fn build(plugin: &Path, into: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo.current_dir(root()).args(["xtask", "plugins"]).arg(plugin).arg("--into").arg(into).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn plugins_of_the_sdks_readme_are_built_accepted_and_used() {
    let site = Site::new();
    let into = site.world().path("plugins");
    for (name, heading) in [("demo", "A whole provider"), ("texts", "A whole renderer")] {
        let plugin = plugin(&site, name, heading);
        test(&plugin);
        build(&plugin, &into);
    }
    let config = site::config("infra").replace("\"server.*\"", "\"demo.*\"").replace("grants.server", "grants.demo");
    site.world().write("tidelock.toml", format!("{config}\n[plugins]\ndir = \"plugins\"\n"));
    site.repo().write("web/stack.yaml", "name: web\ntargets: local\nrenderer: texts\n").write("web/a.txt", "A note\n");
    site.repo().commit("A note for each text");

    let ran = site.tidelock(["plan"]).run().exit(1);
    assert!(ran.stderr.contains("tidelock plugin accept texts"), "{}", ran.story());
    let _ = site.tidelock(["plugin", "inspect", "demo"]).run().ok().says("look at files");
    for name in ["texts", "demo"] {
        site.tidelock(["plugin", "accept", name]).run().ok();
    }
    let _ = site.tidelock(["plan"]).run().ok().says("+ demo.note/a.txt").says("+A note");
    site.apply();
    assert_eq!(site.on_machine("srv/a.txt").as_deref(), Some("A note\n"));
    site.converged();

    // Another build of it: nothing is done with it before somebody says yes to that one.
    let file = into.join("demo.wasm");
    let mut bytes = fs::read(&file).expect("the plugin");
    bytes.extend([0, 5, 4, b'n', b'o', b't', b'e']);
    fs::write(&file, bytes).expect("an upgrade");
    site.repo().write("web/a.txt", "Another note\n").commit("Another note");
    let refused = site.tidelock(["apply", "--yes"]).run().exit(1);
    assert!(refused.stderr.contains("tidelock plugin accept demo"), "{}", refused.story());
    assert_eq!(site.on_machine("srv/a.txt").as_deref(), Some("A note\n"));
    site.tidelock(["plugin", "accept", "demo"]).run().ok();
    site.apply();
    assert_eq!(site.on_machine("srv/a.txt").as_deref(), Some("Another note\n"));
    site.converged();
}
