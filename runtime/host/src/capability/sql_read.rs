//! `tidelock:sql/read`: asking a database server, within the grant. Queries are judged by the
//! target; rows stay here until the guest asks for them.

use std::sync::Arc;

use tidelock_model::effect::Precondition;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::Access;
use tidelock_model::sql::Look;
use tidelock_target::sql::{Keyed, SqlFault, Value as Cell};
use wasmtime::Result;
use wasmtime::component::Resource;

use crate::bindings::sql_read::{self, Column, Failure, Host, HostConnection, HostRows, Other, ServerFacts, Value};
use crate::bindings::types::Error;
use crate::call::CallState;
use crate::convert::to_guest;
use crate::eyes::SqlReads;

/// Connections and answers that one call may have open.
pub(crate) const MAX_OPEN: usize = 256;
/// Rows that are handed over at once.
const MAX_PAGE: usize = 20_000;
/// What the values handed over at once may take, in bytes: half of what one host call may move.
const MAX_PAGE_BYTES: usize = 8 << 20;
/// Memory of all answers that a call holds at once, in bytes: that of the largest one.
const MAX_ANSWERS: usize = 64 << 20;
/// Parameters of a query.
const MAX_PARAMETERS: usize = 1_000;

/// A guest's handle of a database.
#[expect(unreachable_pub, reason = "the generated bindings name it in a public module")]
pub struct Connection {
    database: Option<String>,
}

/// A guest's handle of an answer.
#[expect(unreachable_pub, reason = "the generated bindings name it in a public module")]
pub struct Rows {
    answer: Keyed,
    /// What was asked, for tokens.
    look: Look,
    /// How many rows were handed over.
    given: usize,
    /// What it takes of the call's memory, in bytes.
    weight: usize,
}

impl Host for CallState {
    async fn server(&mut self) -> Result<Result<ServerFacts, Failure>> {
        self.door.enter_read("sql/read.server", 1)?;
        let reads = match self.reads("sql/read.server", None)? {
            Ok(reads) => reads,
            Err(fault) => return Ok(Err(self.failure(None, fault))),
        };
        Ok(match reads.facts().await {
            Ok(facts) => Ok(ServerFacts {
                dialect: facts.dialect.word().to_owned(),
                version: facts.version,
                number: facts.number,
                database: facts.database,
                acts_as: facts.acts_as,
                extras: vec![],
            }),
            Err(fault) => Err(self.failure(None, fault)),
        })
    }

    async fn open(&mut self, database: Option<String>) -> Result<Result<Resource<Connection>, Failure>> {
        self.door.enter_read("sql/read.open", 1)?;
        if let Err(fault) = self.reads("sql/read.open", database.as_deref())? {
            return Ok(Err(self.failure(database.as_deref(), fault)));
        }
        Ok(Ok(self.table.push(Connection { database })?))
    }
}

