//! Secrets on the real binary: named in Git, written to a machine, and found nowhere else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tidelock_tests::{Site, site};

const FIRST: &str = "correct-horse-7391";
const SECOND: &str = "battery-staple-2846";

/// A site whose stack `web` writes `/srv/app.env` with the secret `app/db`.
fn site(decl: &str) -> Site {
    let site = Site::new();
    configure(&site, decl, "\"app/*\"");
    site.stack("web");
    site.repo().write("web/app.yaml", resource("{ $parts: [\"user=app\\npassword=\", { $secret: app/db }, \"\\n\"] }"));
    site.repo().commit("The application's environment");
    site
}

fn resource(content: &str) -> String {
    format!("kind: server.file\nname: app\nspec:\n  path: /srv/app.env\n  content: {content}\n")
}

fn configure(site: &Site, decl: &str, allowed: &str) {
    let kinds = "kinds = [\"server.*\"]\n";
    let config = site::config("infra").replacen(kinds, &format!("{kinds}secrets = [{allowed}]\n"), 1);
    site.world().write("tidelock.toml", format!("{config}\n{decl}"));
}

/// A value that stands in a file of the operator's.
const FILE: &str = "[secrets.\"app/db\"]\nfile = \"secrets/db\"\n";

#[track_caller]
fn nowhere(site: &Site, text: &str) {
    let found = site.world().holding(text, &["machine", "secrets"]);
    assert!(found.is_empty(), "{text} is in {found:?}");
}

#[test]
fn a_secret_reaches_its_file_and_nothing_else() {
    let site = site(FILE);
    site.world().secret("secrets/db", format!("{FIRST}\n"));
    let plan = site.tidelock(["plan", "--save", "plan.json"]).run().ok();
    let _ = plan.says("made of a secret, and not shown").never_says(FIRST);
    let _ = site.tidelock(["render", "--output", "json"]).run().ok().never_says(FIRST);
    let apply = site.tidelock(["apply", "--yes", "--output", "json"]).env("TIDELOCK_LOG", "trace");
    let _ = apply.run().ok().never_says(FIRST);
    assert_eq!(site.on_machine("srv/app.env").unwrap(), format!("user=app\npassword={FIRST}\n"));
    let mode = fs::metadata(site.machine("srv/app.env")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "whoever wrote no mode gave it to nobody");
    site.converged();

    // Another value is a change of its own cause, and nothing of the old one is kept.
    site.world().secret("secrets/db", format!("{SECOND}\n"));
    let plan = site.tidelock(["plan"]).run().ok();
    let _ = plan.says("a secret changed").never_says(FIRST).never_says(SECOND);
    let _ = site.apply().never_says(FIRST).never_says(SECOND);
    assert_eq!(site.on_machine("srv/app.env").unwrap(), format!("user=app\npassword={SECOND}\n"));
    let _ = site.tidelock(["undo", "app", "--yes"]).run().exit(64).says("withheld");
    for command in [&["history"][..], &["events", "--output", "json"], &["status"], &["blame", "app"]] {
        let _ = site.tidelock(command).run().ok().never_says(FIRST).never_says(SECOND);
    }

    // Drift is healed, and what somebody wrote there by hand is not shown either.
    site.world().write("machine/srv/app.env", "password=by-hand-5512\n");
    let _ = site.tidelock(["plan"]).run().ok().says("drift").never_says("by-hand-5512");
    let _ = site.apply().never_says("by-hand-5512");
    assert_eq!(site.on_machine("srv/app.env").unwrap(), format!("user=app\npassword={SECOND}\n"));

    // It leaves Git for a plain text: the diff would show the old lines.
    site.repo().write("web/app.yaml", resource("\"user=app\\n\"")).commit("No password any more");
    let _ = site.tidelock(["plan"]).run().ok().never_says(SECOND);
    let _ = site.apply().never_says(SECOND);
    assert_eq!(site.on_machine("srv/app.env").unwrap(), "user=app\n");
    for value in [FIRST, SECOND, "by-hand-5512"] {
        nowhere(&site, value);
    }
}

