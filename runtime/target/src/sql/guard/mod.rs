//! Which queries of a plugin are sent to a server: only those that are understood whole.
//!
//! A read-only transaction stops a statement that writes rows. It does not stop a function
//! that ends other sessions, writes a file, calls another server or advances a sequence, and
//! a plugin may be given a superuser's eyes. So a query is parsed, every part of it is held
//! against lists of what only looks (`walk`), and what is sent is written anew from what was
//! understood. What a list does not name is refused, and a new release of the parser cannot
//! bring in a part that nobody judged: every struct of it is taken apart by name.
//!
//! Relations are those of the system's catalog alone. A view of somebody else's would run
//! its functions with the rights of whoever looks at it.

mod fields;
mod mariadb;
mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;
mod walk;

use sqlparser::ast::{AlterColumnOperation, AlterTableOperation, Statement};
use sqlparser::dialect::{Dialect as Grammar, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::sql::{Act, Dialect, Known, Part, SqlEffect, Verb};

/// The longest query, in bytes.
const MAX_TEXT: usize = 32 << 10;
/// Tokens of a query. A chain of operators becomes a tree as deep as it is long.
const MAX_TOKENS: usize = 6_000;
/// Room for the deepest tree that so many tokens make. Memory of a stack costs nothing until
/// it is touched.
const STACK: usize = 256 << 20;

/// A query that only looks, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The text, written from what was understood.
    pub text: String,
    /// Whether it is `SHOW`, which cannot stand in another query.
    pub show: bool,
}

/// Judges a query of a plugin.
///
/// # Errors
/// `denied`: it does something else than look, or could; `invalid`: it cannot be read.
pub fn judge(dialect: Dialect, text: &str) -> Result<Judged, Fault> {
    let tokens = tokens(dialect, text)?;
    // On a thread of its own: how deep a tree is decides a plugin, how deep a stack is we do.
    std::thread::scope(|scope| {
        let work = std::thread::Builder::new()
            .name("sql-guard".into())
            .stack_size(STACK)
            .spawn_scoped(scope, || judge_tokens(dialect, tokens))
            .map_err(|error| Fault::new("io", Blame::Host, format!("no thread to read a query on: {error}")))?;
        work.join().unwrap_or_else(|_| Err(Fault::new("panic", Blame::Host, "the reader of queries panicked")))
    })
}

/// Whether the free text of a statement, if it has any, can be read, is of the kind that its verb
/// and class say, and calls nothing but what computes.
pub(super) fn understood(effect: &SqlEffect) -> bool {
    let Act::Execute(statement) = &effect.act else { return true };
    let free = |part: &Part| matches!(part, Part::Text(text) if statement.knows(effect.dialect, text) == Known::Free);
    if !statement.parts.iter().any(free) {
        return true;
    }
    let Ok(tokens) = tokens(effect.dialect, &effect.shown()) else { return false };
    let class = statement.object.class.as_str();
    std::thread::scope(|scope| {
        let work = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || {
            let parsed = Parser::new(grammar(effect.dialect)).with_tokens(tokens).parse_statements();
            // What holds a query runs it: that a table is made of one is for a person to read.
            let known = match (parsed.as_deref(), statement.verb, class) {
                (Ok([Statement::CreateTable(table)]), Verb::Create, "table") => table.query.is_none(),
                (Ok([Statement::AlterTable(table)]), Verb::Alter, "table") => table.operations.iter().all(keeps_all),
                (Ok([Statement::CreateIndex(_)]), Verb::Create, "index") => true,
                (Ok([Statement::CreateSequence { .. }]), Verb::Create, "sequence") => true,
                _ => false,
            };
            let rules = rules(effect.dialect);
            known && parsed.is_ok_and(|parsed| parsed.iter().all(|one| walk::computes(rules, one)))
        });
        work.is_ok_and(|work| work.join().unwrap_or(false))
    })
}

/// Whether a part of `ALTER TABLE` leaves what the table holds, where it is and whose.
fn keeps_all(operation: &AlterTableOperation) -> bool {
    match operation {
        AlterTableOperation::AddColumn { .. }
        | AlterTableOperation::AddConstraint { .. }
        | AlterTableOperation::ValidateConstraint { .. }
        | AlterTableOperation::EnableRowLevelSecurity => true,
        AlterTableOperation::AlterColumn { column_name: _, op } => {
            matches!(op, AlterColumnOperation::SetNotNull | AlterColumnOperation::SetDefault { .. })
        }
        _ => false,
    }
}

fn tokens(dialect: Dialect, text: &str) -> Result<Vec<Token>, Fault> {
    if text.len() > MAX_TEXT {
        return Err(denied(&format!("a query of {} bytes; {MAX_TEXT} are read", text.len())));
    }
    if text.contains('\0') {
        return Err(denied("a query that holds a NUL"));
    }
    let tokens = Tokenizer::new(grammar(dialect), text).tokenize().map_err(|error| unread(&error.to_string()))?;
    if tokens.len() > MAX_TOKENS {
        return Err(denied(&format!("a query of {} words and signs; {MAX_TOKENS} are read", tokens.len())));
    }
    Ok(tokens)
}

fn judge_tokens(dialect: Dialect, tokens: Vec<Token>) -> Result<Judged, Fault> {
    let parsed = Parser::new(grammar(dialect)).with_tokens(tokens).parse_statements();
    let mut statements = parsed.map_err(|error| unread(&error.to_string()))?;
    let (Some(mut statement), true) = (statements.pop(), statements.is_empty()) else {
        return Err(denied("anything but one statement at a time"));
    };
    let show = walk::statement(rules(dialect), &mut statement).map_err(|what| denied(&what))?;
    let text = statement.to_string();
    // What was judged is what will be read: written and read again, it must be the same.
    let again = Parser::parse_sql(grammar(dialect), &text).map_err(|error| unread(&error.to_string()))?;
    if again.len() != 1 || again[0].to_string() != text {
        return Err(denied("a query that reads differently once it is written out"));
    }
    Ok(Judged { text, show })
}

fn rules(dialect: Dialect) -> &'static dyn walk::Rules {
    match dialect {
        Dialect::Postgres => &postgres::Postgres,
        Dialect::MariaDb => &mariadb::MariaDb { mysql: false },
        Dialect::MySql => &mariadb::MariaDb { mysql: true },
        Dialect::Sqlite => &sqlite::Sqlite,
    }
}

fn grammar(dialect: Dialect) -> &'static dyn Grammar {
    match dialect {
        Dialect::Postgres => &PostgreSqlDialect {},
        Dialect::Sqlite => &SQLiteDialect {},
        Dialect::MariaDb | Dialect::MySql => &MySqlDialect {},
    }
}

fn denied(what: &str) -> Fault {
    Fault::new("denied", Blame::Plugin, format!("the reads of a plugin do not allow {what}"))
}

fn unread(why: &str) -> Fault {
    Fault::new("invalid", Blame::Plugin, format!("a plugin's query cannot be read: {why}"))
}
