//! The host's `tidelock:sql` as a guest reaches it: each method calls one import.

use super::bindings::provider::tidelock::sql::{propose, read};
use super::host::{MachinePort, ProposePort, error_in};
use crate::effect::{AfterCrash, Common};
use crate::error::Error;
use crate::sql::statement::{Execute, Grant, Granted, Grantee, Object, Part, Privilege, Rename, SecretForm, Set, Verb};
use crate::sql::{Facts, Failure, Value};

/// A session with one database.
pub(crate) struct SqlConnection(read::Connection);

/// The rows of one answer, kept in the host.
pub(crate) struct SqlRows(read::Rows);

impl MachinePort<'_> {
    pub(crate) fn server(self) -> Result<Facts, Failure> {
        let facts = read::server().map_err(failure_in)?;
        Ok(Facts {
            dialect: facts.dialect,
            version: facts.version,
            number: facts.number,
            database: facts.database,
            acts_as: facts.acts_as,
        })
    }

    pub(crate) fn open(self, database: Option<&str>) -> Result<SqlConnection, Failure> {
        read::open(database).map(SqlConnection).map_err(failure_in)
    }
}

impl SqlConnection {
    pub(crate) fn query(&self, sql: &str, parameters: &[Value]) -> Result<SqlRows, Failure> {
        let parameters: Vec<read::Value> = parameters.iter().cloned().map(value_out).collect();
        self.0.query(sql, &parameters).map(SqlRows).map_err(failure_in)
    }
}

impl SqlRows {
    pub(crate) fn columns(&self) -> Vec<String> {
        self.0.columns().into_iter().map(|column| column.name).collect()
    }

    pub(crate) fn next(&self, max: u32) -> Result<Vec<Vec<Value>>, Error> {
        let page = self.0.next(max).map_err(error_in)?;
        Ok(page.into_iter().map(|row| row.into_iter().map(value_in).collect()).collect())
    }

    pub(crate) fn seen(&self, key: &[Value]) -> Result<String, Error> {
        let key: Vec<read::Value> = key.iter().cloned().map(value_out).collect();
        self.0.seen(&key).map_err(error_in)
    }
}

fn failure_in(failure: read::Failure) -> Failure {
    Failure {
        error: error_in(failure.error),
        sqlstate: failure.sqlstate,
        detail: failure.detail,
        hint: failure.hint,
        position: failure.position,
    }
}

fn value_in(value: read::Value) -> Value {
    match value {
        read::Value::Null => Value::Null,
        read::Value::Boolean(value) => Value::Boolean(value),
        read::Value::Integer(value) => Value::Integer(value),
        read::Value::Float(value) => Value::Float(value),
        read::Value::Text(value) => Value::Text(value),
        read::Value::Bytes(value) => Value::Bytes(value),
        read::Value::Texts(value) => Value::Texts(value),
        read::Value::Other(read::Other { type_name, text }) => Value::Other { type_name, text },
    }
}

fn value_out(value: Value) -> read::Value {
    match value {
        Value::Null => read::Value::Null,
        Value::Boolean(value) => read::Value::Boolean(value),
        Value::Integer(value) => read::Value::Integer(value),
        Value::Float(value) => read::Value::Float(value),
        Value::Text(value) => read::Value::Text(value),
        Value::Bytes(value) => read::Value::Bytes(value),
        Value::Texts(value) => read::Value::Texts(value),
        Value::Other { type_name, text } => read::Value::Other(read::Other { type_name, text }),
    }
}

impl ProposePort<'_> {
    pub(crate) fn sql_execute(self, common: Common, body: Execute) -> Result<(), Error> {
        let statement = propose::Statement {
            verb: match body.verb {
                Verb::Create => propose::Verb::Create,
                Verb::Alter => propose::Verb::Alter,
                Verb::Drop => propose::Verb::Drop,
                Verb::Comment => propose::Verb::Comment,
                Verb::Reassign => propose::Verb::Reassign,
                Verb::Reload => propose::Verb::Reload,
            },
            object: object_out(body.object),
            parts: body.parts.into_iter().map(part_out).collect(),
        };
        propose::execute(&common_out(common, body.database), &statement).map_err(error_in)
    }

    pub(crate) fn sql_rename(self, common: Common, body: Rename) -> Result<(), Error> {
        propose::rename(&common_out(common, body.database), &object_out(body.object), &body.to).map_err(error_in)
    }

    pub(crate) fn sql_set(self, common: Common, body: Set) -> Result<(), Error> {
        let setting = propose::Setting {
            object: object_out(body.object),
            in_database: body.in_database,
            name: body.name,
            value: body.value,
        };
        propose::set(&common_out(common, None), &setting).map_err(error_in)
    }

    pub(crate) fn sql_grant(self, common: Common, body: Grant) -> Result<(), Error> {
        let grant = propose::GrantStatement {
            revoke: body.revoke,
            granted: match body.granted {
                Granted::Privileges(privileges, object) => {
                    propose::Granted::Privileges((privileges_out(privileges), object_out(object)))
                }
                Granted::AllInSchema(privileges, object) => {
                    propose::Granted::AllInSchema((privileges_out(privileges), object_out(object)))
                }
                Granted::Membership(role) => propose::Granted::Membership(role),
                Granted::Defaults { owner, schema, class, privileges } => {
                    let privileges = privileges_out(privileges);
                    propose::Granted::Defaults(propose::Defaults { owner, schema, class, privileges })
                }
            },
            grantee: match body.grantee {
                Grantee::Public => propose::Grantee::Public,
                Grantee::Role(role) => propose::Grantee::Role(role),
                Grantee::User(name, host) => propose::Grantee::User((name, host)),
            },
            with_option: body.with_option,
            options: body.options,
            granted_by: body.granted_by,
            cascade: body.cascade,
        };
        propose::grant(&common_out(common, body.database), &grant).map_err(error_in)
    }
}

fn common_out(common: Common, database: Option<String>) -> propose::Common {
    propose::Common {
        change: common.change,
        preconditions: common.precondition.into_iter().collect(),
        together: common.together,
        after_crash: match common.after_crash {
            AfterCrash::Observe => propose::AfterCrash::Observe,
            AfterCrash::Repeat => propose::AfterCrash::Repeat,
            AfterCrash::Ask => propose::AfterCrash::Ask,
        },
        database,
        extras: Vec::new(),
    }
}

fn object_out(object: Object) -> propose::Object {
    propose::Object { class: object.class, name: object.name }
}

fn privileges_out(privileges: Vec<Privilege>) -> Vec<propose::Privilege> {
    let out = |privilege: Privilege| propose::Privilege { name: privilege.name, columns: privilege.columns };
    privileges.into_iter().map(out).collect()
}

fn part_out(part: Part) -> propose::Part {
    match part {
        Part::Text(text) => propose::Part::Text(text),
        Part::Identifier(names) => propose::Part::Identifier(names),
        Part::Literal(text) => propose::Part::Literal(text),
        Part::Integer(number) => propose::Part::Integer(number),
        Part::Secret { name, form } => propose::Part::Secret(propose::Secret {
            name,
            form: match form {
                SecretForm::Verifier => propose::SecretForm::Verifier,
                SecretForm::Plain => propose::SecretForm::Plain,
            },
        }),
    }
}
