//! Looking at a database server.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use super::value::{FromValue, Value};
use super::{Facts, Failure};
use crate::error::Error;
use crate::host::{SqlConnection, SqlRows};
use crate::machine::{Machine, Made};

/// Rows that one host call fetches.
const PAGE: u32 = 1_000;

/// What was asked in a call, and its answers.
#[derive(Default)]
struct Kept {
    facts: RefCell<Option<Facts>>,
    connections: RefCell<BTreeMap<Option<String>, Rc<SqlConnection>>>,
    answers: RefCell<BTreeMap<String, Rc<Rows>>>,
    made: Made,
}

/// The target of the call as a database server.
#[derive(Clone, Copy)]
pub struct Server<'h>(&'h Machine<'h>);

impl<'h> Server<'h> {
    /// The server that a call is about.
    #[must_use]
    pub fn of(machine: &'h Machine<'_>) -> Self {
        Self(machine)
    }

    fn kept(self) -> Result<Rc<Kept>, Error> {
        let kept = Rc::clone(self.0.kept.get_or_init(|| Rc::new(Kept::default())));
        kept.downcast().map_err(|_| Error::plugin("one call looks at one sort of target"))
    }

    /// What the server is. Asked once per call.
    ///
    /// # Errors
    /// It could not be reached.
    pub fn facts(self) -> Result<Facts, Failure> {
        let kept = self.kept()?;
        if let Some(facts) = kept.facts.borrow().clone() {
            return Ok(facts);
        }
        let facts = self.0.port().server()?;
        kept.facts.replace(Some(facts.clone()));
        Ok(facts)
    }

    /// A database of the server.
    ///
    /// # Errors
    /// There is none of this name (`not-found`), it is not granted (`denied`), or it could
    /// not be reached.
    pub fn database(self, name: &str) -> Result<Database<'h>, Failure> {
        self.open(Some(name))
    }

    /// The database that the operator named for the target.
    ///
    /// # Errors
    /// As [`Server::database`].
    pub fn home(self) -> Result<Database<'h>, Failure> {
        self.open(None)
    }

    fn open(self, name: Option<&str>) -> Result<Database<'h>, Failure> {
        let kept = self.kept()?;
        let key = name.map(str::to_owned);
        let known = kept.connections.borrow().get(&key).cloned();
        let connection = match known {
            Some(connection) => connection,
            None => {
                let connection = Rc::new(self.0.port().open(name)?);
                kept.connections.borrow_mut().insert(key.clone(), Rc::clone(&connection));
                connection
            }
        };
        Ok(Database { kept, name: key, connection, call: PhantomData })
    }
}

/// A read-only session with one database.
pub struct Database<'h> {
    kept: Rc<Kept>,
    name: Option<String>,
    connection: Rc<SqlConnection>,
    /// It lives as long as the call.
    call: PhantomData<&'h ()>,
}

impl Database<'_> {
    /// Asks. `sql` has `$1`, `$2`, ... for `parameters` (`?` for MariaDB, MySQL and SQLite).
    /// The same question asked again in a call is answered from memory.
    ///
    /// # Errors
    /// The host does not allow it (`denied`), or the server said no.
    pub fn query(&self, sql: &str, parameters: &[Value]) -> Result<Rc<Rows>, Failure> {
        let key = self.key(sql, parameters);
        if let Some(rows) = self.kept.answers.borrow().get(&key) {
            return Ok(Rc::clone(rows));
        }
        let rows = Rc::new(Rows::fetch(self.connection.query(sql, parameters)?)?);
        self.kept.answers.borrow_mut().insert(key, Rc::clone(&rows));
        Ok(rows)
    }

    /// Asks, and makes something of the rows. It is made once per call for the same question.
    ///
    /// # Errors
    /// As [`Database::query`], and what `read` finds.
    pub fn query_as<T: 'static>(
        &self,
        sql: &str,
        parameters: &[Value],
        read: impl FnOnce(&Rc<Rows>) -> Result<T, Error>,
    ) -> Result<Rc<T>, Error> {
        self.kept.made.once(self.key(sql, parameters), || read(&self.query(sql, parameters)?))
    }

    fn key(&self, sql: &str, parameters: &[Value]) -> String {
        format!("{:?} {sql} {parameters:?}", self.name)
    }
}

/// The rows of an answer, all of them.
pub struct Rows {
    columns: Rc<Vec<String>>,
    rows: Vec<Row>,
    port: SqlRows,
    /// Where the rows are, by a column and its value.
    places: RefCell<BTreeMap<String, BTreeMap<String, usize>>>,
}

impl Rows {
    fn fetch(port: SqlRows) -> Result<Self, Failure> {
        let columns = Rc::new(port.columns());
        let mut rows = Vec::new();
        loop {
            let page = port.next(PAGE)?;
            if page.is_empty() {
                return Ok(Self { columns, rows, port, places: RefCell::default() });
            }
            rows.extend(page.into_iter().map(|values| Row { columns: Rc::clone(&columns), values }));
        }
    }

    /// The rows in the order of the answer.
    pub fn iter(&self) -> std::slice::Iter<'_, Row> {
        self.rows.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The names of the columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows by the value of one column; of several with the same value, the last.
    ///
    /// # Errors
    /// There is no such column, or a value is of another type.
    pub fn by_key<K: FromValue + Ord>(&self, column: &str) -> Result<BTreeMap<K, &Row>, Error> {
        self.rows.iter().map(|row| Ok((row.get(column)?, row))).collect()
    }

    /// The row whose column holds a text; of several, the last. However often it is asked, the
    /// rows are gone through once.
    ///
    /// # Errors
    /// There is no such column, or a value is no text.
    pub fn find(&self, column: &str, value: &str) -> Result<Option<&Row>, Error> {
        let mut places = self.places.borrow_mut();
        if !places.contains_key(column) {
            let each = self.rows.iter().enumerate().map(|(at, row)| Ok((row.get(column)?, at)));
            places.insert(column.to_owned(), each.collect::<Result<_, Error>>()?);
        }
        Ok(places.get(column).and_then(|places| places.get(value)).map(|at| &self.rows[*at]))
    }

    /// A token that stands for the rows whose first columns are `key`, and for there being
    /// none where there are none. No key stands for all rows. Take the narrowest.
    ///
    /// # Errors
    /// The host gives no token.
    pub fn seen(&self, key: &[Value]) -> Result<String, Error> {
        self.port.seen(key)
    }
}

impl<'r> IntoIterator for &'r Rows {
    type Item = &'r Row;
    type IntoIter = std::slice::Iter<'r, Row>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    columns: Rc<Vec<String>>,
    values: Vec<Value>,
}

impl Row {
    /// The value of a column: `row.get::<String>("rolname")?`. `Option<T>` for a column that
    /// may hold none.
    ///
    /// # Errors
    /// There is no such column, or its value is of another type.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T, Error> {
        let at = self.columns.iter().position(|name| name == column);
        let value = at.and_then(|at| self.values.get(at)).ok_or_else(|| {
            Error::plugin(format!("a query gave no column {column}; it gave {}", self.columns.join(", ")))
        })?;
        T::from_value(value).map_err(|why| Error::plugin(format!("the column {column} {why}")))
    }
}
