//! Changes to the very accounts that Tidelock signs in as: tried, and put back where they would
//! have kept it out.
//!
//! A session stays what it was when its account changes, so the one that made the change can put
//! it back. A process that dies between the two leaves the new. An account that would be gone, or
//! another one, cannot be tried, and is left.

use mysql_async::prelude::Queryable as _;
use tidelock_model::sql::{Act, Dialect, Object, SqlEffect, Statement, Verb};

use super::connect::{Pool, Session};
use super::error::of;
use crate::sql::session::{Purpose, not_put_back, put_back, would_be_gone};
use crate::sql::value::{SqlFault, fault};

/// Limits of an account, which `SHOW CREATE USER` names where there are any.
const LIMITS: [&str; 5] = [
    "MAX_QUERIES_PER_HOUR",
    "MAX_UPDATES_PER_HOUR",
    "MAX_CONNECTIONS_PER_HOUR",
    "MAX_USER_CONNECTIONS",
    "MAX_STATEMENT_TIME",
];

/// Which account of ours a statement is about, as the server calls it, and what we do as it.
pub(super) async fn ours(pool: &Pool, statement: &SqlEffect) -> Result<Option<(Purpose, String)>, SqlFault> {
    let Some(Object { name, .. }) = account(statement) else { return Ok(None) };
    for (purpose, user) in pool.access.users() {
        if name.first() != Some(&user) {
            continue;
        }
        // The server chose which of the accounts of that name it takes us for.
        let mut session = pool.session(purpose).await?;
        let failed = |error| of(&error, "the server does not say who we are");
        let ours: Option<String> = session.query_first("SELECT CURRENT_USER()").await.map_err(failed)?;
        session.give_back();
        if ours.as_deref() == Some(name.join("@").as_str()) {
            return Ok(ours.map(|ours| (purpose, ours)));
        }
    }
    Ok(None)
}

/// The account that a statement changes or ends.
fn account(statement: &SqlEffect) -> Option<&Object> {
    match &statement.act {
        Act::Execute(Statement { verb: Verb::Alter | Verb::Drop, object, .. }) | Act::Rename { object, .. }
            if object.class == "user" =>
        {
            Some(object)
        }
        _ => None,
    }
}

/// An account of ours that a statement will change, as it was before.
pub(super) struct Own {
    purpose: Purpose,
    who: String,
    /// What makes it what it was. Holds what proves its password.
    before: String,
    before_proof: String,
}

impl Own {
    /// Looks at the account of ours that a statement changes, if it does.
    ///
    /// # Errors
    /// The server does not tell, or the account would be gone.
    pub(super) async fn look(
        pool: &Pool,
        session: &mut Session,
        statement: &SqlEffect,
    ) -> Result<Option<Self>, SqlFault> {
        let Some((purpose, who)) = ours(pool, statement).await? else { return Ok(None) };
        let altered = matches!(&statement.act, Act::Execute(Statement { verb: Verb::Alter, .. }));
        let (Some(object), true) = (account(statement), altered) else {
            return Err(would_be_gone(&who).into());
        };
        let name = object.name.iter().map(|part| statement.literal(part)).collect::<Vec<_>>().join("@");
        let (before, before_proof) = shown(session, &name, statement.dialect).await?;
        Ok(Some(Self { purpose, who, before, before_proof }))
    }

