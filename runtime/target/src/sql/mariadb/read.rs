//! Asking MariaDB or MySQL, in transactions that are read-only and rolled back.

use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Column as Sent, Params, Value as Cell};
use tidelock_model::sql::Dialect;

use super::connect::{Pool, Session};
use super::error::of;
use crate::sql::Limits;
use crate::sql::guard::Judged;
use crate::sql::session::Purpose;
use crate::sql::value::{Answer, Column, SqlFault, Value};

/// The character set of what is no text.
const BINARY: u16 = 63;

/// Asks in a session of its own.
pub(super) async fn ask(
    pool: &Pool,
    limits: &Limits,
    dialect: Dialect,
    query: &Judged,
    parameters: &[Option<String>],
) -> Result<Answer, SqlFault> {
    let mut session = pool.session(Purpose::Read).await?;
    let failed = |error| of(&error, "a query could not begin");
    session.query_drop(bounds(limits, dialect, limits.statement_ms)).await.map_err(failed)?;
    session.query_drop("START TRANSACTION READ ONLY").await.map_err(failed)?;
    let answer = ask_within(&mut session, limits, query, parameters).await;
    // A session that cannot end its transaction is closed.
    if session.query_drop("ROLLBACK").await.is_ok() {
        session.give_back();
    }
    answer
}

/// Limits of time for a session whose statements may take so many ms. MySQL ends no other than queries.
pub(super) fn bounds(limits: &Limits, dialect: Dialect, statement_ms: u32) -> String {
    let lock = limits.lock_ms.div_ceil(1_000);
    match dialect {
        Dialect::MySql => {
            format!("SET SESSION max_execution_time = {statement_ms}, lock_wait_timeout = {lock}")
        }
        _ => format!(
            "SET SESSION max_statement_time = {}, lock_wait_timeout = {lock}",
            f64::from(statement_ms) / 1_000.0
        ),
    }
}

async fn ask_within(
    session: &mut Session,
    limits: &Limits,
    query: &Judged,
    parameters: &[Option<String>],
) -> Result<Answer, SqlFault> {
    let failed = |error| of(&error, "the server refused a query");
    let parameters = match parameters {
        [] => Params::Empty,
        some => Params::Positional(
            some.iter().map(|text| text.as_ref().map_or(Cell::NULL, |text| Cell::from(text.as_str()))).collect(),
        ),
    };
    let mut result = session.exec_iter(query.text.as_str(), parameters).await.map_err(failed)?;
    let sent: Vec<Sent> = result.columns_ref().to_vec();
    let columns =
        sent.iter().map(|column| Column { name: column.name_str().into_owned(), type_name: type_name(column) });
    let mut answer = Answer { columns: columns.collect(), rows: vec![] };
    let mut weight = 0;
    while let Some(row) = result.next().await.map_err(failed)? {
        let values: Vec<Value> =
            row.unwrap().into_iter().zip(&sent).map(|(cell, column)| value(cell, column)).collect();
        weight += values.iter().map(Value::weight).sum::<usize>();
        answer.rows.push(values);
        limits.hold(answer.rows.len(), weight)?;
    }
    Ok(answer)
}

fn is_binary(column: &Sent) -> bool {
    column.character_set() == BINARY && column.flags().contains(ColumnFlags::BINARY_FLAG)
}

fn type_name(column: &Sent) -> String {
    use ColumnType as T;
    match column.column_type() {
        T::MYSQL_TYPE_TINY => "tinyint",
        T::MYSQL_TYPE_SHORT => "smallint",
        T::MYSQL_TYPE_INT24 | T::MYSQL_TYPE_LONG => "int",
        T::MYSQL_TYPE_LONGLONG => "bigint",
        T::MYSQL_TYPE_FLOAT => "float",
        T::MYSQL_TYPE_DOUBLE => "double",
        T::MYSQL_TYPE_DECIMAL | T::MYSQL_TYPE_NEWDECIMAL => "decimal",
        T::MYSQL_TYPE_DATE | T::MYSQL_TYPE_NEWDATE => "date",
        T::MYSQL_TYPE_DATETIME | T::MYSQL_TYPE_DATETIME2 => "datetime",
        T::MYSQL_TYPE_TIMESTAMP | T::MYSQL_TYPE_TIMESTAMP2 => "timestamp",
        T::MYSQL_TYPE_TIME | T::MYSQL_TYPE_TIME2 => "time",
        T::MYSQL_TYPE_JSON => "json",
        T::MYSQL_TYPE_NULL => "null",
        _ if is_binary(column) => "blob",
        _ => "text",
    }
    .to_owned()
}

fn value(cell: Cell, column: &Sent) -> Value {
    let other = |text: String| Value::Other { type_name: type_name(column), text };
    match cell {
        Cell::NULL => Value::Null,
        Cell::Int(value) => Value::Integer(value),
        Cell::UInt(value) => i64::try_from(value).map_or_else(|_| other(value.to_string()), Value::Integer),
        Cell::Float(value) => Value::Float(value.into()),
        Cell::Double(value) => Value::Float(value),
        Cell::Bytes(bytes) => match type_name(column).as_str() {
            "decimal" => other(String::from_utf8_lossy(&bytes).into_owned()),
            "blob" => Value::Bytes(bytes),
            _ => match String::from_utf8(bytes) {
                Ok(text) => Value::Text(text),
                Err(odd) => Value::Bytes(odd.into_bytes()),
            },
        },
        Cell::Date(year, month, day, hour, minute, second, micros) => other(format!(
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{}",
            if micros == 0 { String::new() } else { format!(".{micros:06}") }
        )),
        Cell::Time(negative, days, hours, minutes, seconds, micros) => other(format!(
            "{}{:02}:{minutes:02}:{seconds:02}{}",
            if negative { "-" } else { "" },
            u64::from(days) * 24 + u64::from(hours),
            if micros == 0 { String::new() } else { format!(".{micros:06}") }
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_a_second_is_one() {
        let limits = Limits { lock_ms: 500, ..Limits::default() };
        for (dialect, wanted) in
            [(Dialect::MariaDb, "max_statement_time = 0.5,"), (Dialect::MySql, "max_execution_time = 500,")]
        {
            let bounds = bounds(&limits, dialect, 500);
            assert!(bounds.contains(wanted) && bounds.ends_with("lock_wait_timeout = 1"), "{bounds}");
        }
    }
}
