use tidelock_model::sql::Dialect::{self, MariaDb, Postgres, Sqlite};

use tidelock_model::sql::{Act, Object, Part, SqlEffect, Statement, Verb};

use super::{Judged, judge, understood};

fn allowed(dialect: Dialect, text: &str) -> String {
    match judge(dialect, text) {
        Ok(Judged { text, .. }) => text,
        Err(fault) => panic!("{text}: {fault}"),
    }
}

fn refused(dialect: Dialect, text: &str) -> String {
    match judge(dialect, text) {
        Ok(Judged { text: sent, .. }) => panic!("{text} is sent as {sent}"),
        Err(fault) => fault.message,
    }
}

#[test]
fn what_providers_ask_of_the_catalog_is_allowed() {
    for text in [
        "SELECT rolname, rolsuper, rolvaliduntil::text, rolconnlimit FROM pg_roles WHERE rolname = ANY($1)",
        "SELECT m.rolname, r.rolname, a.admin_option FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member \
         JOIN pg_catalog.pg_roles r ON r.oid = a.roleid ORDER BY 1, 2",
        "SELECT d.datname, pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), x.grantee::regrole::text, \
         x.privilege_type, x.is_grantable FROM pg_database d, \
         LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x WHERE d.datname = $1",
        "WITH acl AS (SELECT c.oid, c.relname, x.* FROM pg_class c, \
         LATERAL aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' \
         THEN 's'::\"char\" ELSE 'r'::\"char\" END, c.relowner))) AS x WHERE c.relkind IN ('r', 'v')) \
         SELECT relname, grantee, array_agg(privilege_type ORDER BY privilege_type) FROM acl GROUP BY 1, 2",
        "SELECT n.nspname, p.proname, pg_get_function_identity_arguments(p.oid) FROM pg_proc p JOIN pg_namespace n \
         ON n.oid = p.pronamespace WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
        "SELECT name, setting, unit, context, pending_restart FROM pg_settings WHERE source = 'configuration file'",
        "SELECT f.name, f.setting AS value, f.sourcefile FROM pg_file_settings f ORDER BY f.seqno",
        "SELECT unnest(setconfig) FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole",
        "SELECT e.extname, e.extversion, ARRAY(SELECT v.version FROM pg_available_extension_versions v \
         WHERE v.name = e.extname) FROM pg_extension e",
        "SELECT s.objid::regclass, row_number() OVER (PARTITION BY s.dbid ORDER BY s.objid) FROM pg_shdepend s \
         WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o' LIMIT 20",
        "SELECT current_user, current_database(), current_setting('server_version_num')::int",
        "VALUES (1, 'a'), (2, 'b')",
        "SHOW server_version",
        "SELECT r.oid FROM pg_roles r UNION ALL SELECT 0 ORDER BY 1 LIMIT 5 OFFSET 1",
    ] {
        allowed(Postgres, text);
    }
    for text in [
        "SELECT Db, User, Select_priv FROM mysql.db WHERE User = ?",
        "SELECT schema_name, default_character_set_name FROM information_schema.SCHEMATA ORDER BY schema_name",
        "SELECT u.User, u.Host, JSON_VALUE(u.Priv, '$.access') FROM mysql.global_priv u WHERE u.User IN (?, ?)",
        "SELECT `Host`, `User`, is_role FROM mysql.user",
    ] {
        allowed(MariaDb, text);
    }
}

