//! Passwords of PostgreSQL's roles: named in Git, made into verifiers when they are set,
//! compared without anybody seeing them, and found nowhere else.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidelock_tests::{Databases, postgres};

const FIRST: &str = "correct-horse-7391";
const SECOND: &str = "battery-staple-2846";
const ROLE: &str =
    "kind: postgres.role\nname: web\nspec: { name: web, login: true, password: { $secret: ./web.age } }\n";

/// A site that signs in over TLS, with an age key and the role `web`, whose password is FIRST.
fn site() -> (Databases, age::x25519::Identity) {
    let key = age::x25519::Identity::generate();
    let site = Databases::with_files([]);
    over_tls(&site, "postgres", "secrets/admin.password", "");
    site.world().secret("secrets/admin.password", postgres::PASSWORD);
    let text = age::secrecy::ExposeSecret::expose_secret(&key.to_string()).to_owned();
    site.world().secret("secrets/age.key", format!("{text}\n"));
    let config = site.world().read("tidelock.toml").replace("secrets = [\"*\"]", "secrets = [\"/db/*\", \"*\"]");
    site.world().write("tidelock.toml", format!("{config}\n[sources.infra.decrypt]\nage = \"secrets/age.key\"\n"));
    site.write("web.yaml", ROLE);
    site.write("web.age", &encrypt(FIRST, &key));
    site.commit("A role with a password");
    (site, key)
}

/// Signs in as a user with the password of a file; `more` is said of the target too.
fn over_tls(site: &Databases, user: &str, file: &str, more: &str) {
    let before = site.world().read("tidelock.toml");
    let config: String = before
        .lines()
        .filter(|line| !["user =", "password =", "next_password =", "tls ="].iter().any(|key| line.starts_with(key)))
        .map(|line| match line.starts_with("host =") {
            true => format!(
                "host = \"localhost\"\nuser = \"{user}\"\npassword = {{ file = \"{file}\" }}\n\
                 tls = {{ ca = \"server/ca.pem\" }}\n{more}"
            ),
            false => format!("{line}\n"),
        })
        .collect();
    site.world().write("tidelock.toml", config);
}

fn encrypt(value: &str, to: &age::x25519::Identity) -> String {
    age::encrypt_and_armor(&to.to_public(), value.as_bytes()).expect("an age file")
}

/// Whether a role can sign in over TLS with a password.
fn signs_in(site: &Databases, user: &str, password: &str) -> bool {
    let server = site.server();
    let words = format!(
        "host=localhost hostaddr=127.0.0.1 port={} user={user} dbname=postgres sslmode=verify-full sslrootcert={}",
        server.port(),
        server.authority().display()
    );
    let mut psql = Command::new("psql");
    psql.env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("PGPASSWORD", password)
        .args(["-X", "-w", "-c", "SELECT 1", "-d"]);
    psql.arg(words).output().expect("psql").status.success()
}

/// What the server keeps of the password of `web`.
fn verifier(site: &Databases) -> String {
    let kept = site.by_hand("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'web'");
    assert!(kept.starts_with("SCRAM-SHA-256$4096:"), "{kept}");
    kept
}

