//! Where the config lies, what it includes, and which files are Tidelock's own.

use insta::assert_snapshot;
use tidelock_model::name::Name;

use super::*;

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
fn a_target_that_is_named_and_declared_nowhere_is_shown_in_its_file() {
    let target = "[targets.local]\ntype = \"machine\"\n";
    let allow = |targets: &str| {
        format!(
            "include = [\"more.d/*.toml\"]\n[sources.infra]\nurl = \"x\"\n[[sources.infra.allow]]\ntargets = {targets}\nkinds = []\n"
        )
    };
    let told = |first: &str, more: &str| {
        let dir = written(&[("tidelock.toml", first), ("more.d/a.toml", more)]);
        load(&dir.path().join("tidelock.toml")).map_err(|error| error_text(&error, false))
    };
    // What another file declares is declared, and a pattern may mean nothing.
    assert!(told(&allow("[\"local\", \"web-*\"]"), target).is_ok());
    let error = told(&allow("[\"web-*\", \"lcoal\"]"), target).unwrap_err();
    for says in ["names the target lcoal", "tidelock.toml:5:", "did you mean local?"] {
        assert!(error.contains(says), "{error}");
    }
    for more in ["[grants.server]\ntargets = [\"lcoal\"]\n", "accept_new = [\"lcoal\"]\n"] {
        let error = told("include = [\"more.d/*.toml\"]\n", &format!("{more}{target}")).unwrap_err();
        assert!(error.contains("more.d/a.toml:") && error.contains("did you mean local?"), "{error}");
    }
    let error = told("include = [\"more.d/*.toml\"]\n", "[[grants.server]]\ntargets = [\"web\"]\n").unwrap_err();
    assert!(error.contains("declare it: [targets.web], with a type"), "{error}");
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
fn a_config_in_a_folder_above_is_named_and_not_taken() {
    let dir = written(&[("tidelock.toml", ""), ("repo/sub/x", "")]);
    if Path::new("/etc/tidelock/tidelock.toml").is_file() {
        return;
    }
    let error = find(None, None, &dir.path().join("repo/sub"), false).unwrap_err();
    assert_eq!(error.hints, ["there is one above: --config ../../tidelock.toml"]);
}
