use insta::assert_snapshot;
use tidelock_model::name::Name;

use super::*;
use crate::output::note::error_text;

/// The whole message that a person sees for a config with this text.
fn complaint(text: &str) -> String {
    let error = parse(Path::new("tidelock.toml"), text).expect_err("the config is wrong");
    assert_eq!(error.exit().code(), 1);
    error_text(&error, false)
}

fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

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
fn a_network_is_kept_by_the_system_that_it_is_of() {
    for (text, words) in [
        ("[targets.r]\ntype = \"machine\"\npersist = \"netplan\"\n", "takes: networkd, ifupdown"),
        (
            "[targets.r]\ntype = \"sqlite\"\nfile = \"/a.db\"\npersist = \"networkd\"\n",
            "is no machine, and keeps a network",
        ),
        (
            "[targets.r]\ntype = \"machine\"\nnetns = \"a\"\npersist = \"networkd\"\n",
            "keeps the network of a namespace in this system's own files",
        ),
    ] {
        let said = complaint(text);
        assert!(said.contains(words), "{said}");
    }
    let kept = "[targets.r]\ntype = \"machine\"\nnetns = \"a\"\nroot = \"/srv/a\"\npersist = \"ifupdown\"\n";
    parse(Path::new("tidelock.toml"), kept).unwrap();
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
fn values_that_make_no_sense() {
    assert_snapshot!(complaint("[store]\nurl = \"postgres://db\"\n"), @r#"
    error: "postgres://db" is not a store; a store is `sqlite:` and a file
     --> tidelock.toml:2:7
      |
    2 | url = "postgres://db"
      |       ^^^^^^^^^^^^^^^
      |
      = hint: write it as: url = "sqlite:tidelock.db"
    "#);
    assert_snapshot!(complaint("[sources.infra]\nurl = \"x\"\npoll = \"often\"\n"), @r#"
    error: "often" is not a length of time
     --> tidelock.toml:3:8
      |
    3 | poll = "often"
      |        ^^^^^^^
      |
      = hint: write it as: poll = "60s"
    "#);
    assert_snapshot!(complaint("[sources.infra]\nurl = \"x\"\nbranch = \"a\"\ntag = \"b\"\n"), @r#"
    error: [sources.infra] names a branch and a tag; a source follows one of them
     --> tidelock.toml:4:7
      |
    4 | tag = "b"
      |       ^^^
      |
      = hint: take `branch` or `tag` out
    "#);
    assert_snapshot!(complaint("[sources.infra]\nurl = \"ssh://git@host/infra\"\n"), @r#"
    error: [sources.infra]: a source over SSH needs a key, and the host keys of its server
     --> tidelock.toml:2:7
      |
    2 | url = "ssh://git@host/infra"
      |       ^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: add to the source: ssh = { key = "deploy_key", known_hosts = "known_hosts" }
    "#);
    assert_snapshot!(complaint("[grants.server]\ntargets = [\"*\"]\npaths = [\"etc/**\"]\n"), @r#"
    error: grants.server.paths: "etc/**" is not absolute
     --> tidelock.toml:3:1
      |
    3 | paths = ["etc/**"]
      | ^^^^^
      |
      = hint: write it as: paths = ["/etc/**"]
    "#);
    assert_snapshot!(complaint("[[sources.infra.allow]]\ntargets = [\"web-[\"]\nkinds = []\n[sources.infra]\nurl = \"x\"\n"), @r#"
    error: pattern "web-[": unclosed character class; missing ']'
     --> tidelock.toml:2:1
      |
    2 | targets = ["web-["]
      | ^^^^^^^
    "#);
}

#[test]
fn words_of_a_database_that_would_count_for_nothing() {
    let server = |kind: &str, more: &str| {
        complaint(&format!("[targets.db]\ntype = \"{kind}\"\nhost = \"a\"\nuser = \"a\"\n{more}\n"))
    };
    assert_snapshot!(server("mysql", "database = \"shop\""), @r#"
    error: [targets.db] is a MariaDB or MySQL server, and names a database; none is opened there
     --> tidelock.toml:5:12
      |
    5 | database = "shop"
      |            ^^^^^^
      |
      = hint: write it as: databases = ["shop"], in [grants.mysql], and take `database` out
    "#);
    assert_snapshot!(server("postgres", "tls = { mode = \"require\", ca = \"ca.pem\" }"), @r#"
    error: [targets.db] has authorities that nobody is checked by: only `verify-full` does
     --> tidelock.toml:5:32
      |
    5 | tls = { mode = "require", ca = "ca.pem" }
      |                                ^^^^^^^^
      |
      = hint: write it as: tls = { mode = "verify-full", ca = "ca.pem" }
    "#);
    for (kind, more, place, says) in [
        ("mysql", "tls = { mode = \"off\", ca = \"ca.pem\" }", "5:28", "authorities that nobody is checked by"),
        ("postgres", "tls = { plain_to_others = true }", "5:27", "counts with `off` alone"),
        ("mysql", "tls = { mode = \"require\", plain_to_others = true }", "5:45", "counts with `off` alone"),
        ("postgres", "tls = { mode = \"off\", cert = \"c\", key = \"k\" }", "5:30", "shown to nobody"),
        ("postgres", "netns = \"blue\"", "5:9", "is a database server, and has a netns"),
        ("postgres", "timeouts = { write = \"soon\" }", "5:22", "\"soon\" is not a length of time"),
        ("postgres", "timeouts = { write = \"200h\" }", "5:22", "more than a day"),
    ] {
        let said = server(kind, more);
        assert!(said.contains(says) && said.contains(&format!("tidelock.toml:{place}")), "{more}: {said}");
    }
}

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

#[test]
fn hostile_text_does_not_reach_the_terminal() {
    let text = complaint("\"\\u001b[2J\" = 1\n\"\u{202e}x\" = 2\n");
    assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text:?}");
}

#[test]
fn paths_start_at_the_file() {
    let dir = written(&[(
        "conf/tidelock.toml",
        "[store]\nurl = \"sqlite:lib/tidelock.db\"\n[plugins]\ndir = \"plugins\"\n[sources.a]\nurl = \"../repo\"\n\
         [sources.b]\nurl = \"https://git.example.com/b.git\"\n[targets.local]\ntype = \"machine\"\nroot = \"machine\"\n",
    )]);
    let conf = dir.path().join("conf");
    let loaded = load(&conf.join("tidelock.toml")).unwrap();
    assert_eq!(loaded.store(), conf.join("lib/tidelock.db"));
    assert_eq!(loaded.cache(), conf.join("lib/cache"));
    assert_eq!(loaded.lock(), conf.join("tidelock.lock"));
    assert_eq!(loaded.plugins_dir().unwrap(), conf.join("plugins"));
    let urls: Vec<&str> = loaded.config.sources.values().map(|source| source.url.as_str()).collect();
    assert_eq!(urls, [conf.join("../repo").to_str().unwrap(), "https://git.example.com/b.git"]);
    assert_eq!(loaded.config.targets.values().next().unwrap().root.as_deref(), conf.join("machine").to_str());
}

#[test]
fn includes_add_up() {
    let dir = written(&[
        ("tidelock.toml", "include = [\"targets.d/*.toml\"]\n[grants.server]\ntargets = [\"a\"]\n"),
        ("targets.d/b.toml", "[targets.b]\ntype = \"machine\"\n[grants.server]\ntargets = [\"b\"]\n"),
        ("targets.d/a.toml", "[targets.a]\ntype = \"machine\"\nroot = \"here\"\n"),
        ("targets.d/deeper/c.toml", "[targets.c]\ntype = \"machine\"\n"),
        ("targets.d/notes.txt", "not config"),
    ]);
    let loaded = load(&dir.path().join("tidelock.toml")).unwrap();
    let names: Vec<&str> = loaded.config.targets.keys().map(Name::as_str).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(loaded.config.grants["server"].iter().count(), 2);
    assert_eq!(loaded.include_dirs, [dir.path().join("targets.d")]);
    assert_eq!(
        loaded.config.targets.values().next().unwrap().root.as_deref(),
        dir.path().join("targets.d/here").to_str()
    );
    let own = OwnPaths::collect(&loaded).seen_from(dir.path());
    for path in [
        "/tidelock.toml",
        "/tidelock.lock",
        "/tidelock.lock.new",
        "/targets.d",
        "/tidelock.db",
        "/tidelock.db-wal",
        "/cache",
        "/STOP",
    ] {
        assert!(own.iter().any(|own| own == path), "{path} is missing in {own:?}");
    }
}

#[test]
fn a_pattern_needs_a_directory_of_its_own() {
    assert_snapshot!(complaint("include = [\"more.toml\", \"*.toml\"]\n"), @r#"
    error: include "*.toml" does not lie in a directory of its own below this file's: whatever is written beside this file could become config
     --> tidelock.toml:1:25
      |
    1 | include = ["more.toml", "*.toml"]
      |                         ^^^^^^^^
      |
      = hint: write it as: include = ["targets.d/*.toml"]
    "#);
    for wrong in ["./*.toml", "**/*.toml", "targets.d/../*.toml", "../*.toml", "/etc/tidelock/*.toml", "{a,b}/x.toml"] {
        assert!(complaint(&format!("include = [{wrong:?}]")).contains("a directory of its own"), "{wrong}");
    }
}

#[test]
fn a_directory_that_an_include_names_is_ours_before_it_is_there() {
    let dir = written(&[("tidelock.toml", "include = [\"targets.d/*.toml\", \"more.d/*/*.toml\"]")]);
    let loaded = load(&dir.path().join("tidelock.toml")).unwrap();
    let own = OwnPaths::collect(&loaded).seen_from(dir.path());
    for path in ["/targets.d", "/more.d"] {
        assert!(own.iter().any(|own| own == path), "{path} is missing in {own:?}");
    }
}

#[test]
fn the_same_name_in_two_files_is_an_error() {
    let dir = written(&[
        ("tidelock.toml", "include = [\"more.toml\"]\n[targets.a]\ntype = \"machine\"\n"),
        ("more.toml", "[targets.a]\ntype = \"machine\"\n"),
    ]);
    let error = load(&dir.path().join("tidelock.toml")).unwrap_err();
    assert!(error.message.starts_with("[targets.a] is in "), "{error}");
}

#[test]
fn an_included_file_cannot_move_the_store() {
    let dir =
        written(&[("tidelock.toml", "include = [\"more.toml\"]"), ("more.toml", "[store]\nurl = \"sqlite:x\"\n")]);
    let error = load(&dir.path().join("tidelock.toml")).unwrap_err();
    assert!(error.message.contains("`store` belongs in the first file"), "{error}");
    let dir = written(&[("tidelock.toml", "include = [\"gone.toml\"]")]);
    assert!(load(&dir.path().join("tidelock.toml")).unwrap_err().message.contains("is not a file"));
}

#[test]
fn a_config_that_was_named_is_the_one() {
    let dir = written(&[("tidelock.toml", ""), ("other.toml", "")]);
    let here = dir.path();
    assert_eq!(find(None, None, here, false).unwrap(), here.join("tidelock.toml"));
    assert_eq!(
        find(Some(Path::new("other.toml")), Some("nowhere".into()), here, false).unwrap(),
        here.join("other.toml")
    );
    assert_eq!(find(None, Some("other.toml".into()), here, false).unwrap(), here.join("other.toml"));
    assert!(find(Some(Path::new("gone.toml")), None, here, false).is_err());
    assert!(find(None, Some("gone.toml".into()), here, false).unwrap_err().message.contains("$TIDELOCK_CONFIG"));
}

#[test]
fn in_ci_a_work_tree_does_not_bring_its_own_config() {
    let dir = written(&[("repo/tidelock.toml", ""), ("repo/sub/tidelock.toml", ""), ("tidelock.toml", "")]);
    std::fs::write(dir.path().join("repo/.git"), "gitdir: elsewhere").unwrap();
    for here in ["repo", "repo/sub"].map(|here| dir.path().join(here)) {
        let error = find(None, None, &here, true).unwrap_err();
        assert!(error.message.contains("a pull request could bring its own config"), "{error}");
        assert_eq!(error.hints, ["name it with --config or $TIDELOCK_CONFIG"]);
        assert!(find(None, None, &here, false).is_ok());
        assert!(find(Some(Path::new("tidelock.toml")), None, &here, true).is_ok());
        assert!(find(None, Some("tidelock.toml".into()), &here, true).is_ok());
    }
    assert!(find(None, None, dir.path(), true).is_ok());
}

#[test]
fn a_dns_server_says_where_it_is_what_it_may_touch_and_who_it_is() {
    let whole = "[targets.ns]\ntype = \"dns\"\nhost = \"192.0.2.53\"\nzones = [\"example.com\"]\n\
                 key = { name = \"tidelock\", secret = { file = \"tsig.secret\" } }\n";
    let dir = written(&[("tidelock.toml", whole)]);
    let loaded = load(&dir.path().join("tidelock.toml")).unwrap();
    let own = OwnPaths::collect(&loaded).seen_from(dir.path());
    assert!(own.iter().any(|own| own == "/tsig.secret"), "{own:?}");
    for (line, instead, words) in [
        ("host = \"192.0.2.53\"", "", "needs one host"),
        ("host = \"192.0.2.53\"", "host = [\"a\", \"b\"]", "needs one host"),
        ("zones = [\"example.com\"]", "", "without zones"),
        ("zones = [\"example.com\"]", "zones = [\"exam ple\"]", "is no name"),
        ("key = { name = \"tidelock\", secret = { file = \"tsig.secret\" } }", "", "without a key"),
        ("name = \"tidelock\"", "name = \"\"", "is no name"),
        ("name = \"tidelock\"", "name = \"tidelock\", algorithm = \"hmac-md5\"", "hmac-sha256"),
        ("host = \"192.0.2.53\"", "host = \"192.0.2.53\"\nuser = \"x\"", "has more than a host"),
        ("type = \"dns\"", "type = \"machine\"", "is no DNS server"),
    ] {
        let told = complaint(&whole.replace(line, instead));
        assert!(told.contains(words), "{instead}: {told}");
    }
}

#[test]
fn a_mistake_in_a_grant_is_shown_at_its_key_with_how_that_is_written() {
    for (key, value) in [
        ("paths", r#"["/etc/["]"#),
        ("exec", r#"[["nginx"]]"#),
        ("exec_read", r#"[["nginx"]]"#),
        ("env", r#"["["]"#),
        ("databases", r#"["["]"#),
        ("sql", r#"["["]"#),
        ("privileges", r#"["root"]"#),
        ("links", r#"["["]"#),
        ("addresses", r#"["10.0.0.1/8"]"#),
        ("routes", r#"["here"]"#),
        ("rules", r#"["low"]"#),
        ("sysctls", r#"["["]"#),
        ("tables", r#"["inet"]"#),
        ("wireguard", r#"["["]"#),
        ("records", r#"["www"]"#),
    ] {
        let told = complaint(&format!("[grants.a]\ntargets = [\"*\"]\n{key} = {value}\n"));
        assert!(told.contains(&format!("3 | {key} = ")), "{told}");
        assert!(told.contains(&format!("write it as: {key} = [")), "{told}");
    }
}

#[test]
fn the_folder_of_a_servers_socket_is_not_ours() {
    let text = "[targets.db]\ntype = \"postgres\"\nhost = \"run/pg\"\nuser = \"tidelock\"\npassword = { file = \"db.password\" }\n";
    let dir = written(&[("tidelock.toml", text)]);
    let loaded = load(&dir.path().join("tidelock.toml")).unwrap();
    let own = OwnPaths::collect(&loaded).seen_from(dir.path());
    assert!(own.iter().any(|own| own == "/db.password"), "{own:?}");
    assert!(!own.iter().any(|own| own.starts_with("/run")), "{own:?}");
    let told = complaint(&text.replace("host", "netns = \"east\"\nhost"));
    assert!(told.contains("is a database server, and has a netns"), "{told}");
}

#[test]
fn a_key_of_encrypted_files_is_for_paths_from_the_root() {
    let whole = "[sources.a]\nurl = \"a\"\n[[sources.a.decrypt]]\nage = \"prod.key\"\npaths = [\"/prod/**\"]\n\
                 [[sources.a.decrypt]]\nage = \"dev.key\"\n";
    let dir = written(&[("tidelock.toml", whole)]);
    let own = OwnPaths::collect(&load(&dir.path().join("tidelock.toml")).unwrap()).seen_from(dir.path());
    assert!(["/prod.key", "/dev.key"].iter().all(|key| own.iter().any(|own| own == key)), "{own:?}");
    let told = complaint(&whole.replace("/prod/**", "prod/**"));
    assert!(told.contains("does not begin at the source's root") && told.contains("paths = [\"/prod/**\"]"), "{told}");
    let told =
        complaint(&whole.replace("[[", "[").replace("]]", "]").replacen("[sources.a.decrypt]", "[sources.a.x]", 1));
    assert!(told.contains("unknown key"), "{told}");
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
fn what_stands_twice_is_told_where_it_stands_first() {
    let grant = "[grants.server]\ntargets = [\"a\"]\npaths = [\"/etc/*\"]\n";
    let told = complaint(&format!("{grant}\n{grant}"));
    assert!(told.contains("[grants.server] is there already, at line 1: add to its keys"), "{told}");
    assert!(told.contains("write both as [[grants.server]]"), "{told}");
    let told = complaint(&format!("{grant}paths = [\"/srv/*\"]\n"));
    assert!(told.contains("`paths` is there already, at line 3"), "{told}");
}

#[test]
fn a_class_of_sql_that_does_not_exist_is_refused_with_the_list() {
    let told = complaint("[grants.postgres]\ntargets = [\"db\"]\nsql = [\"rolle:shop*\"]\n");
    assert!(told.contains("\"rolle\" in \"rolle:shop*\" is no class") && told.contains("default-privileges"), "{told}");
    assert!(told.contains("3 | sql = "), "{told}");
}

#[test]
fn a_config_in_a_folder_above_is_named_and_not_taken() {
    let dir = written(&[("tidelock.toml", ""), ("repo/sub/x", "")]);
    if Path::new("/etc/tidelock/tidelock.toml").is_file() {
        return;
    }
    let error = find(None, None, &dir.path().join("repo/sub"), false).unwrap_err();
    assert_eq!(error.hints, ["there is one above: --config ../../tidelock.toml"]);
}