/// Somebody who has changed the role and not yet said that it counts.
fn holder(site: &Databases) -> Child {
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-U", "postgres", "-d", "postgres", "-p"]).arg(site.server().port().to_string());
    psql.arg("-h").arg(site.server().socket()).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = psql.spawn().expect("psql");
    let input = child.stdin.as_mut().expect("a standard input");
    input.write_all(b"BEGIN; ALTER ROLE web CONNECTION LIMIT 7;\n").expect("psql reads");
    let ask = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE 'ALTER ROLE%'";
    eventually("somebody holds the role", || site.by_hand("postgres", ask) == "1");
    child
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "it never came about that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_password_is_set_kept_healed_and_rotated_and_nobody_sees_it() {
    let (site, key) = site();
    let plan = site.tidelock(["plan", "--full", "--save", "saved.json"]).run().ok();
    let _ = plan.says("PASSWORD <secret /db/web.age>").never_says(FIRST);
    let json = site.tidelock(["plan", "--output", "json"]).run().ok().never_says(FIRST);
    assert_eq!(json.json()["changes"][0]["action"], "create");
    let apply = site.tidelock(["apply", "--yes", "--output", "json"]).env("TIDELOCK_LOG", "trace").run().ok();
    let _ = apply.never_says(FIRST).never_says("SCRAM-SHA-256$");
    assert!(signs_in(&site, "web", FIRST) && !signs_in(&site, "web", SECOND));
    // The host compares, so that what is the same is not written again.
    let first = verifier(&site);
    site.converged();
    site.tidelock(["apply", "--yes"]).run().ok();
    assert_eq!(verifier(&site), first);

    // Changed by hand, it is found though nobody can read it.
    site.by_hand("postgres", "ALTER ROLE web PASSWORD 'by-hand-5512'");
    let plan = site.tidelock(["plan", "--detailed-exitcode", "--output", "json"]).run().exit(2);
    assert_eq!(plan.json()["changes"][0]["cause"], "drift", "{}", plan.story());
    let _ = site.apply().never_says(FIRST).never_says("SCRAM-SHA-256$");
    let healed = verifier(&site);
    assert!(signs_in(&site, "web", FIRST) && !signs_in(&site, "web", "by-hand-5512"));

    // A verifier of another sort is one that we did not make, even of the same password.
    site.by_hand("postgres", "ALTER ROLE web PASSWORD 'md576024e46e953e13aaf4c88ccc7acffb3'");
    let plan = site.tidelock(["plan", "--detailed-exitcode", "--output", "json"]).run().exit(2);
    assert_eq!(plan.json()["changes"][0]["cause"], "drift", "{}", plan.story());
    let _ = site.apply().never_says("could not be read").never_says(FIRST);
    let healed_again = verifier(&site);
    assert!(signs_in(&site, "web", FIRST));

    // Encrypted anew it is the same; another value is one commit.
    site.write("web.age", &encrypt(FIRST, &key));
    site.commit("Encrypted anew");
    site.converged();
    site.write("web.age", &encrypt(SECOND, &key));
    site.commit("Another password");
    let plan = site.tidelock(["plan", "--detailed-exitcode", "--output", "json"]).run().exit(2);
    assert_eq!(plan.json()["changes"][0]["cause"], "secret", "{}", plan.story());
    let _ = plan.never_says(FIRST).never_says(SECOND);
    let _ = site.apply().says("a secret changed").never_says(FIRST).never_says(SECOND).never_says("SCRAM-SHA-256$");
    assert!(signs_in(&site, "web", SECOND) && !signs_in(&site, "web", FIRST));

    for words in [["history", "--output=json"], ["events", "--output=json"], ["status", "--output=json"]] {
        let _ = site.tidelock(words).run().ok().never_says(FIRST).never_says(SECOND).never_says("SCRAM-SHA-256$");
    }
    // The server's own files and its log, which has every statement, are searched too.
    for password in [FIRST, SECOND] {
        assert_eq!(site.world().holding(password, &["secrets"]), Vec::<String>::new(), "{password}");
    }
    for verifier in [&first, &healed, &healed_again, &verifier(&site)] {
        assert!(!site.server().log().contains(verifier.as_str()), "what proves a password stands in the log");
        assert_eq!(site.world().holding(verifier, &["server"]), Vec::<String>::new(), "{verifier}");
    }
}

#[test]
fn whoever_looks_at_the_servers_activity_sees_no_verifier() {
    let (site, key) = site();
    site.apply();
    site.write("web.age", &encrypt(SECOND, &key));
    site.commit("Another password");
    let mut holder = holder(&site);
    let apply = site.tidelock(["apply", "--yes"]).spawn();
    // It waits for whoever holds the role, and is there to be looked at.
    let ask = "SELECT string_agg(coalesce(query, '') || '!', ' ') FROM pg_stat_activity \
        WHERE application_name = 'tidelock' AND pid IN (SELECT pid FROM pg_locks WHERE NOT granted)";
    let mut seen = String::new();
    eventually("a statement of ours is seen", || {
        seen = site.by_hand("postgres", ask);
        !seen.is_empty()
    });
    drop(holder.stdin.take());
    holder.wait().expect("psql ends");
    let output = apply.wait_with_output().expect("its end");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!seen.contains("SCRAM-SHA-256$") && !seen.contains(SECOND), "{seen}");
    assert!(signs_in(&site, "web", SECOND));
    site.converged();
}

#[test]
fn a_password_that_cannot_be_one_is_refused_before_anything_happens() {
    let (site, key) = site();
    for (value, says) in
        [("", "the secret /db/web.age cannot be read: it is empty"), ("a\0b", "is empty or holds a NUL")]
    {
        site.write("web.age", &encrypt(value, &key));
        site.commit("No password");
        let _ = site.tidelock(["apply", "--yes"]).run().exit(1).says(says);
        assert_eq!(site.by_hand("postgres", "SELECT count(*) FROM pg_authid WHERE rolname = 'web'"), "0");
    }
}

const OWN: &str = "kind: postgres.role\nname: own\nspec: { name: tidelock, login: true, superuser: true, password: { $secret: ./own.age } }\n";

