//! Asking PostgreSQL, in transactions that are read-only and rolled back.

use std::pin::pin;

use bytes::BytesMut;
use futures::TryStreamExt as _;
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Row, Statement};

use super::connect::Pool;
use super::error::of;
use super::watch::MAX_MESSAGE;
use crate::sql::Limits;
use crate::sql::guard::Judged;
use crate::sql::session::Purpose;
use crate::sql::value::{Answer, Column, SqlFault, Value, fault};

/// Asks in a session of its own.
pub(super) async fn ask(
    pool: &Pool,
    limits: &Limits,
    database: &str,
    query: &Judged,
    parameters: &[Option<String>],
) -> Result<Answer, SqlFault> {
    let session = pool.session(Purpose::Read, database).await?;
    let begin = format!(
        "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; \
         SET LOCAL search_path TO pg_catalog, pg_temp; SET LOCAL statement_timeout TO {}; \
         SET LOCAL lock_timeout TO {}; SET LOCAL idle_in_transaction_session_timeout TO 60000; \
         SET LOCAL standard_conforming_strings TO on; SET LOCAL bytea_output TO hex",
        limits.statement_ms, limits.lock_ms
    );
    session.batch_execute(&begin).await.map_err(|error| of(&error, "a query could not begin"))?;
    let answer = ask_within(&session, limits, query, parameters).await;
    if answer.is_err() && session.got_too_much() {
        return Err(fault(
            "limit",
            format!("an answer has more than {MAX_MESSAGE} bytes in one value, row or message; ask for less at once"),
        )
        .into());
    }
    // A session that cannot end its transaction is closed.
    if session.batch_execute("ROLLBACK").await.is_ok() {
        session.give_back();
    }
    answer
}

/// Asks within a transaction that was begun.
pub(super) async fn ask_within(
    client: &Client,
    limits: &Limits,
    query: &Judged,
    parameters: &[Option<String>],
) -> Result<Answer, SqlFault> {
    let failed = |error: &tokio_postgres::Error| of(error, "the server refused a query");
    let mut statement = client.prepare(&query.text).await.map_err(|error| failed(&error))?;
    let columns: Vec<Column> = statement
        .columns()
        .iter()
        .map(|column| Column { name: column.name().to_owned(), type_name: column.type_().name().to_owned() })
        .collect();
    if !query.show && !statement.columns().iter().all(|column| is_known(column.type_())) {
        statement = client.prepare(&as_text(query, &statement)).await.map_err(|error| failed(&error))?;
    }
    if statement.params().len() != parameters.len() {
        let message =
            format!("a query has {} parameters, and {} were given", statement.params().len(), parameters.len());
        return Err(fault("invalid", message).into());
    }
    let parameters: Vec<Parameter<'_>> = parameters.iter().map(|text| Parameter(text.as_deref())).collect();
    let rows = client.query_raw(&statement, parameters).await.map_err(|error| failed(&error))?;
    let mut rows = pin!(rows);
    let mut answer = Answer { columns, rows: vec![] };
    let mut weight = 0;
    while let Some(row) = rows.try_next().await.map_err(|error| failed(&error))? {
        let values = values(&row, &answer.columns)?;
        weight += values.iter().map(Value::weight).sum::<usize>();
        answer.rows.push(values);
        limits.hold(answer.rows.len(), weight)?;
    }
    Ok(answer)
}

/// The query with each column of a type that we do not know as the server would write it.
fn as_text(query: &Judged, statement: &Statement) -> String {
    let names: Vec<String> = (0..statement.columns().len()).map(|i| format!("c{i}")).collect();
    let columns: Vec<String> = statement
        .columns()
        .iter()
        .zip(&names)
        .map(|(column, name)| if is_known(column.type_()) { name.clone() } else { format!("{name}::pg_catalog.text") })
        .collect();
    format!("SELECT {} FROM ({}) AS answer ({})", columns.join(", "), query.text, names.join(", "))
}

fn is_known(kind: &Type) -> bool {
    matches!(
        *kind,
        Type::BOOL
            | Type::INT2
            | Type::INT4
            | Type::INT8
            | Type::OID
            | Type::FLOAT4
            | Type::FLOAT8
            | Type::TEXT
            | Type::VARCHAR
            | Type::BPCHAR
            | Type::NAME
            | Type::UNKNOWN
            | Type::JSON
            | Type::BYTEA
            | Type::TEXT_ARRAY
            | Type::NAME_ARRAY
            | Type::VARCHAR_ARRAY
    )
}

fn values(row: &Row, columns: &[Column]) -> Result<Vec<Value>, SqlFault> {
    row.columns()
        .iter()
        .zip(columns)
        .enumerate()
        .map(|(i, (sent, column))| {
            value(row, i, sent.type_(), column).map_err(|error| {
                fault("io", format!("a value of type {} cannot be read: {error}", column.type_name)).into()
            })
        })
        .collect()
}

fn value(row: &Row, i: usize, sent: &Type, column: &Column) -> Result<Value, tokio_postgres::Error> {
    fn get<'a, T: FromSql<'a>>(row: &'a Row, i: usize) -> Result<Option<T>, tokio_postgres::Error> {
        row.try_get(i)
    }
    Ok(match *sent {
        Type::BOOL => get(row, i)?.map(Value::Boolean),
        Type::INT2 => get::<i16>(row, i)?.map(|value| Value::Integer(value.into())),
        Type::INT4 => get::<i32>(row, i)?.map(|value| Value::Integer(value.into())),
        Type::INT8 => get(row, i)?.map(Value::Integer),
        Type::OID => get::<u32>(row, i)?.map(|value| Value::Integer(value.into())),
        Type::FLOAT4 => get::<f32>(row, i)?.map(|value| Value::Float(value.into())),
        Type::FLOAT8 => get(row, i)?.map(Value::Float),
        Type::BYTEA => get(row, i)?.map(Value::Bytes),
        Type::TEXT_ARRAY | Type::NAME_ARRAY | Type::VARCHAR_ARRAY => {
            // Elements that are null are left out: no catalog has any.
            get::<Vec<Option<String>>>(row, i)?.map(|items| Value::Texts(items.into_iter().flatten().collect()))
        }
        _ => get::<Written>(row, i)?.map(|Written(text)| match column.type_name.as_str() {
            "text" | "varchar" | "bpchar" | "name" | "unknown" | "json" => Value::Text(text),
            type_name => Value::Other { type_name: type_name.to_owned(), text },
        }),
    }
    .unwrap_or(Value::Null))
}

/// Text of a type whose bytes are its text.
struct Written(String);

impl<'a> FromSql<'a> for Written {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?.to_owned()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A parameter as text, which the server reads as the type that the statement wants.
#[derive(Debug)]
struct Parameter<'p>(Option<&'p str>);

impl ToSql for Parameter<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Some(text) = self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