#[test]
fn what_does_more_than_look_is_refused() {
    for text in [
        "INSERT INTO pg_roles VALUES (1)",
        "UPDATE pg_class SET relname = 'x'",
        "SELECT nextval('s')",
        "SELECT setval('s', 1)",
        "SELECT pg_terminate_backend(1)",
        "SELECT pg_cancel_backend(pid) FROM pg_roles",
        "SELECT pg_catalog.pg_terminate_backend(1)",
        "SELECT \"pg_terminate_backend\"(1)",
        "SELECT public.evil()",
        "COPY (SELECT 1) TO PROGRAM 'touch /tmp/x'",
        "COPY pg_roles TO '/tmp/x'",
        "SELECT lo_import('/etc/passwd')",
        "SELECT lo_export(1, '/tmp/x')",
        "SELECT lo_unlink(1)",
        "SELECT * FROM dblink('host=x', 'select 1') AS t(a int)",
        "SELECT dblink_exec('x')",
        "SET ROLE postgres",
        "RESET ALL",
        "SELECT set_config('role', 'x', false)",
        "COMMIT",
        "ROLLBACK; DROP ROLE x",
        "SELECT 1; SELECT 2",
        "SELECT 1; COMMIT; DROP TABLE x",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_ls_dir('/')",
        "SELECT pg_stat_file('/etc/passwd')",
        "SELECT pg_sleep(100)",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_notify('a', 'b')",
        "NOTIFY a",
        "LISTEN a",
        "SELECT pg_reload_conf()",
        "SELECT pg_rotate_logfile()",
        "SELECT pg_switch_wal()",
        "SELECT pg_create_restore_point('x')",
        "SELECT pg_logical_emit_message(true, 'a', 'b')",
        "SELECT pg_drop_replication_slot('a')",
        "SELECT pg_export_snapshot()",
        "SELECT txid_current()",
        "SELECT query_to_xml('delete from x', true, true, '')",
        "SELECT table_to_xml('pg_authid', true, true, '')",
        "SELECT ts_stat('select 1')",
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x",
        "SELECT * INTO t FROM pg_roles",
        "CREATE TABLE t AS SELECT 1",
        "SELECT * FROM pg_roles FOR UPDATE",
        "EXPLAIN ANALYZE SELECT 1",
        "DO $$ BEGIN END $$",
        "CALL p()",
        "EXECUTE x",
        "PREPARE x AS SELECT 1",
        "DECLARE c CURSOR FOR SELECT 1",
        "VACUUM",
        "LOCK pg_class",
        "DISCARD ALL",
        "SELECT 1 OPERATOR(public.+) 2",
        "SELECT 'x'::public.evil",
        "SELECT CAST('x' AS evil)",
        "SELECT xmlparse(document 'x')",
        "TABLE pg_roles",
        "SELECT x.value FROM current_user x",
        "SELECT repeat('x', 1000000000)",
    ] {
        refused(Postgres, text);
    }
    for text in [
        "SELECT SLEEP(10)",
        "SELECT BENCHMARK(1000000, MD5('x'))",
        "SELECT GET_LOCK('a', 10)",
        "SELECT LOAD_FILE('/etc/passwd')",
        "SELECT 'x' INTO OUTFILE '/tmp/x'",
        "SELECT 'x' INTO DUMPFILE '/tmp/x'",
        "SELECT 1 INTO @a",
        "SELECT @a := 1",
        "SELECT @@datadir",
        "SELECT * FROM app.users",
        "SELECT * FROM users",
        "SELECT * FROM information_schema.processlist",
        "SHOW GRANTS FOR root@localhost",
        "SHOW CREATE USER root@localhost",
        "KILL 1",
        "SET GLOBAL general_log = 1",
        "HANDLER t OPEN",
        "SELECT * FROM mysql.db FOR UPDATE",
        "SELECT * FROM mysql.db PROCEDURE ANALYSE()",
        "SELECT NEXT VALUE FOR s",
        "/*! DROP DATABASE x */",
        "SELECT /*! SLEEP(10), */ 1 FROM mysql.db PROCEDURE ANALYSE()",
    ] {
        refused(MariaDb, text);
    }
}

#[test]
fn what_proves_a_password_is_out_of_reach() {
    for text in [
        "SELECT rolpassword FROM pg_authid",
        "SELECT * FROM pg_catalog.pg_authid",
        "SELECT row_to_json(a) FROM pg_authid a",
        "SELECT a FROM \"pg_authid\" a",
        "SELECT * FROM pg_roles NATURAL JOIN pg_authid",
        "SELECT passwd FROM pg_shadow",
        "WITH pg_authid AS (SELECT 1) SELECT * FROM pg_authid",
        "WITH x AS (WITH pg_shadow AS (SELECT 1) SELECT 1) SELECT * FROM pg_shadow",
        "SELECT umoptions FROM pg_user_mapping",
        "SELECT umoptions FROM pg_user_mappings",
        "SELECT option_value FROM information_schema.user_mapping_options",
        "SELECT option_value FROM information_schema._pg_user_mappings",
        "SELECT subconninfo FROM pg_subscription",
        "SELECT query FROM pg_stat_activity",
        "SELECT most_common_vals FROM pg_stats",
        "SELECT stavalues1 FROM pg_statistic",
        "SELECT current_setting('primary_conninfo')",
        "SELECT current_setting('Primary_ConnInfo')",
        "SELECT current_setting(n) FROM (VALUES ('primary_conninfo')) v(n)",
        "SELECT current_setting($1)",
        "SHOW primary_conninfo",
        "SHOW ALL",
        "SELECT * FROM app.public.t",
        "SELECT * FROM public.pg_roles",
        "SELECT * FROM pg_temp.pg_roles",
    ] {
        refused(Postgres, text);
    }
    let settings = allowed(Postgres, "SELECT * FROM pg_settings s WHERE s.name = 'primary_conninfo'");
    assert!(settings.contains("NOT IN ('primary_conninfo'"), "{settings}");
    let files = allowed(Postgres, "SELECT f.setting FROM pg_file_settings f");
    assert!(files.contains("NOT IN ('primary_conninfo'"), "{files}");
    for text in [
        "SELECT authentication_string FROM mysql.proxies",
        "SELECT * FROM mysql.password_reuse_check_history",
        "SELECT * FROM mysql.servers",
        "SELECT * FROM mysql.general_log",
    ] {
        refused(MariaDb, text);
    }
    let user = allowed(MariaDb, "SELECT * FROM mysql.user");
    assert!(!user.contains("authentication_string") && user.contains("AS `user`"), "{user}");
    let account = allowed(MariaDb, "SELECT p.* FROM mysql.global_priv AS p");
    assert!(account.contains("JSON_REMOVE(Priv, '$.authentication_string', '$.auth_or')"), "{account}");
}

