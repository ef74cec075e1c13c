//! Values that the config keeps elsewhere. Read anew whenever somebody signs in, so that a
//! new password counts without a restart.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tidelock_model::config::{Given, Kept};
use tidelock_model::error::Fault;

use super::value::fault;

/// The longest value.
const MAX: u64 = 64 << 10;

/// Reads a secret. `what` is for errors, such as `password`; the value is in none.
///
/// # Errors
/// It is not there, or others can read it.
pub(crate) fn secret(place: &Kept, base: &Path, what: &str) -> Result<String, Fault> {
    if let Kept::File(file) = place {
        private(&base.join(file), what)?;
    }
    kept(place, base, what)
}

/// Refuses a file that others than its owner can read or write.
pub(super) fn private(file: &Path, what: &str) -> Result<(), Fault> {
    let shown = file.display();
    let mode = std::fs::metadata(file)
        .map_err(|error| fault("auth", format!("the {what} of a server cannot be read from {shown}: {error}")))?
        .permissions()
        .mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(fault("auth", format!("{shown}, the {what} of a server, is open to others (mode {:04o})", mode & 0o7777))
        .hint(format!("chmod 0600 {shown}")))
}

/// Reads a value.
fn kept(kept: &Kept, base: &Path, what: &str) -> Result<String, Fault> {
    match kept {
        Kept::Env(name) => std::env::var(name).map_err(|_| {
            fault("auth", format!("the environment has no text {name} for the {what} of a server"))
                .hint(format!("set {name}, or name another place in tidelock.toml"))
        }),
        Kept::File(path) => {
            let path = base.join(path);
            let failed = |why: String| {
                fault("auth", format!("the {what} of a server cannot be read from {}: {why}", path.display()))
                    .hint("let the file be readable for Tidelock alone")
            };
            let size = std::fs::metadata(&path).map_err(|error| failed(error.to_string()))?.len();
            if size > MAX {
                return Err(failed(format!("it has {size} bytes; {MAX} are read")));
            }
            let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
            Ok(text.strip_suffix('\n').map_or(text.as_str(), |text| text.trim_end_matches('\r')).to_owned())
        }
    }
}

/// Reads a value that may be written out.
pub(crate) fn given(given: &Given, base: &Path, what: &str) -> Result<String, Fault> {
    match given {
        Given::Literal(text) => Ok(text.clone()),
        Given::Kept(place) => kept(place, base, what),
    }
}

/// Reads where a server is: a name, an address, or a Unix socket, whose path holds a slash.
pub(super) fn host(place: &Given, base: &Path) -> Result<String, Fault> {
    let host = given(place, base, "host")?;
    Ok(if host.contains('/') { base.join(host).to_string_lossy().into_owned() } else { host })
}

/// A path of the config.
pub(super) fn path(text: &str, base: &Path) -> PathBuf {
    base.join(text)
}
