//! The operator's config: found, read, its includes merged, its paths made absolute.
//!
//! What stands in it is `tidelock_model::config`; this module adds where it stood.
//! It reads files and never writes any.

mod check;
mod find;
mod gate;
mod include;
mod inside;
mod named;
mod own;
mod paths;
pub(crate) mod toml;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tidelock_model::config::Config;

use crate::error::{CliError, Excerpt, Kind};
pub(crate) use check::{grant_example, lease_ms};
pub(crate) use find::{ENVIRONMENT, find};
pub(crate) use inside::refuse_inside;
pub(crate) use own::OwnPaths;

/// A config and where it came from. Paths in it are absolute.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// The file that was named or found.
    pub(crate) file: PathBuf,
    /// That file and the ones that it includes.
    pub(crate) files: Vec<PathBuf>,
    /// Where its includes start: a new file there would become part of the config.
    pub(crate) include_dirs: Vec<PathBuf>,
    /// What they say together.
    pub(crate) config: Config,
}

impl Loaded {
    /// The directory that holds the config and the lock.
    pub(crate) fn dir(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("/"))
    }

    /// The store's file.
    pub(crate) fn store(&self) -> PathBuf {
        let url = &self.config.store.url;
        PathBuf::from(url.strip_prefix(paths::SQLITE).unwrap_or(url))
    }

    /// Where guards over effects leave word of themselves.
    pub(crate) fn guards(&self) -> PathBuf {
        self.store().with_file_name("guards")
    }

    /// Where fetched repositories and compiled plugins are kept.
    pub(crate) fn cache(&self) -> PathBuf {
        match &self.config.store.cache {
            Some(cache) => PathBuf::from(cache),
            None => self.store().with_file_name("cache"),
        }
    }

    /// The file of the key by which values of secrets are told apart.
    pub(crate) fn secrets_key(&self) -> PathBuf {
        self.store().with_file_name("secrets.key")
    }

    /// The file that binds plugins' names to digests.
    pub(crate) fn lock(&self) -> PathBuf {
        self.file.with_file_name("tidelock.lock")
    }

    /// The socket through which commands reach a running daemon.
    pub(crate) fn socket(&self) -> PathBuf {
        match &self.config.daemon.socket {
            Some(socket) => PathBuf::from(socket),
            None => self.store().with_file_name("tidelock.sock"),
        }
    }

    /// Where the daemon listens for HTTP, if it does.
    pub(crate) fn http(&self) -> Option<SocketAddr> {
        // The check of the file has seen that it is one.
        self.config.http.listen.as_ref()?.parse().ok()
    }

    /// What the config says of a target under a key, to be shown; its table where it says nothing there.
    pub(crate) fn place_of_target(&self, name: &str, key: &str) -> Option<Excerpt> {
        self.files.iter().find_map(|file| {
            let text = std::fs::read_to_string(file).ok()?;
            let span = toml::place_of_target(&text, name, key)?;
            Some(Excerpt { file: file.display().to_string(), line: 1, text, span })
        })
    }

    /// The operator's own plugins.
    pub(crate) fn plugins_dir(&self) -> Option<PathBuf> {
        self.config.plugins.dir.as_ref().map(PathBuf::from)
    }
}

/// Reads a config file and everything that it includes.
pub(crate) fn load(file: &Path) -> Result<Loaded, CliError> {
    let file = std::path::absolute(file).map_err(|error| CliError::file("find", file, &error))?;
    let first = text_of(&file)?;
    let (mut config, mut include_dirs, mut files) = (parse(&file, &first)?, vec![], vec![file.clone()]);
    let mut texts = vec![first];
    for pattern in std::mem::take(&mut config.include) {
        let (dir, found) = include::matching(&file, &pattern)?;
        include_dirs.push(dir);
        for further in found {
            if files.contains(&further) {
                continue;
            }
            let text = text_of(&further)?;
            let part = parse_part(&further, &text)?;
            include::merge(&mut config, part, &further, &files[0])?;
            files.push(further);
            texts.push(text);
        }
        config.include.push(pattern);
    }
    for (file, text) in files.iter().zip(&texts) {
        named::check(file, text, &config)?;
    }
    Ok(Loaded { file, files, include_dirs, config })
}

fn text_of(file: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(file).map_err(|error| {
        let mut out = CliError::file("read", file, &error);
        out.kind = Kind::Config;
        if error.kind() == std::io::ErrorKind::NotFound {
            out = out.hint("`tidelock init demo` makes a config to start from");
        }
        out
    })
}

/// Reads, checks and roots one file.
fn parse(file: &Path, text: &str) -> Result<Config, CliError> {
    let name = file.display().to_string();
    let (read, mut config) = toml::File::read(&name, text)?;
    check::check(&read, &config)?;
    paths::make_absolute(&mut config, file.parent().unwrap_or(Path::new("/")));
    Ok(config)
}

/// An included file: as the first, but for what only the first may say.
fn parse_part(file: &Path, text: &str) -> Result<Config, CliError> {
    let name = file.display().to_string();
    let (read, _) = toml::File::read(&name, text)?;
    for key in ["include", "store", "plugins", "daemon", "http", "gate", "groups", "people"] {
        if read.says(key) {
            return Err(read.wrong(
                &[key],
                format!("`{key}` belongs in the first file, not in one that it includes"),
                Some(format!("move `{key}` to the file that includes this one")),
            ));
        }
    }
    parse(file, text)
}

#[cfg(test)]
mod tests;