#[test]
fn what_is_sent_is_what_was_read() {
    let sent = allowed(Postgres, "select /* a */ rolname -- b\n from PG_ROLES where oid=$1");
    assert_eq!(sent, "SELECT rolname FROM PG_ROLES WHERE oid = $1");
    // The backslash was read as the server reads it, and is gone.
    assert_eq!(allowed(MariaDb, "SELECT 'a\\' UNION SELECT 1 -- '"), "SELECT 'a'' UNION SELECT 1 -- '");
    refused(MariaDb, "SELECT 'a\\\\'");
    refused(Postgres, "SELECT E'\\x'");
    refused(Postgres, "SELECT U&'\\0041'");
    refused(Postgres, "SELECT $$a$$");
    refused(Postgres, "SELECT $x$a$x$");
    refused(Postgres, "SELECT 1\0");
}

#[test]
fn endless_and_deep_queries_are_refused_and_harm_nobody() {
    refused(Postgres, &format!("SELECT {}1", "(".repeat(4_000)));
    refused(Postgres, &format!("SELECT '{}'", "x".repeat(40_000)));
    let chain = format!("SELECT 1{}", "+1".repeat(2_900));
    allowed(Postgres, &chain);
    refused(Postgres, &format!("SELECT 1{}", "+1".repeat(8_000)));
    refused(Postgres, &format!("SELECT {}1", "NOT ".repeat(3_000)));
    refused(Postgres, &"SELECT 1 UNION ".repeat(1_000));
}

/// Ways to call a function without parentheses; `%` stands for it.
const CALLS: &[&str] = &[
    "SELECT ('/etc/passwd'::text).%",
    "SELECT ('/etc/passwd').%",
    "SELECT (99999).%",
    "SELECT ($1).%",
    "SELECT (($1)).%",
    "SELECT (SELECT $1).%",
    "SELECT (ROW($1)).%",
    "SELECT (lower('X')).%",
    "SELECT (ARRAY['x'])[1].%",
    "SELECT (ARRAY['x'])[1:1].%",
    "SELECT ('x').name.%",
    "SELECT ('x').%.name",
    "SELECT (('x').%).name",
    "SELECT ('x').%.*",
    "SELECT (x).% FROM concat('x') x",
    "SELECT (x.value).% FROM concat('x') x(value)",
    "SELECT (x).\"%\" FROM concat('x') x",
    "SELECT x.% FROM concat('x') x",
    "SELECT X.% FROM pg_catalog.concat('x') AS x",
    "SELECT x.% FROM mod(9, 9) x",
    "SELECT x.\"%\" FROM mod(9, 9) AS \"x\"",
    "SELECT concat.% FROM concat('x')",
    "SELECT concat.% FROM pg_catalog.concat('x')",
    "SELECT unnest.% FROM unnest(ARRAY['x'])",
    "SELECT u.% FROM unnest(ARRAY['x']) u",
    "SELECT u.% FROM unnest(ARRAY['x']) AS u(a)",
    "SELECT u.% FROM unnest(ARRAY['x']) WITH ORDINALITY AS u",
    "SELECT x.% FROM pg_roles r, LATERAL concat(r.rolname) x",
    "SELECT x.% FROM pg_roles r CROSS JOIN LATERAL concat(r.rolname) AS x",
    "SELECT %.% FROM json_array_elements('[1]') AS %",
    "SELECT x.%[1] FROM concat('x') x",
    "SELECT count(x.%) FROM concat('x') x",
    "SELECT 1 FROM concat('x') x WHERE x.% IS NULL",
    "SELECT 1 FROM concat('x') x ORDER BY x.%",
    "SELECT 1 FROM concat('x') x GROUP BY x.%",
    "SELECT 1 FROM concat('x') x JOIN pg_roles r ON x.% = r.rolname",
    "SELECT row_number() OVER (ORDER BY x.%) FROM concat('x') x",
    "SELECT (SELECT x.%) FROM concat('x') x",
    "SELECT 1 WHERE EXISTS (SELECT x.% FROM concat('x') x)",
    "SELECT (SELECT x.% FROM concat('x') x(b)) FROM mod(1, 1) x(%)",
    "SELECT x.%, (SELECT 1 FROM pg_roles x) FROM concat('x') x",
    "WITH x AS (SELECT 'x'::text AS a) SELECT x.a, (SELECT x.% FROM concat('y') x) FROM x",
    "WITH \"current_user\" AS (SELECT 1 AS a) SELECT x.% FROM current_user x",
    "WITH session_user AS (SELECT 1 AS a) SELECT x.% FROM session_user x",
    "SELECT nowhere.%",
    "SELECT x.y.% FROM concat('x') x",
];