#[test]
fn values_come_from_the_environment_and_from_commands_too() {
    let site = site("[secrets.\"app/db\"]\nenv = \"APP_DB\"\n");
    let missing = site.tidelock(["plan"]).run().exit(1);
    let _ = missing.says("web/app.yaml:5").says("secret app/db").says("APP_DB is not set");
    site.tidelock(["apply", "--yes"]).env("APP_DB", FIRST).run().ok();
    assert!(site.on_machine("srv/app.env").unwrap().contains(FIRST));

    configure(&site, &format!("[secrets.\"app/db\"]\ncommand = [\"/bin/echo\", \"{SECOND}\"]\n"), "\"app/*\"");
    site.apply();
    assert!(site.on_machine("srv/app.env").unwrap().contains(&format!("password={SECOND}\n")));
    configure(&site, "[secrets.\"app/db\"]\ncommand = [\"/bin/cat\", \"/no/such/file\"]\n", "\"app/*\"");
    let _ = site.tidelock(["plan"]).run().exit(1).says("/bin/cat ended with exit status: 1").says("/no/such/file");
}

#[test]
fn a_stack_has_the_secrets_that_the_operator_allows_and_no_others() {
    let site = site(FILE);
    site.world().secret("secrets/db", FIRST);
    configure(&site, FILE, "\"other/*\"");
    let denied = site.tidelock(["plan"]).run().exit(1);
    let _ = denied.says("the secret app/db is not allowed").says("secrets = [\"app/db\"]").says("web/app.yaml:5");

    configure(&site, "", "\"app/*\"");
    let _ =
        site.tidelock(["plan"]).run().exit(1).says("says nothing of the secret app/db").says("[secrets.\"app/db\"]");
    configure(&site, FILE, "\"app/*\"");
    for (content, words) in [
        ("{ $secret: \"a b\" }", "cannot be the name of a secret"),
        ("{ $secret: app/db, x: 1 }", "has no other keys"),
        ("{ $parts: [3] }", "a content is"),
    ] {
        site.repo().write("web/app.yaml", resource(content)).commit("Wrong");
        let _ = site.tidelock(["plan"]).run().exit(1).says(words).says("web/app.yaml:5");
    }
    let elsewhere = resource("x").replace("  content", "  mode: { $secret: app/db }\n  content");
    site.repo().write("web/app.yaml", elsewhere).commit("A secret mode");
    let _ = site.tidelock(["plan"]).run().exit(1).says("may only stand in a field that takes secrets");
    assert_eq!(site.on_machine("srv/app.env"), None);
}

#[test]
fn secrets_files_are_tidelocks_own_and_closed_to_others() {
    let site = site("[secrets.\"app/db\"]\nfile = \"machine/srv/value\"\n");
    site.world().write("machine/srv/value", FIRST);
    let open = site.tidelock(["plan"]).run().exit(1);
    let _ = open.says("open to others").says("chmod 600");
    site.world().secret("machine/srv/value", FIRST);
    site.repo().write("web/thief.yaml", "kind: server.file\nname: thief\nspec: { path: /srv/value, content: mine }\n");
    site.repo().commit("A thief");
    let _ = site.tidelock(["apply", "--yes"]).run().says("Tidelock's own files");
    assert_eq!(site.on_machine("srv/value").as_deref(), Some(FIRST));
}

#[test]
fn a_plan_of_a_pull_request_reads_no_secret() {
    let site = site("");
    let marker = site.world().path("was-asked");
    site.world().write("ask.sh", format!("#!/bin/sh\ntouch {}\necho {FIRST}\n", marker.display()));
    let script = site.world().path("ask.sh").display().to_string();
    let decl = format!("[secrets.\"app/db\"]\ncommand = [\"/bin/sh\", {script:?}]\n");
    configure(&site, &decl, "\"app/*\"");
    site.repo().git(["checkout", "-q", "-b", "pull"]);
    site.repo().write(
        "web/leak.yaml",
        "kind: server.file\nname: leak\nspec: { path: /srv/leak, content: { $secret: app/db } }\n",
    );
    site.repo().commit("A leak");
    let plan = site.tidelock(["plan", "--rev", "pull", "--base", "main"]).run().ok();
    let _ = plan.says("server.file/leak").never_says(FIRST);
    assert!(!marker.exists(), "the secret was asked for");
    site.repo().git(["checkout", "-q", "main"]);
    site.apply();
    assert!(marker.exists(), "the test would not notice");
}

