use clap::CommandFactory;

use super::*;

fn parse(words: &str) -> Result<CommandLine, clap::Error> {
    CommandLine::try_parse_from(std::iter::once("tidelock").chain(words.split_whitespace()))
}

#[test]
fn the_command_line_holds_together() {
    CommandLine::command().debug_assert();
}

#[test]
fn verbs_of_this_version() {
    let shown: Vec<String> = CommandLine::command()
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .map(|verb| verb.get_name().to_owned())
        .collect();
    let wanted = "init plan apply run approve reject status why stop suspend resume rollback undo destroy forget import release history events blame confirm resolve source target store values render doctor plugin completions";
    assert_eq!(shown.join(" "), wanted);
}

#[test]
fn plan_takes_what_the_design_says() {
    let line = parse(
        "plan web db --target web-1 --repo . --rev v1 --save plan.json --detailed-exitcode --summary --output json",
    )
    .unwrap();
    assert_eq!(line.global.output, Format::Json);
    let Command::Plan(_) = line.command else { panic!("not a plan") };
    for wrong in ["plan --rev a --worktree", "plan --summary --full", "plan --nonsense", "frobnicate", ""] {
        let error = parse(wrong).unwrap_err();
        assert!(error.use_stderr(), "{wrong} is a usage error");
    }
}

#[test]
fn global_arguments_stand_anywhere() {
    for words in ["--config a.toml status", "status --config a.toml"] {
        assert_eq!(parse(words).unwrap().global.config.unwrap(), std::path::Path::new("a.toml"));
    }
}

#[test]
fn names_are_checked_while_parsing() {
    assert!(parse("plan --source a/b").unwrap_err().to_string().contains("may not hold"));
}

#[test]
fn the_next_command_repeats_the_arguments() {
    let selecting = selecting::Selecting {
        stacks: vec!["web".into()],
        target: vec!["web-*".into()],
        repo: Some("my repo".into()),
        worktree: true,
        ..selecting::Selecting::default()
    };
    assert_eq!(selecting.words(), ["web", "--target", "web-*", "--repo", "my repo", "--worktree"]);
}