#[test]
fn a_name_after_a_dot_calls_nothing() {
    for form in CALLS {
        for function in ["pg_read_file", "pg_terminate_backend", "pg_ls_dir", "PG_READ_FILE"] {
            refused(Postgres, &form.replace('%', function));
        }
    }
    // Two names that the server cuts to one.
    let long = "a".repeat(63);
    refused(Postgres, &format!("SELECT {long}c.pg_read_file FROM concat('x') {long}b, pg_roles {long}c"));
    for text in [
        "SELECT (aclexplode(d.datacl)).grantee FROM pg_database d",
        "SELECT x.grantee, x.privilege_type FROM pg_database d, LATERAL aclexplode(d.datacl) x",
        "SELECT t.a, t.b FROM unnest($1::text[]) WITH ORDINALITY AS t (a, b)",
        "SELECT o.option_name FROM pg_foreign_data_wrapper w, LATERAL pg_options_to_table(w.fdwoptions) o",
        "SELECT c.conkey[1], pg_class.relname, pg_catalog.pg_class.oid FROM pg_constraint c, pg_catalog.pg_class",
        "WITH q AS (SELECT oid AS a FROM pg_roles) SELECT q.a, z.a, s.b FROM q, q z, (SELECT 1 AS b) s",
        "SELECT v.a FROM (VALUES (1)) v (a)",
    ] {
        allowed(Postgres, text);
    }
    allowed(MariaDb, "SELECT d.Db, mysql.user.User FROM mysql.db d, mysql.user");
}