/// A site that signs in as `tidelock`, whose password FIRST stands in Git as well.
fn own_role() -> (Databases, age::x25519::Identity) {
    let (site, key) = site();
    site.by_hand("postgres", &format!("CREATE ROLE tidelock SUPERUSER LOGIN PASSWORD '{FIRST}'"));
    site.world().secret("secrets/own.password", FIRST);
    over_tls(&site, "tidelock", "secrets/own.password", "");
    site.write("own.yaml", OWN);
    site.write("own.age", &encrypt(FIRST, &key));
    site.remove("web.yaml");
    site.commit("Who we are ourselves");
    site.apply();
    (site, key)
}

#[test]
fn the_password_that_tidelock_itself_signs_in_with_is_tried_before_the_old_one_goes() {
    let (site, key) = own_role();
    site.write("own.age", &encrypt(SECOND, &key));
    site.write("other.yaml", "kind: postgres.role\nname: other\nspec: { name: other }\n");
    site.commit("A password that the target does not know, and another role");
    let plan = site.tidelock(["plan"]).run().ok();
    let _ = plan.says("own-access: Tidelock itself signs in as tidelock").never_says(SECOND);
    let refused = site.tidelock(["apply", "--yes"]).run().exit(4).never_says(SECOND);
    let _ = refused.says("tried and put back").says("password authentication failed").says("next_password = ");
    assert!(signs_in(&site, "tidelock", FIRST) && !signs_in(&site, "tidelock", SECOND));
    assert_eq!(
        site.by_hand("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'other'"),
        "1",
        "the rest stands"
    );

    // A target that has the new one too is let in with either.
    site.world().secret("secrets/next.password", SECOND);
    over_tls(&site, "tidelock", "secrets/own.password", "next_password = { file = \"secrets/next.password\" }\n");
    site.apply();
    assert!(signs_in(&site, "tidelock", SECOND) && !signs_in(&site, "tidelock", FIRST));
    over_tls(&site, "tidelock", "secrets/next.password", "");
    site.converged();
    for password in [FIRST, SECOND] {
        let outside = site.world().holding(password, &["secrets", "server"]);
        assert_eq!(outside, Vec::<String>::new(), "{password}");
    }
}

#[test]
fn nobody_locks_tidelock_out_by_a_commit() {
    let (site, _) = own_role();
    for (spec, says) in [
        ("login: false, superuser: true", "is not permitted to log in"),
        ("login: true, superuser: true, valid_until: 2001-01-01", "password authentication failed"),
    ] {
        site.write("own.yaml", &format!("kind: postgres.role\nname: own\nspec: {{ name: tidelock, {spec} }}\n"));
        site.commit("Out");
        let _ = site
            .tidelock(["apply", "--yes"])
            .run()
            .exit(1)
            .says("tried and put back")
            .says(says)
            .never_says("next_password");
        let is = "SELECT rolcanlogin, coalesce(rolvaliduntil, 'infinity') FROM pg_roles WHERE rolname = 'tidelock'";
        assert_eq!(site.by_hand("postgres", is), "t|infinity");
        assert!(signs_in(&site, "tidelock", FIRST));
    }
}

#[test]
fn a_password_in_git_is_not_shown_by_an_error_about_its_neighbour() {
    const CLEAR: &str = "hunter2 in clear";
    let site = Databases::with_files([]);
    let role = "kind: postgres.role\nname: a\n";
    for (text, says) in [
        (format!("{role}spec: {{ name: a, password: {CLEAR}, lgoin: true }}\n"), "secret does not stand in Git"),
        (format!("{role}spec: {{ name: none, password: {CLEAR} }}\n"), "secret does not stand in Git"),
        (format!("{role}nedds: []\nspec: {{ name: a, password: {CLEAR} }}\n"), "nedds"),
        (format!("{{ kind: postgres.role, name: a, nedds: [], spec: {{ name: a, password: {CLEAR} }} }}\n"), "nedds"),
        (format!("{{ kind: postgres.rol, name: a, spec: {{ name: a, password: {CLEAR} }} }}\n"), "postgres.rol"),
        (format!("{{ kind: postgres.role, name: a, target: nowhere, spec: {{ password: {CLEAR} }} }}\n"), "nowhere"),
        (format!("{{ kind: postgres.role, name: a, spec: {{ password: {CLEAR}, name: ] }}\n"), "a.yaml:1"),
        (format!("{role}spec:\n  password:\n    {CLEAR}: [\n"), "a.yaml"),
    ] {
        site.write("a.yaml", &text);
        site.commit("By mistake");
        for arguments in [&["plan"][..], &["plan", "--output", "json"], &["apply", "--yes"], &["render"], &["events"]] {
            let ran = site.tidelock(arguments).run();
            let ran = ran.never_says(CLEAR).never_says("hunter2");
            if arguments == ["plan"] {
                let _ = ran.exit(1).says(says);
            }
        }
    }
}
