//! A real database server behind the test kit: a plugin's queries and statements go to
//! PostgreSQL through `psql`, one process each. What the host adds (judging queries, time
//! limits, preconditions, verifiers of secrets) is not here, and neither are a membership's
//! options and in whose name something is granted; end-to-end tests have it all.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use super::host::{MachinePort, ProposePort};
use super::machine::Machine;
use super::perform::{Body, Proposal};
use crate::effect::Common;
use crate::error::Error;
use crate::sql::statement::{Execute, Grant, Granted, Grantee, Object, Part, Privilege, Rename, Set, Verb};
use crate::sql::{Facts, Failure, Value};

/// A session with one database.
pub(crate) struct SqlConnection {
    psql: Vec<String>,
}

/// The rows of one answer.
pub(crate) struct SqlRows {
    columns: Vec<String>,
    rows: std::cell::RefCell<Vec<Vec<Value>>>,
}

/// A statement as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The database in which it is performed.
    pub database: Option<String>,
    /// Its text; a secret stands there as the text `secret:NAME`.
    pub text: String,
}

impl Machine {
    /// A machine that is a PostgreSQL server, reached with these words: `psql` and its
    /// options for host, port, user and database.
    #[must_use]
    pub fn postgres(psql: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut machine = Self::new();
        machine.psql = psql.into_iter().map(Into::into).collect();
        machine
    }

    pub(super) fn run_statement(&self, statement: &Statement) -> Result<(), Error> {
        psql(&self.database(statement.database.as_deref()), Script::Statement(&statement.text))
            .map(drop)
            .map_err(Error::from)
    }

    fn database(&self, name: Option<&str>) -> Vec<String> {
        let mut words = self.psql.clone();
        if let Some(name) = name {
            let quoted = name.replace('\\', "\\\\").replace('\'', "\\'");
            words.extend(["-d".to_owned(), format!("dbname='{quoted}'")]);
        }
        words
    }
}

/// What `psql` is given to do.
#[derive(Clone, Copy)]
enum Script<'s> {
    /// One statement, whatever it is.
    Statement(&'s str),
    /// Lines on its input, with its own commands among them.
    Lines(&'s str),
}

fn psql(words: &[String], script: Script<'_>) -> Result<String, Failure> {
    let io = |error: std::io::Error| Error::target("io", format!("cannot run psql: {error}"));
    let (program, options) = words.split_first().ok_or_else(|| Error::plugin("this machine is no database server"))?;
    let mut command = Command::new(program);
    command.args(options).args([
        "-X",
        "-q",
        "-A",
        "-t",
        "-F",
        "\t",
        "-v",
        "ON_ERROR_STOP=1",
        "-v",
        "VERBOSITY=verbose",
    ]);
    let (input, text) = match script {
        Script::Statement(text) => {
            command.args(["-c", text]);
            ("", text)
        }
        Script::Lines(text) => (text, text),
    };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(io)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A server that is not there does not read to the end.
        drop(stdin.write_all(input.as_bytes()));
    }
    let ended = child.wait_with_output().map_err(io)?;
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    let code = if stderr.contains("FATAL") && stderr.contains("does not exist") { "not-found" } else { "sql" };
    Err(Error::target(code, format!("{} in: {text}", stderr.trim())).into())
}

impl MachinePort<'_> {
    pub(crate) fn server(self) -> Result<Facts, Failure> {
        let ask = "SELECT current_setting('server_version'), current_setting('server_version_num'), current_database(), \
            current_user";
        let answer = psql(&self.0.database(None), Script::Statement(ask))?;
        let mut words = answer.trim_end().split('\t').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        Ok(Facts {
            dialect: "postgres".to_owned(),
            version: word(),
            number: word().parse().unwrap_or_default(),
            database: word(),
            acts_as: word(),
        })
    }

    pub(crate) fn open(self, database: Option<&str>) -> Result<SqlConnection, Failure> {
        let psql_words = self.0.database(database);
        psql(&psql_words, Script::Statement("SELECT 1"))?;
        self.0.keep_token();
        Ok(SqlConnection { psql: psql_words })
    }
}

