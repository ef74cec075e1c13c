//! Four installations of Tidelock, each with a store and a repository of its own, that grant at
//! once on one server: to the same roles, and on one table. None fails, and all of it is there.
//!
//! Run with few rounds among the other tests; `cargo xtask soak` runs more.

#![expect(clippy::print_stdout, reason = "a person who runs it for long wants to see the counts")]

use tidelock_tests::dice::count;
use tidelock_tests::{Postgres, Repo, TestEnvironment, databases};

const WRITERS: usize = 4;
const ROLES: [&str; 3] = ["r0", "r1", "r2"];

struct Writer {
    number: usize,
    repo: Repo,
    world: TestEnvironment,
}

impl Writer {
    fn new(number: usize, server: &Postgres) -> Self {
        let world = TestEnvironment::stocked();
        let repo = world.repo("infra");
        world.write("tidelock.toml", databases::config(server));
        repo.write("db/stack.yaml", databases::stack("pg"));
        world.tidelock(["plugin", "accept", "--all"]).run().ok();
        Self { number, repo, world }
    }

    /// A role of its own with something on the table of all, and what it grants to everybody's
    /// roles on a table of its own: in every second round something else.
    fn commit(&self, round: u64) {
        let (n, privileges) = (self.number, privileges(round).join(", "));
        let mut text = format!(
            "kind: postgres.role\nname: w\nspec: {{ name: w{n}, connection_limit: {round}, member_of: [r0] }}\n---\n\
             kind: postgres.grant\nname: shared\n\
             spec: {{ role: w{n}, database: postgres, schema: public, on: table, names: [shared], privileges: [{privileges}] }}\n"
        );
        for role in ROLES {
            text.push_str(&format!(
                "---\nkind: postgres.grant\nname: {role}\n\
                 spec: {{ role: {role}, database: postgres, schema: public, on: table, names: [t{n}], privileges: [{privileges}] }}\n"
            ));
        }
        self.repo.write("db/all.yaml", text).commit(&format!("Round {round}"));
    }
}

fn privileges(round: u64) -> [&'static str; 2] {
    if round.is_multiple_of(2) { ["INSERT", "SELECT"] } else { ["DELETE", "UPDATE"] }
}

/// All that is granted on the tables, one line for each table and role.
fn granted(server: &Postgres) -> Vec<String> {
    let ask = "SELECT c.relname || ' ' || a.grantee::regrole || ' ' || string_agg(a.privilege_type, ',' ORDER BY a.privilege_type) \
        FROM pg_class c, aclexplode(c.relacl) a WHERE c.relname ~ '^(t[0-9]|shared)$' AND a.grantee <> c.relowner \
        GROUP BY c.relname, a.grantee ORDER BY 1";
    server.psql("postgres", ask).lines().map(ToOwned::to_owned).collect()
}

fn wanted(round: u64) -> Vec<String> {
    let privileges = privileges(round).join(",");
    let own = (0..WRITERS).map(|n| format!("shared w{n} {privileges}"));
    let others = (0..WRITERS).flat_map(|n| ROLES.map(|role| format!("t{n} {role} {privileges}")));
    let mut all: Vec<String> = own.chain(others).collect();
    all.sort();
    all
}

#[test]
fn four_writers_at_once_do_not_disturb_each_other() {
    // Ended before its folder goes.
    let folder = TestEnvironment::stocked();
    let server = Postgres::start(&folder.path("server"));
    server.psql("postgres", "CREATE ROLE r0; CREATE ROLE r1; CREATE ROLE r2; CREATE TABLE shared (a int)");
    let writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::new(number, &server)).collect();
    for writer in &writers {
        server.psql("postgres", &format!("CREATE TABLE t{} (a int)", writer.number));
    }
    let rounds = count("TIDELOCK_SOAK_WRITERS", 3);
    for round in 0..rounds {
        writers.iter().for_each(|writer| writer.commit(round));
        std::thread::scope(|scope| {
            let applies = writers.iter().map(|writer| writer.world.tidelock(["apply", "--yes"]));
            let at_once: Vec<_> = applies.map(|apply| scope.spawn(|| apply.run())).collect();
            for (writer, run) in writers.iter().zip(at_once) {
                let ran = run.join().expect("a call of the binary");
                assert_eq!(ran.code, 0, "writer {} in round {round}\n{}", writer.number, ran.story());
            }
        });
        assert_eq!(granted(&server), wanted(round), "after round {round}");
        let limits = "SELECT count(*) FROM pg_roles WHERE rolname ~ '^w[0-9]$' AND rolconnlimit = ";
        assert_eq!(server.psql("postgres", &format!("{limits}{round}")), WRITERS.to_string());
    }
    for writer in &writers {
        writer.world.tidelock(["plan", "--detailed-exitcode"]).run().ok();
    }
    println!("{rounds} rounds of {WRITERS} writers");
}
