//! Values that cannot be meant.

use insta::assert_snapshot;

use super::*;

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
