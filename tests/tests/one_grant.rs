//! Two installations of Tidelock, each with a store and a repository of its own, that want the very
//! same of one server at once: whoever comes second finds it done, and neither fails.

use tidelock_tests::{MariaDb, Postgres, Repo, TestEnvironment, databases, mariadb};

const ROUNDS: usize = 3;

/// What everybody wants in a round, by the kinds of a plugin.
fn privileges(round: usize) -> &'static str {
    ["SELECT, INSERT", "UPDATE", "SELECT, DELETE"][round % 3]
}

/// Two installations, whose commits of a round are equal.
struct Both {
    worlds: [TestEnvironment; 2],
    target: &'static str,
    resources: fn(usize) -> String,
}

impl Both {
    fn new(config: &str, target: &'static str, resources: fn(usize) -> String) -> Self {
        let worlds = [TestEnvironment::stocked(), TestEnvironment::stocked()];
        for world in &worlds {
            world.write("tidelock.toml", config);
            world.secret("db.password", mariadb::PASSWORD);
            world.repo("infra").write("db/stack.yaml", databases::stack(target)).commit("A stack");
            world.tidelock(["plugin", "accept", "--all"]).run().ok();
        }
        Self { worlds, target, resources }
    }

    /// Both apply a round's commit at once, and are then as Git says.
    fn apply(&self, round: usize) {
        for world in &self.worlds {
            Repo::open(&world.path("infra"))
                .write("db/all.yaml", (self.resources)(round))
                .commit(&format!("Round {round}"));
        }
        std::thread::scope(|scope| {
            let applies = self.worlds.iter().map(|world| world.tidelock(["apply", "--yes"]));
            let at_once: Vec<_> = applies.map(|apply| scope.spawn(|| apply.run())).collect();
            for run in at_once {
                let ran = run.join().expect("a call of the binary");
                assert_eq!(ran.code, 0, "on {} in round {round}\n{}", self.target, ran.story());
            }
        });
        for world in &self.worlds {
            world.tidelock(["plan", "--detailed-exitcode"]).run().ok();
        }
    }
}

#[test]
fn two_who_want_the_same_of_postgresql_both_end_well() {
    let folder = TestEnvironment::stocked();
    let server = Postgres::start(&folder.path("server"));
    server.psql("postgres", "CREATE ROLE app; CREATE TABLE shared (a int)");
    let both = Both::new(&databases::config(&server), "pg", |round| {
        format!(
            "kind: postgres.role\nname: new\nspec: {{ name: new{round} }}\n---\nkind: postgres.grant\nname: shared\nspec: {{ role: app, \
             database: postgres, schema: public, on: table, names: [shared], privileges: [{}] }}\n",
            privileges(round)
        )
    });
    for round in 0..ROUNDS {
        both.apply(round);
        let held = "SELECT string_agg(privilege_type, ', ' ORDER BY privilege_type DESC) FROM pg_class c, aclexplode(c.relacl) a \
            WHERE c.relname = 'shared' AND a.grantee = 'app'::regrole";
        let mut wanted: Vec<&str> = privileges(round).split(", ").collect();
        wanted.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(server.psql("postgres", held), wanted.join(", "));
    }
}

#[test]
fn two_who_want_the_same_of_mariadb_both_end_well() {
    let folder = TestEnvironment::stocked();
    let server = MariaDb::start(&folder.path("server"));
    server.sql("CREATE DATABASE app; CREATE TABLE app.shared (a int)");
    let both = Both::new(&databases::config_of_mariadb(&server), "my", |round| {
        format!(
            "kind: mysql.role\nname: new\nspec: {{ name: new{round} }}\n---\nkind: mysql.user\nname: web\nspec: {{ name: web }}\n---\n\
             kind: mysql.grant\nname: shared\nspec: {{ user: web, database: app, table: shared, privileges: [{}] }}\n",
            privileges(round)
        )
    });
    for round in 0..ROUNDS {
        both.apply(round);
        let held = server.sql("SHOW GRANTS FOR web@'%'");
        let wanted = format!("GRANT {} ON `app`.`shared`", privileges(round));
        assert!(held.contains(&wanted), "{held}");
    }
}