impl HostConnection for CallState {
    async fn query(
        &mut self,
        connection: Resource<Connection>,
        sql: String,
        parameters: Vec<Value>,
    ) -> Result<Result<Resource<Rows>, Failure>> {
        self.door.enter_read("sql/read.query", 1)?;
        let named = self.table.get(&connection)?.database.clone();
        let database = named.as_deref();
        // The grant is asked for each query, not only when the handle is made.
        let reads = match self.reads("sql/read.query", database)? {
            Ok(reads) => reads,
            Err(fault) => return Ok(Err(self.failure(database, fault))),
        };
        if parameters.len() > MAX_PARAMETERS {
            let message = format!("a query of more than {MAX_PARAMETERS} parameters");
            return Ok(Err(self.failure(database, Fault::new("limit", Blame::Plugin, message))));
        }
        if self.answers > MAX_ANSWERS {
            return Ok(Err(self.failure(database, too_much())));
        }
        let judged = match reads.judge(&sql).await {
            Ok(judged) => judged,
            Err(fault) => {
                if !fault.sign_in {
                    self.door.denied(&fault.fault);
                }
                return Ok(Err(self.failure(database, fault)));
            }
        };
        let parameters: Vec<Option<String>> = parameters.into_iter().map(|value| cell(value).text()).collect();
        let answer = match reads.ask(database, &judged, &parameters).await {
            Ok(answer) => answer,
            Err(fault) => return Ok(Err(self.failure(database, fault))),
        };
        let weight = answer.weight();
        if self.answers.saturating_add(weight) > MAX_ANSWERS {
            return Ok(Err(self.failure(database, too_much())));
        }
        let mut answer = Keyed::new(answer);
        let (count, rows) = answer.of_key(&[]);
        let look = Look { database: named, query: sql.into(), parameters, key: vec![], count, rows };
        let rows = self.table.push(Rows { answer, look, given: 0, weight })?;
        self.answers += weight;
        Ok(Ok(rows))
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

impl HostRows for CallState {
    async fn columns(&mut self, rows: Resource<Rows>) -> Result<Vec<Column>> {
        self.door.enter_read("sql/read.columns", 1)?;
        let rows = self.table.get(&rows)?;
        let column = |column: &tidelock_target::sql::Column| Column {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
        };
        Ok(rows.answer.answer().columns.iter().map(column).collect())
    }

    async fn count(&mut self, rows: Resource<Rows>) -> Result<u32> {
        self.door.enter_read("sql/read.count", 1)?;
        Ok(self.table.get(&rows)?.look.count)
    }

    async fn next(&mut self, rows: Resource<Rows>, max: u32) -> Result<Result<Vec<Vec<Value>>, Error>> {
        self.door.enter_read("sql/read.next", 1)?;
        let rows = self.table.get_mut(&rows)?;
        let mut page = Vec::new();
        let mut weight = 0;
        let most = usize::try_from(max).unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
        for row in rows.answer.answer().rows.iter().skip(rows.given).take(most) {
            weight += row.iter().map(Cell::weight).sum::<usize>();
            // A row that is larger than a page still comes, by itself.
            if weight > MAX_PAGE_BYTES && !page.is_empty() {
                break;
            }
            page.push(row.iter().cloned().map(value).collect());
        }
        rows.given += page.len();
        Ok(Ok(page))
    }

    async fn seen(&mut self, rows: Resource<Rows>, key: Vec<Value>) -> Result<Result<String, Error>> {
        self.door.enter_read("sql/read.seen", 1)?;
        let pass = self.pass("sql/read.seen")?;
        let rows = self.table.get_mut(&rows)?;
        let key: Vec<Option<String>> = key.into_iter().map(|value| cell(value).text()).collect();
        if key.len() > rows.answer.answer().columns.len() {
            let message = format!("a key of {} values for {} columns", key.len(), rows.answer.answer().columns.len());
            return Ok(Err(to_guest(&Fault::new("invalid", Blame::Plugin, message))));
        }
        let (count, digest) = rows.answer.of_key(&key);
        let look = Look { key, count, rows: digest, ..rows.look.clone() };
        match pass.seen.keep(Precondition::Rows { looks: vec![look] }) {
            Some(token) => Ok(Ok(token)),
            None => Err(self.door.broken("looked at more rows than one pass may").into()),
        }
    }

    async fn drop(&mut self, rows: Resource<Rows>) -> Result<()> {
        let rows = self.table.delete(rows)?;
        self.answers = self.answers.saturating_sub(rows.weight);
        Ok(())
    }
}

impl CallState {
    /// A fault as the guest is told of it: where the server is, and who signs in, is for the
    /// operator, who gets it back when the guest passes the fault on.
    pub(super) fn failure(&mut self, database: Option<&str>, fault: impl Into<SqlFault>) -> Failure {
        let SqlFault { mut fault, sqlstate, detail, hint, position, sign_in } = fault.into();
        if !sign_in {
            return Failure { error: to_guest(&fault), sqlstate, detail, hint, position };
        }
        let within = database.map_or_else(String::new, |database| format!(", database {database}"));
        let said = format!("Tidelock could not sign in to the server{within} ({})", fault.code);
        let real = std::mem::replace(&mut fault.message, said.clone());
        self.door.keep_back(said, Fault { message: real, ..fault.clone() });
        Failure { error: to_guest(&fault), sqlstate, detail: None, hint: None, position: None }
    }

    /// The server of the call's target, once the grant opens the database.
    fn reads(
        &mut self,
        function: &'static str,
        database: Option<&str>,
    ) -> Result<std::result::Result<Arc<dyn SqlReads>, SqlFault>> {
        let pass = self.pass(function)?;
        let reads = match pass.eyes.sql() {
            Ok(reads) => Arc::clone(reads),
            Err(fault) => return Ok(Err(fault.into())),
        };
        let named = database.unwrap_or(reads.maintenance());
        let access = Access::Database { name: named, maintenance: database.is_none() || named == reads.maintenance() };
        let verdict = self.door.decide(pass.eyes.grant(&self.door.plugin), pass.target.as_str(), access);
        Ok(verdict.map(|()| reads).map_err(SqlFault::from))
    }
}

fn too_much() -> Fault {
    let message =
        format!("the answers that are held have more than {MAX_ANSWERS} bytes; let go of some, or ask for less");
    Fault::new("limit", Blame::Plugin, message)
}

fn value(cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Boolean(value) => Value::Boolean(value),
        Cell::Integer(value) => Value::Integer(value),
        Cell::Float(value) => Value::Float(value),
        Cell::Text(text) => Value::Text(text),
        Cell::Bytes(bytes) => Value::Bytes(bytes),
        Cell::Texts(items) => Value::Texts(items),
        Cell::Other { type_name, text } => Value::Other(Other { type_name, text }),
    }
}

fn cell(value: Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Boolean(value) => Cell::Boolean(value),
        Value::Integer(value) => Cell::Integer(value),
        Value::Float(value) => Cell::Float(value),
        Value::Text(text) => Cell::Text(text),
        Value::Bytes(bytes) => Cell::Bytes(bytes),
        Value::Texts(items) => Cell::Texts(items),
        Value::Other(sql_read::Other { type_name, text }) => Cell::Other { type_name, text },
    }
}
