//! What MariaDB, MySQL and their driver say, in our words. Never a credential.

use mysql_async::{DriverError, Error, ServerError};
use tidelock_model::error::{Blame, Fault, tame};

use crate::sql::value::{MAX_SAID, SqlFault, chain};

/// Lock wait time-out, and deadlock.
const IN_THE_WAY: [u16; 2] = [1205, 1213];
/// A setting that the server has not.
const UNKNOWN_VARIABLE: u16 = 1193;
/// Statements that the protocol of prepared ones does not know.
const NOT_PREPARED: u16 = 1295;

/// An error of a query or statement.
pub(super) fn of(error: &Error, what: &str) -> SqlFault {
    let Error::Server(ServerError { code, message, state }) = error else {
        let text = chain(error);
        if matches!(error, Error::Driver(DriverError::CleartextPluginDisabled | DriverError::MysqlOldPasswordDisabled))
        {
            let message = format!("{what}: the server asks for the password itself, and would then know it");
            return Fault::new("auth", Blame::Target, message)
                .hint("let the account have another plugin, such as mysql_native_password or ed25519")
                .into();
        }
        let tls = text.contains("TLS") || text.contains("certificate");
        let fault = Fault::new(if tls { "tls" } else { "unavailable" }, Blame::Target, format!("{what}: {text}"));
        let fault = if tls {
            fault.hint("give the authority's file as tls.ca, and as `host` a name of the certificate")
        } else {
            fault.retryable()
        };
        return fault.into();
    };
    let word = match code {
        1044 | 1142 | 1143 | 1227 | 1370 | 1410 => "denied",
        1045 | 1698 => "auth",
        1049 => "not-found",
        // Ended by a limit of time: MariaDB's, and MySQL's.
        1969 | 3024 => "timeout",
        1040 | 1053 | 1927 => "unavailable",
        _ => "sql",
    };
    let mut fault = Fault::new(word, Blame::Target, format!("{what}: {}", tame(message, MAX_SAID)));
    fault.retryable = passes(error) || word == "unavailable";
    SqlFault { fault, sqlstate: Some(state.clone()), detail: None, hint: None, position: None, sign_in: false }
}

/// Whether the same may well succeed at once: somebody else was in the way.
pub(super) fn passes(error: &Error) -> bool {
    matches!(error, Error::Server(said) if IN_THE_WAY.contains(&said.code))
}

/// Whether the server has no such setting.
pub(super) fn is_unknown_variable(error: &Error) -> bool {
    matches!(error, Error::Server(said) if said.code == UNKNOWN_VARIABLE)
}

/// Whether it has to be sent in the other way.
pub(super) fn not_prepared(error: &Error) -> bool {
    matches!(error, Error::Server(said) if said.code == NOT_PREPARED)
}

/// Whether the server said no: then nothing happened.
pub(super) fn said(error: &Error) -> bool {
    matches!(error, Error::Server(_))
}
