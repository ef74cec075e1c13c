//! What only the server would refuse, and with it all else of a transaction, is told by the plan: grants of
//! others, grants that undo each other, values out of range, names of what is not there.

use tidelock_tests::Databases;

const WEB: &str = "kind: postgres.role\nname: web\nspec: { name: web }\n";

fn grant(name: &str, spec: &str) -> String {
    format!("kind: postgres.grant\nname: {name}\nspec: {{ role: web, database: postgres, schema: public, {spec} }}\n")
}

fn site() -> Databases {
    let site = Databases::with_files([("web.yaml", WEB)]);
    site.by_hand("postgres", "CREATE TABLE t (a int, b int); CREATE TABLE u (a int)");
    site.apply();
    site
}

#[test]
fn what_another_one_granted_is_not_taken_back_in_vain() {
    let site = site();
    site.by_hand(
        "postgres",
        "CREATE ROLE bob; GRANT INSERT ON t TO bob WITH GRANT OPTION; SET ROLE bob;\nGRANT INSERT ON t TO web",
    );
    site.write("g.yaml", &grant("g", "on: table, names: [t], privileges: [SELECT], owns: all"));
    site.commit("SELECT alone");
    let plan = site.tidelock(["plan"]).run().exit(4);
    let _ = plan
        .says("INSERT on the table t was granted to web by bob")
        .says("SET ROLE \"bob\"; REVOKE INSERT ON TABLE \"public\".\"t\" FROM \"web\"");
    site.by_hand("postgres", "SET ROLE \"bob\";\nREVOKE INSERT ON TABLE \"public\".\"t\" FROM \"web\"");
    site.apply();
    // Of all tables as well, and of columns; what the owner granted goes.
    site.by_hand("postgres", "GRANT DELETE ON t TO web; GRANT UPDATE (a) ON u TO bob WITH GRANT OPTION; SET ROLE bob;\nGRANT UPDATE (a) ON u TO web");
    site.remove("g.yaml");
    site.commit("Nothing of Git's");
    site.apply();
    site.write("all.yaml", &grant("all", "on: table, all: true, privileges: [SELECT], owns: all"));
    site.commit("All tables");
    let plan = site.tidelock(["plan"]).run().exit(4);
    let _ = plan.says("UPDATE (a) on the table u was granted to web by bob").says("REVOKE UPDATE (\"a\") ON TABLE");
    site.by_hand("postgres", "REVOKE UPDATE (a) ON u FROM bob CASCADE");
    site.apply();
    assert_eq!(site.by_hand("postgres", "SELECT has_table_privilege('web', 't', 'DELETE')"), "f");
}

#[test]
fn what_was_granted_on_is_told_before_it_holds_up_a_revoke() {
    let site = site();
    let spec =
        |option: &str| grant("g", &format!("on: table, names: [t], privileges: [SELECT], grant_option: {option}"));
    site.write("g.yaml", &spec("true"));
    site.commit("SELECT, and to grant it on");
    site.apply();
    site.by_hand("postgres", "CREATE ROLE carol; SET ROLE web;\nGRANT SELECT ON t TO carol");
    site.converged();
    for (file, text) in [("g.yaml", Some(spec("false"))), ("g.yaml", None)] {
        match text {
            Some(text) => site.write(file, &text),
            None => site.remove(file),
        }
        site.commit("Less");
        let plan = site.tidelock(["plan"]).run().exit(4);
        let _ = plan
            .says("web granted SELECT on the table t on to carol")
            .says("REVOKE SELECT ON TABLE \"public\".\"t\" FROM \"web\" CASCADE");
    }
    site.by_hand("postgres", "SET ROLE web;\nREVOKE SELECT ON t FROM carol");
    site.apply();
    assert_eq!(site.by_hand("postgres", "SELECT has_table_privilege('web', 't', 'SELECT')"), "f");
}