impl SqlConnection {
    pub(crate) fn query(&self, sql: &str, parameters: &[Value]) -> Result<SqlRows, Failure> {
        // The highest first, so that `$1` does not eat the beginning of `$10`.
        let sql = parameters
            .iter()
            .enumerate()
            .rev()
            .fold(sql.to_owned(), |sql, (at, value)| sql.replace(&format!("${}", at + 1), &parameter(value)));
        let script = format!(
            "SET search_path = pg_catalog;\n{sql} \\gdesc\n\\echo\nSELECT coalesce(json_agg(row_to_json(t)), '[]') FROM ({sql}) t;\n"
        );
        let text = psql(&self.psql, Script::Lines(&script))?;
        let (described, rows) = text.split_once("\n\n").unwrap_or_default();
        let described: Vec<(&str, &str)> = described.lines().filter_map(|line| line.split_once('\t')).collect();
        let rows: Vec<serde_json::Map<String, Json>> = serde_json::from_str(rows)
            .map_err(|error| Error::plugin(format!("two columns of one name, or {error}: {text}")))?;
        let read = |row: &serde_json::Map<String, Json>| {
            described.iter().map(|(name, of)| value(row.get(*name).unwrap_or(&Json::Null), of)).collect()
        };
        let rows = rows.iter().map(read).collect();
        let columns = described.iter().map(|(name, _)| (*name).to_owned()).collect();
        Ok(SqlRows { columns, rows: std::cell::RefCell::new(rows) })
    }
}

impl SqlRows {
    pub(crate) fn columns(&self) -> Vec<String> {
        self.columns.clone()
    }

    pub(crate) fn next(&self, max: u32) -> Result<Vec<Vec<Value>>, Error> {
        let mut rows = self.rows.borrow_mut();
        let many = rows.len().min(max as usize);
        Ok(rows.drain(..many).collect())
    }

    /// Tokens of the kit stand for nothing: preconditions are the host's.
    pub(crate) fn seen(&self, _key: &[Value]) -> Result<String, Error> {
        Ok("seen-0".to_owned())
    }
}

fn value(json: &Json, type_name: &str) -> Value {
    match (json, type_name) {
        (Json::Null, _) => Value::Null,
        (json, "json" | "jsonb") => Value::Text(json.to_string()),
        (Json::Bool(value), _) => Value::Boolean(*value),
        (Json::Number(number), _) => {
            number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or_default()), Value::Integer)
        }
        (Json::String(text), "text" | "name" | "\"char\"" | "character varying") => Value::Text(text.clone()),
        (Json::String(text), "oid") => text.parse().map_or(Value::Null, Value::Integer),
        (Json::String(text), _) => Value::Other { type_name: type_name.to_owned(), text: text.clone() },
        (Json::Array(items), _) => Value::Texts(items.iter().filter_map(Json::as_str).map(str::to_owned).collect()),
        (json @ Json::Object(_), _) => Value::Text(json.to_string()),
    }
}

fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

fn parameter(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) | Value::Other { text, .. } => literal(text),
        Value::Bytes(bytes) => format!("'\\x{}'", hex::encode(bytes)),
        Value::Texts(texts) => {
            format!("ARRAY[{}]::text[]", texts.iter().map(|text| literal(text)).collect::<Vec<_>>().join(","))
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect::<Vec<_>>().join(".")
}

fn named(object: &Object) -> String {
    match (object.class.as_str(), object.name.as_slice()) {
        ("function" | "procedure" | "routine", [name @ .., types]) => format!("{}({types})", quoted(name)),
        (_, name) => quoted(name),
    }
}

