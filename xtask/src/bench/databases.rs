//! Roles and grants of a PostgreSQL server, against `psql -f` of the same statements, which is
//! the floor for it, and against Ansible's `community.postgresql`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidelock_tests::environment::hermetic;
use tidelock_tests::{Postgres, databases};

use super::measure::Measured;
use super::table::Table;
use super::{LIMITS, Yard};

/// Roles of the two sizes; each has three grants.
const SIZES: [usize; 2] = [50, 500];

/// Measures a first apply and one that finds nothing to do. With `ansible`, the folder of a
/// virtual environment with Ansible and psycopg2, also what a playbook for the smaller size takes:
/// it starts several programs for each role.
pub(super) fn databases(binary: &Path, ansible: Option<&Path>, table: &mut Table) -> Result<()> {
    for roles in SIZES {
        let yard = Yard::new(binary, 1)?;
        let ours = server(&yard, "ours");
        stack(&yard, &ours, roles)?;
        let statements = statements(&yard)?;
        let floor = server(&yard, "theirs");
        fs::write(yard.path("all.sql"), statements)?;

        let apply = on(&ours, || yard.tidelock(&["apply", "--yes"]))?;
        let socket = floor.socket().display();
        let psql =
            format!("psql -X -q -1 -v ON_ERROR_STOP=1 -U postgres -h {socket} -p {} -f all.sql app", floor.port());
        let least = on(&floor, || yard.shell(&psql))?;
        let what = |what: &str| format!("{roles} roles with three grants each, {what}");
        table.ratio(&what("first apply (wall)"), apply.wall, least.wall, "psql -f", Some(3.0));
        table.ratio(&what("first apply (CPU, the server's too)"), apply.cpu, least.cpu, "psql -f", Some(3.0));
        let asked = ours.log().len();
        let plan = on(&ours, || yard.tidelock(&["plan", "--detailed-exitcode"]))?;
        let said = |line: &&str| line.contains("LOG:  statement: ") || line.contains("LOG:  execute ");
        let queries = ours.log()[asked..].lines().filter(said).count();
        table.under(&what("queries of a no-op plan"), queries as f64, "", None);
        table.ratio(&what("no-op plan (wall)"), plan.wall, least.wall, "psql -f", Some(3.0));
        table.ratio(&what("no-op plan (CPU, the server's too)"), plan.cpu, least.cpu, "psql -f", Some(3.0));
        let Some(ansible) = ansible.filter(|_| roles == SIZES[0]) else { continue };
        let other = server(&yard, "ansible");
        fs::write(yard.path("roles.yml"), playbook(&other, roles))?;
        for (when, ours) in [("first apply", &apply), ("no-op plan", &plan)] {
            let play = on(&other, || play(&yard, ansible))?;
            // As a share of what it takes: a hundredth is the aim.
            table.ratio(&what(&format!("Ansible's {when} (wall)")), play.wall, ours.wall, "Tidelock", None);
            table.ratio(
                &what(&format!("Ansible's {when} (CPU, the server's too)")),
                play.cpu,
                ours.cpu,
                "Tidelock",
                None,
            );
        }
    }
    if ansible.is_none() {
        eprintln!(
            "  Ansible was left out; to have it beside: python3 -m venv V && V/bin/pip install ansible psycopg2-binary, \
             and --ansible V"
        );
    }
    Ok(())
}

/// A server with a database, a schema and a table in it.
fn server(yard: &Yard, name: &str) -> Postgres {
    let server = Postgres::start(&yard.path(name));
    server.psql("postgres", "CREATE ROLE staff");
    server.psql("postgres", "CREATE DATABASE app");
    server.psql("app", "CREATE SCHEMA sales; CREATE TABLE sales.orders (id int)");
    server
}