    /// Signs in anew, as the config says. Where that fails, the account is put back.
    ///
    /// # Errors
    /// It had to be put back; `true` where that failed too.
    pub(super) async fn prove(
        &self,
        pool: &Pool,
        session: &mut Session,
        statement: &SqlEffect,
    ) -> Result<(), (tidelock_model::error::Fault, bool)> {
        let Err(refused) = pool.connect(self.purpose).await else { return Ok(()) };
        let own = format!("Tidelock signs in as {} and could not any more: {}", self.who, refused.whole().message);
        let undone = async {
            let name = account(statement).map(|object| &object.name).into_iter().flatten();
            let name = name.map(|part| statement.literal(part)).collect::<Vec<_>>().join("@");
            let (_, proof) = shown(session, &name, statement.dialect).await?;
            let failed = |error| of(&error, "the account could not be put back").hushed(true);
            session.query_drop(self.before.as_str()).await.map_err(failed)?;
            Ok::<bool, SqlFault>(proof != self.before_proof)
        };
        match undone.await {
            Ok(password) => Err((put_back(&own, password), false)),
            Err(other) => Err((not_put_back(&own, &other), true)),
        }
    }
}

/// The statement that makes an account what it is now, and how it proves who it is.
async fn shown(session: &mut Session, name: &str, dialect: Dialect) -> Result<(String, String), SqlFault> {
    let failed = |error| of(&error, "what the account that Tidelock signs in as is like cannot be told");
    let shown: Option<String> = session.query_first(format!("SHOW CREATE USER {name}")).await.map_err(failed)?;
    let parts = Parts::of(shown.as_deref().unwrap_or_default()).ok_or_else(|| {
        fault("own-access", "what the account that Tidelock signs in as is like is not understood; it is left as it is")
    })?;
    Ok((parts.restoring(name, dialect), parts.proof))
}

/// What `SHOW CREATE USER` says, clause by clause. What keeps nobody out (default roles, remarks) is
/// left out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts {
    /// `IDENTIFIED ...`
    proof: String,
    /// What stands after `REQUIRE`.
    require: String,
    /// What stands after `WITH`.
    limits: Vec<String>,
    locked: bool,
    /// `PASSWORD EXPIRE ...`, and what else is said of passwords.
    expiry: String,
}

impl Parts {
    fn of(shown: &str) -> Option<Self> {
        let words = words(shown);
        let ["CREATE", "USER", _, rest @ ..] = words.as_slice() else { return None };
        let mut parts = Self::default();
        let mut clause = "IDENTIFIED";
        let mut before = "";
        for word in rest.iter().copied() {
            match word {
                // MySQL names the plugin so.
                "WITH" if before != "IDENTIFIED" => clause = "WITH",
                // `PASSWORD REQUIRE CURRENT` of MySQL is one of passwords.
                "REQUIRE" if before == "PASSWORD" => {}
                "REQUIRE" | "ACCOUNT" | "COMMENT" | "ATTRIBUTE" => clause = word,
                "DEFAULT" if clause == "IDENTIFIED" => clause = word,
                "PASSWORD" if !matches!(before, "BY" | "USING") => clause = "PASSWORD",
                "FAILED_LOGIN_ATTEMPTS" | "PASSWORD_LOCK_TIME" => clause = "PASSWORD",
                _ => {}
            }
            match clause {
                "IDENTIFIED" => push(&mut parts.proof, word),
                "REQUIRE" if word != "REQUIRE" => push(&mut parts.require, word),
                "WITH" if word != "WITH" => parts.limits.push(word.to_owned()),
                "ACCOUNT" => parts.locked |= word == "LOCK",
                "PASSWORD" => push(&mut parts.expiry, word),
                _ => {}
            }
            before = word;
        }
        Some(parts)
    }

    /// The statement that brings it about, whatever is there: what is not said is said to be none.
    fn restoring(&self, name: &str, dialect: Dialect) -> String {
        let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
        let mut limits = String::new();
        for limit in LIMITS.iter().filter(|limit| dialect != Dialect::MySql || **limit != "MAX_STATEMENT_TIME") {
            let place = self.limits.iter().position(|word| word == limit);
            let value = place.and_then(|place| self.limits.get(place + 1)).map_or("0", String::as_str);
            limits.push_str(&format!(" {limit} {value}"));
        }
        format!(
            "ALTER USER {name} {} REQUIRE {} WITH{limits} ACCOUNT {} {}",
            or(&self.proof, "IDENTIFIED BY ''"),
            or(&self.require, "NONE"),
            if self.locked { "LOCK" } else { "UNLOCK" },
            or(&self.expiry, "PASSWORD EXPIRE DEFAULT"),
        )
    }
}

