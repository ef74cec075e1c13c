//! Database servers in the operator's config: what `doctor` says of them, and what it never says.

use tidelock_tests::{Databases, MariaDb, Postgres, Site, TestEnvironment, mariadb, postgres};

const POSTGRES: &str = "[targets.db]\ntype = \"postgres\"\nhost = \"localhost\"\nport = PORT\nuser = \"postgres\"\n\
    password = { file = \"db.password\" }\ntls = { ca = \"server/ca.pem\" }\n";
const MARIADB: &str = "[targets.db]\ntype = \"mysql\"\nhost = { env = \"DB_HOST\" }\nport = PORT\nuser = \"admin\"\n\
    password = { env = \"DB_PASSWORD\" }\ntls = { ca = \"server/ca.pem\" }\n";

fn with_config(config: &str, port: u16) -> TestEnvironment {
    let world = TestEnvironment::new();
    world.write("tidelock.toml", config.replace("PORT", &port.to_string()));
    world
}

#[test]
fn doctor_says_who_we_are_on_a_postgres_server() {
    let world = TestEnvironment::new();
    let server = Postgres::start(&world.path("server"));
    world.write("tidelock.toml", POSTGRES.replace("PORT", &server.port().to_string()));
    world.secret("db.password", postgres::PASSWORD);
    let doctor = || world.tidelock(["doctor", "--offline"]).run();
    let id = server.psql("postgres", "SELECT system_identifier FROM pg_control_system()");
    doctor()
        .says(&format!("db is postgres:{id}"))
        .says("as postgres, who may do anything, encrypted")
        .says("plugins' queries are asked as postgres, who may do anything")
        .never_says(postgres::PASSWORD);
    // What is wrong is named, and what is secret is not.
    world.secret("db.password", "mistyped on Friday");
    doctor().exit(1).says("localhost port").says("password authentication failed").never_says("mistyped on Friday");
    world.write("open.password", postgres::PASSWORD);
    let config = world.read("tidelock.toml");
    world.write("tidelock.toml", config.replace("db.password", "open.password"));
    doctor().exit(1).says("is open to others").never_says(postgres::PASSWORD);
    // Without the authority's file the certificate is nobody's.
    world.write("tidelock.toml", config.replace("tls = { ca = \"server/ca.pem\" }", ""));
    doctor().exit(1).says("give the authority's file as tls.ca");
}

#[test]
fn a_host_with_a_slash_is_a_socket_and_starts_at_the_config() {
    let world = TestEnvironment::new();
    let server = Postgres::start(&world.path("server"));
    let config = |host: &str| {
        let port = server.port();
        let text = format!("[targets.db]\ntype = \"postgres\"\nhost = {host}\nport = {port}\nuser = \"postgres\"\n");
        world.write("conf/tidelock.toml", text);
        world.tidelock(["--config", "conf/tidelock.toml", "doctor", "--offline"]).env("DB_HOST", "../server").run()
    };
    for host in ["\"../server\"", "[\"../server\"]", "{ env = \"DB_HOST\" }"] {
        config(host).says("as postgres, who may do anything");
    }
    config("\"../nowhere\"").exit(1).says(&format!("nowhere/.s.PGSQL.{}", server.port()));
}

