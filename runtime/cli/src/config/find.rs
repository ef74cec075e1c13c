//! Which config file counts: the first of `--config`, the environment, here, `/etc`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::inside::work_tree;
use super::own::real;
use crate::error::{CliError, Kind};

/// The environment variable that names a config file.
pub(crate) const ENVIRONMENT: &str = "TIDELOCK_CONFIG";

/// The last place that is looked at.
const SYSTEM_WIDE: &str = "/etc/tidelock/tidelock.toml";

const HERE: &str = "tidelock.toml";

/// Finds the config. A file that was named and is not there is an error, never
/// a reason to take another. In CI a work tree holds what a stranger proposes, so one
/// that merely lies there does not count.
pub(crate) fn find(
    named: Option<&Path>,
    environment: Option<OsString>,
    here: &Path,
    ci: bool,
) -> Result<PathBuf, CliError> {
    let must = |path: PathBuf, by: &str| {
        if path.is_file() {
            return Ok(path);
        }
        Err(CliError::new(Kind::Config, format!("{by} names {}, which is not a file", path.display()))
            .hint("`tidelock init demo` makes a config to start from"))
    };
    if let Some(named) = named {
        return must(here.join(named), "--config");
    }
    if let Some(named) = environment.filter(|named| !named.is_empty()) {
        return must(here.join(named), &format!("${ENVIRONMENT}"));
    }
    let lying_here = here.join(HERE);
    if ci
        && lying_here.is_file()
        && let Some(tree) = work_tree(&real(here))
    {
        let message = format!(
            "{} lies in the Git work tree {}, and CI is set: a pull request could bring its own config",
            lying_here.display(),
            tree.display()
        );
        return Err(CliError::new(Kind::Config, message).hint(format!("name it with --config or ${ENVIRONMENT}")));
    }
    [lying_here, PathBuf::from(SYSTEM_WIDE)].into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let none = CliError::new(Kind::Config, format!("there is no {HERE} here and no {SYSTEM_WIDE}"));
        // Never taken by itself: who makes a folder does not choose what rules above it.
        match here.ancestors().skip(1).position(|dir| dir.join(HERE).is_file()) {
            Some(up) => none.hint(format!("there is one above: --config {}{HERE}", "../".repeat(up + 1))),
            None => none.hint("`tidelock init demo` makes one to start from; `--config FILE` names another"),
        }
    })
}