fn stack(yard: &Yard, server: &Postgres, roles: usize) -> Result<()> {
    fs::write(yard.path("tidelock.toml"), databases::config(server) + LIMITS)?;
    let each = |i: usize| {
        let grant = |name: &str, on: &str| {
            format!("---\nkind: postgres.grant\nname: {name}{i}\nspec: {{ role: r{i:03}, database: app, {on} }}\n")
        };
        format!(
            "kind: postgres.role\nname: r{i:03}\n\
             spec: {{ name: r{i:03}, login: true, connection_limit: 10, member_of: [staff] }}\n{}{}{}",
            grant("database", "on: database, privileges: [CONNECT]"),
            grant("schema", "on: schema, schema: sales, privileges: [USAGE]"),
            grant("table", "on: table, schema: sales, names: [orders], privileges: [SELECT, INSERT]"),
        )
    };
    yard.repo.git(["rm", "-rq", "web"]);
    let all: Vec<String> = (0..roles).map(each).collect();
    yard.repo
        .write("db/stack.yaml", databases::stack("pg"))
        .write("db/all.yaml", all.join("---\n"))
        .commit("All roles");
    Ok(())
}

/// The statements of the plan, for psql.
fn statements(yard: &Yard) -> Result<String> {
    let mut command = Command::new(&yard.binary);
    hermetic(&mut command, yard.folder.path()).current_dir(yard.folder.path());
    let said = command.args(["plan", "--output", "json"]).output()?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let plan: Value = serde_json::from_slice(&said.stdout)?;
    let groups = plan["groups"].as_array().context("no groups in the plan")?;
    let effects = groups.iter().flat_map(|group| group["effects"].as_array().into_iter().flatten());
    // All of them can be performed in the database that some of them name.
    let plain = |summary: &'_ str| summary.strip_prefix("in app: ").unwrap_or(summary).to_owned();
    let statements: Vec<String> = effects.filter_map(|effect| effect["summary"].as_str()).map(plain).collect();
    ensure!(!statements.is_empty(), "the plan has no statements");
    Ok(statements.join(";\n") + ";\n")
}

/// The same as a playbook, as its documentation shows it: loops over the modules.
fn playbook(server: &Postgres, roles: usize) -> String {
    let login = format!(
        "login_user: postgres, login_unix_socket: {:?}, login_port: {}",
        server.socket().display().to_string(),
        server.port()
    );
    let task = |module: &str, words: &str| {
        let to = if module == "user" { "name" } else { "roles" };
        format!(
            "    - community.postgresql.postgresql_{module}: {{ {login}, {to}: \"r{{{{ '%03d' % item }}}}\", {words} }}\n      \
             loop: \"{{{{ range(0, {roles}) | list }}}}\"\n"
        )
    };
    let privileges = |words: &str| task("privs", &format!("login_db: app, {words}"));
    let membership = format!(
        "    - community.postgresql.postgresql_membership: {{ {login}, groups: staff, target_roles: \"r{{{{ '%03d' % item }}}}\" }}\n      \
         loop: \"{{{{ range(0, {roles}) | list }}}}\"\n"
    );
    format!(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n{}{membership}{}{}{}",
        task("user", "role_attr_flags: LOGIN, conn_limit: 10"),
        privileges("type: database, privs: CONNECT"),
        privileges("type: schema, objs: sales, privs: USAGE"),
        privileges("type: table, schema: sales, objs: orders, privs: \"SELECT,INSERT\""),
    )
}

fn play(yard: &Yard, ansible: &Path) -> Result<Measured> {
    let python = ansible.join("bin/python");
    let mut command = Command::new(ansible.join("bin/ansible-playbook"));
    command.args(["-i", "localhost,", "-c", "local", "-e"]);
    command.arg(format!("ansible_python_interpreter={}", python.display())).arg("roles.yml");
    yard.run(&mut command)
}

/// What a run took, with what the server did for it.
struct Taken {
    wall: Duration,
    cpu: Duration,
}

fn on(server: &Postgres, run: impl FnOnce() -> Result<Measured>) -> Result<Taken> {
    let before = server.cpu();
    let measured = run()?;
    Ok(Taken { wall: measured.wall, cpu: measured.cpu() + server.cpu().saturating_sub(before) })
}