#[test]
fn doctor_signs_in_as_whoever_reads() {
    let world = TestEnvironment::new();
    let server = Postgres::start(&world.path("server"));
    let read = "read = { user = \"reader\", password = { file = \"read.password\" } }\n";
    world.write("tidelock.toml", POSTGRES.replace("PORT", &server.port().to_string()) + read);
    world.secret("db.password", postgres::PASSWORD);
    world.secret("read.password", "the reader's own");
    let doctor = || world.tidelock(["doctor", "--offline"]).run();
    // Nobody of that name is there.
    doctor().exit(1).says("db is postgres:").says("as reader").says("password authentication failed");
    server.psql("postgres", "CREATE ROLE reader LOGIN PASSWORD 'the reader''s own'");
    doctor().says("db: reads are asked as reader, encrypted").never_says("plugins' queries are asked as");
    server.psql("postgres", "ALTER ROLE reader SUPERUSER");
    doctor().says("reads are asked as reader, who may do anything");

    let folder = TestEnvironment::new();
    let server = MariaDb::start(&folder.path("server"));
    folder.write("tidelock.toml", MARIADB.replace("PORT", &server.port().to_string()) + read);
    folder.secret("read.password", "the reader's own");
    let doctor = || {
        let doctor = folder.tidelock(["doctor", "--offline"]);
        doctor.env("DB_HOST", "localhost").env("DB_PASSWORD", mariadb::PASSWORD).run()
    };
    doctor().exit(1).says("Access denied for user 'reader'");
    server.sql("CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'the reader''s own'");
    doctor().says("db: reads are asked as reader@127.0.0.1, encrypted");
}

#[test]
fn a_plugin_without_a_grant_is_told_what_would_let_it_in() {
    let files = [("role.yaml", "kind: postgres.role\nname: a\nspec: { name: a }\n")];
    let site = Databases::with_files(files);
    let config = site.world().read("tidelock.toml");
    let (targets, _) = config.split_once("[grants.postgres]").unwrap();
    site.world().write("tidelock.toml", targets);
    let plan = site.tidelock(["plan"]).run();
    let _ = plan.says("plugin postgres has no grant on target pg").says("databases = [\"app\"]").never_says("paths =");
}

#[test]
fn a_statement_by_itself_has_an_end_too() {
    let site = Databases::with_files([("db.yaml", "kind: postgres.database\nname: a\nspec: { name: a }\n")]);
    let config = site.world().read("tidelock.toml");
    let short = config.replace("user = \"postgres\"\n", "user = \"postgres\"\ntimeouts = { write = \"20ms\" }\n");
    site.world().write("tidelock.toml", short);
    let _ = site.tidelock(["apply", "--yes"]).run().exit(1).says("statement timeout");
    assert_eq!(site.by_hand("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'a'"), "0");
    site.world().write("tidelock.toml", config);
    site.apply();
}

#[test]
fn doctor_says_who_we_are_on_a_mariadb_server() {
    let world = TestEnvironment::new();
    let server = MariaDb::start(&world.path("server"));
    world.write("tidelock.toml", MARIADB.replace("PORT", &server.port().to_string()));
    let doctor = |password: &str| {
        world.tidelock(["doctor", "--offline"]).env("DB_HOST", "localhost").env("DB_PASSWORD", password).run()
    };
    doctor(mariadb::PASSWORD)
        .says(&format!("db is mariadb:{}", server.sql("SELECT @@server_uid")))
        .says("as admin@127.0.0.1, who may do anything, encrypted")
        .never_says(mariadb::PASSWORD);
    doctor("mistyped on Friday").exit(1).says("Access denied").never_says("mistyped on Friday");
    server.sql("SET GLOBAL read_only = ON");
    doctor(mariadb::PASSWORD).exit(1).says("only copies another server");
}

#[test]
fn a_config_that_cannot_reach_a_database_is_refused_with_the_line() {
    for (config, says) in [
        ("[targets.db]\ntype = \"postgres\"\nuser = \"a\"\n", "without a host"),
        ("[targets.db]\ntype = \"postgres\"\nhost = \"a\"\n", "without a user"),
        ("[targets.db]\ntype = \"postgres\"\nhost = \"a\"\nuser = \"a\"\npassword = \"b\"\n", "password"),
        ("[targets.db]\ntype = \"machine\"\nhost = \"a\"\n", "is no database server"),
        ("[targets.db]\ntype = \"machine\"\ntimeouts = { write = \"1m\" }\n", "is no database, and has timeouts"),
        ("[targets.db]\ntype = \"postgres\"\nhost = \"a\"\nuser = \"a\"\ntls = { mode = \"maybe\" }\n", "maybe"),
    ] {
        with_config(config, 0).tidelock(["doctor", "--offline"]).run().exit(1).says(says);
    }
}

