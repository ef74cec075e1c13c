//! The binary alone is the whole installation: away from the repository that it was built
//! from, without a plugin directory and without a home to write to.

use std::path::Path;
use std::process::{Command, Output};

use tidelock_tests::TestEnvironment;
use tidelock_tests::environment::hermetic;
use tidelock_tests::tidelock::binary;

/// Runs the copied binary with a home that nothing can be written below.
fn run(world: &TestEnvironment, within: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(world.path("bin/tidelock"));
    hermetic(&mut command, Path::new("/dev/null")).current_dir(within).args(arguments);
    command.output().expect("the binary runs")
}

#[track_caller]
fn text(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).expect("text") + &stderr
}

#[test]
fn the_binary_is_all_that_is_needed() {
    let world = TestEnvironment::new();
    std::fs::create_dir(world.path("bin")).expect("a folder");
    std::fs::copy(binary(), world.path("bin/tidelock")).expect("a copy of the binary");
    let away = world.path("away");
    std::fs::create_dir(&away).expect("a folder");

    text(run(&world, &away, &["init", "site"]));
    let site = away.join("site");
    let config = std::fs::read_to_string(site.join("tidelock.toml")).expect("the config");
    assert!(!config.lines().any(|line| line.trim_start().starts_with("dir =")), "no plugin directory:\n{config}");
    let plugins = text(run(&world, &site, &["plugin", "list", "--output", "json"]));
    for name in ["jinja", "mysql", "network", "postgres", "server", "sqlite", "yaml"] {
        assert!(plugins.contains(&format!("embedded {name}")), "{name} is not built in: {plugins}");
    }
    text(run(&world, &site, &["apply", "--yes"]));
    assert!(site.join("machine/etc/motd").is_file());

    // From elsewhere, with the config named.
    let config = site.join("tidelock.toml").display().to_string();
    text(run(&world, &away, &["plan", "--config", &config, "--detailed-exitcode"]));
    let left: Vec<_> =
        std::fs::read_dir(&away).expect("a listing").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left, ["site"], "nothing is written beside what init made");
}