#[test]
fn a_plan_of_a_pull_request_takes_no_secret_for_a_change() {
    let site = site(FILE);
    site.world().secret("secrets/db", FIRST);
    site.apply();
    let app = |more: &str, content: &str| {
        format!("kind: server.file\nname: app\nspec:\n  path: /srv/app.env\n{more}  content: {content}\n")
    };
    let same = "{ $parts: [\"user=app\\npassword=\", { $secret: app/db }, \"\\n\"] }";
    let pulled = |branch: &str, file: &str, text: &str| {
        site.repo().git(["checkout", "-q", "-b", branch, "main"]);
        site.repo().write(file, text).commit(branch);
        let plan = site.tidelock(["plan", "--rev", branch, "--base", "main", "--full"]).run().ok();
        site.repo().git(["checkout", "-q", "main"]);
        plan.never_says(FIRST)
    };
    let beside = pulled("beside", "web/b.yaml", "kind: server.file\nname: b\nspec: { path: /srv/b, content: b }\n");
    let _ = beside.says("server.file/b").never_says("server.file/app").never_says("left out here");
    let mode = pulled("mode", "web/app.yaml", &app("  mode: \"0640\"\n", same));
    let _ = mode.says("0640").never_says("content:");
    let other = pulled("other", "web/app.yaml", &app("", "{ $parts: [\"key=\", { $secret: app/db }] }"));
    let _ = other.says("server.file/app").says("content");
}

#[test]
fn a_file_that_age_encrypted_stands_in_git_beside_the_stack() {
    let key = age::x25519::Identity::generate();
    let site = site("");
    configure(&site, "[sources.infra.decrypt]\nage = \"secrets/age.key\"\n", "\"/web/*\"");
    let text = age::secrecy::ExposeSecret::expose_secret(&key.to_string()).to_owned();
    site.world().secret("secrets/age.key", format!("{text}\n"));
    let encrypt =
        |value: &str, to: &age::x25519::Identity| age::encrypt_and_armor(&to.to_public(), value.as_bytes()).unwrap();
    site.repo().write("web/db.age", encrypt(FIRST, &key)).write("web/app.yaml", resource("{ $secret: ./db.age }"));
    site.repo().commit("An encrypted password");
    site.apply();
    assert_eq!(site.on_machine("srv/app.env").as_deref(), Some(FIRST));
    site.converged();
    // Encrypted anew, it is other bytes and the same value.
    site.repo().write("web/db.age", encrypt(FIRST, &key)).commit("Encrypted anew");
    site.converged();
    site.repo().write("web/db.age", encrypt(SECOND, &key)).commit("Another password");
    site.apply();
    assert_eq!(site.on_machine("srv/app.env").as_deref(), Some(SECOND), "rotation is one commit");
    nowhere(&site, FIRST);
    nowhere(&site, SECOND);

    site.repo().write("web/db.age", encrypt(FIRST, &age::x25519::Identity::generate())).commit("For somebody else");
    let _ = site.tidelock(["plan"]).run().exit(1).says("not encrypted to any of the keys").says("web/app.yaml");
    site.repo().write("web/app.yaml", resource("{ $secret: ../other/db.age }")).commit("Of another stack");
    let _ = site.tidelock(["plan"]).run().exit(1).says("/other/db.age is not allowed");
}