impl ProposePort<'_> {
    fn statement(self, common: Common, database: Option<String>, text: String) -> Result<(), Error> {
        self.0.propose(Proposal { common, body: Body::Sql(Statement { database, text }) })
    }

    pub(crate) fn sql_execute(self, common: Common, body: Execute) -> Result<(), Error> {
        let class = body.object.class.to_uppercase();
        let name = named(&body.object);
        let mut text = match body.verb {
            Verb::Create => format!("CREATE {class} {name}"),
            Verb::Alter => format!("ALTER {class} {name}"),
            Verb::Drop if body.object.class == "owned" => format!("DROP OWNED BY {name}"),
            Verb::Drop => format!("DROP {class} {name}"),
            Verb::Comment => format!("COMMENT ON {class} {name} IS"),
            Verb::Reassign => format!("REASSIGN OWNED BY {name}"),
            Verb::Reload => "SELECT pg_reload_conf()".to_owned(),
        };
        for part in body.parts {
            let part = match part {
                Part::Text(text) => text,
                Part::Identifier(names) => quoted(&names),
                Part::Literal(text) => literal(&text),
                Part::Integer(number) => number.to_string(),
                Part::Secret { name, .. } => literal(&format!("secret:{name}")),
            };
            let _ = write!(text, " {part}");
        }
        self.statement(common, body.database, text)
    }

    pub(crate) fn sql_rename(self, common: Common, body: Rename) -> Result<(), Error> {
        let class = body.object.class.to_uppercase();
        let text = format!("ALTER {class} {} RENAME TO {}", named(&body.object), quoted(&[body.to]));
        self.statement(common, body.database, text)
    }

    pub(crate) fn sql_set(self, common: Common, body: Set) -> Result<(), Error> {
        let of = match body.object.class.as_str() {
            "system" => "SYSTEM".to_owned(),
            class => format!("{} {}", class.to_uppercase(), named(&body.object)),
        };
        let within = body.in_database.map(|name| format!(" IN DATABASE {}", quoted(&[name]))).unwrap_or_default();
        let name = quoted(&body.name.split('.').map(str::to_owned).collect::<Vec<_>>());
        let rest = match body.value {
            None => format!("RESET {name}"),
            Some(values) => {
                let values: Vec<String> = values.iter().map(|value| literal(value)).collect();
                format!("SET {name} TO {}", values.join(", "))
            }
        };
        self.statement(common, None, format!("ALTER {of}{within} {rest}"))
    }

    pub(crate) fn sql_grant(self, common: Common, body: Grant) -> Result<(), Error> {
        let (mut prefix, mut option) = (String::new(), "GRANT OPTION");
        let what = match &body.granted {
            Granted::Privileges(privileges, object) => {
                format!("{} ON {} {}", listed(privileges), class(object), named(object))
            }
            Granted::AllInSchema(privileges, object) => {
                format!("{} ON ALL {}S IN SCHEMA {}", listed(privileges), class(object), quoted(&object.name))
            }
            Granted::Membership(role) => {
                option = "ADMIN OPTION";
                quoted(std::slice::from_ref(role))
            }
            Granted::Defaults { owner, schema, class, privileges } => {
                prefix = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {} ", quoted(std::slice::from_ref(owner)));
                if let Some(schema) = schema {
                    let _ = write!(prefix, "IN SCHEMA {} ", quoted(std::slice::from_ref(schema)));
                }
                format!("{} ON {}S", listed(privileges), class.to_uppercase())
            }
        };
        let who = match body.grantee {
            Grantee::Public => "PUBLIC".to_owned(),
            Grantee::Role(role) | Grantee::User(role, _) => quoted(&[role]),
        };
        let mut text = match (body.revoke, body.with_option) {
            (true, true) => format!("{prefix}REVOKE {option} FOR {what} FROM {who}"),
            (true, false) => format!("{prefix}REVOKE {what} FROM {who}"),
            (false, true) => format!("{prefix}GRANT {what} TO {who} WITH {option}"),
            (false, false) => format!("{prefix}GRANT {what} TO {who}"),
        };
        if body.cascade {
            text.push_str(" CASCADE");
        }
        self.statement(common, body.database, text)
    }
}

fn class(object: &Object) -> String {
    if object.class == "foreign server" { "FOREIGN SERVER".to_owned() } else { object.class.to_uppercase() }
}

fn listed(privileges: &[Privilege]) -> String {
    let one = |privilege: &Privilege| match privilege.columns.as_slice() {
        [] => privilege.name.clone(),
        columns => format!(
            "{} ({})",
            privilege.name,
            columns.iter().map(|c| quoted(std::slice::from_ref(c))).collect::<Vec<_>>().join(", ")
        ),
    };
    privileges.iter().map(one).collect::<Vec<_>>().join(", ")
}
