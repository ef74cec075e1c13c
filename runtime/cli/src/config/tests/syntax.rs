//! What is no config, told where it stands and in the words of TOML.

use insta::assert_snapshot;

use super::*;

#[test]
fn a_mistyped_key() {
    assert_snapshot!(complaint("[sources.infra]\nurl = \"x\"\nbrnch = \"main\"\n"), @r#"
    error: unknown key `brnch` in [sources.infra]
     --> tidelock.toml:3:1
      |
    3 | brnch = "main"
      | ^^^^^ did you mean `branch`?
      |
      = hint: [sources.infra] takes: url, branch, tag, commit, poll, verify, allow, auth, decrypt, webhook, proxy, proxy_auth, ssh, insecure, ca, timeout, symlinks, submodules, limits
    "#);
}

#[test]
fn a_mistyped_table() {
    assert_snapshot!(complaint("[target.web-1]\ntype = \"machine\"\n"), @"
    error: unknown key `target` in the file
     --> tidelock.toml:1:2
      |
    1 | [target.web-1]
      |  ^^^^^^ did you mean `targets`?
      |
      = hint: the file takes: include, store, plugins, daemon, http, sources, secrets, targets, grants, limits, accept_new, gate, groups, people
    ");
}

#[test]
fn a_mistyped_key_of_a_grant() {
    assert_snapshot!(complaint("[grants.server]\ntargets = [\"*\"]\npath = [\"/etc/**\"]\n"), @r#"
    error: unknown key `path` in [grants.server]
     --> tidelock.toml:3:1
      |
    3 | path = ["/etc/**"]
      | ^^^^ did you mean `paths`?
      |
      = hint: [grants.server] takes: targets, paths, exec, exec_read, env, special_modes, databases, sql, privileges, links, addresses, routes, rules, sysctls, tables, wireguard, records
    "#);
    assert_snapshot!(complaint("[[grants.server]]\ntargets = [\"*\"]\npath = [\"/etc/**\"]\n"), @r#"
    error: unknown key `path` in [grants.server]
     --> tidelock.toml:3:1
      |
    3 | path = ["/etc/**"]
      | ^^^^ did you mean `paths`?
      |
      = hint: [grants.server] takes: targets, paths, exec, exec_read, env, special_modes, databases, sql, privileges, links, addresses, routes, rules, sysctls, tables, wireguard, records
    "#);
}

#[test]
fn a_type_of_target_that_does_not_exist() {
    assert_snapshot!(complaint("[targets.web-1]\ntype = \"machin\"\n"), @r#"
    error: "machin" is nothing that `targets.web-1.type` can be
     --> tidelock.toml:2:8
      |
    2 | type = "machin"
      |        ^^^^^^^^ did you mean "machine"?
      |
      = hint: `targets.web-1.type` takes: machine, postgres, mysql, sqlite, dns
    "#);
}

#[test]
fn a_missing_key() {
    assert_snapshot!(complaint("[sources.infra]\nbranch = \"main\"\n"), @r#"
    error: [sources.infra] needs `url`
     --> tidelock.toml:1:1
      |
    1 | [sources.infra]
      | ^^^^^^^^^^^^^^^
      |
      = hint: add to [sources.infra]:
              url = "https://git.example.com/infra.git"
    "#);
}

#[test]
fn a_value_of_the_wrong_type() {
    assert_snapshot!(complaint("[grants.server]\ntargets = \"web-*\"\n"), @r#"
    error: `grants.server.targets` should be a list, not string "web-*"
     --> tidelock.toml:2:11
      |
    2 | targets = "web-*"
      |           ^^^^^^^
      |
      = hint: write it as: targets = ["web-*"]
    "#);
    assert_snapshot!(complaint("[targets.web-1]\ntype = \"machine\"\nroot = 7\n"), @"
    error: `targets.web-1.root` should be a string, not integer `7`
     --> tidelock.toml:3:8
      |
    3 | root = 7
      |        ^
    ");
}

#[test]
fn a_value_of_another_type_is_told_in_the_words_of_toml() {
    let target =
        |line: &str| complaint(&format!("[targets.db]\ntype = \"postgres\"\nhost = \"a\"\nuser = \"a\"\n{line}\n"));
    assert_snapshot!(target("tls = \"off\""), @r#"
    error: `targets.db.tls` should be a table, not string "off"
     --> tidelock.toml:5:7
      |
    5 | tls = "off"
      |       ^^^^^
      |
      = hint: write it as: tls = { mode = "verify-full", ca = "ca.pem" }
    "#);
    for (line, words) in [
        ("port = \"5432\"", "should be a whole number up to 65535"),
        ("port = 70000", "should be a whole number up to 65535"),
        ("read = true", "should be a table"),
        ("tls = { mode = \"off\", plain_to_others = \"yes\" }", "should be true or false"),
        ("password = \"hunter2\"", "password = { file = \"password\" }"),
    ] {
        let told = target(line);
        assert!(told.contains(words), "{line}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    for line in ["user = 3", "host = 3", "labels = 3", "drift_every = 3", "password = 3", "zones = \"a\"", "facts = []"]
    {
        let told = complaint(&format!("[targets.db]\ntype = \"postgres\"\n{line}\n"));
        for rust in ["struct", "enum", "Decl", "Given", "Hosts", "u16", "BTreeMap"] {
            assert!(!told.contains(rust), "{line}: {told}");
        }
    }
}

#[test]
fn broken_syntax() {
    assert_snapshot!(complaint("[sources.infra\nurl = \"x\"\n"), @"
    error: unclosed table, expected `]`
     --> tidelock.toml:1:15
      |
    1 | [sources.infra
      |               ^
    ");
    assert_snapshot!(complaint("[store]\nurl = \"sqlite:a\"\nurl = \"sqlite:b\"\n"), @r#"
    error: duplicate key
     --> tidelock.toml:3:1
      |
    3 | url = "sqlite:b"
      | ^^^
      |
      = hint: `url` is there already, at line 2: one of the two goes, or their lists become one
    "#);
}

#[test]
fn what_stands_twice_is_told_where_it_stands_first() {
    let grant = "[grants.server]\ntargets = [\"a\"]\npaths = [\"/etc/*\"]\n";
    let told = complaint(&format!("{grant}\n{grant}"));
    assert!(told.contains("[grants.server] is there already, at line 1: add to its keys"), "{told}");
    assert!(told.contains("write both as [[grants.server]]"), "{told}");
    let told = complaint(&format!("{grant}paths = [\"/srv/*\"]\n"));
    assert!(told.contains("`paths` is there already, at line 3"), "{told}");
}

#[test]
fn a_name_that_addresses_could_not_hold() {
    assert_snapshot!(complaint("[targets.\"web@1\"]\ntype = \"machine\"\n"), @r#"
    error: a name may not hold '@' (in "web@1"); `:`, `@`, `/`, spaces and control characters are not allowed
     --> tidelock.toml:1:10
      |
    1 | [targets."web@1"]
      |          ^^^^^^^
    "#);
}

#[test]
fn hostile_text_does_not_reach_the_terminal() {
    let text = complaint("\"\\u001b[2J\" = 1\n\"\u{202e}x\" = 2\n");
    assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text:?}");
}

#[test]
fn a_secret_that_was_written_into_the_config_is_not_shown() {
    let dns = "[targets.ns]\ntype = \"dns\"\nhost = \"a\"\nzones = [\"a\"]\n";
    let server = "[targets.db]\ntype = \"postgres\"\nhost = \"a\"\nuser = \"a\"\n";
    let source = "[sources.a]\nurl = \"https://a/a\"\n";
    for (before, line, words) in [
        (dns, "key = { name = \"k\", secret = \"hunter2\" }", "`targets.ns.key.secret` says where the value is kept"),
        (dns, "key = \"hunter2\"", "`targets.ns.key` should be a table"),
        (server, "password = \"hunter2\"", "`targets.db.password` says where the value is kept"),
        (server, "password = { plain = \"hunter2\" }", "password = { file = \"password\" }"),
        (server, "password = 4711", "`targets.db.password` says where the value is kept"),
        (server, "read = { user = \"a\", password = \"hunter2\" }", "`targets.db.read.password` says where"),
        (server, "password = hunter2", "tidelock.toml:5"),
        (source, "auth = { password = \"hunter2\" }", "unknown key `password` in [sources.a.auth]"),
        (source, "auth = { tokn_env = \"hunter2\" }", "did you mean `token_env`?"),
        (source, "webhook = \"hunter2\"", "`sources.a.webhook` should be a table"),
        ("[secrets]\n", "a = \"hunter2\"", "`secrets.a` should be a table"),
        ("[secrets.a]\n", "value = \"hunter2\"", "unknown key `value` in [secrets.a]"),
    ] {
        let told = complaint(&format!("{before}{line}\n"));
        assert!(told.contains(words), "{line}: {told}");
        assert!(!told.contains("hunter2") && !told.contains("4711"), "{told}");
        assert!(told.contains(&format!("tidelock.toml:{}", before.lines().count() + 1)), "{told}");
    }
}