#[test]
fn a_ciphertext_that_was_copied_elsewhere_is_opened_by_nobody() {
    let site = site("");
    let keys = "[[sources.infra.decrypt]]\nage = \"secrets/prod.key\"\npaths = [\"/prod/**\"]\n\
                [[sources.infra.decrypt]]\nage = \"secrets/dev.key\"\npaths = [\"/web/**\"]\n";
    configure(&site, keys, "\"/**\"");
    let [prod, dev] = ["prod", "dev"].map(|name| {
        let key = age::x25519::Identity::generate();
        let text = age::secrecy::ExposeSecret::expose_secret(&key.to_string()).to_owned();
        site.world().secret(&format!("secrets/{name}.key"), format!("{text}\n"));
        key
    });
    let encrypt = |value: &str, to: &age::x25519::Identity| age::encrypt(&to.to_public(), value.as_bytes()).unwrap();
    let of_prod = encrypt(FIRST, &prod);
    site.repo().write("prod/db.age", &of_prod).write("web/db.age", encrypt(SECOND, &dev));
    site.repo().write("web/app.yaml", resource("{ $secret: ./db.age }")).commit("Each with its own");
    site.apply();
    assert_eq!(site.on_machine("srv/app.env").as_deref(), Some(SECOND));
    // Somebody who may write to the folder of the one alone.
    site.repo().write("web/db.age", &of_prod).commit("What is not mine");
    let ran = site.tidelock(["apply", "--yes"]).run().exit(1);
    let _ = ran.says("not encrypted to any of the keys").says("dev.key").never_says("prod.key").never_says(FIRST);
    assert_eq!(site.on_machine("srv/app.env").as_deref(), Some(SECOND));
    site.repo().write("elsewhere.age", &of_prod).write("web/app.yaml", resource("{ $secret: /elsewhere.age }"));
    site.repo().commit("Where no key is for");
    let ran = site.tidelock(["plan"]).run().exit(1).says("names no key for it");
    let _ = ran.says("[[sources.infra.decrypt]]").never_says(FIRST);
}

#[test]
fn a_file_that_sops_encrypted_stands_in_git_beside_the_stack() {
    let made = |file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/secret/testdata/sops").join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let site = site("");
    configure(&site, "[sources.infra.decrypt]\nage = \"secrets/age.key\"\n", "\"/web/*\", \"/web/*#/db/*\"");
    site.world().secret("secrets/age.key", made("first.key"));
    // Beside the resources, and none itself.
    site.repo().write("web/secrets.yaml", made("all.yaml"));
    site.repo()
        .write("web/app.yaml", resource("{ $parts: [\"password=\", { $secret: \"./secrets.yaml#/db/password\" }] }"));
    site.repo().commit("Passwords by SOPS");
    let _ = site.apply().never_says("hünter2");
    assert_eq!(site.on_machine("srv/app.env").unwrap(), "password=hünter2 and \"more\"");
    site.converged();
    site.repo().write("web/secrets.yaml", made("edited.yaml")).commit("Another password");
    let _ = site.tidelock(["plan"]).run().ok().says("a secret changed");
    site.apply();
    assert_eq!(site.on_machine("srv/app.env").unwrap(), "password=another", "rotation is one commit");
    nowhere(&site, "hünter2");

    // Formats besides, and a whole file.
    for (file, name, wanted) in [
        ("all.json", "./all.json#/db/password", "hunter2"),
        ("all.env", "./all.env#/DB_PASSWORD", "hunter2"),
        ("whole.bin", "./whole.bin", "the whole\nfile"),
    ] {
        let allowed = "\"/web/*\", \"/web/*#/**\"";
        configure(&site, "[sources.infra.decrypt]\nage = \"secrets/age.key\"\n", allowed);
        site.repo().write(&format!("web/{file}"), made(file));
        site.repo().write("web/app.yaml", resource(&format!("{{ $secret: {name:?} }}"))).commit(name);
        site.apply();
        assert_eq!(site.on_machine("srv/app.env").as_deref(), Some(wanted), "{name}");
    }

    // What was moved, or is for others, is refused, and said where.
    let plan = |secrets: &str, pointer: &str| {
        site.repo().write("web/secrets.yaml", secrets);
        site.repo().write("web/app.yaml", resource(&format!("{{ $secret: \"./secrets.yaml#{pointer}\" }}")));
        site.repo().commit("Something else");
        site.tidelock(["plan"]).run().exit(1).says("web/app.yaml:5").never_says("hünter2")
    };
    let moved = made("all.yaml").replace("    password:", "    admin:");
    let _ = plan(&moved, "/db/admin").says("changed by something else than SOPS: what stands at db/admin");
    let _ = plan(&made("second.yaml"), "/data/password").says("encrypted to none of our keys").says("sops rotate");
    let _ = plan(&made("all.yaml"), "/db/pasword").says("nothing at /db/pasword: there is password, port");
}