#[test]
fn what_a_definition_calls_is_held_to_a_list() {
    let made = |dialect, verb, class: &str, text: &str| {
        let name = if class == "table" { vec!["t".into()] } else { vec!["i".into()] };
        let parts = vec![Part::Text(text.into())];
        let act = Act::Execute(Statement { verb, object: Object { class: class.into(), name }, parts });
        understood(&SqlEffect { dialect, database: Some("app".into()), act, unread: false })
    };
    for (dialect, verb, class, good) in [
        (
            Postgres,
            Verb::Alter,
            "table",
            "ADD COLUMN a timestamptz DEFAULT now(), ADD COLUMN b int DEFAULT nextval('s')",
        ),
        (Postgres, Verb::Alter, "table", "ADD COLUMN a uuid DEFAULT pg_catalog.gen_random_uuid()"),
        (Postgres, Verb::Alter, "table", "ALTER COLUMN a SET DEFAULT current_timestamp"),
        (Postgres, Verb::Alter, "table", "ADD CONSTRAINT k CHECK (lower(a) = a AND length(a) > 3)"),
        (Postgres, Verb::Create, "index", "ON t (lower(a)) WHERE (a IS NOT NULL)"),
        (
            Postgres,
            Verb::Create,
            "table",
            "(a tsvector, b pg_catalog.inet[], c int DEFAULT 1 CHECK (c = ANY (ARRAY[1, 2])))",
        ),
        (Postgres, Verb::Alter, "table", "ADD CONSTRAINT k CHECK (a = 'x'::text AND b[1] = 'y'::varchar(10))"),
        (Sqlite, Verb::Create, "table", "(a MINE DEFAULT (cast('1' AS integer)))"),
        (Sqlite, Verb::Create, "table", "(a TEXT DEFAULT (datetime('now')), CHECK (length(a) > 3))"),
        (MariaDb, Verb::Alter, "table", "ADD COLUMN a datetime DEFAULT (now())"),
    ] {
        assert!(made(dialect, verb, class, good), "{good}");
    }
    for (dialect, verb, class, bad) in [
        (Postgres, Verb::Alter, "table", "ADD COLUMN a text DEFAULT pg_read_file('/etc/passwd')"),
        (Postgres, Verb::Alter, "table", "ADD COLUMN a text DEFAULT public.mine()"),
        (Postgres, Verb::Alter, "table", "ADD COLUMN a text DEFAULT lower(pg_terminate_backend(1)::text)"),
        (Postgres, Verb::Alter, "table", "ALTER COLUMN a SET DEFAULT lo_import('/etc/passwd')"),
        (Postgres, Verb::Alter, "table", "ADD CONSTRAINT k CHECK (public.mine(a))"),
        (Postgres, Verb::Alter, "table", "ADD CONSTRAINT k CHECK (a = 'x'::public.mine)"),
        (Postgres, Verb::Alter, "table", "ADD CONSTRAINT k CHECK (a OPERATOR(public.=) 'x')"),
        (Postgres, Verb::Alter, "table", "ADD CONSTRAINT k CHECK (a IN (SELECT b FROM c))"),
        (Postgres, Verb::Alter, "table", "ADD CONSTRAINT k CHECK (a OPERATOR(public.=) ANY (ARRAY['x']))"),
        (Postgres, Verb::Alter, "table", "ADD CONSTRAINT k CHECK (a OPERATOR(public.=) ALL (ARRAY['x']))"),
        (Postgres, Verb::Alter, "table", "ADD CONSTRAINT k CHECK (b = '{x}'::public.mine[])"),
        (Postgres, Verb::Alter, "table", "ADD CONSTRAINT k CHECK (b = CAST('{x}' AS public.mine[]))"),
        (Postgres, Verb::Alter, "table", "ADD COLUMN a boolean DEFAULT (1).pg_terminate_backend"),
        (Postgres, Verb::Alter, "table", "ADD COLUMN a text DEFAULT ('/etc/passwd'::text).pg_read_file"),
        (Postgres, Verb::Alter, "table", "ADD COLUMN a public.mine DEFAULT 'x'"),
        (Postgres, Verb::Alter, "table", "ADD COLUMN a public.mine[] DEFAULT '{x}'"),
        (Postgres, Verb::Create, "table", "(a int, b public.mine DEFAULT 'x')"),
        (Postgres, Verb::Create, "index", "ON t (public.mine(a))"),
        (Postgres, Verb::Create, "index", "ON t (a) WHERE public.mine(a)"),
        (Sqlite, Verb::Create, "table", "(a TEXT DEFAULT (load_extension('x')))"),
        (Sqlite, Verb::Create, "table", "(a TEXT, CHECK (readfile(a) IS NULL))"),
        (MariaDb, Verb::Alter, "table", "ADD COLUMN a text DEFAULT (load_file('/etc/passwd'))"),
    ] {
        assert!(!made(dialect, verb, class, bad), "{bad}");
    }
}

#[test]
fn only_what_keeps_all_is_understood_of_a_table() {
    let alter = |dialect, text: &str| {
        let object = Object { class: "table".into(), name: vec!["public".into(), "t".into()] };
        let parts = vec![Part::Text(text.into())];
        let act = Act::Execute(Statement { verb: Verb::Alter, object, parts });
        understood(&SqlEffect { dialect, database: Some("app".into()), act, unread: false })
    };
    for good in [
        "ADD COLUMN c int NOT NULL DEFAULT 0, ADD COLUMN d text",
        "ADD CONSTRAINT k PRIMARY KEY (c)",
        "ADD CONSTRAINT k CHECK (c > 0)",
        "ALTER COLUMN c SET DEFAULT 1",
        "ALTER COLUMN c SET NOT NULL",
        "VALIDATE CONSTRAINT k",
    ] {
        assert!(alter(Postgres, good), "{good}");
    }
    for bad in [
        "ALTER c TYPE int USING 0",
        "ALTER COLUMN c TYPE text USING pg_read_file('/etc/passwd')",
        "ALTER COLUMN c SET DATA TYPE smallint",
        "ADD COLUMN d int, ALTER COLUMN c TYPE int USING (0)",
        "DETACH PARTITION p (x)",
        "DISABLE TRIGGER (x)",
        "SET LOGGED (x)",
    ] {
        assert!(!alter(Postgres, bad), "{bad}");
    }
    for bad in ["ENGINE=BLACKHOLE", "DISCARD TABLESPACE 'x'", "MODIFY COLUMN c tinyint(1)", "CHANGE COLUMN c d int(1)"]
    {
        assert!(!alter(MariaDb, bad), "{bad}");
    }
    assert!(alter(MariaDb, "ADD COLUMN c int(11)"));
}