fn push(text: &mut String, word: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(word);
}

/// Words apart by spaces outside of quotes.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut from, mut quote, mut escaped) = (0, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('\'' | '"'), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, ' ') => {
                words.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    words.push(&text[from..]);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_put_back_in_all_that_keeps_it_out() {
        let name = "'admin'@'%'";
        let restoring = |shown: &str| Parts::of(shown).unwrap().restoring(name, Dialect::MariaDb);
        assert_eq!(
            restoring("CREATE USER `admin`@`%` IDENTIFIED BY PASSWORD '*AB REQUIRE' REQUIRE SSL"),
            "ALTER USER 'admin'@'%' IDENTIFIED BY PASSWORD '*AB REQUIRE' REQUIRE SSL WITH MAX_QUERIES_PER_HOUR 0 \
             MAX_UPDATES_PER_HOUR 0 MAX_CONNECTIONS_PER_HOUR 0 MAX_USER_CONNECTIONS 0 MAX_STATEMENT_TIME 0 \
             ACCOUNT UNLOCK PASSWORD EXPIRE DEFAULT"
        );
        assert_eq!(
            restoring(
                "CREATE USER `the ``one`@`%` IDENTIFIED VIA ed25519 USING 'a b' OR unix_socket REQUIRE SUBJECT '/CN=it\\'s' \
                 WITH MAX_USER_CONNECTIONS 30 MAX_STATEMENT_TIME 2.500000 ACCOUNT LOCK PASSWORD EXPIRE NEVER"
            ),
            "ALTER USER 'admin'@'%' IDENTIFIED VIA ed25519 USING 'a b' OR unix_socket REQUIRE SUBJECT '/CN=it\\'s' WITH \
             MAX_QUERIES_PER_HOUR 0 MAX_UPDATES_PER_HOUR 0 MAX_CONNECTIONS_PER_HOUR 0 MAX_USER_CONNECTIONS 30 \
             MAX_STATEMENT_TIME 2.500000 ACCOUNT LOCK PASSWORD EXPIRE NEVER"
        );
        assert!(restoring("CREATE USER `a`@`%`").starts_with("ALTER USER 'admin'@'%' IDENTIFIED BY '' REQUIRE NONE"));
        assert_eq!(Parts::of("GRANT USAGE"), None);
        // As MySQL 8 says it.
        let shown = "CREATE USER `admin`@`%` IDENTIFIED WITH 'caching_sha2_password' AS '$A$005$a REQUIRE b' DEFAULT ROLE \
            `staff`@`%`,`more`@`%` REQUIRE SSL WITH MAX_USER_CONNECTIONS 3 PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK PASSWORD \
            HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT PASSWORD REQUIRE CURRENT DEFAULT FAILED_LOGIN_ATTEMPTS 4 \
            PASSWORD_LOCK_TIME 2 ATTRIBUTE '{\"comment\": \"ours\"}'";
        assert_eq!(
            Parts::of(shown).unwrap().restoring(name, Dialect::MySql),
            "ALTER USER 'admin'@'%' IDENTIFIED WITH 'caching_sha2_password' AS '$A$005$a REQUIRE b' REQUIRE SSL WITH \
             MAX_QUERIES_PER_HOUR 0 MAX_UPDATES_PER_HOUR 0 MAX_CONNECTIONS_PER_HOUR 0 MAX_USER_CONNECTIONS 3 ACCOUNT UNLOCK \
             PASSWORD EXPIRE DEFAULT PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT PASSWORD REQUIRE CURRENT DEFAULT \
             FAILED_LOGIN_ATTEMPTS 4 PASSWORD_LOCK_TIME 2"
        );
    }
}
