//! Values that the config keeps elsewhere. Read anew whenever somebody signs in, so that a
//! new password counts without a restart.

use std::path::{Path, PathBuf};

use tidelock_model::config::{Given, Kept};
use tidelock_model::error::Fault;
use tidelock_secret::private::{self, Refused};

use super::value::fault;

/// The longest value, in bytes.
const MAX: usize = 64 << 10;

/// Reads a secret. `what` is for errors, such as `password`; the value is in none.
///
/// # Errors
/// It is not there, or others can read it.
pub(crate) fn secret(place: &Kept, base: &Path, what: &str) -> Result<String, Fault> {
    match place {
        Kept::Env(name) => environment(name, what),
        Kept::File(file) => {
            let text = private::read_text(&base.join(file), MAX).map_err(|why| refused(&why, what))?;
            Ok(line(&text))
        }
    }
}

/// What a file holds that nobody else may read, such as a key.
pub(super) fn private(file: &Path, what: &str) -> Result<impl AsRef<[u8]>, Fault> {
    private::read(file, MAX).map_err(|why| refused(&why, what))
}

/// Reads a value that may be written out.
pub(crate) fn given(given: &Given, base: &Path, what: &str) -> Result<String, Fault> {
    match given {
        Given::Literal(text) => Ok(text.clone()),
        Given::Kept(Kept::Env(name)) => environment(name, what),
        Given::Kept(Kept::File(file)) => {
            let text = private::read_plain(&base.join(file), MAX).map_err(|why| refused(&why, what))?;
            Ok(line(&text))
        }
    }
}

fn environment(name: &str, what: &str) -> Result<String, Fault> {
    std::env::var(name).map_err(|_| {
        fault("auth", format!("the environment has no text {name} for the {what} of a server"))
            .hint(format!("set {name}, or name another place in tidelock.toml"))
    })
}

fn refused(why: &Refused, what: &str) -> Fault {
    fault("auth", format!("the {what} of a server cannot be read: {why}")).hint(why.hint())
}

/// A text without its last line break.
fn line(text: &str) -> String {
    text.strip_suffix('\n').map_or(text, |text| text.trim_end_matches('\r')).to_owned()
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