/// A site whose stack `db` goes to a database server where nobody listens.
fn unreached(target: &str) -> Site {
    let site = Site::new();
    let config = site.world().read("tidelock.toml");
    site.world().write(
        "tidelock.toml",
        config.replace("[\"local\"]\nkinds = [\"server.*\"]", "[\"*\"]\nkinds = [\"*\"]")
            + target
            + "\n[grants.postgres]\ntargets = [\"db\"]\nsql = [\"role:app*\"]\n",
    );
    site.repo().write("db/stack.yaml", "name: db\ntargets: db\n");
    for name in ["app_a", "app_b"] {
        site.repo().write(
            &format!("db/{name}.yaml"),
            format!("kind: postgres.role\nname: {name}\nspec: {{ name: {name} }}\n"),
        );
    }
    site.repo().commit("Two roles");
    site
}

#[test]
fn a_server_that_cannot_be_reached_is_named_once_with_the_line_of_the_config() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = format!(
        "\n[targets.db]\ntype = \"postgres\"\nhost = \"127.0.0.1\"\nport = {nobody}\nuser = \"app\"\ntls = {{ mode = \"off\" }}\n"
    );
    let site = unreached(&target);
    let ran = site.tidelock(["plan"]).run().exit(1);
    let said = ran.story();
    assert_eq!(said.matches("error connecting to server").count(), 1, "{said}");
    let _ = ran
        .says(&format!("target db: 127.0.0.1 port {nobody}"))
        .says("host = \"127.0.0.1\"")
        .says("does the server run? See `host` and `port` of [targets.db]")
        .never_says("what Git says")
        .never_says(".yaml");
    // With a lane that is well, that one goes on.
    site.stack("web");
    site.file("web", "a", "one\n");
    site.repo().commit("A file too");
    let said = site.tidelock(["plan"]).run().exit(4).says("server.file/a").story();
    assert_eq!(said.matches("error connecting to server").count(), 1, "{said}");
}

#[test]
fn a_server_without_tls_is_answered_with_the_line_to_add() {
    let world = TestEnvironment::new();
    let server = Postgres::start(&world.path("server"));
    server.psql("postgres", "ALTER SYSTEM SET ssl = off");
    server.psql("postgres", "SELECT pg_reload_conf()");
    world.write("tidelock.toml", POSTGRES.replace("PORT", &server.port().to_string()));
    world.secret("db.password", postgres::PASSWORD);
    world
        .tidelock(["doctor", "--offline"])
        .run()
        .exit(1)
        .says("the server has no TLS")
        .says("tls = { mode = \"off\" }");
}

#[test]
fn two_targets_that_are_one_server_are_told_of_and_what_both_claim_is_refused() {
    let role = |name: &str, limit: u8| {
        format!("kind: postgres.role\nname: {name}\nspec: {{ name: {name}, connection_limit: {limit} }}\n")
    };
    let site = Databases::with_files([("app.yaml", &*role("app", 5)), ("b.yaml", &*role("b", 5))]);
    let copy = Postgres::standby_of(site.server(), &site.world().path("copy"));
    site.world().secret("db.password", postgres::PASSWORD);
    let target = |name: &str, folder: &str, port: u16, more: &str| {
        format!(
            "\n[targets.{name}]\ntype = \"postgres\"\nhost = \"localhost\"\nport = {port}\nuser = \"postgres\"\n\
             password = {{ file = \"db.password\" }}\ntls = {{ ca = \"{folder}/ca.pem\" }}\n{more}"
        )
    };
    let config = site.world().read("tidelock.toml").replace("[\"pg\"]", "[\"pg\", \"other\"]");
    let other = target("other", "server", site.server().port(), "");
    site.world().write("tidelock.toml", config + &other + &target("copy", "copy", copy.port(), "require = \"any\"\n"));
    let doctor = site.tidelock(["doctor", "--offline"]).run();
    let _ = doctor.says("copy is postgres:").says("other and pg are one and the same server").never_says("copy and");

    // What only one of them is given is nobody else's business.
    site.repo().write("two/stack.yaml", "name: two\ntargets: other\n").write("two/c.yaml", role("c", 5));
    site.commit("One server by two names");
    let _ = site.apply().never_says("the same system");
    site.repo().write("two/app.yaml", role("app", 9));
    site.commit("What the first has, for the second");
    let limit = || site.by_hand("postgres", "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'app'");
    for _ in 0..2 {
        let ran = site.tidelock(["apply", "--yes"]).run().exit(4);
        let _ = ran
            .says("role:app on other and pg, which are the same system, is claimed twice")
            .says("infra:db:postgres.role/app@pg")
            .says("infra:two:postgres.role/app@other")
            .says("also claimed by infra:two on other");
        assert_eq!(limit(), "5");
    }
    // Alone each is told as well, and nothing that the other claims is dropped.
    let _ = site.tidelock(["plan", "two"]).run().exit(1).says("which are the same system, is claimed twice");
    site.remove("app.yaml");
    site.commit("It is the second's");
    let _ = site.tidelock(["apply", "--yes"]).run().ok().says("infra:two claims it on other");
    assert_eq!(limit(), "9");
    site.converged();
}

