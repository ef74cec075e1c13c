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

/// `[sources.NAME.decrypt]`: a key that opens encrypted files of a source. `[[sources.NAME.decrypt]]`
/// is one of several, each for files of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecryptDecl {
    /// File of age identities, as `age-keygen` writes it.
    pub age: Option<String>,
    /// Patterns of the files that it opens, from the source's root: `/envs/prod/**`. Default all. A
    /// ciphertext that was copied elsewhere is opened by the keys of that place alone.
    pub paths: Vec<String>,
}