#[test]
fn two_grants_that_would_undo_each_other_are_refused_with_both() {
    let site = site();
    site.write("all.yaml", &grant("all", "on: table, all: true, privileges: [SELECT], owns: all"));
    site.write("one.yaml", &grant("one", "on: table, names: [t], privileges: [SELECT, INSERT]"));
    site.commit("Both");
    let plan = site.tidelock(["plan"]).run().exit(1);
    let _ = plan.says("postgres.grant/all owns all that web has on t").says("postgres.grant/one grants there: INSERT");
    let _ = site.tidelock(["plan"]).run().exit(1).says("`owns: listed`");
    site.write("all.yaml", &grant("all", "on: table, names: [t, u], privileges: [SELECT, INSERT], owns: all"));
    site.commit("No less than the other");
    site.apply();
    site.write("all.yaml", &grant("all", "on: table, all: true, privileges: [SELECT]"));
    site.commit("What is listed");
    site.apply();
    assert_eq!(site.by_hand("postgres", "SELECT has_table_privilege('web', 't', 'INSERT')"), "t");
}

#[test]
fn what_is_not_there_or_out_of_range_is_told_with_its_field() {
    let site = site();
    site.by_hand("postgres", "CREATE FUNCTION f(i int) RETURNS int LANGUAGE sql AS 'SELECT 1'");
    let setting = |spec: &str| format!("kind: postgres.setting\nname: x\nspec: {{ {spec} }}\n");
    let database = "kind: postgres.database\nname: x\nspec: { name: x, tablespace: pg_defualt }\n";
    for (text, code, says) in [
        (
            setting("name: work_mem, value: 1kB, role: web"),
            1,
            "1kB is out of range for work_mem, which is from 64kB to",
        ),
        (setting("name: max_connections, value: 0"), 1, "out of range for max_connections, which is from 1 to"),
        (setting("name: random_page_cost, value: -1"), 1, "out of range for random_page_cost"),
        (setting("name: wal_level, value: lots"), 1, "none of the values of wal_level: minimal, replica, logical"),
        (database.to_owned(), 4, "the server has no tablespace pg_defualt; did you mean pg_default?"),
        (
            grant("x", "on: table, names: [t], privileges: [{ UPDATE: [a, c] }]"),
            4,
            "the table t of public has no column c",
        ),
        (
            grant("x", "on: function, names: [f], privileges: [EXECUTE]"),
            4,
            "there is no function f() in postgres; there is f(integer): write it with the types",
        ),
    ] {
        site.write("x.yaml", &text);
        site.commit("Something that is not");
        let _ = site.tidelock(["plan"]).run().exit(code).says(says).says("db/x.yaml");
    }
    let role =
        "kind: postgres.role\nname: r\nspec: { name: r, settings: { wal_compression: on, statement_timeout: -5 } }\n";
    site.write("x.yaml", role);
    site.commit("A role's own");
    let _ = site.tidelock(["plan"]).run().exit(1).says("out of range for statement_timeout, which is from 0");
    site.write("x.yaml", &setting("name: synchronous_commit, value: true, role: web"));
    site.commit("What the server takes without listing it");
    site.apply();
}

#[test]
fn a_column_of_one_table_is_taken_back_where_all_tables_are_meant() {
    let site = site();
    site.write("all.yaml", &grant("all", "on: table, all: true, privileges: [SELECT], owns: all"));
    site.commit("All tables");
    site.apply();
    site.by_hand("postgres", "GRANT UPDATE (b), DELETE ON t TO web; GRANT INSERT (a) ON u TO web WITH GRANT OPTION");
    let plan = site.tidelock(["plan", "--full"]).run();
    let _ = plan.says("REVOKE DELETE ON ALL TABLES").says("REVOKE UPDATE (\"b\") ON TABLE \"public\".\"t\"");
    site.apply();
    site.converged();
    let held = "SELECT has_any_column_privilege('web', 't', 'UPDATE'), has_table_privilege('web', 't', 'DELETE'), \
        has_any_column_privilege('web', 'u', 'INSERT'), has_table_privilege('web', 't', 'SELECT')";
    assert_eq!(site.by_hand("postgres", held), "f|f|f|t");
}

