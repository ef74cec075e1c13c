//! What every command starts from: the global arguments, the terminal, and the parts of
//! the environment that count. Read once, here.

use std::path::PathBuf;

use tidelock_model::error::Severity;
use tidelock_model::port::GuardState;
use tidelock_store::SqliteStore;

use crate::commands::Global;
use crate::config::{self, Loaded};
use crate::error::{CliError, Kind, Note, field_of_target};
use crate::output::Output;

/// See the module.
pub(crate) struct Context {
    /// Arguments that every command takes.
    pub(crate) global: Global,
    /// Where results go.
    pub(crate) out: Output,
    /// The working directory.
    pub(crate) here: PathBuf,
    /// Whether the environment says that this is CI.
    pub(crate) ci: bool,
}

impl Context {
    /// Reads the environment.
    pub(crate) fn new(global: Global, out: Output) -> Result<Self, CliError> {
        let here = std::env::current_dir()
            .map_err(|error| CliError::new(Kind::Io, format!("the working directory is gone: {error}")))?;
        let ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false" && ci != "0");
        Ok(Self { global, out, here, ci })
    }

    /// The operator's config.
    pub(crate) fn config(&self) -> Result<Loaded, CliError> {
        let environment = std::env::var_os(config::ENVIRONMENT);
        config::load(&config::find(self.global.config.as_deref(), environment, &self.here, self.ci)?)
    }

    /// An error of a target with the line of the config that it is about: the field that it names, else the one
    /// that says where the target is.
    pub(crate) fn placed(&self, mut error: CliError) -> CliError {
        let named = error.message.strip_prefix("target ").and_then(|rest| rest.split_once(": "));
        let Some((name, _)) = named.filter(|_| error.kind == Kind::Target && error.notes.is_empty()) else {
            return error;
        };
        let field = error.causes.iter().find_map(|cause| cause.strip_prefix(&field_of_target(name)));
        let key = field.unwrap_or("host");
        if let Some(shown) = self.config().ok().and_then(|loaded| loaded.place_of_target(name, key)) {
            let (message, hint) = (error.message.clone(), error.hints.pop());
            error.notes.push(Note { severity: Severity::Error, message, shown: Some(shown), label: None, hint });
        }
        error
    }

    /// The store as it stands, for commands that only look; `None` where there is none yet.
    pub(crate) fn store(&self, loaded: &Loaded) -> Result<Option<SqliteStore>, CliError> {
        let path = loaded.store();
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(SqliteStore::open_read_only(&path)?))
    }

    /// The store with what guards took back since somebody last looked, since they tell nobody. Who may
    /// not write it sees it as it stands.
    pub(crate) fn store_of_deeds(&self, loaded: &Loaded) -> Result<Option<SqliteStore>, CliError> {
        let path = loaded.store();
        let guards = tidelock_target::guards_in(&loaded.guards()).unwrap_or_default();
        if path.exists() && guards.known.iter().any(|one| one.state == GuardState::Restored) {
            let learned = SqliteStore::open(&path)
                .and_then(|store| tidelock_reconcile::learn(&store, &guards.known, jiff::Timestamp::now()));
            if let Err(error) = learned {
                tracing::debug!(%error, "what guards took back was not written down");
            }
        }
        self.store(loaded)
    }

    /// A command to type next, with the config where it had to be named.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let mut argv = vec!["tidelock".to_owned()];
        argv.extend(words.iter().map(ToString::to_string));
        if let Some(config) = &self.global.config {
            argv.extend(["--config".to_owned(), config.display().to_string()]);
        }
        if self.global.trust_worktree {
            argv.push("--trust-worktree".to_owned());
        }
        tidelock_model::effect::shown(&argv)
    }
}