#[test]
fn one_mariadb_and_one_file_by_two_names_are_told_of() {
    let world = TestEnvironment::new();
    let server = MariaDb::start(&world.path("server"));
    let one = MARIADB.replace("PORT", &server.port().to_string());
    world.write("a.sqlite", "");
    std::fs::hard_link(world.path("a.sqlite"), world.path("b.sqlite")).unwrap();
    let file = |name: &str| format!("[targets.{name}]\ntype = \"sqlite\"\nfile = \"{name}.sqlite\"\n");
    world.write("c.sqlite", "");
    let more = file("a") + &file("b") + &file("c");
    world.write("tidelock.toml", one.replace("targets.db", "targets.twin") + &one + &more);
    let doctor = world.tidelock(["doctor", "--offline"]);
    let doctor = doctor.env("DB_HOST", "localhost").env("DB_PASSWORD", mariadb::PASSWORD).run();
    let _ = doctor.says("db and twin are one and the same server").says("a and b are one").never_says("b and c");
}

#[test]
fn a_database_that_shuts_out_whoever_reads_is_told_with_what_lets_it_in() {
    let grant = "kind: postgres.schema\nname: s\nspec: { database: My App, name: s }\n";
    let site = Databases::with_files([("s.yaml", grant)]);
    site.by_hand("postgres", "CREATE DATABASE \"My App\"");
    site.by_hand("postgres", "CREATE DATABASE elsewhere");
    site.by_hand("postgres", "CREATE ROLE reader LOGIN");
    let config = site.world().read("tidelock.toml");
    let reads = config.replace("user = \"postgres\"\n", "user = \"postgres\"\nread = { user = \"reader\" }\n");
    site.world().write("tidelock.toml", reads.replace("databases = [\"*\"]", "databases = [\"My *\"]"));
    let _ = site.tidelock(["doctor", "--offline"]).run().never_says("may not connect");
    site.by_hand("postgres", "REVOKE CONNECT ON DATABASE \"My App\", elsewhere FROM PUBLIC");
    let needed = "GRANT CONNECT ON DATABASE \"My App\" TO";
    let plan = site.tidelock(["plan"]).run().exit(4);
    let _ = plan.says("permission denied for database").says(&format!("{needed} \"reader\";"));
    // Those that no plugin is to look into are nobody's trouble.
    let doctor = site.tidelock(["doctor", "--offline"]).run();
    let _ = doctor.says("reader may not connect to My App").says(&format!("{needed} reader;")).never_says("elsewhere");
    site.by_hand("postgres", &format!("{needed} reader"));
    let _ = site.tidelock(["doctor", "--offline"]).run().never_says("may not connect");
    site.apply();
}
