//! What may stand after a dot. PostgreSQL reads `(value).name` as `name(value)` where no column
//! has the name, and `alias.name` alike where the alias is a function's single value. So a name
//! after a dot is a call unless it is known to be a column.
//!
//! A row is no danger: of the functions in `pg_catalog` that take one, all only write it out,
//! count it or tell of its type.

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::ast::{AccessExpr, Expr, Ident};

use super::walk::listed;

/// Columns of what the functions give that may be called. None is the name of a function, but
/// for `name` and `path`, which are casts.
const COLUMNS: &str = "\
    grantor grantee privilege_type is_grantable option_name option_value key value ordinality source target path \
    word catcode catdesc barelabel baredesc type schema name identity object_names object_args classid objid objsubid";

/// Keywords that are functions without parentheses, in FROM too.
const VALUES: &str = "\
    current_catalog current_date current_role current_schema current_time current_timestamp current_user localtime \
    localtimestamp session_user system_user user";

/// Whether a name is, without quotes, a function and no relation.
pub(super) fn is_value(name: &str) -> bool {
    listed(VALUES, name)
}

/// The names of relations in a query, and those that were put after a dot. Which alias is meant
/// where is not asked: one name for a function somewhere is a function's everywhere.
#[derive(Default)]
pub(super) struct Fields {
    rows: BTreeSet<String>,
    /// Functions, with the columns that every one of this name was given.
    functions: BTreeMap<String, BTreeSet<String>>,
    used: Vec<(String, String)>,
}

impl Fields {
    /// A relation whose whole is a row.
    pub(super) fn row(&mut self, name: String) {
        self.rows.insert(name);
    }

    /// A function in FROM, with the names that its columns were given.
    pub(super) fn function(&mut self, name: String, columns: &BTreeSet<String>) {
        let known = self.functions.entry(name).or_insert_with(|| columns.clone());
        known.retain(|column| columns.contains(column));
    }

    /// `alias.name`, with what may stand before it.
    pub(super) fn column(&mut self, mut names: Vec<String>) {
        if let (Some(name), Some(alias)) = (names.pop(), names.pop()) {
            self.used.push((alias, name));
        }
    }

    /// Judges all that was put after a dot.
    pub(super) fn judge(&self) -> Result<(), String> {
        for (alias, name) in &self.used {
            let known = match self.functions.get(alias) {
                Some(columns) => columns.contains(name) || is_column(name),
                None => self.rows.contains(alias),
            };
            if !known {
                return Err(format!(
                    "{alias}.{name}, which may be a call; name the columns of a function where it stands in FROM: \
                     `AS {alias} (...)`"
                ));
            }
        }
        Ok(())
    }
}

/// Whether a name after any value is that of a column.
pub(super) fn is_column(name: &str) -> bool {
    listed(COLUMNS, name)
}

/// The names that a chain begins with (`alias.name[1].more`), and how many links they take.
pub(super) fn leading<'e>(root: &'e Expr, chain: &'e [AccessExpr]) -> (Vec<&'e Ident>, usize) {
    let mut names = match root {
        Expr::Identifier(name) => vec![name],
        Expr::CompoundIdentifier(names) => names.iter().collect(),
        _ => return (vec![], 0),
    };
    let before = names.len();
    names.extend(chain.iter().map_while(|access| match access {
        AccessExpr::Dot(Expr::Identifier(name)) => Some(name),
        _ => None,
    }));
    let taken = names.len() - before;
    (names, taken)
}
