//! Compiled plugins, which cases hand on: to compile them is most of what the first command of a site takes.
//!
//! A site gets copies of what is there, and the key that vouches for them; what it compiled beside them is kept
//! for whoever comes after. What the tests of the cache itself say holds for these copies too.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::tidelock::binary;

/// Where a site has them, and where they lie beside the binary.
const OF_SITE: &str = "cache/plugins";
const OF_ALL: &str = "compiled-plugins";
const KEY: &str = "key";

/// Gives a new site what is there.
pub(crate) fn lend(world: &Path) {
    let all = of_all().expect("a folder beside the binary");
    let own = world.join(OF_SITE);
    private(&own).expect("a folder of the site");
    for entry in fs::read_dir(&all).expect("compiled plugins").flatten() {
        let name = entry.file_name();
        if name == KEY || is_compiled(&entry.path()) {
            // The mode comes along.
            fs::copy(entry.path(), own.join(name)).expect("a copy of a compiled plugin");
        }
    }
}

/// Keeps what a site compiled. Nothing where its key is another: it was not lent any.
pub(crate) fn keep(world: &Path) {
    let own = world.join(OF_SITE);
    let Ok(key) = fs::read(own.join(KEY)) else { return };
    let Ok(all) = of_all() else { return };
    if fs::read(all.join(KEY)).ok() != Some(key) {
        return;
    }
    for entry in fs::read_dir(&own).into_iter().flatten().flatten() {
        let kept = all.join(entry.file_name());
        if is_compiled(&entry.path()) && !kept.exists() {
            let file = fs::read(entry.path()).and_then(|code| put(&all, &kept, &code));
            // Without it the next site compiles, as this one did.
            drop(file);
        }
    }
}

fn of_all() -> io::Result<PathBuf> {
    let all = binary().with_file_name(OF_ALL);
    private(&all)?;
    let key = all.join(KEY);
    if !key.exists() {
        let mut drawn = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut drawn)?;
        put(&all, &key, &drawn)?;
    }
    Ok(all)
}

/// A file that is whole once it has its name. Of two the first stays.
fn put(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

fn private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn is_compiled(path: &Path) -> bool {
    path.extension().is_some_and(|word| word == "aot")
}
