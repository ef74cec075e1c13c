//! Rules of the gate that cannot be meant.

use insta::assert_snapshot;

use super::*;

#[test]
fn a_gate_that_cannot_be_meant() {
    assert_snapshot!(complaint("[[gate]]\nwindow = [\"Sun 02:00-04:00 UTC\", \"Sun 02:00-04:00\"]\n"), @r#"
    error: "Sun 02:00-04:00" is not a window: days, times and a time zone, as in "Sun 02:00-04:00 Europe/Berlin"
     --> tidelock.toml:2:34
      |
    2 | window = ["Sun 02:00-04:00 UTC", "Sun 02:00-04:00"]
      |                                  ^^^^^^^^^^^^^^^^^
      |
      = hint: write it as: window = "Sun 02:00-04:00 Europe/Berlin"
    "#);
    assert_snapshot!(complaint("[[gate]]\nwindow = \"Sun 02:00-04:00 Europe/Berlim\"\n"), @r#"
    error: "Europe/Berlim" is no time zone that is known, such as Europe/Berlin or UTC
     --> tidelock.toml:2:1
      |
    2 | window = "Sun 02:00-04:00 Europe/Berlim"
      | ^^^^^^
      |
      = hint: write it as: window = "Sun 02:00-04:00 Europe/Berlin"
    "#);
    assert_snapshot!(complaint("[[gate]]\nwindow = 7\n"), @r#"
    error: `gate.window` should be a string or a list of strings, not integer `7`
     --> tidelock.toml:2:10
      |
    2 | window = 7
      |          ^
      |
      = hint: write it as: window = "Sun 02:00-04:00 Europe/Berlin"
    "#);
    assert_snapshot!(complaint("[[gate]]\nwindows = \"Sun 02:00-04:00 UTC\"\n"), @r#"
    error: unknown key `windows` in [gate]
     --> tidelock.toml:2:1
      |
    2 | windows = "Sun 02:00-04:00 UTC"
      | ^^^^^^^ did you mean `window`?
      |
      = hint: [gate] takes: stacks, targets, window, approvals, approvers, budget
    "#);
    assert_snapshot!(complaint("[[gate]]\nstacks = \"envs/prod/**\"\n"), @r#"
    error: this [[gate]] asks for nothing
     --> tidelock.toml:1:1
      |
    1 | [[gate]]
      | ^^^^^^^^
      |
      = hint: give it a window, approvals or a budget, or take it out
    "#);
    assert_snapshot!(complaint("[[gate]]\napprovals = 0\napprovers = [\"ada\"]\n"), @r#"
    error: it names approvers and asks for none of them
     --> tidelock.toml:2:13
      |
    2 | approvals = 0
      |             ^
      |
      = hint: write it as: approvals = 1
    "#);
    assert_snapshot!(complaint("[[gate]]\napprovers = [\"@dbas\"]\n[groups]\ndba = [\"ada\"]\n"), @r#"
    error: there is no group "dbas"
     --> tidelock.toml:2:1
      |
    2 | approvers = ["@dbas"]
      | ^^^^^^^^^
      |
      = hint: did you mean "@dba"?
    "#);
    assert_snapshot!(complaint("[[gate]]\napprovals = 2\napprovers = [\"ada\", \"@dba\"]\n[groups]\ndba = [\"ada\"]\n"), @r#"
    error: it asks for 2 approvals, and names 1 whose count
     --> tidelock.toml:2:13
      |
    2 | approvals = 2
      |             ^
      |
      = hint: nothing would ever pass; name more approvers, or ask for fewer approvals
    "#);
    assert_snapshot!(complaint("[[gate]]\nbudget = { destroy = \"3 of them\" }\n"), @r#"
    error: "3 of them" is neither a number nor a percentage such as 25%
     --> tidelock.toml:2:22
      |
    2 | budget = { destroy = "3 of them" }
      |                      ^^^^^^^^^^^
    "#);
    assert_snapshot!(complaint("[groups]\ndba = [\"@admins\"]\n"), @r#"
    error: "@admins" is no user; a group holds users, and no groups
     --> tidelock.toml:2:1
      |
    2 | dba = ["@admins"]
      | ^^^
      |
      = hint: write it as: dba = ["ada"]
    "#);
    assert_snapshot!(complaint("[[gate]]\nstacks = \"envs/[\"\napprovals = 1\n"), @r#"
    error: pattern "envs/[": unclosed character class; missing ']'
     --> tidelock.toml:2:10
      |
    2 | stacks = "envs/["
      |          ^^^^^^^^
    "#);
}

#[test]
fn an_included_file_has_no_gate_of_its_own() {
    let dir = written(&[("tidelock.toml", "include = [\"more.toml\"]"), ("more.toml", "[[gate]]\napprovals = 1\n")]);
    let error = load(&dir.path().join("tidelock.toml")).unwrap_err();
    assert!(error.message.contains("`gate` belongs in the first file"), "{error}");
}
