//! `tidelock init` on a machine where Git does not know who somebody is, and where it does; and
//! what the first plan in it says.

use std::process::Command;

use tidelock_tests::TestEnvironment;
use tidelock_tests::environment::hermetic;
use tidelock_tests::tidelock::binary;

/// What a script prints, in a world whose Git knows nobody but whom `known` names.
fn run(world: &TestEnvironment, known: &[(&str, &str)], script: &str) -> String {
    let tools = binary().parent().expect("a folder").to_path_buf();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("sh");
    hermetic(&mut shell, &world.path("home")).current_dir(world.root());
    for name in ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"] {
        shell.env_remove(name);
    }
    shell.envs(known.iter().copied()).env("PATH", format!("{}:{path}", tools.display()));
    let output = shell.args(["-euc", &format!("exec 2>&1\n{script}")]).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

const COMMIT: &str =
    "cd demo/repo; echo mine > hello/motd.txt; git commit --quiet --all -m Mine; git log --format='%s by %an <%ae>'";

#[test]
fn a_commit_can_be_made_where_git_knows_nobody() {
    let world = TestEnvironment::new();
    let said = run(&world, &[], "tidelock init demo");
    assert!(said.contains("commits in repo/ are by Tidelock <tidelock@localhost>"), "{said}");
    assert_eq!(
        run(&world, &[], COMMIT),
        "Mine by Tidelock <tidelock@localhost>\nhello: a message of the day by Tidelock <tidelock@localhost>\n"
    );
}

#[test]
fn whom_git_knows_is_the_author() {
    let world = TestEnvironment::new();
    world.write("gitconfig", "[user]\nname = Grace\nemail = grace@example.com\n");
    let config = world.path("gitconfig").display().to_string();
    let known = [("GIT_CONFIG_GLOBAL", config.as_str())];
    let said = run(&world, &known, "tidelock init demo");
    assert!(!said.contains("does not know who you are"), "{said}");
    assert!(run(&world, &known, COMMIT).contains("hello: a message of the day by Grace <grace@example.com>"));
    assert!(!world.read("demo/repo/.git/config").contains("[user]"), "what a person says in general counts");
}

#[test]
fn a_plugin_is_compiled_once_and_says_so() {
    let world = TestEnvironment::new();
    let said = run(&world, &[], "tidelock init demo; cd demo; tidelock plan");
    assert!(said.contains("compiling plugin server, which is done once\n"), "{said}");
    let said = run(&world, &[], "cd demo; tidelock plan");
    assert!(!said.contains("compiling"), "{said}");
}
