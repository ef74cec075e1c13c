//! What a hostile provider tries through its reads, over the superuser's connection. Nothing
//! on the server may be other than before.

use tidelock_model::config::ServerDecl;

use crate::support::{Bed, ask, grant};

const PREPARED: &str = "CREATE TABLE public.t (id int); INSERT INTO public.t VALUES (1); \
    CREATE SEQUENCE public.s; \
    CREATE FUNCTION public.evil() RETURNS int LANGUAGE sql AS 'SELECT pg_terminate_backend(0)::int'; \
    CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('public.s'); RETURN 'x'; END $$; \
    CREATE VIEW public.pg_roles AS SELECT nextval('public.s') AS rolname; \
    CREATE FUNCTION public.eq(name, name) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('public.s'); RETURN true; END $$; \
    CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = name, FUNCTION = public.eq); \
    CREATE EXTENSION dblink; CREATE ROLE victim LOGIN PASSWORD 'victims own'; \
    ALTER ROLE postgres SET search_path TO public, pg_catalog; \
    ALTER DATABASE postgres SET default_transaction_read_only TO off";

/// What is seen of the server by somebody who has nothing to do with us.
fn seen(bed: &Bed) -> String {
    let sequence = bed.postgres.psql("postgres", "SELECT last_value, is_called FROM public.s");
    let rows = bed.postgres.psql("postgres", "SELECT count(*) FROM public.t");
    let locks = bed.postgres.psql("postgres", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'");
    format!("{}{sequence} {rows} {locks}", bed.postgres.dump())
}

#[tokio::test]
async fn reads_change_nothing_over_a_superusers_connection() {
    let bed = Bed::new();
    bed.postgres.psql("postgres", PREPARED);
    // Somebody else's session, which must live on.
    let mut other = std::process::Command::new("psql")
        .args(["-X", "-U", "postgres", "-d", "postgres", "-c", "SELECT pg_sleep(60)", "-p"])
        .arg(bed.postgres.port().to_string())
        .arg("-h")
        .arg(bed.postgres.socket())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pid = loop {
        let pid = bed.postgres.psql("postgres", "SELECT pid FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'");
        if !pid.is_empty() {
            break pid;
        }
    };
    let before = seen(&bed);
    let server = bed.server();
    let file = bed.folder.path().join("server/touched");
    let touched = file.display();
    let attacks = [
        "INSERT INTO public.t VALUES (2)".to_owned(),
        "DELETE FROM public.t".into(),
        "TRUNCATE public.t".into(),
        "SELECT nextval('public.s')".into(),
        "SELECT setval('public.s', 99)".into(),
        format!("SELECT pg_terminate_backend({pid})"),
        format!("SELECT pg_catalog.pg_cancel_backend({pid})"),
        format!("SELECT x.pid FROM (SELECT {pid} AS pid) x WHERE pg_terminate_backend(x.pid)"),
        format!("COPY (SELECT 1) TO PROGRAM 'touch {touched}'"),
        format!("COPY public.t TO '{touched}'"),
        format!("SELECT lo_export(lo_import('/etc/hostname'), '{touched}')"),
        "SELECT lo_import('/etc/hostname')".into(),
        "SELECT lo_create(0)".into(),
        "SELECT * FROM public.dblink('dbname=postgres', 'DELETE FROM public.t RETURNING 1') AS x (a int)".into(),
        "SELECT public.dblink_exec('dbname=postgres', 'DELETE FROM public.t')".into(),
        "SET ROLE victim".into(),
        "SET SESSION AUTHORIZATION victim".into(),
        "SELECT set_config('default_transaction_read_only', 'off', false)".into(),
        "SET TRANSACTION READ WRITE".into(),
        "COMMIT".into(),
        "ROLLBACK".into(),
        "COMMIT; DELETE FROM public.t".into(),
        "SELECT 1; DELETE FROM public.t".into(),
        "SELECT 1 /* ; */; /* */ DROP TABLE public.t".into(),
        "END; DROP ROLE victim; BEGIN".into(),
        "SELECT public.evil()".into(),
        "SELECT evil()".into(),
        "SELECT * FROM public.pg_roles".into(),
        "SELECT * FROM public.t".into(),
        "SELECT 'a'::name OPERATOR(public.=) 'b'::name".into(),
        "WITH x AS (DELETE FROM public.t RETURNING 1) SELECT * FROM x".into(),
        "SELECT query_to_xml('DELETE FROM public.t', true, true, '')".into(),
        "SELECT pg_read_file('/etc/passwd')".into(),
        "SELECT pg_advisory_lock(1)".into(),
        "SELECT pg_notify('a', 'b')".into(),
        "SELECT pg_reload_conf()".into(),
        "SELECT pg_switch_wal()".into(),
        "SELECT pg_create_physical_replication_slot('x')".into(),
        "DO $$ BEGIN PERFORM 1; END $$".into(),
        "EXPLAIN ANALYZE DELETE FROM public.t".into(),
        "CREATE TEMP TABLE pg_class (oid int)".into(),
        "SELECT * INTO TEMP x FROM pg_class".into(),
        "SELECT rolpassword FROM pg_authid".into(),
        "SELECT a FROM pg_authid a".into(),
        "SELECT row_to_json(s) FROM pg_shadow s".into(),
        // What stands after a dot is a call where no column has the name.
        format!("SELECT ({pid}).pg_terminate_backend"),
        format!("SELECT (({pid})).\"pg_terminate_backend\""),
        format!("SELECT (SELECT {pid}).pg_terminate_backend"),
        format!("SELECT (ARRAY[{pid}])[1].pg_terminate_backend"),
        format!("SELECT x.pg_terminate_backend FROM abs({pid}) x"),
        format!("SELECT (x).pg_terminate_backend FROM abs({pid}) x"),
        format!("SELECT (x.a).pg_terminate_backend FROM abs({pid}) x(a)"),
        format!("SELECT abs.pg_terminate_backend FROM pg_catalog.abs({pid})"),
        format!("SELECT u.pg_terminate_backend FROM unnest(ARRAY[{pid}]) u"),
        format!("SELECT x.pg_terminate_backend FROM pg_class c, LATERAL abs({pid}) AS x"),
        format!("SELECT 1 FROM abs({pid}) x WHERE x.pg_terminate_backend"),
        format!("SELECT (SELECT x.pg_terminate_backend FROM abs({pid}) x(b)) FROM abs(1) x(pg_terminate_backend)"),
        format!("WITH x AS (SELECT true AS a) SELECT x.a, (SELECT x.pg_terminate_backend FROM abs({pid}) x) FROM x"),
        "SELECT ('/etc/passwd'::text).pg_read_file".into(),
        "SELECT ('/etc/passwd').pg_read_file".into(),
        "SELECT ('/').pg_ls_dir.pg_read_file".into(),
        "SELECT x.pg_read_file FROM concat('/etc/passwd') x".into(),
        "SELECT concat.pg_read_file FROM concat('/etc/passwd')".into(),
        "SELECT x.pg_read_file[1] FROM concat('/etc/passwd') x".into(),
        "WITH \"current_user\" AS (SELECT 1 AS a) SELECT x.pg_ls_dir FROM current_user x".into(),
    ];
    for attack in &attacks {
        let failed = ask(&server, None, attack).await.expect_err(attack);
        assert!(matches!(failed.fault.code.as_str(), "denied" | "invalid"), "{attack}: {failed:?}");
    }
    // What is shadowed in a user's schema means the catalog's own to us.
    let roles = ask(&server, None, "SELECT lower(rolname) FROM pg_roles WHERE rolname = 'victim'::name").await.unwrap();
    assert_eq!(roles.rows.len(), 1);
    assert_eq!(roles.rows[0][0].text().as_deref(), Some("victim"));
    // Attribute notation calls a function of the relation's row; only those of the catalog are found.
    assert!(ask(&server, None, "SELECT c.evil FROM pg_class c").await.is_err());
    assert_eq!(seen(&bed), before);
    assert!(!file.exists() && other.try_wait().unwrap().is_none(), "another session was ended");
    other.kill().unwrap();
    other.wait().unwrap();
    let log = bed.postgres.log();
    for sign in ["DELETE FROM public.t", "pg_terminate_backend(", "nextval('public.s')", "rolpassword"] {
        let sent = log.lines().filter(|line| line.contains("tidelock") || line.contains("execute"));
        assert!(!sent.into_iter().any(|line| line.contains(sign)), "{sign} reached the server");
    }
}

#[tokio::test]
async fn a_session_that_reads_is_read_only_by_itself() {
    // Were the guard to let something through, the transaction would still refuse it.
    let bed = Bed::new();
    bed.postgres.psql("postgres", "CREATE TABLE public.t (id int)");
    let server = bed.server();
    let unjudged = tidelock_target::sql::guard::Judged { text: "DELETE FROM public.t".into(), show: true };
    let failed = server.ask(None, &unjudged, &[]).await.unwrap_err();
    assert_eq!(failed.sqlstate.as_deref(), Some("25006"), "{failed:?}");
    let two = tidelock_target::sql::guard::Judged { text: "SELECT 1; COMMIT; DELETE FROM public.t".into(), show: true };
    assert_eq!(server.ask(None, &two, &[]).await.unwrap_err().sqlstate.as_deref(), Some("42601"));
}

#[tokio::test]
async fn reads_can_have_a_role_of_their_own() {
    let bed = Bed::new();
    bed.postgres.psql("postgres", "CREATE ROLE eyes LOGIN PASSWORD 'only looks'");
    let decl = ServerDecl { read: Some(bed.reader("eyes", "only looks")), ..bed.decl() };
    let server = bed.server_with(decl, grant(&[], &["*"]));
    let who = ask(&server, None, "SELECT current_user::text").await.unwrap();
    assert_eq!(who.rows[0][0].text().as_deref(), Some("eyes"));
    assert_eq!(server.facts().await.unwrap().acts_as, "postgres");
}
