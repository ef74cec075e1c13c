//! What PostgreSQL and its driver say, in our words. Never a credential: the driver's
//! errors hold none, and the server's words are those of its answer alone.

use tidelock_model::error::{Blame, Fault, tame};
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

pub(super) use crate::sql::value::chain;
use crate::sql::value::{MAX_SAID, SqlFault};

/// An error of a query or statement.
pub(super) fn of(error: &Error, what: &str) -> SqlFault {
    match error.as_db_error() {
        Some(said) => said_by_server(said, what),
        None => {
            let message = format!("{what}: {}", chain(error));
            let code = if error.is_closed() { "unavailable" } else { "io" };
            Fault::new(code, Blame::Target, message).retryable().into()
        }
    }
}

fn said_by_server(said: &DbError, what: &str) -> SqlFault {
    let code = match said.code() {
        state if *state == SqlState::INVALID_CATALOG_NAME => "not-found",
        state if *state == SqlState::INSUFFICIENT_PRIVILEGE => "denied",
        state if *state == SqlState::QUERY_CANCELED => "timeout",
        state if is_absence(state) => "unavailable",
        state if *state == SqlState::INVALID_PASSWORD || state.code().starts_with("28") => "auth",
        _ => "sql",
    };
    let mut fault = Fault::new(code, Blame::Target, format!("{what}: {}", tame(said.message(), MAX_SAID)));
    fault.retryable = may_pass(said) || is_absence(said.code());
    SqlFault {
        fault,
        sqlstate: Some(said.code().code().to_owned()),
        detail: said.detail().map(|text| tame(text, MAX_SAID)),
        hint: said.hint().map(|text| tame(text, MAX_SAID)),
        position: said.position().and_then(|position| match position {
            ErrorPosition::Original(at) => Some(*at),
            ErrorPosition::Internal { .. } => None,
        }),
        sign_in: false,
    }
}

/// Whether the server is not there for us: starting, stopping, or full.
fn is_absence(state: &SqlState) -> bool {
    let code = state.code();
    code.starts_with("08") || code.starts_with("57P") || code == "53300"
}

/// Whether the same may well succeed at once: somebody else was in the way.
pub(super) fn passes(error: &Error) -> bool {
    error.as_db_error().is_some_and(may_pass)
}

fn may_pass(said: &DbError) -> bool {
    let state = said.code();
    *state == SqlState::T_R_SERIALIZATION_FAILURE
        || *state == SqlState::T_R_DEADLOCK_DETECTED
        || *state == SqlState::LOCK_NOT_AVAILABLE
        || *state == SqlState::OBJECT_IN_USE
        // Two sessions at one row of the catalog; it has no state of its own.
        || (*state == SqlState::INTERNAL_ERROR && said.message().starts_with("tuple concurrently"))
        // Two that make one thing: looked at again, it is there.
        || (*state == SqlState::UNIQUE_VIOLATION && said.schema() == Some("pg_catalog"))
}
