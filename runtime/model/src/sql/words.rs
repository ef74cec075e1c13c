//! The words that may stand between the parts of a statement, by what it is about. A text of
//! such words and numbers cannot turn a statement into another one: no quote, parenthesis or
//! sign of a comment is among them, and none of them begins a part about another object.

use super::leans::words;
use super::{Dialect, Part, Statement, Verb};

/// What is known of a text in a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Words of the list alone.
    Words,
    /// Free text, which may stand in statements about such an object: somebody has to read it.
    Free,
    /// Not for statements about such an object.
    No,
}

const ROLE: &str = "WITH SUPERUSER NOSUPERUSER CREATEDB NOCREATEDB CREATEROLE NOCREATEROLE INHERIT NOINHERIT LOGIN \
    NOLOGIN REPLICATION NOREPLICATION BYPASSRLS NOBYPASSRLS CONNECTION LIMIT PASSWORD NULL VALID UNTIL";
const DATABASE: &str = "WITH OWNER TO TEMPLATE ENCODING LC_COLLATE LC_CTYPE LOCALE LOCALE_PROVIDER ICU_LOCALE ICU_RULES \
    BUILTIN_LOCALE COLLATION_VERSION TABLESPACE ALLOW_CONNECTIONS CONNECTION LIMIT IS_TEMPLATE STRATEGY SET REFRESH \
    COLLATION VERSION TRUE FALSE DEFAULT WAL_LOG FILE_COPY CHARACTER COLLATE COMMENT =";
const FORCE: &str = "WITH (FORCE)";
const SCHEMA: &str = "AUTHORIZATION OWNER TO CASCADE RESTRICT";
const EXTENSION: &str = "WITH SCHEMA VERSION CASCADE RESTRICT UPDATE TO SET";
const TABLESPACE: &str = "OWNER TO LOCATION";
const USER: &str = "IDENTIFIED BY VIA WITH USING AS PASSWORD OR REQUIRE NONE SSL X509 ISSUER SUBJECT CIPHER AND \
    MAX_QUERIES_PER_HOUR MAX_UPDATES_PER_HOUR MAX_CONNECTIONS_PER_HOUR MAX_USER_CONNECTIONS MAX_STATEMENT_TIME ACCOUNT \
    LOCK UNLOCK EXPIRE NEVER DEFAULT INTERVAL DAY ROLE MYSQL_NATIVE_PASSWORD ED25519 UNIX_SOCKET \
    CACHING_SHA2_PASSWORD SHA256_PASSWORD PARSEC ATTRIBUTE COMMENT";
/// What any object may be told that others depend on or own.
const ANY: &str = "OWNER TO SET SCHEMA TABLESPACE CASCADE RESTRICT";

/// Classes whose statements hold definitions.
const FREE: &str = "table index sequence view type domain function procedure";

/// What takes an object away from where it was granted; each is said in parts instead.
const MOVES: [&[&str]; 3] = [&["RENAME"], &["OWNER", "TO"], &["SET", "SCHEMA"]];

impl Statement {
    /// Whether free text may stand in it.
    pub(super) fn holds_definitions(&self) -> bool {
        let free = self.verb != Verb::Drop && self.verb != Verb::Comment;
        free && FREE.split_whitespace().any(|class| class == self.object.class)
    }

    /// Whether its free text, if it has any, renames or moves something or gives it away. Those
    /// are said as a rename, and by a name that follows `OWNER TO` or `SET SCHEMA`.
    pub(super) fn moves_by_text(&self, dialect: Dialect) -> Option<String> {
        let texts = || {
            self.parts.iter().filter_map(|part| match part {
                Part::Text(text) => Some(text.trim()),
                _ => None,
            })
        };
        if !texts().any(|text| self.knows(dialect, text) == Known::Free) {
            return None;
        }
        let words: Vec<String> = texts().flat_map(words).collect();
        let moves = |moves: &&[&str]| words.windows(moves.len()).any(|some| *some == **moves);
        MOVES.into_iter().find(moves).map(|moves| moves.join(" "))
    }
    /// What is known of a text that stands in it.
    #[must_use]
    pub fn knows(&self, dialect: Dialect, text: &str) -> Known {
        let list = match (self.verb, self.object.class.as_str()) {
            (Verb::Comment, _) => "IS NULL",
            (Verb::Reassign, _) => "TO",
            (Verb::Reload, _) => "",
            (_, "owned") => "CASCADE RESTRICT",
            (Verb::Drop, "database") if dialect == Dialect::Postgres => FORCE,
            (Verb::Drop, "role" | "user" | "database" | "tablespace") => "",
            (_, "role") if dialect == Dialect::Postgres => ROLE,
            (_, "role") => "WITH ADMIN",
            (_, "user") => USER,
            (_, "database") => DATABASE,
            (_, "schema") => SCHEMA,
            (_, "extension") => EXTENSION,
            (_, "tablespace") => TABLESPACE,
            _ => ANY,
        };
        let known = |word: &str| {
            let number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            number || list.split_whitespace().any(|listed| listed.eq_ignore_ascii_case(word))
        };
        if text.split([' ', ',', '\n', '\t']).filter(|word| !word.is_empty()).all(known) {
            return Known::Words;
        }
        if self.holds_definitions() { Known::Free } else { Known::No }
    }
}
