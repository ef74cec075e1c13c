//! The examples, run as their READMEs say.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidelock_tests::TestEnvironment;
use tidelock_tests::environment::hermetic;
use tidelock_tests::tidelock::binary;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository's root")
}

/// Every line of a README's `sh` blocks.
fn commands(readme: &Path) -> String {
    let text = fs::read_to_string(readme).unwrap_or_else(|error| panic!("cannot read {}: {error}", readme.display()));
    let mut script = String::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            command if inside => script.push_str(&format!("{command}\n")),
            _ => {}
        }
    }
    assert!(!script.is_empty(), "{} holds no commands", readme.display());
    script
}

/// Runs the commands of an example's README from the repository's root, and
/// returns the copy that they made and what they printed.
fn follow(example: &str, copy: &str) -> (TestEnvironment, PathBuf, String) {
    let world = TestEnvironment::new();
    if example == "databases" {
        // As `/root` is: its servers are other users' and need not get in here. Checks of others do.
        fs::set_permissions(world.root(), fs::Permissions::from_mode(0o700)).expect("a folder of our own");
    }
    let home = world.path("home");
    let script = commands(&root().join("examples").join(example).join("README.md"));
    let tools = binary().parent().expect("a folder").to_path_buf();
    let path = std::env::var("PATH").unwrap_or_default();

    let mut shell = Command::new("sh");
    hermetic(&mut shell, &home).current_dir(root());
    // As on a machine where Git was not told yet who commits.
    for who in ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"] {
        shell.env_remove(who);
    }
    shell.env("PATH", format!("{}:{path}", tools.display())).args(["-eux", "-c", &script]);
    let output = shell.output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let asked = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example} fails:\n{asked}\n--- stdout\n{said}");
    let copy = home.join(copy);
    (world, copy, said)
}

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("cannot read {file}: {error}"))
}

#[test]
fn hello_does_what_its_readme_says() {
    let (_world, hello, said) = follow("hello", "hello");
    assert_eq!(read(&hello, "machine/srv/hello.txt"), "Hello, world.\n");
    assert_eq!(read(&hello, "machine/etc/motd"), "This machine is kept by Tidelock.\n");
    assert!(said.contains("It was like this when I came."), "the change by hand was not shown:\n{said}");
}

#[test]
fn fleet_config_does_what_its_readme_says() {
    let (_world, fleet, said) = follow("fleet-config", "fleet");
    let workers = |machine: &str| {
        let config = read(&fleet, &format!("machines/{machine}/etc/web/web.conf"));
        config.lines().find(|line| line.starts_with("workers")).unwrap_or_default().to_owned()
    };
    assert_eq!(workers("staging-1"), "workers 3;", "staging follows its commit\n{said}");
    assert_eq!(workers("prod-1"), "workers 8;");
    assert_eq!(workers("prod-2"), "workers 16;", "the host's values win");
    let docs = read(&fleet, "machines/staging-1/etc/web/docs.conf");
    assert!(docs.contains("docs.staging.example.com"), "{docs}");
}

#[test]
fn environments_does_what_its_readme_says() {
    let (_world, fleet, said) = follow("environments", "environments");
    for (env, workers) in [("dev", 1), ("stage", 2), ("prod", 8)] {
        for number in 1..=20 {
            let config = read(&fleet, &format!("machines/{env}-{number:02}/etc/web.conf"));
            assert_eq!(config, format!("# {env}-{number:02}\nworkers = {workers}\n"));
        }
    }
    let counts = |workers: u32| said.matches(&format!("     20 workers = {workers}\n")).count();
    assert_eq!((counts(1), counts(2), counts(8)), (2, 2, 1), "prod came after the yes\n{said}");
    let wrong: Vec<&str> = said.lines().filter(|line| line.starts_with("machines/")).collect();
    assert_eq!(wrong, ["machines/dev-01/etc/web.conf"], "{said}");
    assert!(said.contains("the rollout stopped: web-dev@dev-01 failed: check exec /bin/grep"), "{said}");
}

#[test]
fn databases_does_what_its_readme_says() {
    let (world, _copy, said) = follow("databases", "databases");
    let mode = fs::metadata(world.root()).expect("a folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "{} was opened to others", world.root().display());
    assert!(said.contains("CREATE DATABASE \"shop\""), "the first plan was not shown:\n{said}");
    assert!(said.contains("NOSUPERUSER"), "the change by hand was not shown:\n{said}");
    assert!(said.contains("CREATE DATABASE `stock`") && said.contains("MAX_USER_CONNECTIONS 5"), "{said}");
    let held: Vec<&str> =
        said.lines().filter(|line| line.starts_with("GRANT ") && line.contains("`stock`.*")).collect();
    assert_eq!(held, ["GRANT INSERT, UPDATE ON `stock`.* TO `picker`@`localhost`"], "DROP was taken back\n{said}");
    let answers: Vec<&str> = said.lines().filter(|line| matches!(*line, "f" | "t")).collect();
    assert_eq!(answers, ["f", "f"], "neither superuser nor member\n{said}");
}
