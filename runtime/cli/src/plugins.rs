//! The plugins of this installation: those built into the binary, and the operator's
//! directory. All take the same way: looked at, held against the lock, then run.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use tidelock_host::{Host, HostOptions, Lock, PluginRoom};
use tidelock_model::port::{Listener, Plugins};

use crate::config::Loaded;
use crate::error::{CliError, Kind};
use crate::estate::Estate;

/// Built in: file name and component.
static EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// A host with every plugin that there is. Nothing is compiled yet.
pub(crate) fn host(loaded: &Loaded, listener: Arc<dyn Listener>) -> Result<Host, CliError> {
    private_dir(&loaded.cache())?;
    let options = HostOptions { cache_dir: loaded.cache().join("plugins"), limits: loaded.config.limits_in_force() };
    let host = Host::new(options, listener)?.telling(tell_compiling);
    for (name, bytes) in EMBEDDED {
        host.load_bytes(&format!("embedded {name}"), Cow::Borrowed(bytes))?;
    }
    if let Some(dir) = loaded.plugins_dir() {
        host.load_dir(&dir)?;
    }
    Ok(host)
}

/// A person sees that it is the plugin that takes its time, and not a target that hangs.
fn tell_compiling(plugin: &str) {
    if tracing::enabled!(tracing::Level::INFO) {
        tracing::info!(plugin, "compiling the plugin, which is done once");
        return;
    }
    let mut stderr = std::io::stderr().lock();
    // A line of progress may stand there.
    let start = if stderr.is_terminal() { "\r\x1b[K" } else { "" };
    // A stderr that is gone is no reason to stop.
    drop(writeln!(stderr, "{start}compiling plugin {plugin}, which is done once"));
}

/// Makes a directory that nobody else may enter. One that is there stays as it is.
fn private_dir(path: &Path) -> Result<(), CliError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| CliError::file("make", path, &error))
}

/// The plugins that the lock accepts, behind their port.
pub(crate) fn room(
    loaded: &Loaded,
    estate: &Arc<Estate>,
    listener: Arc<dyn Listener>,
) -> Result<Arc<dyn Plugins>, CliError> {
    let host = host(loaded, listener)?;
    if host.facts().is_empty() {
        return Err(none(loaded));
    }
    let lock = Lock::read(loaded.lock())?;
    let estate = Arc::clone(estate);
    Ok(Arc::new(PluginRoom::new(Arc::new(host), lock, Arc::new(move |name| Ok(estate.open(name)?.eyes())))))
}

/// There is not one plugin: say how to get some.
pub(crate) fn none(loaded: &Loaded) -> CliError {
    let out = match loaded.plugins_dir() {
        Some(dir) => CliError::new(Kind::Plugin, format!("there are no plugins: {} holds no *.wasm", dir.display())),
        None => CliError::new(
            Kind::Plugin,
            "there are no plugins: this build embeds none, and the config names no directory",
        ),
    };
    out.hint("from a clone: `cargo xtask plugins` builds them into target/plugins; name that directory:\n[plugins]\ndir = \"target/plugins\"")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_cache_is_made_for_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tidelock.toml");
        std::fs::write(&file, "[store]\nurl = \"sqlite:lib/tidelock.db\"\n").unwrap();
        let loaded = crate::config::load(&file).unwrap();
        host(&loaded, Arc::new(crate::output::progress::Progress::new(false))).unwrap();
        for made in ["lib", "lib/cache", "lib/cache/plugins"] {
            let mode = std::fs::metadata(dir.path().join(made)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{made}");
        }
    }
}
