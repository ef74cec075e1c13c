//! `[secrets.NAME]`: where values come from. None of them stands in the config itself.

use serde::{Deserialize, Serialize};

/// `[secrets.NAME]`: one of `env`, `file` and `command`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretDecl {
    /// The environment variable of Tidelock that holds the value.
    pub env: Option<String>,
    /// The file that holds the value. Others must not be able to read it.
    pub file: Option<String>,
    /// A program by its absolute path, and its words, that prints the value. No shell; the
    /// environment is PATH, HOME, LANG and what `command_env` names.
    pub command: Option<Vec<String>>,
    /// Names of environment variables that the command is given.
    pub command_env: Vec<String>,
    /// Whether the value is taken byte for byte. Default no: one line end after it is cut off,
    /// which editors and programs add.
    pub exact: bool,
}

/// `[sources.NAME.decrypt]`: how encrypted files of a source are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecryptDecl {
    /// File of age identities, as `age-keygen` writes it.
    pub age: Option<String>,
}