#[test]
fn a_role_that_owns_a_database_is_not_dropped_with_what_it_owns() {
    let role = "kind: postgres.role\nname: o\non_remove: delete\nspec: { name: owner, drop_owned: true }\n";
    let site = Databases::with_files([("o.yaml", role), ("web.yaml", WEB)]);
    site.apply();
    site.by_hand("postgres", "CREATE DATABASE app OWNER owner; CREATE TABLE t (i int); ALTER TABLE t OWNER TO owner");
    site.remove("o.yaml");
    site.commit("No owner");
    let plan = site.tidelock(["plan"]).run().exit(4);
    let _ = plan.says("the role owner owns database app, which `drop_owned` leaves").never_says("DROP OWNED BY");
    site.by_hand("postgres", "ALTER DATABASE app OWNER TO postgres");
    site.apply();
    let left = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname = 'owner'), (SELECT count(*) FROM pg_tables WHERE tablename = 't')";
    assert_eq!(site.by_hand("postgres", left), "0|0");
}

#[test]
fn what_gets_another_name_is_no_new_one() {
    let site = site();
    site.write("web.yaml", "kind: postgres.role\nname: web\nspec: { name: site, renamed_from: web }\n");
    site.commit("Another name");
    let plan = site.tidelock(["plan"]).run().ok();
    let _ = plan.says("(renamed from web)").says("1 to rename").never_says("to create");
    site.apply();
    assert_eq!(site.by_hand("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'site'"), "1");
    // One address is one resource, whatever it was called before.
    let _ = site.tidelock(["undo", "postgres.role/web", "--reason", "a slip", "--yes"]).run().never_says("several");
    let _ = site.tidelock(["history", "postgres.role/nobody"]).run().ok().says("Nothing was done yet to what");
}

#[test]
fn what_is_ignored_is_as_planned_after_an_apply() {
    let site = site();
    site.by_hand("postgres", "CREATE ROLE other CREATEDB LOGIN");
    let role = |comment: &str| {
        format!(
            "kind: postgres.role\nname: o\nignore: [/createdb]\nspec: {{ name: other, login: true, comment: {comment} }}\n"
        )
    };
    for comment in ["x", "y"] {
        site.write("o.yaml", &role(comment));
        site.commit("A comment");
        let _ = site.tidelock(["apply", "--yes"]).run().ok().never_says("not as planned");
    }
    let held = "SELECT rolcreatedb, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'other'";
    assert_eq!(site.by_hand("postgres", held), "t|y");
}

#[test]
fn the_budget_of_take_overs_counts_resources_and_not_what_is_done_to_them() {
    let site = site();
    site.by_hand("postgres", "CREATE ROLE other CONNECTION LIMIT 3; CREATE ROLE more");
    let stack = |number: u32| {
        let text =
            format!("name: db\ntargets: pg\non_commit: apply\non_drift: apply\nbudget: {{ take_over: {number} }}\n");
        site.repo().write("db/stack.yaml", text);
    };
    stack(1);
    site.commit("A budget, before it is used");
    site.apply();
    let role = |name: &str| {
        let spec = format!(
            "name: {name}, connection_limit: 5, comment: ours, settings: {{ work_mem: 5MB }}, member_of: [web]"
        );
        format!("kind: postgres.role\nname: {name}\nspec: {{ {spec} }}\n")
    };
    site.write("other.yaml", &role("other"));
    site.commit("One that was there");
    let _ = site.tidelock(["plan"]).run().ok().says("1 to take over").never_says("waits:");
    site.write("more.yaml", &role("more"));
    site.commit("Two that were there");
    let plan = site.tidelock(["plan"]).run().ok();
    let _ = plan.says("2 resources were there before Tidelock and would be changed; the budget is 1");
}
